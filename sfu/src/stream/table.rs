//! The worker's ends of its streams.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};

use super::bells::Bells;
use super::end::{Signs, Stream};
use super::waiting::Waiting;
use super::{CROWDED, Crowding, LONG, STREAMS, TO_CONNECTION, TO_WORKER, ring};
use crate::runtime::Waker;
use crate::transmit::{SendReport, Transmits};
use crate::transport::path::{Path, StreamOrigin};

/// A connection whose first datagram has come.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) origin: StreamOrigin,
    /// Its first datagram.
    pub(crate) first: Vec<u8>,
}

/// All streams of a worker.
#[derive(Debug)]
pub(crate) struct Streams {
    ends: Vec<Option<End>>,
    count: usize,
    /// Tells the streams of a slot apart.
    opened: u32,
    bells: Arc<Bells>,
    waker: Option<Waker>,
    /// The paths whose crowding has changed.
    crowding: Vec<(Path, Crowding)>,
    swept_at: Option<Instant>,
    slots: Vec<usize>,
    datagram: Vec<u8>,
}

#[derive(Debug)]
struct End {
    path: Path,
    from_connection: Consumer<u8>,
    to_connection: Producer<u8>,
    waiting: Waiting,
    signs: Arc<Signs>,
    is_crowded: bool,
}

/// Datagrams taken from one stream in one turn: more wait for the next, so that others come to their turn.
const BATCH: usize = 32;
/// Interval at which streams are looked for whose peers are gone.
const SWEEP: Duration = Duration::from_secs(1);
/// Interval of that while there is no room for another stream: one peer can fill the table by opening one after another, as
/// its oldest lose their place at the peer at once and in the table with the sweep. A sweep takes some 20 us.
const SWEEP_FULL: Duration = Duration::from_millis(10);

impl Streams {
    /// No streams. `waker` wakes their worker; without one there can be none.
    pub(crate) fn new(waker: Option<Waker>) -> Self {
        Self {
            ends: Vec::new(),
            count: 0,
            opened: 0,
            bells: Arc::default(),
            waker,
            crowding: Vec::new(),
            swept_at: None,
            slots: Vec::new(),
            datagram: Vec::new(),
        }
    }

