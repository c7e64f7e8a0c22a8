//! Drives a relay and its clients through virtual time.

pub(crate) mod client;
pub(crate) mod coding;
mod encoders;
mod hearing;
pub(crate) mod remb;
mod screen;
mod sound;
mod stream;
mod uplink;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tertulia_sfu::testing::network::{Datagram, PathModel};
use tertulia_sfu::testing::{SimRelay, SimSharing};
use tertulia_sfu::{Event, Limits, Needs, RoomId, TrackId, View};

pub(crate) use client::Client;
pub(crate) use coding::Video;
pub(crate) use screen::Screen;

/// Steps without progress in time after which a run is stuck.
const MAX_STEPS: usize = 5_000_000;

/// A relay with one room and its clients.
pub(crate) struct Sim {
    pub(crate) now: Instant,
    epoch: Instant,
    pub(crate) relay: SimRelay,
    pub(crate) room: RoomId,
    pub(crate) clients: Vec<Client>,
    /// Every event, oldest first.
    pub(crate) events: Vec<Event>,
    /// Turns of the relay in which handshakes went on.
    pub(crate) handshake_turns: usize,
    /// Every datagram to the client that is [tapped](Self::tap), as the relay sends it.
    pub(crate) tapped: Vec<Vec<u8>>,
    tap: Option<usize>,
    /// Bytes that the relay sent to where no client is.
    pub(crate) astray: BTreeMap<SocketAddr, usize>,
    seed: u64,
}

