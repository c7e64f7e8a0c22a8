//! The server under test as a process: starting it, what the kernel says it used, and what it says
//! of itself.

pub mod admin;
pub mod cores;
pub mod machine;
pub mod process;
pub mod spawn;

pub use admin::Stats;
pub use cores::Cores;
pub use spawn::Child;
