//! One media thread's state, sans I/O, and the wiring between its parts.
//!
//! Who speaks, which layer a viewer is sent, which codec a publisher is asked for, and why, is decided by values in
//! `audio/`, `track/`, `egress/` and `ingress/`. The worker carries facts to them, and their decisions on.
//! `tests/tidy.rs` holds it to that.
//!
//! The contract: feed datagrams with [`handle_datagram`](Worker::handle_datagram), call the command methods, call
//! [`handle_timeout`](Worker::handle_timeout) when [`poll_timeout`](Worker::poll_timeout) says so. After each of these
//! [`flush`](Worker::flush) the packets to send and drain [`poll_event`](Worker::poll_event). With several workers,
//! carry the output of [`poll_control`](Worker::poll_control) and [`poll_batch`](Worker::poll_batch) to the others
//! ([`pipe`] says how). The worker reads no clock, no socket and no randomness: time comes with each call and numbers
//! from the seed, so that a run can be repeated exactly.

mod ahead;
mod allocation;
#[cfg(any(test, feature = "testing"))]
mod audit;
mod close;
mod codecs;
mod command;
mod control;
mod data;
mod discovery;
mod feedback;
mod forward;
mod handshake;
mod inbox;
mod marks;
mod media;
mod negotiation;
mod orientation;
mod paths;
mod peer;
mod pipe;
mod room;
mod schedule;
mod settings;
mod snapshot;
mod speakers;
mod subscription;
mod taps;
mod wanted;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

pub(crate) use command::{Command, Held, Reply};
pub(crate) use data::Named;
pub(crate) use negotiation::read_offer;

use crate::cache::CacheBudget;
use crate::clock::WallClock;
use crate::config::Limits;
use crate::demux::{Class, Demux, classify};
use crate::drops::{DropReason, Drops};
use crate::egress::{LayerAllocation, LayerRequest};
use crate::event::Event;
use crate::id::{PeerId, RoomId};
use crate::index::{PeerIx, Table, WorkerIx};
use crate::pipe::{Batches, Control};
use crate::track::Tracks;
use crate::transmit::{RunKey, SendReport, Transmits};
use crate::transport::{Candidate, Certificate, Path, PlainAnswers, Query};
use crate::view::Cap;
use forward::{FanoutScratch, PART_BYTES};
use handshake::Handshakes;
use inbox::Inbox;
use marks::Marks;
use paths::PathCounters;
use peer::Peer;
use pipe::Upstream;
use room::Room;
use schedule::Schedule;

/// The initial values of a worker.
#[derive(Clone, Debug)]
pub(crate) struct WorkerConfig {
    pub(crate) index: WorkerIx,
    pub(crate) certificate: Arc<Certificate>,
    /// The candidates announced to clients, the preferred first.
    pub(crate) candidates: Vec<Candidate>,
    /// Whether strangers who ask which address they have are told.
    pub(crate) stun_answers: bool,
    pub(crate) limits: Limits,
    /// The memory for cached packets, which all workers share.
    pub(crate) caches: Arc<CacheBudget>,
    /// The cap of any viewer.
    pub(crate) viewer_cap: Cap,
    /// Most people whose videos are sent: the last speakers.
    pub(crate) last_n: Option<usize>,
    /// Most audio tracks of a room that are sent: the loudest.
    pub(crate) loudest_n: Option<usize>,
    pub(crate) clock: WallClock,
    pub(crate) seed: [u8; 32],
}