impl Sim {
    /// An empty room.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with_limits(seed, Limits::default())
    }

    /// An empty room under other bounds.
    pub(crate) fn with_limits(seed: u64, limits: Limits) -> Self {
        Self::with_workers(seed, limits, 1, SimSharing::default())
    }

    /// An empty room that grows to several workers.
    pub(crate) fn sharing(seed: u64, workers: u16, sharing: SimSharing) -> Self {
        Self::with_workers(seed, Limits::default(), workers, sharing)
    }

    fn with_workers(seed: u64, limits: Limits, workers: u16, sharing: SimSharing) -> Self {
        let now = Instant::now();
        let addrs: Vec<SocketAddr> = (0..workers)
            .map(|index| SocketAddr::from(([10, 0, 0, 1], 10_000 + index)))
            .collect();
        let mut relay = SimRelay::with_workers(now, &addrs, seed, limits, sharing);
        let room = relay.create_room();
        Self {
            now,
            epoch: now,
            relay,
            room,
            clients: Vec::new(),
            events: Vec::new(),
            handshake_turns: 0,
            tapped: Vec::new(),
            tap: None,
            astray: BTreeMap::new(),
            seed,
        }
    }

    /// Adds a client that has not joined.
    pub(crate) fn client(&mut self) -> usize {
        let index = self.clients.len();
        self.seed += 1;
        self.clients
            .push(Client::new(self.epoch, self.now, index as u8, self.seed));
        index
    }

    /// Joins a client with its prepared tracks, or renegotiates; receiving m-lines follow as the
    /// relay asks.
    pub(crate) fn join(&mut self, index: usize) {
        self.take_events();
        loop {
            let (relay, room, now) = (&mut self.relay, self.room, self.now);
            let auto_subscribe = self.clients[index].auto_subscribe;
            self.clients[index].negotiate(now, |peer, offer| match peer {
                None => relay.join(now, room, offer, auto_subscribe),
                Some(peer) => relay.offer(now, peer, offer).map(|answer| (peer, answer)),
            });
            // The needs in the answer are newer than any event before it.
            self.take_events();
            if !self.clients[index].wants_lines() {
                return;
            }
            let Needs { audio, video } = self.clients[index].needs;
            self.clients[index].receive(audio, video);
        }
    }

    /// A client that sends sound and video and receives everything.
    pub(crate) fn participant(&mut self, video: Video) -> usize {
        let index = self.client();
        self.clients[index].publish_audio();
        self.clients[index].publish_video(video);
        self.join(index);
        index
    }

    /// A client that only receives.
    pub(crate) fn viewer(&mut self) -> usize {
        let index = self.client();
        self.clients[index].receive(1, 1);
        self.join(index);
        index
    }

    /// Keeps every datagram to a client from now on.
    pub(crate) fn tap(&mut self, index: usize) {
        self.tap = Some(index);
    }

    /// A viewer shows a track in a place of this height, in pixels.
    pub(crate) fn shows(&mut self, viewer: usize, track: TrackId, height: u16) {
        let view = View::of(track).with_height(height);
        let peer = self.clients[viewer].peer.expect("it has joined");
        let shown = self.relay.set_views(self.now, peer, &[view]);
        shown.expect("the relay takes the view");
    }

    /// Sets both directions of a client's path.
    pub(crate) fn set_path(&mut self, index: usize, model: PathModel) {
        self.clients[index].up.set_model(model);
        self.clients[index].down.set_model(model);
    }

    /// Every received stream must be whole, and begin with something decodable.
    pub(crate) fn assert_clean(&self, viewer: usize, streams: usize) {
        let reports = self.clients[viewer].reports();
        let count = reports.len();
        assert_eq!(count, streams, "client {viewer} receives {streams} streams");
        for (ssrc, report) in reports {
            let what = format!("client {viewer}, {ssrc:#x}: {report:?}");
            assert!(report.violations.is_empty(), "{what}");
            assert_eq!(report.lost, 0, "{what}");
            assert!(report.decodable_frames > 0, "{what}");
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..MAX_STEPS {
            self.settle();
            let next = self.next();
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
        }
        panic!("the simulation makes no progress");
    }

    /// Lets time pass until `done`, at most `limit`; how long it took.
    pub(crate) fn run_until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        while self.now < start + limit {
            if done(self) {
                return Some(self.now - start);
            }
            self.run(Duration::from_millis(5));
        }
        done(self).then(|| self.now - start)
    }

    fn next(&self) -> Instant {
        let far = self.now + Duration::from_secs(3_600);
        let clients = self
            .clients
            .iter()
            .filter(|client| !client.frozen)
            .flat_map(Client::deadlines);
        let paths = self
            .clients
            .iter()
            .flat_map(|client| [client.up.next_arrival(), client.down.next_arrival()]);
        clients
            .chain(paths)
            .chain([self.relay.poll_timeout(self.now)])
            .flatten()
            .min()
            .unwrap_or(far)
    }

    /// Does everything that is due now.
    fn settle(&mut self) {
        let now = self.now;
        if self.relay.poll_timeout(now).is_some_and(|at| at <= now) {
            self.relay.handle_timeout(now);
        }
        for client in &mut self.clients {
            while let Some(mut datagram) = client.up.receive(now) {
                self.relay.handle_datagram(now, &mut datagram);
            }
        }
        let waiting = self.relay.handshakes_waiting();
        for datagram in self.relay.flush(now) {
            self.deliver(now, datagram);
        }
        let done = waiting - self.relay.handshakes_waiting();
        let bound = 3 * self.relay.workers();
        assert!(
            done <= bound,
            "{done} handshake steps at the expense of media"
        );
        self.handshake_turns += usize::from(done > 0);
        self.take_events();
        for index in 0..self.clients.len() {
            if self.clients[index].wants_lines() {
                let Needs { audio, video } = self.clients[index].needs;
                self.clients[index].receive(audio, video);
                self.join(index);
            }
        }
        for index in 0..self.clients.len() {
            if self.clients[index].takes_renegotiation() {
                self.join(index);
            }
        }
        for client in &mut self.clients {
            client.settle(now);
            let receiver = client.receiver.as_mut();
            if let Some(peer) = client.peer
                && let Some(said) = receiver.and_then(|receiver| receiver.poll(now))
            {
                self.relay.handle_rtcp(now, peer, &said);
            }
        }
    }

    fn deliver(&mut self, now: Instant, datagram: Datagram) {
        let tap = self.tap.and_then(|tap| self.clients.get(tap));
        if tap.is_some_and(|client| client.seen_at() == datagram.to) {
            self.tapped.push(datagram.payload.clone());
        }
        let there = |client: &&mut Client| client.seen_at() == datagram.to;
        match self.clients.iter_mut().filter(there).count() {
            0 => *self.astray.entry(datagram.to).or_default() += datagram.payload.len(),
            1 => {
                for client in self.clients.iter_mut().filter(there) {
                    client.down.send(now, datagram.clone());
                }
            }
            _ => {
                for client in self.clients.iter_mut().filter(there) {
                    if client.shares(&datagram) {
                        client.down.send(now, datagram.clone());
                    }
                }
            }
        }
    }

    /// A client's last nomination once more, from an address that it forges; its bytes.
    pub(crate) fn forge(&mut self, client: usize, from: SocketAddr) -> usize {
        let payload = self.clients[client].nomination.clone();
        assert!(!payload.is_empty(), "it has nominated");
        let bytes = payload.len();
        let to = self.relay.addr();
        let mut datagram = Datagram { from, to, payload };
        self.relay.handle_datagram(self.now, &mut datagram);
        bytes
    }

    /// Delivers a stranger's datagram to the relay.
    pub(crate) fn inject(&mut self, from: SocketAddr, payload: Vec<u8>) {
        let to = self.relay.addr();
        let mut datagram = Datagram { from, to, payload };
        self.relay.handle_datagram(self.now, &mut datagram);
    }

    /// Hears what happened.
    fn take_events(&mut self) {
        while let Some(event) = self.relay.poll_event() {
            let of = match &event {
                Event::NeedsChanged { peer, .. }
                | Event::SlotsChanged { peer, .. }
                | Event::RenegotiationWanted { peer, .. }
                | Event::LayersWanted { peer, .. } => Some(*peer),
                _ => None,
            };
            let mut clients = self.clients.iter_mut();
            if let Some(client) = clients.find(|client| of.is_some() && client.peer == of) {
                client.tell(&event);
            }
            self.events.push(event);
        }
    }
}
