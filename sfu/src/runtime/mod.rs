//! Sockets, threads and clocks: the only place of the crate that touches them.
//!
//! One [`MediaSocket`] and one thread for each worker. The thread ([`spawn_worker`]) drives a
//! [`Driven`] value that knows neither: it is handed datagrams and the time, and fills a
//! [`Transmits`](crate::transmit::Transmits).
//!
//! Linux only. The cost of forwarding is the kernel's UDP path, and what amortises it, `UDP_SEGMENT`
//! and `UDP_GRO` with `sendmmsg` and `recvmmsg`, exists nowhere else.
//!
//! # When packets leave
//!
//! A turn of the thread is: receive what has come (in bounded batches, `UDP_GRO`), let the worker
//! forward it, send that in parts that the cache still holds. Nothing waits while the thread is
//! busy for less than a third of the time. Above, the thread lets packets gather for up to
//! [`coalesce`](crate::SfuConfig::coalesce) between waking and receiving (`pace`), asleep; at saturation
//! it never sleeps, and what queues up in the socket meanwhile makes the runs long by itself.
//!
//! # Profiling
//!
//! Release builds keep line tables. The fan-out without the floor beside it, or a running server:
//!
//! ```text
//! cargo bench -p tertulia-sfu --bench fanout --no-run      # names the executable
//! perf record -F 1999 --call-graph dwarf,16384 target/release/deps/fanout-… --bench --alone --packets 500000 "1x100 video frame10"
//! perf record -F 1999 --call-graph dwarf,16384 -t <a tertulia-media thread> -- sleep 10
//! perf report --no-children --sort symbol
//! perf script | inferno-collapse-perf | inferno-flamegraph > flame.svg
//! ```
//!
//! Where the time of one packet of `1x100 video frame10` goes (AMD EPYC with VAES, Linux 6.18, `ring`;
//! 0.9 us on a busy machine whose floor was 0.7; the bench's clients and receivers taken out):
//!
//! - 45% the kernel's sending: 8% of all is `_copy_from_iter` alone, the rest spread over route,
//!   `__ip_make_skb`, loopback and the receiver's queue, each paid for ten packets at a time.
//! - 28% AES-128-GCM: `aes_gcm_enc_update` 14%, `seal` around it 6%, GHASH 4%.
//! - 21% the relay: `Slot::plan` 4%, `Worker::forward` 4%, `Srtp::seal_rtp` (the index by SSRC) 4%,
//!   `Outlet::send` and the header 4%, `Packer::pack` 1%.
//! - 6% copying payloads into the slab.
//!
//! For single packets the kernel is nine tenths.
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
