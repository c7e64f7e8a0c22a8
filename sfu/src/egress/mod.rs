//! The viewer's side of a peer: slots, the tracks they carry, and the rewriting of their packets.
//!
//! For each packet of a subscribed track: *select* (is this the viewer's layer?), *rewrite*
//! (numbers continue, whatever the source). For all of a viewer's packets at hand: *pack* (order
//! and padding, so that the kernel takes them in few messages), write, seal, append to the viewer's
//! run.
//!
//! Beside the packets' way the layers are decided: *request* (facts of the call become requests), *allocate* (the
//! link's bandwidth becomes layers), *apply* (slots are pointed at these, and the news are found). *Audience* counts
//! which codecs the viewers of a track decode, and chooses the one to ask its publisher for.

mod allocator;
mod apply;
mod audience;
mod bwe;
mod codec_choice;
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
mod request;
mod rewriter;
mod rtx;
mod selector;
mod sender;
mod slot;
mod sound;
mod stats;
mod subscriber;
mod waiting;

pub(crate) use allocator::{LayerAllocation, LayerRequest};
pub(crate) use apply::Applied;
pub(crate) use audience::Member;
pub(crate) use codec_choice::current_codec;
#[cfg(test)]
pub(crate) use forwarder::Forwarder;
pub(crate) use forwarder::{SourceTrack, Start};
pub(crate) use keyframes::KeyframeRequest;
pub(crate) use outlet::Outlet;
pub(crate) use pacer::{Next, Paced, Pacer};
pub(crate) use pack::{Item, Packer};
pub(crate) use request::Standing;
pub(crate) use slot::{Plan, Repair, Slot, SlotSeed};
pub(crate) use subscriber::{Request, Subscriber};
pub(crate) use waiting::refused_lines;
