//! The publisher's side of a peer: its packets, and the feedback it gets about their reception.
//!
//! An authenticated packet is bound to a layer of a [track](crate::track), which counts and caches it. Losses become
//! NACKs, keyframes that viewers need become PLIs, arrivals become transport-wide feedback.

mod binding;
mod feedback;
mod publisher;
mod throttle;

pub(crate) use publisher::{Media, Publisher, Receipt};
