//! Protocols: each a thin adapter between a wire format and the rooms' commands and events. They do
//! not know each other.

pub mod native;
