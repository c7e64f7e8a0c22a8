//! The viewer's side of a peer: slots, the tracks they carry, and the rewriting of their packets.
//!
//! For each packet of a subscribed track: *select* (is this the viewer's layer?), *rewrite*
//! (numbers continue, whatever the source). For all of a viewer's packets at hand: *pack* (order
//! and padding, so that the kernel takes them in few messages), write, seal, append to the viewer's
//! run.

mod allocator;
mod bwe;
mod earlier;
mod forwarder;
mod kept;
mod keyframes;
mod link;
mod outlet;
mod pacer;
mod pack;
mod redundancy;
mod repeats;
mod rewriter;
mod rtx;
mod selector;
mod sender;
mod slot;
mod sound;
mod subscriber;
mod waiting;

pub(crate) use allocator::{LayerAllocation, LayerRequest, Priority};
pub(crate) use forwarder::{Forwarder, SourceTrack, Start};
pub(crate) use keyframes::KeyframeRequest;
pub(crate) use outlet::{Outgoing, Outlet};
pub(crate) use pacer::{Cached, Next, Paced, Pacer};
pub(crate) use pack::{Item, Packer};
pub(crate) use slot::{Plan, Repair, Slot, SlotSeed};
pub(crate) use subscriber::{Request, Subscriber};
pub(crate) use waiting::{Decoders, Waiting};
