//! Calls on a simulated network: the real worker, `str0m` clients, virtual time, seeds.
//!
//! The relay, the network and the media follow from the seed. `str0m` takes its keys, SSRCs and the order of its
//! streams from the system, so that a run of clients with several video streams repeats only nearly. A test that
//! depends on that order runs several seeds.
#![allow(
    clippy::disallowed_methods,
    reason = "a run starts at some instant; virtual time goes on from there"
)]

mod adaptation;
mod addresses;
mod bad_input;
mod calls;
mod calls_on_narrow_links;
mod codecs;
mod data;
mod encodings;
mod floods;
mod harness;
mod impaired;
mod links;
mod mobility;
mod muted;
mod narrow;
mod orientation;
mod parts;
mod random;
mod renegotiation;
mod reported;
mod scoreboard;
mod sound;
mod speakers;
mod storms;
mod streams;
mod taps;
mod tiles;
mod wanted;
