//! Headless bots that join a Tertulia server, publish real media and check what they receive.
//!
//! A [`scenario`] is rooms of [`bot`]s. Each speaks the native protocol over a WebSocket and drives
//! a peer connection of the `webrtc` crate, a stack independent of the relay's. It publishes the
//! clips in [`media`], and gives every packet it receives to the relay's own oracle, which checks
//! whether a decoder may be shown the stream. The outcome is a [`report`].

pub mod bot;
pub mod cli;
pub mod crowd;
#[cfg(test)]
mod fake_server;
pub mod generator;
pub mod http;
pub mod impair;
pub mod measure;
pub mod media;
pub mod mesh;
pub mod progress;
pub mod protocol;
pub(crate) mod receive;
pub mod report;
pub mod scenario;
#[doc(hidden)]
pub mod sdp;
pub mod server;
pub mod sweep;
pub mod transports;
pub mod whip;
pub mod wire;

/// The examples of the README, which must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
