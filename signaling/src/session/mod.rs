//! A participant's stay in a room, apart from the connection that carries it.
//!
//! The room puts events into an [`Outbox`], where each has a number. A connection attaches to it, and takes them by its
//! [`Inbox`] in their order. What was taken is written; a participant with a session has it kept until its client
//! acknowledges it, for the connection may be lost with what was written last.
//!
//! A session outlives its connections. Its client comes back by a [`Token`] with the number of messages that it has had,
//! and is told how many of its own have come ([`Ledger`]). [`Sessions`] finds a session by the secret of its token. Nothing
//! here knows of sockets, clocks or rooms.

mod ledger;
mod outbox;
mod queue;
mod registry;
mod replays;
#[cfg(test)]
mod tests;
mod token;

pub(crate) use ledger::{Comeback, Ledger, ResumeFault};
pub use outbox::Inbox;
pub(crate) use outbox::{Outbox, Undelivered};
#[cfg(test)]
pub(crate) use queue::{BEHIND, Queue};
pub(crate) use queue::{Coalesce, Role, coalesced};
pub(crate) use registry::{Away, Registered, SessionCounts, Sessions};
pub(crate) use replays::Replays;
pub use token::Secret;
pub(crate) use token::{Nonce, Token};
