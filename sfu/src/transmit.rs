//! A worker's packets to be sent, in one slab, grouped into runs by path.
//!
//! The kernel's UDP path dominates the cost of forwarding and GSO is what amortises it, so the
//! unit handed to the runtime is the *run*: consecutive packets over one path. Fan-out visits
//! paths packet by packet, so a run's packets are not adjacent in memory; they are chained
//! by index and gathered by iovec.

use std::time::Duration;

use crate::prefetch;
use crate::transport::path::Path;

/// The outcome of sending a batch.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct SendReport {
    /// Datagrams the kernel took.
    pub(crate) packets: u64,
    /// Their bytes, UDP payload.
    pub(crate) bytes: u64,
    /// The number of messages that carried them.
    pub(crate) messages: u64,
    /// Messages of 1, 2 to 3, 4 to 7, 8 to 15, and 16 or more datagrams.
    pub(crate) run_lengths: [u64; 5],
    /// Datagrams dropped because the socket's buffer stayed full.
    pub(crate) dropped: u64,
    /// Datagrams the kernel refused: no route, or a firewall's rule.
    pub(crate) refused: u64,
    /// Datagrams dropped because the connection of a stream takes less than is sent.
    pub(crate) stream_full: u64,
    /// Datagrams dropped because the connection of a stream is gone.
    pub(crate) stream_gone: u64,
    /// The time for which packets of the batch may have been held back.
    pub(crate) window: Duration,
}

impl SendReport {
    /// Notes a message of some datagrams.
    pub(crate) fn message(&mut self, packets: usize, bytes: u64) {
        self.packets += packets as u64;
        self.bytes += bytes;
        self.messages += 1;
        let bucket = packets.max(1).ilog2() as usize;
        self.run_lengths[bucket.min(self.run_lengths.len() - 1)] += 1;
    }
}

/// The run that a path's last packet was appended to; the path's owner keeps it. It
/// is stale after [`Transmits::clear`], which the batch number shows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RunKey {
    batch: u64,
    run: u32,
}

impl RunKey {
    /// Prefetches its memory.
    pub(crate) fn prefetch(&self) {
        prefetch::line(&self.batch);
    }
}

#[derive(Clone, Copy, Debug)]
struct Packet {
    offset: u32,
    len: u16,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct RunHead {
    path: Path,
    first: u32,
    last: u32,
    count: u32,
}

const NONE: u32 = u32::MAX;

/// Largest batch in bytes. One worker turn of 64 datagrams to 1,000 peers is 80 MB: more is a
/// mistake, and past 4 GiB the offsets would wrap.
const MAX_BYTES: usize = 256 << 20;
/// Initial capacity in bytes, so that the first batches need not grow step by step.
const MIN_BYTES: usize = 64 << 10;

/// A batch of packets to send. Reused from batch to batch: no allocation in steady state.
#[derive(Debug)]
pub(crate) struct Transmits {
    batch: u64,
    /// Never shrinks: only the first `used` bytes hold data, and no byte is zeroed twice.
    slab: Vec<u8>,
    used: usize,
    overflowed: u64,
    packets: Vec<Packet>,
    runs: Vec<RunHead>,
    /// Runs over streams.
    stream_runs: usize,
}

impl Default for Transmits {
    fn default() -> Self {
        Self::new()
    }
}

impl Transmits {
    /// The largest datagram a worker sends. WebRTC stays under 1,200 bytes of payload by
    /// convention; 1,472 is what fits an Ethernet frame over IPv4.
    pub(crate) const MAX_DATAGRAM: usize = 1_472;

    /// An empty batch.
    pub(crate) fn new() -> Self {
        Self {
            batch: 1,
            slab: Vec::new(),
            used: 0,
            overflowed: 0,
            packets: Vec::new(),
            runs: Vec::new(),
            stream_runs: 0,
        }
    }