    /// Makes a stream; none if there are too many.
    pub(crate) fn open(&mut self, origin: StreamOrigin) -> Option<(Path, Stream)> {
        let waker = self.waker.clone()?;
        let free = self.ends.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.ends.len());
        if slot >= STREAMS {
            return None;
        }
        self.opened = self.opened.wrapping_add(1);
        let path = origin.path(slot as u16, self.opened);
        let (to_worker, from_connection) = RingBuffer::new(TO_WORKER);
        let (to_connection, from_worker) = RingBuffer::new(TO_CONNECTION);
        let signs = Arc::new(Signs::default());
        let end = End {
            path,
            from_connection,
            to_connection,
            waiting: Waiting::default(),
            signs: Arc::clone(&signs),
            is_crowded: false,
        };
        if free.is_none() {
            self.ends.push(None);
        }
        self.ends[slot] = Some(end);
        self.count += 1;
        let bell = self.bells.bell(slot, waker);
        let stream = Stream {
            to_worker,
            from_worker,
            signs,
            bell,
        };
        Some((path, stream))
    }

    /// Ends a stream: its connection is told.
    pub(crate) fn close(&mut self, path: Path) {
        if let Some(slot) = self.slot_of(path)
            && let Some(end) = self.ends[slot].take()
        {
            self.count -= 1;
            let signs = Arc::clone(&end.signs);
            drop(end);
            signs.changed.notify_one();
        }
    }

    /// Whether a stream has something for the worker.
    pub(crate) fn is_pending(&self) -> bool {
        self.bells.have_rung()
    }

    /// Hands over what has come, and the paths whose connections are gone.
    pub(crate) fn take(
        &mut self,
        mut datagram: impl FnMut(Path, &mut [u8]),
        mut gone: impl FnMut(Path),
    ) {
        if !self.is_pending() {
            return;
        }
        let (mut slots, mut buffer) = (
            std::mem::take(&mut self.slots),
            std::mem::take(&mut self.datagram),
        );
        slots.clear();
        self.bells.take(&mut slots);
        for slot in &slots {
            let Some(end) = self.ends.get_mut(*slot).and_then(Option::as_mut) else {
                continue;
            };
            // Asked first: what came before the end is taken still.
            let is_gone = end.from_connection.is_abandoned();
            let mut taken = 0;
            while taken < BATCH {
                buffer.clear();
                if ring::pop(&mut end.from_connection, &mut buffer).is_none() {
                    break;
                }
                datagram(end.path, &mut buffer);
                taken += 1;
            }
            if taken > 0 && end.signs.wants_room.swap(false, Ordering::AcqRel) {
                end.signs.changed.notify_one();
            }
            if taken == BATCH {
                self.bells.ring(*slot);
            } else if is_gone {
                let path = end.path;
                self.close(path);
                gone(path);
                continue;
            }
            let Some(end) = self.ends.get_mut(*slot).and_then(Option::as_mut) else {
                continue;
            };
            if end.is_crowded && !end.signs.is_crowded.load(Ordering::Acquire) {
                end.is_crowded = false;
                self.crowding.push((end.path, Crowding::Clear));
            }
        }
        (self.slots, self.datagram) = (slots, buffer);
    }

    /// Puts the runs that go over streams into their rings.
    pub(crate) fn send(&mut self, now: Instant, transmits: &Transmits, report: &mut SendReport) {
        for run in transmits.runs() {
            let path = run.path();
            if !matches!(path, Path::Stream(_)) {
                continue;
            }
            let Some(slot) = self.slot_of(path) else {
                report.stream_gone += run.count() as u64;
                continue;
            };
            let Some(end) = &mut self.ends[slot] else {
                continue;
            };
            let before = end.to_connection.slots();
            if before == TO_CONNECTION {
                end.waiting.begin_anew();
            }
            let (mut packets, mut bytes) = (0, 0);
            for datagram in run.datagrams() {
                if ring::push(&mut end.to_connection, datagram) {
                    packets += 1;
                    bytes += datagram.len() as u64;
                } else {
                    report.stream_full += 1;
                }
            }
            report.packets += packets;
            report.bytes += bytes;
            let left = end.to_connection.slots();
            let waiting = TO_CONNECTION - left;
            // The connection may have taken some meanwhile; a few bytes less do not matter.
            end.waiting.put(now, before.saturating_sub(left));
            let rate = end.waiting.rate(now, waiting);
            let longest = end.waiting.longest(now, waiting);
            if (waiting >= CROWDED || longest >= LONG) && !end.is_crowded {
                end.is_crowded = true;
                // It goes on once half has left, which took or takes about half as long.
                end.signs.cleared_at.store(waiting / 2, Ordering::Relaxed);
                end.signs.is_crowded.store(true, Ordering::Release);
                self.crowding.push((path, Crowding::Crowded(rate)));
            }
            end.signs.changed.notify_one();
        }
    }

    /// The next path whose crowding has changed.
    pub(crate) fn poll_crowding(&mut self) -> Option<(Path, Crowding)> {
        self.crowding.pop()
    }

    /// Ends the streams that nobody is at any more: once in a while, and soon where there is no room for another. Returns
    /// their paths.
    pub(crate) fn sweep(&mut self, now: Instant, is_held: impl Fn(Path) -> bool) -> Vec<Path> {
        let interval = match self.count {
            STREAMS => SWEEP_FULL,
            _ => SWEEP,
        };
        if self.count == 0 || self.swept_at.is_some_and(|at| now < at + interval) {
            return Vec::new();
        }
        self.swept_at = Some(now);
        let paths = self.ends.iter().flatten();
        let paths = paths.map(|end| end.path).filter(|path| !is_held(*path));
        let unheld: Vec<Path> = paths.collect();
        for path in &unheld {
            self.close(*path);
        }
        // A connection may have gone in the moment in which it rang.
        for (slot, end) in self.ends.iter().enumerate() {
            if end
                .as_ref()
                .is_some_and(|end| end.from_connection.is_abandoned())
            {
                self.bells.ring(slot);
            }
        }
        unheld
    }

    /// The time of the next sweep.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.swept_at
            .filter(|_| self.count > 0)
            .map(|at| at + SWEEP)
    }

    fn slot_of(&self, path: Path) -> Option<usize> {
        let Path::Stream(stream) = path else {
            return None;
        };
        let slot = usize::from(stream.slot());
        let end = self.ends.get(slot)?.as_ref()?;
        (end.path == path).then_some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Poller;
    use crate::transmit::RunKey;
    use crate::transport::StreamKind;

    fn streams() -> Streams {
        Streams::new(Some(Poller::new().unwrap().waker()))
    }

    fn from(last: u8) -> StreamOrigin {
        let (from, kind) = (([192, 0, 2, last], 4_000).into(), StreamKind::IceTcp);
        StreamOrigin { from, kind }
    }

    fn open(streams: &mut Streams, last: u8) -> (Path, Stream) {
        streams.open(from(last)).unwrap()
    }

    /// The datagrams that came, each with its path, and the paths that are gone.
    fn take(streams: &mut Streams) -> (Vec<(Path, Vec<u8>)>, Vec<Path>) {
        let (mut came, mut gone) = (Vec::new(), Vec::new());
        streams.take(
            |path, datagram| came.push((path, datagram.to_vec())),
            |path| gone.push(path),
        );
        (came, gone)
    }

    /// Sends so many datagrams of a size over a path.
    fn send(streams: &mut Streams, path: Path, count: usize, len: usize) -> SendReport {
        send_at(Instant::now(), streams, path, (count, len))
    }

    fn send_at(
        now: Instant,
        streams: &mut Streams,
        path: Path,
        (count, len): (usize, usize),
    ) -> SendReport {
        let (mut transmits, mut key) = (Transmits::new(), RunKey::default());
        for number in 0..count {
            transmits.push(path, &mut key, |buffer| {
                buffer[..len].fill(number as u8);
                len
            });
        }
        assert!(transmits.has_stream_runs());
        let mut report = SendReport::default();
        streams.send(now, &transmits, &mut report);
        report
    }

    #[test]
    fn both_ways_keep_order_and_sources_apart() {
        let mut streams = streams();
        let (one, mut first) = open(&mut streams, 1);
        let (two, mut second) = open(&mut streams, 2);
        assert!(one != two && one.mapped_addr() == from(1).from);
        first.push(b"a").unwrap();
        second.push(b"b").unwrap();
        first.push(b"c").unwrap();
        let (came, gone) = take(&mut streams);
        let expected = [(one, &b"a"[..]), (one, b"c"), (two, b"b")];
        let expected = expected.map(|(path, datagram)| (path, datagram.to_vec()));
        assert_eq!((came, gone), (expected.to_vec(), vec![]));
        assert!(!streams.is_pending());

        assert_eq!(send(&mut streams, two, 2, 5).packets, 2);
        let mut out = Vec::new();
        assert_eq!(first.pop(&mut out), None);
        assert_eq!(
            (second.pop(&mut out), second.pop(&mut out)),
            (Some(5), Some(5))
        );
        assert_eq!(out, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn a_connection_that_takes_nothing_is_crowded_then_full_then_clear() {
        let mut streams = streams();
        let (path, mut stream) = open(&mut streams, 1);
        let (fits, each) = (TO_CONNECTION / 1_002, 1_000);
        assert_eq!(send(&mut streams, path, fits / 2 - 1, each).stream_full, 0);
        assert_eq!(streams.poll_crowding(), None);
        send(&mut streams, path, 2, each);
        assert!(matches!(
            streams.poll_crowding(),
            Some((of, Crowding::Crowded(_))) if of == path
        ));
        assert_eq!(streams.poll_crowding(), None);
        let crowded = stream.waiting_bytes();
        let report = send(&mut streams, path, fits, each);
        assert_eq!(report.packets + report.stream_full, fits as u64);
        assert_eq!(report.stream_full as usize, fits / 2 + 1);
        assert!(stream.waiting_bytes() <= TO_CONNECTION);
        let mut out = Vec::new();
        while stream.waiting_bytes() > crowded / 2 + 1_002 {
            stream.pop(&mut out).unwrap();
            take(&mut streams);
            assert_eq!(streams.poll_crowding(), None);
        }
        stream.pop(&mut out).unwrap();
        take(&mut streams);
        assert_eq!(streams.poll_crowding(), Some((path, Crowding::Clear)));
    }

    #[test]
    fn a_slow_connection_is_crowded_by_the_time_that_things_wait() {
        let mut streams = streams();
        let (path, mut stream) = open(&mut streams, 1);
        let start = Instant::now();
        let mut crowded_at = None;
        // 200 bytes every 10 ms, of which half is taken: far from filling the ring.
        for turn in 0..100 {
            let now = start + Duration::from_millis(10 * turn);
            send_at(now, &mut streams, path, (2, 100));
            stream.pop(&mut Vec::new()).unwrap();
            if let Some((of, crowding)) = streams.poll_crowding() {
                // 100 bytes in 10 ms.
                let Crowding::Crowded(Some(rate)) = crowding else {
                    panic!("{crowding:?}");
                };
                assert!(of == path && rate.abs_diff(80_000) < 10_000, "{rate}");
                crowded_at = Some(now - start);
                break;
            }
        }
        let (crowded_at, waiting) = (crowded_at.unwrap(), stream.waiting_bytes());
        assert!(
            crowded_at >= LONG && crowded_at < 3 * LONG,
            "{crowded_at:?}"
        );
        while stream.waiting_bytes() > waiting / 2 + 102 {
            stream.pop(&mut Vec::new()).unwrap();
            take(&mut streams);
            assert_eq!(streams.poll_crowding(), None);
        }
        stream.pop(&mut Vec::new()).unwrap();
        take(&mut streams);
        assert_eq!(streams.poll_crowding(), Some((path, Crowding::Clear)));
    }

    #[test]
    fn a_worker_that_takes_nothing_stops_the_connection_and_not_for_ever() {
        let mut streams = streams();
        let (_, mut stream) = open(&mut streams, 1);
        let pushed = (0..)
            .take_while(|_| stream.push(&[7; 1_000]).is_ok())
            .count();
        assert_eq!(pushed, TO_WORKER / 1_002);
        assert_eq!(stream.push(&[7; 1_000]), Err(super::super::PushError::Full));
        assert_eq!(
            stream.push(&[7; 2_049]),
            Err(super::super::PushError::TooLong)
        );
        let (came, _) = take(&mut streams);
        assert_eq!(came.len(), BATCH.min(pushed));
        {
            let mut notified = std::pin::pin!(stream.signs.changed.notified());
            assert!(notified.as_mut().enable(), "it is told of the room");
        }
        assert_eq!(stream.push(&[7; 1_000]), Ok(()));
    }

    #[test]
    fn either_end_learns_of_the_others_end() {
        let mut streams = streams();
        let (one, mut stream) = open(&mut streams, 1);
        stream.push(b"last").unwrap();
        drop(stream);
        let (came, mut gone) = take(&mut streams);
        assert_eq!(came.len(), 1);
        // The bell rings before the end is gone: at the latest the sweep finds it.
        streams.sweep(Instant::now(), |_| true);
        gone.extend(take(&mut streams).1);
        assert_eq!(gone, [one]);
        let report = send(&mut streams, one, 3, 9);
        assert_eq!((report.packets, report.stream_gone), (0, 3));

        let (two, mut stream) = open(&mut streams, 2);
        assert!(two != one, "in the same slot");
        streams.sweep(Instant::now() + SWEEP, |_| false);
        assert!(stream.is_closed());
        assert_eq!(stream.push(b"x"), Err(super::super::PushError::Closed));
        assert_eq!(streams.poll_timeout(), None);
    }

    #[test]
    fn there_are_no_more_than_so_many() {
        let mut streams = streams();
        let opened: Vec<_> = (0..STREAMS).map(|_| open(&mut streams, 1)).collect();
        assert!(streams.open(from(2)).is_none());
        streams.close(opened[7].0);
        assert!(streams.open(from(2)).is_some());
        assert!(streams.open(from(2)).is_none());
    }
}
