//! The publisher's side of a peer: its tracks, and the feedback it gets about their reception.
//!
//! An authenticated packet is bound to a layer, counted, cached and handed to the router. Losses
//! become NACKs, keyframes that viewers need become PLIs, arrivals become transport-wide feedback.

mod binding;
mod demand;
mod feedback;
mod format;
mod frames;
mod hint;
mod keyframe;
mod layer;
mod nack;
mod publisher;
mod ranking;
mod relayed;
mod report;
mod settled;
mod throttle;
mod track;

pub(crate) use frames::StreamPacket;
pub(crate) use layer::Relayed;
pub(crate) use publisher::{Media, Publisher, Receipt};
pub(crate) use relayed::{LayerState, TrackState};
pub(crate) use track::Track;
