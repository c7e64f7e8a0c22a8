//! Who speaks, and whose sound is forwarded, from the audio levels of packets.
//!
//! Both are values of a room: levels and times go in, an order of speakers and a decision for each packet come out.

mod loudest;
mod speaker;

pub(crate) use loudest::{Hearing, Loudest, Sound};
pub(crate) use speaker::{Digest, Speakers};
