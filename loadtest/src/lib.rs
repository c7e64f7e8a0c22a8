//! Headless bots that join a Tertulia server, publish real media and check what they receive.

pub mod media;
