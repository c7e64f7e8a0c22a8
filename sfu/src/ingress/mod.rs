//! The publisher's side of a peer: its packets, and the feedback it gets about their reception.
//!
//! An authenticated packet is bound to a layer of a [track](crate::track), which counts and caches it. Losses become
//! NACKs, keyframes that viewers need become PLIs, arrivals become transport-wide feedback.
//!
//! Three more values are about a peer: [`Asks`] spaces requests to offer again, [`Pictures`] follows who turns its
//! pictures, [`DataBudget`] bounds its data channel messages.

mod asks;
mod binding;
mod data_budget;
mod feedback;
mod pictures;
mod publisher;
mod tapped;
mod throttle;

pub(crate) use asks::Asks;
pub(crate) use data_budget::DataBudget;
pub(crate) use pictures::{Orientation, Pictures};
pub(crate) use publisher::{Media, Publisher, Receipt};
