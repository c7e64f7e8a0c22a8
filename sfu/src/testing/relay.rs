//! Workers for simulations: the real ones, with time and network under the test's control.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::cache::CacheBudget;
use crate::clock::WallClock;
use crate::config::Limits;
use crate::error::SfuError;
use crate::event::{Answer, Event};
use crate::id::{PeerId, RoomId, TrackId};
use crate::index::WorkerIx;
use crate::pipe::{Data, RingSizes};
use crate::seat::Seat;
use crate::server_data::ServerData;
use crate::sfu::pipe_table::PipeTable;
use crate::sfu::pipes::Pipes;
use crate::sfu::placement::{Choice, PartLoad, choose};
use crate::stats::{Decision, PeerStats, WorkerStats};
use crate::tap::{TAPS, Tap, TapSettings};
use crate::transmit::{SendReport, Transmits};
use crate::transport::{Backend, Candidate, Certificate, Path, Srtp, SrtpProfile};
use crate::view::{Cap, TrackSettings, View};
use crate::worker::{Named, Worker, WorkerConfig, read_offer};

use super::network::Datagram;
use super::pipe::{ScriptedEnd, SimPipe};

/// Steps of handshakes before a worker's media is sent: what fits into the runtime's budget, for
/// virtual time does not pass while they are done.
const HANDSHAKES_PER_TURN: usize = 3;

/// The sharing of a room among the workers of a [`SimRelay`].
#[derive(Clone, Copy, Debug)]
pub struct SimSharing {
    /// Set as [`SfuConfig::room_peers_per_worker`](crate::SfuConfig::room_peers_per_worker).
    pub room_peers_per_worker: usize,
    /// Batches of packets that fit between two workers.
    pub batches: usize,
    /// Control messages that fit between two workers.
    pub control: usize,
    /// Pairs of workers that can have a pipe.
    pub pipes: usize,
    /// The faults of every pipe: by default none.
    pub script: SimPipe,
}

impl Default for SimSharing {
    fn default() -> Self {
        let RingSizes { batches, control } = RingSizes::default();
        Self {
            room_peers_per_worker: 1,
            batches,
            control,
            pipes: usize::MAX,
            script: SimPipe::default(),
        }
    }
}

/// The workers of a relay in virtual time: one, or several that share rooms over the rings that
/// threads use, or over ones with faults. The pipes are emptied in a fixed order.
#[derive(Debug)]
pub struct SimRelay {
    workers: Vec<SimWorker>,
    limits: Limits,
    caches: Arc<CacheBudget>,
    transmits: Transmits,
    rooms: BTreeMap<RoomId, Vec<(WorkerIx, Arc<AtomicUsize>)>>,
    taps: Arc<AtomicUsize>,
    sharing: SimSharing,
    table: PipeTable,
    /// The time of the last call.
    now: Instant,
}

#[derive(Debug)]
struct SimWorker {
    worker: Worker,
    pipes: Pipes<ScriptedEnd>,
    addr: SocketAddr,
    /// The worker reads nothing from the others.
    stalled: bool,
}

impl SimWorker {
    fn is_waiting(&self) -> bool {
        !self.stalled && self.pipes.has_incoming()
    }

    /// Whether it must be flushed before it takes more.
    fn is_full(&self) -> bool {
        self.worker.backlog() >= 2_048
    }
}

impl SimRelay {
    /// A worker that announces `addr`. Its random numbers follow from the seed; only its DTLS keys
    /// do not, and no decision depends on those.
    ///
    /// # Panics
    ///
    /// If no certificate can be made.
    pub fn new(now: Instant, addr: SocketAddr, seed: u64, limits: Limits) -> Self {
        Self::with_workers(now, &[addr], seed, limits, SimSharing::default())
    }

