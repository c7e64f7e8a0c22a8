//! A worker for simulations: the real one, with time and network under the test's control.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use crate::clock::WallClock;
use crate::config::Limits;
use crate::error::SfuError;
use crate::event::{Answer, Event};
use crate::id::{PeerId, RoomId, TrackId};
use crate::stats::{PeerStats, WorkerStats};
use crate::transmit::{SendReport, Transmits};
use crate::transport::Certificate;
use crate::worker::{Worker, WorkerConfig};

use super::network::Datagram;

/// A worker in virtual time.
#[derive(Debug)]
pub struct SimRelay {
    worker: Worker,
    addr: SocketAddr,
    transmits: Transmits,
}

impl SimRelay {
    /// A worker that announces `addr`. Its random numbers follow from the seed; only its DTLS keys
    /// do not, and no decision depends on those.
    ///
    /// # Panics
    ///
    /// If no certificate can be made.
    pub fn new(now: Instant, addr: SocketAddr, seed: u64, limits: Limits) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let config = WorkerConfig {
            index: 0,
            certificate: Certificate::generate().expect("a certificate can be made"),
            candidates: vec![addr],
            limits,
            clock: WallClock::new(now, wall),
            seed: bytes,
        };
        Self {
            worker: Worker::new(config),
            addr,
            transmits: Transmits::new(),
        }
    }

    /// Where datagrams to it go.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// As [`Sfu::create_room`](crate::Sfu::create_room).
    pub fn create_room(&mut self) -> RoomId {
        self.worker.create_room()
    }

    /// As [`Sfu::join`](crate::Sfu::join).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn join(
        &mut self,
        now: Instant,
        room: RoomId,
        offer: &str,
        auto_subscribe: bool,
    ) -> Result<(PeerId, Answer), SfuError> {
        self.worker.join(now, room, offer, auto_subscribe)
    }

    /// As [`Sfu::offer`](crate::Sfu::offer).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn offer(&mut self, now: Instant, peer: PeerId, offer: &str) -> Result<Answer, SfuError> {
        self.worker.offer(now, peer, offer)
    }

    /// As [`Sfu::subscribe`](crate::Sfu::subscribe).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn subscribe(
        &mut self,
        now: Instant,
        peer: PeerId,
        track: TrackId,
    ) -> Result<(), SfuError> {
        self.worker.subscribe(now, peer, track)
    }

    /// As [`Sfu::unsubscribe`](crate::Sfu::unsubscribe).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn unsubscribe(
        &mut self,
        now: Instant,
        peer: PeerId,
        track: TrackId,
    ) -> Result<(), SfuError> {
        self.worker.unsubscribe(now, peer, track)
    }

    /// As [`Sfu::close_peer`](crate::Sfu::close_peer).
    pub fn close_peer(&mut self, now: Instant, peer: PeerId) {
        // Gone already is no error there either.
        let _ = self.worker.close_peer(now, peer);
    }

    /// As [`Sfu::close_room`](crate::Sfu::close_room).
    pub fn close_room(&mut self, now: Instant, room: RoomId) {
        self.worker.close_room(now, room);
    }

    /// Takes a datagram.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &mut Datagram) {
        self.worker
            .handle_datagram(now, datagram.from, &mut datagram.payload);
    }

    /// Does what is due; call when [`poll_timeout`](Self::poll_timeout) says so.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.worker.handle_timeout(now);
    }

    /// When something is due.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.worker.poll_timeout(now)
    }

    /// What is to be sent.
    pub fn flush(&mut self, now: Instant) -> Vec<Datagram> {
        let mut report = SendReport::default();
        let mut datagrams = Vec::new();
        loop {
            let more = self.worker.flush(now, &mut self.transmits);
            for run in self.transmits.runs() {
                datagrams.extend(run.datagrams().map(|payload| Datagram {
                    from: self.addr,
                    to: run.to(),
                    payload: payload.to_vec(),
                }));
            }
            self.transmits.clear();
            if !more {
                break;
            }
        }
        for datagram in &datagrams {
            report.message(1, datagram.payload.len() as u64);
        }
        self.worker.sent(&report);
        datagrams
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.worker.poll_event()
    }

    /// Takes RTCP as if a peer had sent it, to say what a client's own library would not.
    pub fn handle_rtcp(&mut self, now: Instant, peer: PeerId, rtcp: &[u8]) {
        self.worker.handle_peers_rtcp(now, peer, rtcp);
    }

    /// Handshake datagrams waiting for their turn.
    pub fn handshakes_waiting(&self) -> usize {
        self.worker.handshakes_waiting()
    }

    /// What a worker's parts say of each other and do not agree on; nothing, if all is well.
    pub fn audit(&self) -> Vec<String> {
        self.worker.audit()
    }

    /// Entries in tables of rooms, peers, tracks, addresses and deadlines: none when everybody left.
    pub fn holdings(&self) -> usize {
        self.worker.holdings()
    }

    /// As [`Sfu::stats`](crate::Sfu::stats).
    pub fn stats(&self) -> WorkerStats {
        self.worker.stats()
    }

    /// As [`Sfu::peer_stats`](crate::Sfu::peer_stats).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn peer_stats(&self, peer: PeerId) -> Result<PeerStats, SfuError> {
        self.worker.peer_stats(peer)
    }
}
