//! The control plane of Tertulia: rooms, protocols and the HTTP server.
//!
//! A request's way through the modules: `http` takes the connection, `protocol` turns a wire format
//! into commands, `room` decides, checks tokens by [`access`] or asks an embedder's [`hooks`], and tells all participants in events,
//! `media` asks the relay. No module depends on an earlier one. [`check`] is a client of such a server.
//!
//! An embedder mounts a node in its own server:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tertulia_signaling::{Config, Node};
//!
//! let node = Node::start(Config::default())?;
//! let app: axum::Router = axum::Router::new().nest("/call", node.router());
//! # let _ = app;
//! node.shutdown().await;
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

pub mod access;
pub mod check;
mod clients;
pub mod config;
mod discovery;
mod files;
mod held_open;
pub mod hooks;
mod http;
mod live;
pub mod media;
mod memory;
mod metadata;
mod names;
mod node;
pub mod protocol;
pub mod room;
mod session;
#[cfg(feature = "testing")]
pub mod testing;
pub mod tls;
mod turn;
mod watched;

pub use clients::{ClientAddress, Network};
pub use config::Config;
pub use memory::Memory;
pub use node::{LogCounts, Node, NodeBuilder, NodeError};

/// The examples of the README, which must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
