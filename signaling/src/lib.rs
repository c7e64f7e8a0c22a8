//! The control plane of Tertulia: rooms, protocols and the HTTP server.

pub mod protocol;
