//! RTP wire formats.

pub mod codec;
pub mod extension;
