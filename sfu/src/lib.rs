//! Tertulia's media relay: a selective forwarding unit as a library.

pub mod rtp;
pub mod stats;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

mod clock;
mod config;
mod demux;
mod egress;
mod error;
mod event;
mod id;
mod ingress;
mod packet;
mod router;
mod runtime;
mod sfu;
mod transmit;
mod transport;
mod worker;

pub use config::{Limits, SfuConfig};
pub use error::{SfuError, StartError};
pub use event::{Answer, Event, MediaKind, Needs, PeerFailure, PublishedTrack, Slot};
pub use id::{PeerId, RoomId, TrackId};
pub use sfu::{Join, Sfu};
pub use transport::sdp::SdpError;
