//! Session descriptions (RFC 8866, RFC 8829): the client's offer in, the server's answer out.
//!
//! The client always offers. [`parse_offer`] reads a text into an [`Offer`] that means something
//! or says what is wrong with it; [`Session::negotiate`] decides what each m-line is and writes the
//! answer. A [`Session`] outlives the offers: m-lines keep their places, and a receiving m-line
//! keeps the SSRCs it was first given.
//!
//! The role of an m-line follows from the client's direction alone:
//!
//! | client | role | answered |
//! |---|---|---|
//! | `sendonly`, `sendrecv` | [`MediaRole::Publish`] | `recvonly` |
//! | `recvonly` | [`MediaRole::Slot`] | `sendonly` |
//! | `inactive` | [`MediaRole::Inactive`] | `inactive` |
//! | data channels | [`MediaRole::Data`] | |
//! | port 0, or nothing the relay can use | [`MediaRole::Rejected`] | port 0 |
//!
//! An m-line that cannot be used costs itself alone, and the client is told why. Only what concerns all of
//! them refuses the offer: its syntax, its transport, its size, m-lines that moved.

mod answer;
mod attribute;
mod bundle;
mod codec;
mod error;
mod extmap;
mod media;
mod offer;
mod session;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use codec::CodecParameters;
#[cfg(test)]
pub(crate) use codec::Feedback;
pub use error::SdpError;
pub(crate) use media::{OfferedKind, OfferedMedia, OfferedSsrc};
pub(crate) use offer::{Offer, RemoteDescription, SdpLimits, parse_offer};
pub(crate) use session::{
    LocalDescription, MediaRole, Negotiated, NegotiatedCodec, NegotiatedMedia, Session,
    SlotIdentity,
};