    /// Appends one datagram of at most [`MAX_DATAGRAM`](Self::MAX_DATAGRAM) bytes, written by
    /// `write`, which returns its length; 0 abandons it. The buffer holds bytes of earlier packets.
    ///
    /// A batch is bounded ([`take_overflowed`](Self::take_overflowed)); flush long before.
    pub(crate) fn push(
        &mut self,
        path: Path,
        key: &mut RunKey,
        write: impl FnOnce(&mut [u8]) -> usize,
    ) {
        let offset = self.used;
        let end = offset + Self::MAX_DATAGRAM;
        if end > MAX_BYTES {
            self.overflowed += 1;
            return;
        }
        if end > self.slab.len() {
            let len = end.next_power_of_two().clamp(MIN_BYTES, MAX_BYTES);
            self.slab.resize(len, 0);
        }
        let len = write(&mut self.slab[offset..end]).min(Self::MAX_DATAGRAM);
        if len == 0 {
            return;
        }
        self.used += len;
        let index = self.packets.len() as u32;
        self.packets.push(Packet {
            offset: offset as u32,
            len: len as u16,
            next: NONE,
        });
        let current = self
            .runs
            .get_mut(key.run as usize)
            .filter(|run| key.batch == self.batch && run.path == path);
        if let Some(run) = current {
            self.packets[run.last as usize].next = index;
            run.last = index;
            run.count += 1;
            return;
        }
        *key = RunKey {
            batch: self.batch,
            run: self.runs.len() as u32,
        };
        self.stream_runs += usize::from(matches!(path, Path::Stream(_)));
        self.runs.push(RunHead {
            path,
            first: index,
            last: index,
            count: 1,
        });
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Whether any run goes over a stream.
    pub(crate) fn has_stream_runs(&self) -> bool {
        self.stream_runs > 0
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.used
    }

    /// Packets refused since the last call because the batch had grown to 256 MiB.
    pub(crate) fn take_overflowed(&mut self) -> u64 {
        std::mem::take(&mut self.overflowed)
    }

    /// The runs in the order their first packets were pushed.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        self.runs.iter().map(|head| Run {
            transmits: self,
            head,
        })
    }

    /// Forgets everything, keeping the memory.
    pub(crate) fn clear(&mut self) {
        self.batch += 1;
        self.used = 0;
        self.packets.clear();
        self.runs.clear();
        self.stream_runs = 0;
    }
}

/// Packets over one path, in order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    transmits: &'a Transmits,
    head: &'a RunHead,
}

impl<'a> Run<'a> {
    /// The path they go over.
    pub(crate) fn path(&self) -> Path {
        self.head.path
    }

    /// The number of datagrams.
    pub(crate) fn count(&self) -> usize {
        self.head.count as usize
    }

    /// The datagrams.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let transmits = self.transmits;
        let mut at = self.head.first;
        std::iter::from_fn(move || {
            let packet = transmits.packets.get(at as usize)?;
            at = packet.next;
            Some(&transmits.slab[packet.offset as usize..][..packet.len as usize])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        Path::from(([127, 0, 0, 1], port))
    }

    fn fill(byte: u8, len: usize) -> impl FnOnce(&mut [u8]) -> usize {
        move |buf| {
            buf[..len].fill(byte);
            len
        }
    }

    #[test]
    fn packets_are_grouped_by_path_and_keep_their_order() {
        let (a, b) = (path(1), path(2));
        let (mut to_a, mut to_b) = (RunKey::default(), RunKey::default());
        let mut transmits = Transmits::new();
        transmits.push(a, &mut to_a, fill(1, 10));
        transmits.push(b, &mut to_b, fill(2, 20));
        transmits.push(a, &mut to_a, fill(3, 30));
        transmits.push(b, &mut to_b, |_| 0);
        let seen: Vec<_> = transmits
            .runs()
            .map(|run| {
                (
                    run.path(),
                    run.datagrams().map(|d| (d[0], d.len())).collect::<Vec<_>>(),
                )
            })
            .collect();
        assert_eq!(seen, vec![(a, vec![(1, 10), (3, 30)]), (b, vec![(2, 20)])]);

        transmits.clear();
        transmits.push(a, &mut to_a, fill(4, 5));
        assert_eq!(
            transmits.runs().map(|run| run.count()).collect::<Vec<_>>(),
            vec![1]
        );
    }

    #[test]
    fn a_changed_path_starts_a_new_run() {
        let mut key = RunKey::default();
        let mut transmits = Transmits::new();
        transmits.push(path(1), &mut key, fill(1, 1));
        transmits.push(path(2), &mut key, fill(1, 1));
        assert_eq!(transmits.runs().count(), 2);
    }
}
