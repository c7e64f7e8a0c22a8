//! Packets on their way to other workers: decrypted, one copy for all of them, many at a time.
//!
//! A packet is copied once, from the receive buffer into the open batch. At the end of a turn the batch is shared with
//! each worker that wants any packet of it. When the last of them is done, its memory is used again. Workers skip
//! packets of tracks they do not know: with more than two workers a batch may carry packets that are not for all.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::clock::SenderClock;
use crate::id::TrackId;
use crate::index::WorkerIx;
use crate::packet::Described;
use crate::rtp::RtpHeader;
use crate::rtp::codec::Codec;

/// Packets of one batch, at most: as many as one turn receives. More would make the other worker's turn longer than its
/// timers can wait.
const BATCH_PACKETS: usize = 64;
/// Batches kept for reuse. In steady state one or two are on their way to each worker. A burst needs more; those beyond
/// this number are freed after it.
const POOL: usize = 64;

/// Facts of a packet on its way to other workers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct PipedPacket {
    pub(crate) track: TrackId,
    pub(crate) layer: u8,
    /// Sequence number, unwrapped within the layer's stream.
    pub(crate) sequence: u64,
    pub(crate) header: RtpHeader,
    pub(crate) codec: Codec,
    pub(crate) keyframe: bool,
    /// The first packet of a stream that replaced another on its layer.
    pub(crate) anew: bool,
    pub(crate) described: Described,
    /// The layer's clock, once the publisher has reported it.
    pub(crate) sender: Option<SenderClock>,
}

/// Packets of any of a worker's tracks, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Packets, each with the end of its bytes.
    packets: Vec<(PipedPacket, usize)>,
    bytes: Vec<u8>,
}

impl Batch {
    /// Packets in it.
    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    /// The packets with their bytes.
    pub(crate) fn packets(&self) -> impl Iterator<Item = (&PipedPacket, &[u8])> {
        let mut start = 0;
        self.packets.iter().map(move |(packet, end)| {
            let bytes = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            (packet, bytes)
        })
    }

    fn push(&mut self, packet: PipedPacket, datagram: &[u8]) {
        self.bytes.extend_from_slice(datagram);
        self.packets.push((packet, self.bytes.len()));
    }

    fn clear(&mut self) {
        self.packets.clear();
        self.bytes.clear();
    }
}

/// The batches of one worker: the one being filled, those to be handed over, those for reuse.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    open: Batch,
    /// The workers that get the open batch.
    to: Vec<WorkerIx>,
    ready: VecDeque<(WorkerIx, Arc<Batch>)>,
    /// Batches for reuse, lent ones included, oldest first: they come back in that order.
    pool: VecDeque<Arc<Batch>>,
    packets: u64,
}

impl Batches {
    /// Copies a packet for the workers of `to`.
    pub(crate) fn push(
        &mut self,
        to: impl IntoIterator<Item = WorkerIx>,
        packet: PipedPacket,
        datagram: &[u8],
    ) {
        for worker in to {
            if !self.to.contains(&worker) {
                self.to.push(worker);
            }
        }
        self.open.push(packet, datagram);
        self.packets += 1;
        if self.open.len() == BATCH_PACKETS {
            self.close();
        }
    }

    /// The next batch to hand over, with its worker; closes the open one if no other is left.
    pub(crate) fn poll(&mut self) -> Option<(WorkerIx, Arc<Batch>)> {
        if self.ready.is_empty() && self.open.len() > 0 {
            self.close();
        }
        self.ready.pop_front()
    }

    /// Packets copied, each counted once.
    pub(crate) fn packets(&self) -> u64 {
        self.packets
    }

    /// Batches kept for reuse.
    pub(crate) fn pooled(&self) -> usize {
        self.pool.len()
    }

    /// Frees the batches kept for reuse: no track is sent to another worker any more.
    pub(crate) fn release(&mut self) {
        self.pool = VecDeque::new();
        self.open = Batch::default();
    }

    fn close(&mut self) {
        let mut shared = self.unused();
        // The full buffers leave; those of the unused batch take their place.
        if let Some(unused) = Arc::get_mut(&mut shared) {
            unused.clear();
            std::mem::swap(unused, &mut self.open);
        }
        for to in self.to.drain(..) {
            self.ready.push_back((to, Arc::clone(&shared)));
        }
        if self.pool.len() < POOL {
            self.pool.push_back(shared);
        }
    }

