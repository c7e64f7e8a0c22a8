//! Tertulia's media relay: a selective forwarding unit as a library.

pub mod rtp;
pub mod stats;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

mod config;
mod error;
mod event;
mod id;
mod runtime;
mod sfu;
mod transmit;
mod transport;

pub use config::{Limits, SfuConfig};
pub use error::{SfuError, StartError};
pub use event::{Answer, Event, MediaKind, Needs, PeerFailure, PublishedTrack, Slot};
pub use id::{PeerId, RoomId, TrackId};
pub use sfu::{Join, Sfu};
pub use transport::sdp::SdpError;
