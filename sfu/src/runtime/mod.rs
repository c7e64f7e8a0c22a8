//! Sockets, threads and clocks: the only place of the crate that touches them.
//!
//! There is one [`MediaSocket`] and one thread for each worker. The thread ([`spawn_worker`]) drives a [`Driven`] value
//! that knows neither: it is given datagrams and the time, and fills a [`Transmits`](crate::transmit::Transmits).
//!
//! Linux only. The kernel's UDP path is the main cost of forwarding. `UDP_SEGMENT` and `UDP_GRO` with `sendmmsg` and
//! `recvmmsg` reduce it per packet, and exist nowhere else.
//!
//! # When packets leave
//!
//! A turn of the thread: receive the datagrams that have come (in bounded batches, `UDP_GRO`), let the worker forward
//! them, send the result in parts that still fit the cache. Nothing waits while the thread is busy for less than a
//! third of the time. Above that, the thread sleeps for up to [`coalesce`](crate::SfuConfig::coalesce) between waking
//! and receiving (`pace`), so that packets gather. At saturation it never sleeps; datagrams then queue in the socket
//! and make the runs long by themselves.
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
//! Sockets are bound to the wildcard, so that the route decides the source address. ICE discards an answer from another
//! address than the check was sent to (RFC 8445 section 7.2.5.2.1). With every interface's address announced, the
//! candidate pair that agrees with the route succeeds. It fails where the route picks another address than the
//! announced one: a second or floating address of an interface. So [`MediaSocket::answer_from`] pins the source when
//! exactly one of the machine's own addresses is announced for a family. Remembering the destination address of each
//! datagram would also serve hosts that announce several such addresses, but a forged source address could change that
//! state before anything is authenticated.

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

pub use interfaces::{InterfaceAddress, interface_addresses, interfaces};
pub(crate) use poller::{Poller, Waker};
pub(crate) use socket::{MediaSocket, warn_of_buffers};
pub(crate) use speed::nanoseconds_each;
pub(crate) use system::{Seeds, Threads, cores, wall_clock};
pub(crate) use worker_thread::{Driven, spawn_worker};
