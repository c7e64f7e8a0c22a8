//! One direction of a network path: loss, delay, jitter, reordering, and a rate with a bounded queue
//! that others may share.
//!
//! It is deterministic: equal seeds, datagrams and changes give equal arrivals. It reads no clock and is given each
//! moment, so that it serves simulations in virtual time and `tertulia-loadtest impair` in real time.

mod link;
mod model;
mod path;
mod rival;
mod script;
mod setting;
mod statistics;
#[cfg(test)]
mod tests;

pub use model::{Burst, Noise, PathModel, Reorder, Rival};
pub use path::{Datagram, Path};
pub use script::{Change, Models, Playback, Script, ScriptError};
pub use setting::{SettingError, duration, share};
pub use statistics::PathStats;
