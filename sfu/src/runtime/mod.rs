//! Sockets, threads and clocks: the only place of the crate that touches them.
//!
//! One [`MediaSocket`] and one thread for each worker. The thread ([`spawn_worker`]) drives a
//! [`Driven`] value that knows neither: it is handed datagrams and the time, and fills a
//! [`Transmits`](crate::transmit::Transmits).
//!
//! Linux only. The cost of forwarding is the kernel's UDP path, and what amortises it, `UDP_SEGMENT`
//! and `UDP_GRO` with `sendmmsg` and `recvmmsg`, exists nowhere else.
//!
//! # Which address answers leave from
//!
//! Sockets are bound to the wildcard, so the route decides the source address, while ICE discards
//! an answer that comes from another address than was asked (RFC 8445 section 7.2.5.2.1). With every
//! interface's address announced, the pair the route agrees with succeeds and nothing is needed. It
//! fails where the announced address is not the one the route picks: a second or floating address
//! of an interface. So [`MediaSocket::answer_from`] pins the source when exactly one of the machine's
//! own addresses is announced for a family. Keeping the address each datagram came to would serve
//! hosts that announce several such addresses too, at the price of state that a forged source
//! address can change before anything is authenticated.

// The workspace bans clocks, threads and sockets everywhere else.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[cfg(not(target_os = "linux"))]
compile_error!("tertulia-sfu runs on Linux: its sockets need UDP_SEGMENT, UDP_GRO and sendmmsg");

mod address;
mod interfaces;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod measure;
mod pace;
mod poller;
mod receive;
mod send;
mod socket;
mod speed;
mod system;
#[cfg(test)]
mod wire_tests;
mod worker_thread;

pub(crate) use interfaces::interface_addresses;
pub(crate) use poller::{Poller, Waker};
pub(crate) use socket::MediaSocket;
pub(crate) use speed::nanoseconds_each;
pub(crate) use system::{Seeds, Threads, cores, wall_clock};
pub(crate) use worker_thread::{Driven, spawn_worker};
