//! The native protocol against a real server on an ephemeral port. Its media plane only keeps
//! books, but for `relay`, `workers` and `check`, which have the real one, and `process`, `bot` and `uclient`, which run the
//! binary.

// The counters of `/stats` in one piece.
#![recursion_limit = "256"]

mod acme;
mod addresses;
mod admission;
mod bot;
mod check;
mod check_network;
mod check_turn;
mod choice;
mod client;
mod codecs;
mod command;
mod counted;
mod crowd;
mod embedder;
mod fake_media;
mod hooks;
mod http;
mod ice_servers;
mod ice_tcp;
mod invitations;
mod limits;
mod media;
mod memory;
mod moderation;
mod mounted;
mod operate;
mod over_http;
mod presence;
mod process;
mod proxied;
mod refusals;
mod rejoins;
mod relay;
mod reload;
mod server;
mod sessions;
mod shutdown;
mod silenced;
mod stopped;
mod tls;
mod tokens;
mod turn;
mod uclient;
mod waiting;
mod workers;
