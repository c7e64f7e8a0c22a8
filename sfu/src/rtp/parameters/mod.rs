//! Parameters of RTP streams: what both sides of a connection have agreed on, whatever protocol they agreed by.
//!
//! Session descriptions are one such protocol ([`transport::sdp`](crate::transport::sdp) reads and writes them). A
//! publisher's tracks, a viewer's slots and other workers need the outcome alone.

mod codec;
mod section;

#[cfg(test)]
pub(crate) use codec::h264;
pub(crate) use codec::{CodecFormat, CodecParameters, Feedback};
pub(crate) use section::{MediaRole, SectionKind, SectionParameters, SlotIdentity, SsrcPair};