/// One media thread's state.
#[derive(Debug)]
pub(crate) struct Worker {
    config: WorkerConfig,
    rng: StdRng,
    /// Makes the numbers of the server's STUN checks. It is separate, so that they reveal nothing of other random
    /// numbers.
    check_rng: StdRng,
    next_id: u64,
    demux: Demux,
    /// The question for this worker's own address, and who waits for the answer.
    query: Option<(Query, command::Reply<Option<Candidate>>)>,
    /// Addresses that such questions have told: of IPv4, and of IPv6.
    discovered: [Option<Candidate>; 2],
    plain_answers: PlainAnswers,
    rooms: HashMap<RoomId, Room>,
    peers: Table<PeerIx, Peer>,
    by_id: HashMap<PeerId, PeerIx>,
    /// Every track that viewers here may be sent, whoever publishes it.
    tracks: Tracks,
    upstream: Upstream,
    taps: taps::Taps,
    /// Control for other workers, each with the worker's index.
    outbox: VecDeque<(WorkerIx, Control)>,
    batches: Batches,
    schedule: Schedule,
    handshakes: Handshakes,
    events: VecDeque<Event>,
    marks: Marks,
    watches: codecs::Watches,
    looks: orientation::Looks,
    /// Rooms in which somebody is heard, by the time of the next decision about speakers.
    speaking: BTreeSet<(Instant, RoomId)>,
    inbox: Inbox,
    desk: FanoutScratch,
    /// Buffers for one viewer's decision, kept to save allocations.
    requests: Vec<LayerRequest>,
    allocations: Vec<LayerAllocation>,
    transmits: Transmits,
    counters: Counters,
}

/// The counters behind [`WorkerStats`](crate::stats::WorkerStats).
#[derive(Debug, Default)]
struct Counters {
    datagrams_received: u64,
    bytes_received: u64,
    datagrams_sent: u64,
    bytes_sent: u64,
    messages_sent: u64,
    run_lengths: [u64; 5],
    packets_forwarded: u64,
    relay_packets_in: u64,
    padding_bytes: u64,
    /// Packets sent only to measure the bandwidth of links.
    probe_packets: u64,
    /// The time that the last batch may have been held back.
    coalescing: Duration,
    paths: PathCounters,
    stun_answers: u64,
    /// Times that a peer's media was held, by reason.
    media_held: BTreeMap<&'static str, u64>,
    drops: Drops,
}

impl Counters {
    fn drop(&mut self, reason: DropReason) {
        self.drops.add(reason, 1);
    }

    fn drop_many(&mut self, reason: DropReason, count: u64) {
        self.drops.add(reason, count);
    }
}

impl Worker {
    /// An empty worker.
    pub(crate) fn new(config: WorkerConfig) -> Self {
        Self {
            rng: StdRng::from_seed(config.seed),
            check_rng: StdRng::from_seed(config.seed.map(|byte| !byte)),
            next_id: 1,
            demux: Demux::default(),
            query: None,
            discovered: [None; 2],
            plain_answers: PlainAnswers::default(),
            rooms: HashMap::new(),
            peers: Table::default(),
            by_id: HashMap::new(),
            tracks: Tracks::default(),
            upstream: Upstream::default(),
            taps: taps::Taps::default(),
            outbox: VecDeque::new(),
            batches: Batches::default(),
            schedule: Schedule::default(),
            handshakes: Handshakes::default(),
            events: VecDeque::new(),
            marks: Marks::default(),
            watches: codecs::Watches::default(),
            looks: orientation::Looks::default(),
            speaking: BTreeSet::new(),
            inbox: Inbox::default(),
            desk: FanoutScratch::default(),
            requests: Vec::new(),
            allocations: Vec::new(),
            transmits: Transmits::new(),
            counters: Counters::default(),
            config,
        }
    }

    /// Handles a datagram, changing it in place.
    pub(crate) fn handle_datagram(&mut self, now: Instant, from: Path, datagram: &mut [u8]) {
        self.counters.datagrams_received += 1;
        self.counters.bytes_received += datagram.len() as u64;
        let class = classify(datagram);
        if class == Class::Stun {
            return self.handle_stun(now, from, datagram);
        }
        let Some(holder) = self.demux.paths.holder(from) else {
            return self.handle_stray(now, from, class, datagram);
        };
        if holder.is_shared || holder.is_contested && class == Class::Dtls {
            return self.handle_shared(now, from, class, datagram);
        }
        let index = PeerIx::from(holder.peer);
        match class {
            Class::Rtp => self.handle_rtp(now, index, from, datagram),
            Class::Rtcp => self.handle_rtcp(now, index, from, datagram),
            Class::Dtls => self.handle_dtls(now, index, from, datagram),
            Class::Stun | Class::Unknown => self.counters.drop(DropReason::UnknownProtocol),
        }
    }

