//! The worker's end of a tap.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{MOST_BYTES, MOST_PACKETS, Shared, Tap, TapLayers, TapPacket, TapSettings};
use crate::seat::Seat;

/// Time between two keyframes that a reader asks for, or that dropped packets make it need. A reader that is too slow for good
/// would otherwise cost every viewer of the track its quality.
const AGAIN: Duration = Duration::from_secs(2);

/// The worker's end of a tap.
#[derive(Debug)]
pub(crate) struct TapSink {
    packets: mpsc::Sender<TapPacket>,
    shared: Arc<Shared>,
    /// Bytes of payload that may wait.
    bytes: usize,
    layers: TapLayers,
    /// With [`TapLayers::Largest`]: the layer it takes, since a keyframe of it came.
    current: Option<usize>,
    /// Packets dropped since the last one that was taken.
    missed: u64,
    /// The time from which it may ask for a keyframe again.
    asks_from: Option<Instant>,
    /// Counts it among the process's taps.
    _seat: Seat,
}

/// A packet's facts that tell whether a tap takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    pub(crate) layer: usize,
    /// A decoder can begin here.
    pub(crate) begins: bool,
    /// The layer with the largest picture that arrives.
    pub(crate) largest: Option<usize>,
}

/// A tap's choice about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Choice {
    /// It takes the packet.
    Take,
    /// It does not, and waits for a keyframe of this layer.
    Await(usize),
    /// It does not.
    Leave,
}

/// The outcome of a packet that a tap took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Given {
    /// It waits for the reader.
    Whole,
    /// It waits for the reader, who needs a keyframe: packets before it were dropped, or the reader lacks one.
    NeedsKeyframe,
    /// It was dropped: the queue is full.
    Dropped,
    /// The reader is gone.
    Gone,
}

/// A tap's two ends.
pub(crate) fn tap(settings: &TapSettings, seat: Seat) -> (TapSink, Tap) {
    let (sender, packets) = mpsc::channel(settings.packets.clamp(1, MOST_PACKETS));
    let shared = Arc::<Shared>::default();
    let sink = TapSink {
        packets: sender,
        shared: Arc::clone(&shared),
        bytes: settings.bytes.min(MOST_BYTES),
        layers: settings.layers,
        current: None,
        missed: 0,
        asks_from: None,
        _seat: seat,
    };
    (sink, Tap { packets, shared })
}

