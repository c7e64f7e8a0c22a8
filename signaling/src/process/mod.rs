//! The binary's dealings with its system: signals, descriptors, and lines for the operator.

pub(crate) mod descriptors;
mod line;
pub(crate) mod log;
pub(crate) mod output;
pub(crate) mod print;
pub(crate) mod rates;
pub(crate) mod reload;
pub(crate) mod remote;
pub(crate) mod signals;
pub(crate) mod stop;
