//! One peer's transport: datagrams on one side, plain RTP, RTCP and data on the other.

mod identity;
pub(crate) mod sctp;
pub(crate) mod sdp;

pub(crate) use identity::{Fingerprint, HashAlgorithm, IceCredentials};