impl TapSink {
    /// Whether its reader is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.packets.is_closed()
    }

    /// The layers it takes.
    pub(crate) fn layers(&self) -> TapLayers {
        self.layers
    }

    /// Decides about a packet.
    pub(crate) fn choose(&mut self, packet: Arrived) -> Choice {
        if self.layers == TapLayers::All {
            return Choice::Take;
        }
        let aims = packet.largest.unwrap_or(packet.layer);
        if packet.layer == aims && packet.begins {
            self.current = Some(aims);
        }
        match self.current {
            Some(current) if current == packet.layer => Choice::Take,
            _ if packet.layer == aims => Choice::Await(aims),
            _ => Choice::Leave,
        }
    }

    /// Begins anew with a keyframe: the packets before it were not given.
    pub(crate) fn begin_again(&mut self) {
        self.current = None;
    }

    /// Gives a packet to the reader.
    pub(crate) fn give(&mut self, now: Instant, packet: &TapPacket) -> Given {
        let len = packet.payload.len();
        // Only this worker adds to it: between the two lines it can but shrink.
        let waiting = self.shared.waiting.load(Ordering::Relaxed);
        if waiting > 0 && waiting + len > self.bytes {
            self.missed += 1;
            return Given::Dropped;
        }
        self.shared.waiting.fetch_add(len, Ordering::Relaxed);
        let missed = self.missed;
        let given = self.packets.try_send(TapPacket {
            missed,
            payload: Bytes::clone(&packet.payload),
            ..packet.clone()
        });
        match given {
            Ok(()) => self.missed = 0,
            Err(TrySendError::Full(_)) => {
                self.shared.waiting.fetch_sub(len, Ordering::Relaxed);
                self.missed += 1;
                return Given::Dropped;
            }
            Err(TrySendError::Closed(_)) => return Given::Gone,
        }
        if missed > 0 {
            self.shared.asks.store(true, Ordering::Relaxed);
        }
        if self.shared.asks.load(Ordering::Relaxed) && self.asks_from.is_none_or(|from| now >= from)
        {
            self.asks_from = Some(now + AGAIN);
            self.shared.asks.store(false, Ordering::Relaxed);
            return Given::NeedsKeyframe;
        }
        Given::Whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::codec::Codec;

    fn packet(sequence: u64, len: usize) -> TapPacket {
        TapPacket {
            codec: Codec::Vp8,
            payload_type: 96,
            clock_rate: 90_000,
            layer: 0,
            keyframe: false,
            sequence,
            timestamp: 0,
            marker: false,
            ntp: None,
            missed: 0,
            payload: Bytes::from(vec![0; len]),
        }
    }

    fn tap_of(packets: usize, bytes: usize) -> (TapSink, Tap) {
        let settings = TapSettings {
            packets,
            bytes,
            ..TapSettings::default()
        };
        tap(&settings, Seat::take(&Arc::default()))
    }

    #[test]
    fn a_full_tap_drops_the_newest_and_tells_how_many_with_the_next() {
        let start = Instant::now();
        for (packets, bytes) in [(3, 1 << 20), (100, 3_000)] {
            let (mut sink, mut tap) = tap_of(packets, bytes);
            for sequence in 0..3 {
                assert_eq!(sink.give(start, &packet(sequence, 1_000)), Given::Whole);
            }
            for sequence in 3..8 {
                assert_eq!(sink.give(start, &packet(sequence, 1_000)), Given::Dropped);
            }
            let first = tap.try_recv().expect("it waits");
            assert_eq!((first.sequence, first.missed), (0, 0));
            let given = sink.give(start, &packet(8, 1_000));
            assert_eq!(given, Given::NeedsKeyframe, "{packets} {bytes}");
            let rest: Vec<_> = std::iter::from_fn(|| tap.try_recv())
                .map(|packet| (packet.sequence, packet.missed))
                .collect();
            assert_eq!(rest, [(1, 0), (2, 0), (8, 5)]);
            assert_eq!(sink.give(start, &packet(9, 1_000)), Given::Whole);
        }
    }

    #[test]
    fn a_packet_larger_than_the_bound_is_taken_alone() {
        let (mut sink, mut tap) = tap_of(10, 100);
        let now = Instant::now();
        assert_eq!(sink.give(now, &packet(0, 1_000)), Given::Whole);
        assert_eq!(sink.give(now, &packet(1, 1)), Given::Dropped);
        assert!(tap.try_recv().is_some());
        assert_ne!(sink.give(now, &packet(2, 1)), Given::Dropped);
    }

    #[test]
    fn keyframes_are_asked_for_at_intervals() {
        let start = Instant::now();
        let (mut sink, tap) = tap_of(100, 1 << 20);
        let mut asked = Vec::new();
        for ms in (0..5_000).step_by(100) {
            tap.request_keyframe();
            let given = sink.give(start + Duration::from_millis(ms), &packet(ms, 1));
            asked.extend((given == Given::NeedsKeyframe).then_some(ms));
        }
        assert_eq!(asked, [0, 2_000, 4_000]);
    }

    #[test]
    fn a_tap_ends_when_either_end_is_gone_and_gives_its_seat_back() {
        let count = Arc::default();
        let (sink, mut tap) = tap(&TapSettings::default(), Seat::take(&count));
        assert!(!tap.has_ended());
        drop(sink);
        assert!(tap.has_ended() && tap.try_recv().is_none());
        assert_eq!(count.load(Ordering::Relaxed), 0);
        let (mut sink, tap) = tap_of(1, 1);
        drop(tap);
        assert!(sink.is_gone());
        assert_eq!(sink.give(Instant::now(), &packet(0, 1)), Given::Gone);
    }

    #[test]
    fn the_largest_picture_is_taken_from_a_keyframe_on() {
        let (mut sink, _tap) = tap_of(1, 1);
        let mut choose = |layer, begins, largest| {
            sink.choose(Arrived {
                layer,
                begins,
                largest,
            })
        };
        assert_eq!(choose(0, false, Some(0)), Choice::Await(0));
        assert_eq!(choose(0, true, Some(0)), Choice::Take);
        assert_eq!(choose(0, false, Some(0)), Choice::Take);
        // A larger one comes: the smaller goes on until the larger has a keyframe.
        assert_eq!(choose(2, false, Some(2)), Choice::Await(2));
        assert_eq!(choose(0, false, Some(2)), Choice::Take);
        assert_eq!(choose(1, true, Some(2)), Choice::Leave);
        assert_eq!(choose(2, true, Some(2)), Choice::Take);
        assert_eq!(choose(0, true, Some(2)), Choice::Leave);
        // It stops.
        assert_eq!(choose(1, false, Some(1)), Choice::Await(1));
        assert_eq!(choose(1, true, Some(1)), Choice::Take);
    }
}
