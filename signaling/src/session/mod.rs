//! A participant's stay in a room, apart from the connection that carries it.
//!
//! The room puts events into an [`Outbox`]. A connection attaches to it, and takes them by its [`Inbox`] in their order.
//! Each event has a number. It is kept until the connection takes more, for it has been written then; what was not, the
//! next connection that attaches would be given. In version 1 of the native protocol a participant leaves when its
//! connection detaches.

mod outbox;
mod waiting;

pub use outbox::Inbox;
pub(crate) use outbox::{Outbox, Undelivered};
#[cfg(test)]
pub(crate) use waiting::{BEHIND, Waiting};
pub(crate) use waiting::{Letter, Role, merged};
