//! What the binary arranges with the system it runs on: signals, descriptors, and lines to whoever
//! started it.

pub(crate) mod descriptors;
pub(crate) mod output;
pub(crate) mod signals;
