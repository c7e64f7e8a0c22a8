//! One peer's transport: datagrams on one side, plain RTP, RTCP and data on the other.

pub(crate) mod sctp;
pub(crate) mod sdp;
