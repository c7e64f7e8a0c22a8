//! The publisher's side of a peer: its tracks, and what it is told of their reception.
//!
//! A packet that authenticated is bound to a layer, counted, cached and handed to the router.
//! Losses become NACKs, wishes for keyframes become PLIs, arrivals become transport-wide feedback.

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
