//! Decides from the audio levels of packets who speaks, whose sound is forwarded, and whose cameras are sent.
//!
//! All are values of a room: levels and times go in; an order of speakers, a decision for each packet, and the
//! publishers whose cameras are sent come out.

mod decider;
mod last_n;
mod loudest;
mod speaker;

pub(crate) use decider::decider;
pub(crate) use last_n::LastN;
pub(crate) use loudest::{Hearing, Loudest, Sound};
pub(crate) use speaker::{Digest, Speakers, Speech};
