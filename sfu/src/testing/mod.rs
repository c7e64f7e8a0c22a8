//! For tests of this and dependent crates: a simulated network, a worker in virtual time, a media
//! source, and the one oracle of what a decoder may be shown.

pub mod network;
mod relay;

pub use relay::SimRelay;