    /// A worker for each address.
    ///
    /// # Panics
    ///
    /// If no certificate can be made.
    pub fn with_workers(
        now: Instant,
        addrs: &[SocketAddr],
        seed: u64,
        limits: Limits,
        sharing: SimSharing,
    ) -> Self {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let certificate = Certificate::generate_seeded(Backend::default(), seed)
            .expect("a certificate can be made");
        let sizes = RingSizes {
            batches: sharing.batches,
            control: sharing.control,
        };
        let caches = CacheBudget::new(limits.cache_bytes);
        let worker = |(index, addr): (usize, &SocketAddr)| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.to_be_bytes());
            bytes[8] = index as u8;
            let config = WorkerConfig {
                stun_answers: true,
                index: index.into(),
                certificate: Arc::clone(&certificate),
                candidates: vec![Candidate::Udp(*addr)],
                limits: limits.clone(),
                caches: Arc::clone(&caches),
                viewer_cap: Cap::default(),
                last_n: None,
                loudest_n: None,
                clock: WallClock::new(now, wall),
                seed: bytes,
            };
            SimWorker {
                worker: Worker::new(config),
                pipes: Pipes::default(),
                addr: *addr,
                stalled: false,
            }
        };
        Self {
            caches: Arc::clone(&caches),
            workers: addrs.iter().enumerate().map(worker).collect(),
            limits: limits.clone(),
            transmits: Transmits::new(),
            rooms: BTreeMap::new(),
            taps: Arc::default(),
            sharing,
            table: PipeTable::new(sizes, sharing.pipes),
            now,
        }
    }

    /// Pairs of workers that have a pipe, and how often two were to have one and could not.
    pub fn pipes(&self) -> (usize, u64) {
        (self.table.pairs(), self.table.refused())
    }

    /// Bytes that packet caches hold, and times that one was to grow and did not.
    pub fn caches(&self) -> (usize, u64) {
        (self.caches.used(), self.caches.refused())
    }

    /// The first worker's address.
    pub fn addr(&self) -> SocketAddr {
        self.workers[0].addr
    }

    /// The number of workers.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Sets [`SfuConfig::last_n`](crate::SfuConfig::last_n) and [`SfuConfig::loudest_n`](crate::SfuConfig::loudest_n).
    pub fn bound_speakers(&mut self, last_n: Option<usize>, loudest_n: Option<usize>) {
        for each in &mut self.workers {
            each.worker.bound_speakers(last_n, loudest_n);
        }
    }

    /// The first worker, with its batch of packets to send.
    pub(super) fn first(&mut self) -> (&mut Worker, &mut Transmits) {
        (&mut self.workers[0].worker, &mut self.transmits)
    }

    /// The worker that a peer lives on.
    pub fn worker_of(&self, peer: PeerId) -> usize {
        peer.worker().into()
    }

    /// Holds a worker up: it takes nothing from the others, as if its turn took long.
    pub fn stall(&mut self, worker: usize, stalled: bool) {
        self.workers[worker].stalled = stalled;
    }

    /// As [`Sfu::create_room`](crate::Sfu::create_room), on the first worker.
    pub fn create_room(&mut self) -> RoomId {
        let room = self.workers[0].worker.create_room();
        self.rooms.insert(room, vec![(0.into(), Arc::default())]);
        room
    }

    /// Whether an offer can be read: what [`join`](Self::join) and [`offer`](Self::offer) begin with,
    /// and a server's control plane does.
    pub fn reads(&self, offer: &str) -> bool {
        read_offer(offer, &self.limits).is_ok()
    }

    /// As [`Sfu::join`](crate::Sfu::join).
    ///
    /// # Errors
    ///
    /// As [`Sfu::join`](crate::Sfu::join).
    pub fn join(
        &mut self,
        now: Instant,
        room: RoomId,
        offer: &str,
        auto_subscribe: bool,
    ) -> Result<(PeerId, Answer), SfuError> {
        let offer = read_offer(offer, &self.limits)?;
        let worker = self.place(now, room)?;
        let seats = self.rooms.get(&room).into_iter().flatten();
        let mut seats = seats.filter(|(part, _)| *part == worker);
        let (_, seats) = seats.next().ok_or(SfuError::NoSuchRoom)?;
        let seat = Seat::take(seats);
        let joined = self.at(now, worker, |worker| {
            worker.join(now, room, offer, auto_subscribe, None, seat)
        });
        self.exchange(now);
        joined
    }

    /// Sets [`Join::may_send_data`](crate::Join::may_send_data) and [`Join::hear_data`](crate::Join::hear_data) of a peer.
    pub fn set_data(&mut self, now: Instant, peer: PeerId, may_send_data: bool, hear_data: bool) {
        let named = Named {
            sender: String::new(),
            may_send_data,
            hear_data,
        };
        self.at(now, peer.worker(), |worker| {
            worker.name_sender(peer, &named);
        });
    }

    /// As [`Sfu::send_data`](crate::Sfu::send_data), by way of the first worker if it is for everybody.
    ///
    /// # Errors
    ///
    /// As [`Sfu::send_data`](crate::Sfu::send_data).
    pub fn send_data(
        &mut self,
        now: Instant,
        room: RoomId,
        to: Option<PeerId>,
        message: ServerData,
    ) -> Result<(), SfuError> {
        let data = Data::of(room, message);
        let worker = to.map_or(0.into(), PeerId::worker);
        let sent = self.at(now, worker, |worker| worker.send_data(now, to, &data));
        self.exchange(now);
        sent
    }

    /// Finds the worker for a new peer; the room grows if it is to.
    fn place(&mut self, now: Instant, room: RoomId) -> Result<WorkerIx, SfuError> {
        let weight = |worker: &SimWorker| worker.worker.peers() + worker.worker.rooms();
        let weights: Vec<Option<usize>> = self
            .workers
            .iter()
            .map(|worker| Some(weight(worker)))
            .collect();
        let parts = self.rooms.get_mut(&room).ok_or(SfuError::NoSuchRoom)?;
        let loads: Vec<PartLoad> = parts
            .iter()
            .map(|(worker, peers)| PartLoad {
                worker: *worker,
                peers: peers.load(Ordering::Relaxed),
            })
            .collect();
        match choose(&loads, &weights, self.sharing.room_peers_per_worker) {
            None => Err(SfuError::NoSuchRoom),
            Some(Choice::Part(worker)) => Ok(worker),
            Some(Choice::Grow(worker)) => {
                let others: Vec<WorkerIx> = loads.iter().map(|part| part.worker).collect();
                for other in &others {
                    match self.table.plan(worker, *other) {
                        Ok(None) => {}
                        Ok(Some(sizes)) => {
                            let (end, others) = ScriptedEnd::pair(sizes, self.sharing.script);
                            self.workers[usize::from(worker)].pipes.add(*other, end);
                            let far = &mut self.workers[usize::from(*other)];
                            far.pipes.add(worker, others);
                            self.table.laid(worker, *other);
                        }
                        Err(_) => {
                            return match choose(&loads, &weights, usize::MAX) {
                                Some(Choice::Part(worker)) => Ok(worker),
                                _ => Err(SfuError::NoSuchRoom),
                            };
                        }
                    }
                }
                parts.push((worker, Arc::default()));
                self.at(now, worker, |worker| {
                    worker.open_part(room, &others);
                });
                for other in others {
                    self.at(now, other, |other| other.add_part(room, worker))?;
                }
                Ok(worker)
            }
        }
    }

    /// Runs a command on a worker. Control that others posted is taken before it; its own is posted before its answer.
    fn at<T>(
        &mut self,
        now: Instant,
        worker: WorkerIx,
        command: impl FnOnce(&mut Worker) -> T,
    ) -> T {
        let SimWorker { worker, pipes, .. } = &mut self.workers[usize::from(worker)];
        pipes.take_control(now, worker);
        let answer = command(worker);
        pipes.post(worker, |_| {});
        answer
    }

    /// Lets the workers hear each other until they have nothing more to say.
    fn exchange(&mut self, now: Instant) {
        loop {
            for SimWorker { worker, pipes, .. } in &mut self.workers {
                pipes.post(worker, |_| {});
            }
            let mut idle = true;
            for each in &mut self.workers {
                if each.is_waiting() && !each.is_full() {
                    each.pipes.take(now, &mut each.worker);
                    idle = false;
                }
            }
            if idle {
                return;
            }
        }
    }

    /// As [`Sfu::offer`](crate::Sfu::offer).
    ///
    /// # Errors
    ///
    /// As [`Sfu::offer`](crate::Sfu::offer).
    pub fn offer(&mut self, now: Instant, peer: PeerId, offer: &str) -> Result<Answer, SfuError> {
        let offer = read_offer(offer, &self.limits)?;
        self.at(now, peer.worker(), |worker| worker.offer(now, peer, offer))
    }

    /// As [`Sfu::subscribe`](crate::Sfu::subscribe).
    ///
    /// # Errors
    ///
    /// As [`Sfu::subscribe`](crate::Sfu::subscribe).
    pub fn subscribe(
        &mut self,
        now: Instant,
        peer: PeerId,
        track: TrackId,
    ) -> Result<(), SfuError> {
        self.at(now, peer.worker(), |worker| {
            worker.subscribe(now, peer, track)
        })
    }

    /// As [`Sfu::unsubscribe`](crate::Sfu::unsubscribe).
    ///
    /// # Errors
    ///
    /// As [`Sfu::unsubscribe`](crate::Sfu::unsubscribe).
    pub fn unsubscribe(
        &mut self,
        now: Instant,
        peer: PeerId,
        track: TrackId,
    ) -> Result<(), SfuError> {
        self.at(now, peer.worker(), |worker| {
            worker.unsubscribe(now, peer, track)
        })
    }

    /// As [`Sfu::close_peer`](crate::Sfu::close_peer).
    pub fn close_peer(&mut self, now: Instant, peer: PeerId) {
        // A peer already gone is no error there either.
        let _ = self.at(now, peer.worker(), |worker| worker.close_peer(now, peer));
    }

    /// As [`Sfu::close_room`](crate::Sfu::close_room).
    pub fn close_room(&mut self, now: Instant, room: RoomId) {
        for (part, _) in self.rooms.remove(&room).unwrap_or_default() {
            self.at(now, part, |worker| worker.close_room(now, room));
        }
        self.exchange(now);
    }

    /// Handles a datagram.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &mut Datagram) {
        let mut workers = self.workers.iter_mut();
        if let Some(found) = workers.find(|worker| worker.addr == datagram.to) {
            found
                .worker
                .handle_datagram(now, Path::Udp(datagram.from), &mut datagram.payload);
        }
    }

    /// Does everything that is due; call it at the time [`poll_timeout`](Self::poll_timeout) returns.
    pub fn handle_timeout(&mut self, now: Instant) {
        for SimWorker { worker, .. } in &mut self.workers {
            if worker.poll_timeout(now).is_some_and(|at| at <= now) {
                worker.handle_timeout(now);
            }
        }
    }

    /// The time at which something is due.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let workers = self.workers.iter();
        workers
            .filter_map(|worker| match worker.is_waiting() {
                true => Some(now),
                false => worker.worker.poll_timeout(now),
            })
            .min()
    }

    /// The datagrams to be sent.
    pub fn flush(&mut self, now: Instant) -> Vec<Datagram> {
        self.now = now;
        self.exchange(now);
        let mut all = Vec::new();
        for SimWorker { worker, addr, .. } in &mut self.workers {
            let mut done = 0;
            worker.run_handshakes(now, &mut || {
                done += 1;
                done < HANDSHAKES_PER_TURN
            });
            let first = all.len();
            loop {
                let more = worker.flush(now, &mut self.transmits);
                for run in self.transmits.runs() {
                    all.extend(run.datagrams().map(|payload| Datagram {
                        from: *addr,
                        to: run.path().mapped_addr(),
                        payload: payload.to_vec(),
                    }));
                }
                self.transmits.clear();
                if !more {
                    break;
                }
            }
            let mut report = SendReport::default();
            for datagram in &all[first..] {
                report.message(1, datagram.payload.len() as u64);
            }
            worker.sent(&report);
        }
        // Handshakes may have caused control messages.
        self.exchange(now);
        all
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.workers
            .iter_mut()
            .find_map(|worker| worker.worker.poll_event())
    }

    /// Handles an RTP packet as if a peer had sent it: one that a client's own library would not send.
    pub fn handle_rtp(&mut self, now: Instant, peer: PeerId, packet: &mut [u8]) {
        self.at(now, peer.worker(), |worker| {
            worker.handle_peers_rtp(now, peer, packet);
        });
    }

    /// Handles RTCP as if a peer had sent it: one that a client's own library would not send.
    pub fn handle_rtcp(&mut self, now: Instant, peer: PeerId, rtcp: &[u8]) {
        self.at(now, peer.worker(), |worker| {
            worker.handle_peers_rtcp(now, peer, rtcp);
        });
    }

    /// Connects a peer by keys that are known, without a handshake.
    pub(super) fn connect(
        &mut self,
        now: Instant,
        peer: PeerId,
        from: SocketAddr,
        material: &[u8],
    ) {
        let profile = SrtpProfile::AeadAes128Gcm;
        let keys = Srtp::from_keying_material(Backend::default(), profile, material);
        let keys = keys.expect("keys");
        self.at(now, peer.worker(), |worker| {
            worker.connect_peer(now, peer, Path::Udp(from), keys);
        });
    }

    /// The transport-wide number that a peer's next packet gets: what feedback speaks of.
    pub fn transport_sequence(&self, peer: PeerId) -> Option<u16> {
        let worker = self.workers.get(usize::from(peer.worker()))?;
        worker.worker.transport_sequence(peer)
    }

    /// Handshake datagrams waiting for their turn.
    pub fn handshakes_waiting(&self) -> usize {
        let workers = self.workers.iter();
        workers
            .map(|worker| worker.worker.handshakes_waiting())
            .sum()
    }

    /// Statements of a worker's parts about each other on which they do not agree; nothing, if all is well.
    pub fn audit(&self) -> Vec<String> {
        let workers: Vec<&Worker> = self.workers.iter().map(|worker| &worker.worker).collect();
        let under_way =
            |worker: &SimWorker| worker.pipes.has_incoming() || worker.pipes.is_held_up();
        let idle = !self.workers.iter().any(under_way);
        let faults = workers.iter().flat_map(|worker| {
            let relays = idle.then(|| worker.audit_pipes(&workers));
            worker
                .audit()
                .into_iter()
                .chain(relays.into_iter().flatten())
        });
        faults.collect()
    }

    /// Entries in tables of rooms, peers, tracks, addresses and deadlines: none when everybody left.
    pub fn holdings(&self) -> usize {
        let workers = self.workers.iter();
        workers.map(|worker| worker.worker.holdings()).sum()
    }

    /// As [`Sfu::stats`](crate::Sfu::stats), summed over the workers as far as simulations ask.
    pub fn stats(&self) -> WorkerStats {
        let mut total = WorkerStats::default();
        for worker in 0..self.workers.len() {
            // Every field by name: one that is new has to be added here too.
            let WorkerStats {
                failed,
                datagrams_received,
                datagrams_sent,
                bytes_received,
                bytes_sent,
                messages_sent,
                run_lengths,
                packets_forwarded,
                padding_bytes,
                probe_packets,
                coalescing_us,
                relayed_tracks,
                relay_packets_out,
                relay_packets_in,
                address_claims_refused,
                addresses_proven,
                addresses_unproven,
                addresses_rebound,
                stun_answers,
                media_held,
                drops,
                peer_count,
                subscriptions,
                peers,
            } = self.worker_stats(worker);
            total.failed |= failed;
            total.datagrams_received += datagrams_received;
            total.datagrams_sent += datagrams_sent;
            total.bytes_received += bytes_received;
            total.bytes_sent += bytes_sent;
            total.messages_sent += messages_sent;
            for (total, count) in total.run_lengths.iter_mut().zip(run_lengths) {
                *total += count;
            }
            total.packets_forwarded += packets_forwarded;
            total.padding_bytes += padding_bytes;
            total.probe_packets += probe_packets;
            total.coalescing_us = total.coalescing_us.max(coalescing_us);
            total.relayed_tracks += relayed_tracks;
            total.relay_packets_out += relay_packets_out;
            total.relay_packets_in += relay_packets_in;
            total.address_claims_refused += address_claims_refused;
            total.addresses_proven += addresses_proven;
            total.addresses_unproven += addresses_unproven;
            total.addresses_rebound += addresses_rebound;
            total.stun_answers += stun_answers;
            for (reason, count) in media_held {
                *total.media_held.entry(reason).or_default() += count;
            }
            total.drops.extend(drops.iter());
            total.peer_count += peer_count;
            total.subscriptions += subscriptions;
            total.peers.extend(peers);
        }
        total
    }

    /// The statistics of one worker.
    pub fn worker_stats(&self, worker: usize) -> WorkerStats {
        self.workers[worker].worker.stats(self.now)
    }

    /// As [`Sfu::set_views`](crate::Sfu::set_views).
    ///
    /// # Errors
    ///
    /// As [`Sfu::set_views`](crate::Sfu::set_views).
    pub fn set_views(
        &mut self,
        now: Instant,
        peer: PeerId,
        views: &[View],
    ) -> Result<(), SfuError> {
        self.at(now, peer.worker(), |worker| {
            worker.set_views(now, peer, views)
        })
    }

    /// As [`Sfu::set_track`](crate::Sfu::set_track).
    ///
    /// # Errors
    ///
    /// As [`Sfu::set_track`](crate::Sfu::set_track).
    pub fn set_track(
        &mut self,
        now: Instant,
        peer: PeerId,
        track: TrackId,
        settings: TrackSettings,
    ) -> Result<(), SfuError> {
        self.at(now, peer.worker(), |worker| {
            worker.set_track(now, peer, track, settings)
        })
    }

    /// As [`Sfu::tap`](crate::Sfu::tap).
    ///
    /// # Errors
    ///
    /// As [`Sfu::tap`](crate::Sfu::tap).
    pub fn tap(
        &mut self,
        now: Instant,
        track: TrackId,
        settings: &TapSettings,
    ) -> Result<Tap, SfuError> {
        let seat = Seat::take_of(&self.taps, TAPS).ok_or(SfuError::Overloaded)?;
        self.at(now, track.worker(), |worker| {
            worker.tap(now, track, settings, seat)
        })
    }

    /// The number of taps that workers keep.
    pub fn taps(&self) -> usize {
        self.taps.load(Ordering::Relaxed)
    }

    /// As [`Sfu::set_cap`](crate::Sfu::set_cap).
    ///
    /// # Errors
    ///
    /// As [`Sfu::set_cap`](crate::Sfu::set_cap).
    pub fn set_cap(&mut self, now: Instant, peer: PeerId, cap: Cap) -> Result<(), SfuError> {
        self.at(now, peer.worker(), |worker| worker.set_cap(now, peer, cap))
    }

    /// As [`Sfu::timeline`](crate::Sfu::timeline).
    ///
    /// # Errors
    ///
    /// As [`Sfu::timeline`](crate::Sfu::timeline).
    pub fn timeline(&self, room: RoomId) -> Result<Vec<Decision>, SfuError> {
        let mut decisions = Vec::new();
        for (worker, _) in self.rooms.get(&room).ok_or(SfuError::NoSuchRoom)? {
            decisions.extend(self.workers[usize::from(*worker)].worker.timeline(room)?);
        }
        decisions.sort_by_key(|decision| decision.at_ms);
        Ok(decisions)
    }

    /// As [`Sfu::peer_stats`](crate::Sfu::peer_stats).
    ///
    /// # Errors
    ///
    /// As [`Sfu::peer_stats`](crate::Sfu::peer_stats).
    pub fn peer_stats(&self, peer: PeerId) -> Result<PeerStats, SfuError> {
        let worker = self.workers.get(usize::from(peer.worker()));
        let worker = worker.ok_or(SfuError::NoSuchPeer)?;
        worker.worker.peer_stats(self.now, peer)
    }
}
