//! The server under test as a process: starting it, its use of resources by the kernel's count, and
//! its own counters.

pub mod admin;
pub mod cores;
pub mod machine;
pub mod process;
pub mod spawn;

pub use admin::Stats;
pub use cores::Cores;
pub use spawn::Child;
