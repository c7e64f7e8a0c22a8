//! Moderation: rules of a room, people who wait before it, and actions of moderators upon others.
//!
//! A participant moderates by [`Permissions::moderate`](crate::hooks::Permissions). Tokens and hooks grant it. A server that
//! lets everybody in has nobody to grant it: there the one who has been in the room for longest moderates
//! ([`succession`]).

mod act;
mod bans;
mod code;
mod door;
mod hands;
mod invite;
mod succession;
mod waiting;

pub(crate) use code::{DONE_CODES, DOOR_CODES, REFUSED_CODES};
pub(super) use door::{Comer, Door};
pub(super) use hands::Hands;
pub(super) use waiting::{Entered, LOOK_EVERY, WaitingRoom};

pub use code::Moderate;
pub use door::Rules;
pub use invite::{Granting, Invite};
pub use waiting::{Outcome, Waiting, WaitingPerson};
