//! Clients as a server knows them that asks nobody who they are: by their addresses.

mod address;
mod proxies;
mod usage;

pub use address::ClientAddress;
pub use proxies::Network;
pub(crate) use proxies::client_of;
pub(crate) use usage::{Clients, Exceeded, Held};
