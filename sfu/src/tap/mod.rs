//! Taps: the decrypted packets of a track, for an embedder that records, transcribes or measures.
//!
//! A tap is a bounded queue from the worker that has the track to a [`Tap`], which any task may read. The worker never
//! waits for it: a packet that finds the queue full is dropped, counted, and told as [`TapPacket::missed`] with the
//! next one. Packets are as the publisher sent them, in the order in which they arrived: one that was lost and sent
//! again comes late, and a packet that comes twice is given once.
//!
//! A tap counts as a viewer: the layers that it takes stay published, and it has a keyframe asked for as it begins, as
//! it moves to another layer and after packets were dropped.

mod frames;
mod sink;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

pub use frames::{TapFrame, TapFrames};
pub(crate) use sink::{Arrived, Choice, Given, TapSink, tap};

use crate::rtp::codec::Codec;

/// Taps of one track at most. A recorder, a transcriber and a monitor are three. Each costs the worker a copied pointer
/// for each packet.
pub(crate) const TAPS_PER_TRACK: usize = 8;
/// Taps of a process at most. A recorder of a room of a hundred people takes 200. With the longest queues they hold
/// 1 GiB if none is read, with the default ones 256 MiB.
pub(crate) const TAPS: usize = 256;
/// Packets that may wait by default: two seconds of a picture of 4 Mbit/s.
const PACKETS: usize = 1_024;
/// Bytes that may wait by default.
const BYTES: usize = 1 << 20;
/// Packets that may be set to wait.
const MOST_PACKETS: usize = 8_192;
/// Bytes that may be set to wait.
const MOST_BYTES: usize = 4 << 20;

/// The settings of a tap.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TapSettings {
    /// The encodings of a simulcast track that it takes.
    pub layers: TapLayers,
    /// Packets that wait for the reader at most, from 1 to 8,192. By default 1,024.
    pub packets: usize,
    /// Bytes of payload that wait for the reader at most, up to 4 MiB. By default 1 MiB. A packet that finds nothing
    /// waiting is always taken.
    pub bytes: usize,
    /// The packet that is dropped when either bound is reached.
    pub overflow: TapOverflow,
}

impl Default for TapSettings {
    fn default() -> Self {
        Self {
            layers: TapLayers::default(),
            packets: PACKETS,
            bytes: BYTES,
            overflow: TapOverflow::default(),
        }
    }
}

/// The encodings of a simulcast track that a tap takes. A track without simulcast has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum TapLayers {
    /// The largest picture that arrives. When that changes, the tap moves at a keyframe of the other encoding.
    #[default]
    Largest,
    /// Every layer. All stay published even if no viewer is sent them.
    All,
}

/// The packet that is dropped when a tap's queue is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum TapOverflow {
    /// The newest: what waits stays whole.
    #[default]
    DropNewest,
}

/// A packet of a tapped track.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TapPacket {
    /// The codec. Redundant audio (RFC 2198) comes unwrapped.
    pub codec: Codec,
    /// The payload type that the publisher sends the codec as.
    pub payload_type: u8,
    /// Ticks of [`timestamp`](Self::timestamp) a second.
    pub clock_rate: u32,
    /// The encoding, by its place among the track's in the order in which they were first offered. 0 without simulcast.
    pub layer: usize,
    /// The first packet of a keyframe.
    pub keyframe: bool,
    /// The RTP sequence number, unwrapped: it counts on beyond 65,535, for each layer by itself.
    pub sequence: u64,
    /// The RTP timestamp (RFC 3550 section 5.1), for each layer by itself.
    pub timestamp: u32,
    /// The RTP marker bit: for video, the last packet of a frame.
    pub marker: bool,
    /// The time of the packet's media, by its publisher's sender reports (RFC 3550 section 6.4.1), as an NTP timestamp
    /// on this server's clock: seconds since 1900 in the upper 32 bits, fractions below. All tracks of one peer share a
    /// clock, so that sound and picture of the same moment have the same time. None before the track's first report.
    pub ntp: Option<u64>,
    /// Packets dropped just before this one because the queue was full.
    pub missed: u64,
    /// The payload without header and padding.
    pub payload: Bytes,
}

/// The packets of one track, as [`Sfu::tap`](crate::Sfu::tap) gives them. Dropping it ends the tap: within a second the
/// worker forgets it.
#[derive(Debug)]
pub struct Tap {
    packets: mpsc::Receiver<TapPacket>,
    shared: Arc<Shared>,
}

/// State that both ends of a tap share.
#[derive(Debug, Default)]
struct Shared {
    /// Bytes of payload that wait for the reader.
    waiting: AtomicUsize,
    /// The reader needs a keyframe.
    asks: AtomicBool,
}

impl Tap {
    /// The next packet; none when the track has ended, its peer or room is gone, or its worker has stopped. Packets
    /// that waited then are given first. Cancel-safe.
    pub async fn recv(&mut self) -> Option<TapPacket> {
        let packet = self.packets.recv().await?;
        self.taken(&packet);
        Some(packet)
    }

    /// The next packet, if one waits.
    pub fn try_recv(&mut self) -> Option<TapPacket> {
        let packet = self.packets.try_recv().ok()?;
        self.taken(&packet);
        Some(packet)
    }

    /// Whether nothing waits and nothing will come.
    pub fn has_ended(&self) -> bool {
        self.packets.is_closed() && self.packets.is_empty()
    }

    /// Asks the publisher for a keyframe of the layer that the tap takes: for a reader that cannot go on, as a packet
    /// never came. The request goes out with the next packet of the layer, and at most one in two seconds.
    pub fn request_keyframe(&self) {
        self.shared.asks.store(true, Ordering::Relaxed);
    }

    fn taken(&self, packet: &TapPacket) {
        let waiting = &self.shared.waiting;
        waiting.fetch_sub(packet.payload.len(), Ordering::Relaxed);
    }
}