    /// A batch that nobody else holds.
    fn unused(&mut self) -> Arc<Batch> {
        let free = self
            .pool
            .iter_mut()
            .position(|batch| Arc::get_mut(batch).is_some());
        free.and_then(|free| self.pool.remove(free))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(sequence: u64) -> PipedPacket {
        let mut datagram = [0; 12];
        datagram[0] = 0x80;
        PipedPacket {
            track: TrackId::new(0, sequence),
            layer: 0,
            sequence,
            header: RtpHeader::parse(&datagram).unwrap(),
            codec: Codec::Vp8,
            keyframe: false,
            anew: false,
            described: Described::plain(Codec::Vp8, &[]),
            sender: None,
        }
    }

    fn to<const N: usize>(workers: [usize; N]) -> [WorkerIx; N] {
        workers.map(WorkerIx::from)
    }

    fn drain(batches: &mut Batches) -> Vec<(WorkerIx, Arc<Batch>)> {
        std::iter::from_fn(|| batches.poll()).collect()
    }

    #[test]
    fn further_workers_cost_no_copy() {
        let mut batches = Batches::default();
        batches.push(to([1]), packet(1), b"one");
        batches.push(to([1, 2]), packet(2), b"two");
        let out = drain(&mut batches);
        let workers: Vec<WorkerIx> = out.iter().map(|(to, _)| *to).collect();
        assert_eq!(workers, to([1, 2]));
        assert!(Arc::ptr_eq(&out[0].1, &out[1].1));
        let bytes: Vec<&[u8]> = out[0].1.packets().map(|(_, bytes)| bytes).collect();
        assert_eq!(bytes, [b"one", b"two"]);
    }

    #[test]
    fn memory_serves_again_when_the_last_holder_is_done() {
        let mut batches = Batches::default();
        let mut places = std::collections::BTreeSet::new();
        for turn in 0..1_000 {
            batches.push(to([1, 2]), packet(turn), &[7; 1_200]);
            for (_, batch) in drain(&mut batches) {
                places.insert(Arc::as_ptr(&batch) as usize);
            }
        }
        assert_eq!((places.len(), batches.pool.len()), (1, 1));
        let held: Vec<_> = (0..200)
            .flat_map(|turn| {
                batches.push(to([1]), packet(turn), &[7; 1_200]);
                drain(&mut batches)
            })
            .collect();
        assert_eq!((held.len(), batches.pool.len()), (200, POOL));
        batches.release();
        assert_eq!(batches.pool.len(), 0);
    }

    proptest! {
        /// Workers may hold batches for any time: each gets all packets for it, whole and in order.
        #[test]
        fn each_gets_its_packets_in_order(
            steps in prop::collection::vec((0u8..3, 0usize..1_500, any::<bool>(), 0usize..4), 1..400)
        ) {
            let mut batches = Batches::default();
            let mut expected: [Vec<(u64, usize)>; 2] = Default::default();
            let mut got: [Vec<(u64, usize)>; 2] = Default::default();
            let mut held = VecDeque::new();
            let take = |got: &mut [Vec<(u64, usize)>; 2], to: WorkerIx, batch: &Batch| {
                for (packet, bytes) in batch.packets() {
                    assert!(bytes.iter().all(|byte| *byte == packet.sequence as u8));
                    got[usize::from(to)].push((packet.sequence, bytes.len()));
                }
            };
            for (sequence, (to, len, flush, keep)) in (0..).zip(steps) {
                let to: &[usize] = [&[0][..], &[1], &[0, 1]][usize::from(to)];
                for worker in to {
                    expected[*worker].push((sequence, len));
                }
                let to = to.iter().copied().map(WorkerIx::from);
                batches.push(to, packet(sequence), &vec![sequence as u8; len]);
                if flush {
                    held.extend(drain(&mut batches));
                }
                while held.len() > keep {
                    let (to, batch): (WorkerIx, Arc<Batch>) = held.pop_front().unwrap();
                    take(&mut got, to, &batch);
                }
            }
            held.extend(drain(&mut batches));
            for (to, batch) in &held {
                take(&mut got, *to, batch);
            }
            for (got, expected) in got.iter().zip(&expected) {
                // A batch may bring packets for the other worker only; the receiver skips them by their track.
                let got: Vec<_> = got.iter().filter(|packet| expected.contains(packet)).copied().collect();
                prop_assert_eq!(&got, expected);
            }
        }
    }
}
