//! The viewer's side of a peer: slots, what each carries, and how its packets are rewritten.
//!
//! For each packet of a subscribed track: *select* (is this the layer the viewer gets?), *rewrite*
//! (numbers continue, whatever the source), write, seal, append to the viewer's run.

mod forwarder;
mod outlet;
mod rewriter;
mod rtx;
mod selector;
mod sender;
mod slot;
mod subscriber;

pub(crate) use forwarder::{SourceTrack, Start};
pub(crate) use outlet::Outlet;
pub(crate) use slot::{Repair, Slot, SlotSeed};
pub(crate) use subscriber::{Request, Subscriber};
