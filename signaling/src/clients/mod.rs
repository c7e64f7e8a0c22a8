//! Clients, told apart by their addresses only: the server authenticates nobody.

mod address;
mod proxies;
mod usage;

pub use address::ClientAddress;
pub use proxies::Network;
pub(crate) use proxies::client_of;
pub(crate) use usage::{Clients, Exceeded, Held};