    /// Moves a part of the packets to send into `out`, which is empty. True: send it and call again.
    ///
    /// Parts are small enough to be in the cache still when they are sent.
    pub(crate) fn flush(&mut self, now: Instant, out: &mut Transmits) -> bool {
        let more = self.forward(now, PART_BYTES);
        if !more {
            self.poll_wants(now);
            self.finish_turn();
        }
        let overflowed = self.transmits.take_overflowed();
        self.counters.drop_many(DropReason::BatchFull, overflowed);
        std::mem::swap(out, &mut self.transmits);
        self.transmits.clear();
        more
    }

    fn finish_turn(&mut self) {
        let touched = self.schedule.take_touched();
        for index in &touched {
            if let Some(peer) = self.peers.get_mut(*index) {
                let deadline = peer.poll_timeout(&self.tracks);
                self.schedule.set(*index, deadline);
            }
        }
        self.schedule.give_back(touched);
    }

    /// Packets that the next flush will forward: how full the turn is.
    pub(crate) fn backlog(&self) -> usize {
        self.inbox.backlog()
    }

    /// Records the outcome of a flush.
    pub(crate) fn sent(&mut self, report: &SendReport) {
        let counters = &mut self.counters;
        counters.datagrams_sent += report.packets;
        counters.bytes_sent += report.bytes;
        counters.messages_sent += report.messages;
        for (total, count) in counters.run_lengths.iter_mut().zip(report.run_lengths) {
            *total += count;
        }
        counters.coalescing = report.window;
        counters.drop_many(DropReason::SendBufferFull, report.dropped);
        counters.drop_many(DropReason::SendRefused, report.refused);
        counters.drop_many(DropReason::StreamFull, report.stream_full);
        counters.drop_many(DropReason::StreamGone, report.stream_gone);
    }

    /// Does everything that is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.poll_upstream(now);
        self.poll_speakers(now);
        self.poll_watches(now);
        self.poll_looks(now);
        self.poll_taps(now);
        self.poll_query(now);
        while let Some(index) = self.schedule.take_due(now) {
            if let Some(peer) = self.peers.get_mut(index) {
                peer.transport.handle_timeout(now);
            }
            self.poll_feedback(now, index);
            self.service(now, index);
        }
    }

    /// The time at which [`handle_timeout`](Self::handle_timeout) or [`flush`](Self::flush) has something to
    /// do.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.handshakes.is_empty() {
            let speaking = self.speaking.first().map(|(due, _)| *due);
            let due = [
                self.upstream.poll_timeout(),
                self.marks.poll_timeout(),
                self.watches.poll_timeout(),
                self.looks.poll_timeout(),
                self.taps.poll_timeout(),
                self.query.as_ref().map(|(query, _)| query.due()),
                speaking,
            ];
            let due = due.into_iter().flatten();
            self.schedule.next().into_iter().chain(due).min()
        } else {
            Some(now)
        }
    }

    /// The next event, oldest first.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Its index among the workers.
    pub(crate) fn index(&self) -> WorkerIx {
        self.config.index
    }

    /// Peers on this worker, for placement.
    pub(crate) fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Rooms on this worker, for placement.
    pub(crate) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// Whether a room has a part here.
    pub(crate) fn has_room(&self, room: RoomId) -> bool {
        self.rooms.contains_key(&room)
    }

    /// The room of a peer; none if there is no such peer.
    pub(crate) fn peer_room(&self, peer: PeerId) -> Option<RoomId> {
        let index = *self.by_id.get(&peer)?;
        self.peers.get(index).map(|peer| peer.room)
    }

    /// Counts events that nobody heard.
    pub(crate) fn count_untaken(&mut self, events: u64) {
        self.counters.drop_many(DropReason::EventsNotTaken, events);
    }

    /// Counts data channel messages that their room was not told.
    pub(crate) fn count_unheard(&mut self, messages: u64) {
        self.counters.drop_many(DropReason::DataUnheard, messages);
    }

    fn next_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Queues a control datagram.
    fn transmit(transmits: &mut Transmits, run: &mut RunKey, path: Path, datagram: &[u8]) {
        transmits.push(path, run, |buf| match buf.get_mut(..datagram.len()) {
            Some(room) => {
                room.copy_from_slice(datagram);
                datagram.len()
            }
            None => 0,
        });
    }
}

#[cfg(test)]
mod layers_tests;
