//! Streams: connections that carry the datagrams of a client which cannot send UDP.
//!
//! The embedder owns the connection, be it TCP or TLS. It takes datagrams out of it by the framing of its protocol (RFC 4571
//! for ICE-TCP, RFC 6544; RFC 8656 for TURN) and exchanges them with the client's worker through a [`Stream`]: one ring of bytes each way,
//! of bounded length, written by one thread and read by one. A worker never waits for a connection. Where a connection
//! takes less than is sent, its ring fills: once something has waited there for [`LONG`], or from [`CROWDED`] on, the peer's
//! video waits in its pacer, where it becomes stale and is skipped as on any narrow link, while sound, RTCP and handshakes
//! pass; what does not fit any more is dropped and counted ([`DropReason::StreamFull`](crate::DropReason::StreamFull)).
//!
//! A stream is kept only if its first datagram authenticates: a STUN check with the user fragment and the password of a
//! peer. It is closed when its peer has not checked over it for a minute. To the worker it is a [path](crate::transport::Path) like any other, which must be proven before media
//! goes there.
//!
//! | part | holds |
//! |---|---|
//! | `end` | the embedder's end, [`Stream`] |
//! | `table` | the worker's ends |
//! | `bells` | which streams have something for the worker, one bit each |
//! | `ring` | datagrams in a ring of bytes |
//! | `waiting` | the time that they have waited there |

mod bells;
mod end;
mod ring;
mod table;
mod waiting;

use std::time::Duration;

pub use end::{PushError, Stream};
pub(crate) use table::{Opening, Streams};

/// Whether a connection keeps up with what is sent to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Crowding {
    /// The connection keeps up again.
    Clear,
    /// The connection does not keep up. The number is the rate that it took lately, in bits a second; none if it is not
    /// known yet.
    Crowded(Option<u64>),
}

/// Streams of one worker at most. Together their rings take 160 MiB; those who cannot send UDP are few.
pub(crate) const STREAMS: usize = 1_024;
/// Bytes that may wait for a connection: half a second at 2 Mbit/s. Media that waited longer is of no use, and the
/// pacer holds video back before.
const TO_CONNECTION: usize = 128 * 1024;
/// Bytes that may wait for a worker, which takes them within a turn. A connection that brings more is not read on.
const TO_WORKER: usize = 32 * 1024;
/// Time that a datagram has waited for its connection from which on the peer's video waits: sound comes behind it, and is
/// late by as much. A keyframe of a fast link is through sooner.
const LONG: Duration = Duration::from_millis(100);
/// Bytes that wait for a connection from which on its peer's video waits, however fast it is, so that there is room for
/// sound.
const CROWDED: usize = TO_CONNECTION / 2;
/// Longest datagram of a client: see the longest of DTLS. RTP stays under 1,500 bytes.
const LONGEST: usize = 2_048;
