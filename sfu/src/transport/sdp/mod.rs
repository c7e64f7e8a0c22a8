//! Session descriptions (RFC 8866, RFC 8829): the client's offer in, the server's answer out.
//!
//! The client always offers. [`parse_offer`] reads a text into an [`Offer`], or says what is wrong with it.
//! [`Session::negotiate`] decides the role of each m-line and writes the answer. A [`Session`] outlives the offers:
//! m-lines keep their places, and a receiving m-line keeps the SSRCs it was first given.
//!
//! The role of an m-line follows from the client's direction and rights alone:
//!
//! | client | role | answered |
//! |---|---|---|
//! | `sendonly`, `sendrecv` | [`MediaRole::Publish`] | `recvonly` |
//! | `recvonly` | [`MediaRole::Slot`] | `sendonly` |
//! | `inactive`, or a track that it may not publish | [`MediaRole::Inactive`] | `inactive` |
//! | data channels | [`MediaRole::Data`] | |
//! | port 0, or nothing the relay can use | [`MediaRole::Rejected`] | port 0 |
//!
//! An unusable m-line is refused alone, and the client is told why. Only faults that concern all m-lines refuse the
//! offer: its syntax, its transport, its size, m-lines that moved.

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

pub use error::SdpError;
pub(crate) use media::OfferedMedia;
pub(crate) use offer::{Offer, RemoteDescription, SdpLimits, parse_offer};
pub(crate) use session::{LocalDescription, Negotiated, Session};
