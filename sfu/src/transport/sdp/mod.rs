//! Session descriptions (RFC 8866, RFC 8829): the client's offer in, the server's answer out.
//!
//! The client always offers. [`parse_offer`] reads a text into an [`Offer`] that means something
//! or says what is wrong with it; [`Session::negotiate`] decides what each m-line is and writes the
//! answer. A [`Session`] outlives the offers: m-lines keep their places, and a receiving m-line
//! keeps the SSRCs it was first given.
//!
//! What an m-line becomes follows from the client's direction alone:
//!
//! | client | role | answered |
//! |---|---|---|
//! | `sendonly`, `sendrecv` | [`MediaRole::Publish`] | `recvonly` |
//! | `recvonly` | [`MediaRole::Slot`] | `sendonly` |
//! | `inactive` | [`MediaRole::Inactive`] | `inactive` |
//! | data channels | [`MediaRole::Data`] | |
//! | port 0, or nothing the relay knows | [`MediaRole::Rejected`] | port 0 |

mod answer;
mod attribute;
mod codec;
mod error;
mod extmap;
mod offer;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use codec::CodecParameters;
#[cfg(test)]
pub(crate) use codec::Feedback;
pub use error::SdpError;
pub(crate) use offer::{
    Direction, Offer, OfferedKind, OfferedMedia, OfferedSsrc, SdpLimits, parse_offer,
};
pub(crate) use session::{
    LocalDescription, MediaRole, Negotiated, NegotiatedCodec, NegotiatedMedia, Session,
    SlotIdentity,
};
