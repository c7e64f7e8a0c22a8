//! The cost of a join for the media thread, step by step: `cargo bench -p tertulia-sfu --bench handshake`.
//!
//! It runs the real worker against `str0m` clients in virtual time. Only calls of the worker are timed, so that the
//! clients' work does not count. It prints the median and the worst of each step, in microseconds, for rooms of several
//! sizes; all clients publish audio and are subscribed to some.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Input, Output, Rtc, RtcConfig};
use tertulia_sfu::testing::SimRelay;
use tertulia_sfu::testing::network::Datagram;
use tertulia_sfu::{Answer, Event, Limits, PeerId, RoomId, TrackId};

const ROOMS: [usize; 3] = [10, 100, 300];
/// Tracks that everyone receives, once they are published: as a page with so many tiles does.
const TILES: usize = 12;
const LINES: [usize; 3] = [14, 50, 230];

fn main() {
    // `cargo test --benches` passes arguments of the test harness; there is nothing to test here.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    for people in ROOMS {
        println!("a room of {people}");
        let mut storm = Storm::new();
        for _ in 0..people {
            storm.join();
        }
        storm.steps.print();
    }
    println!("an offer of many m-lines by one who is there");
    for lines in LINES {
        let mut storm = Storm::new();
        for client in 0..9 {
            storm.join();
            storm.receive(client, lines);
        }
        println!("  {lines} m-lines");
        storm.offers.print();
    }
    println!("a track published to a room that receives everything");
    for people in ROOMS {
        let mut storm = Storm::new();
        storm.auto_subscribe = true;
        for _ in 0..people {
            storm.join();
        }
        let last = storm.steps.0.iter().find(|(name, _)| *name == OFFER);
        let last = last.and_then(|(_, costs)| costs.last());
        println!(
            "  {people:>4} people {:>33.1} us",
            micros(last.copied().unwrap_or_default())
        );
    }
}

/// A step that is not the media thread's, though the calls with an offer do it once more here.
const READ: &str = "an offer, only read";
const OFFER: &str = "first offer and answer";

struct Storm {
    now: Instant,
    relay: SimRelay,
    room: RoomId,
    auto_subscribe: bool,
    clients: Vec<Client>,
    tracks: Vec<TrackId>,
    steps: Steps,
    offers: Steps,
}

struct Client {
    peer: PeerId,
    addr: SocketAddr,
    rtc: Rtc,
}

impl Storm {
    fn new() -> Self {
        let now = Instant::now();
        let addr = SocketAddr::from(([10, 0, 0, 1], 10_000));
        let mut relay = SimRelay::new(now, addr, 1, Limits::default());
        let room = relay.create_room();
        Self {
            now,
            relay,
            room,
            auto_subscribe: false,
            clients: Vec::new(),
            tracks: Vec::new(),
            steps: Steps::default(),
            offers: Steps::default(),
        }
    }

    /// The whole join, as a page does it: offer, connect, subscribe to the present tracks.
    fn join(&mut self) {
        let number = self.clients.len() as u16;
        let [high, low] = number.to_be_bytes();
        let addr = SocketAddr::from(([10, 1, high, low], 5_000));
        let mut rtc = RtcConfig::new().set_rtp_mode(true).build(self.now);
        rtc.add_local_candidate(Candidate::host(addr, "udp").expect("a candidate"));
        let mut api = rtc.sdp_api();
        api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
        api.add_media(MediaKind::Video, Direction::SendOnly, None, None, None);
        let (offer, pending) = api.apply().expect("an offer");
        let offer = offer.to_sdp_string();
        let (relay, room, now) = (&mut self.relay, self.room, self.now);
        assert!(self.steps.time(READ, || relay.reads(&offer)));
        let auto_subscribe = self.auto_subscribe;
        let answered = self
            .steps
            .time(OFFER, || relay.join(now, room, &offer, auto_subscribe));
        let (peer, answer): (PeerId, Answer) = answered.expect("an answer");
        let sdp = SdpAnswer::from_sdp_string(&answer.sdp).expect("SDP");
        rtc.sdp_api().accept_answer(pending, sdp).expect("taken");
        self.clients.push(Client { peer, addr, rtc });
        self.connect();
        let tracks = self.tracks.iter().rev().take(TILES).copied();
        for track in tracks.collect::<Vec<_>>() {
            let (relay, now) = (&mut self.relay, self.now);
            let done = self
                .steps
                .time("a subscription", || relay.subscribe(now, peer, track));
            done.expect("subscribed");
        }
        self.tracks
            .extend(answer.published.iter().map(|published| published.track));
        if !self.tracks.is_empty() && !self.auto_subscribe {
            self.receive(usize::from(number), TILES);
        }
        while self.relay.poll_event().is_some() {}
    }

    /// Lets the newest client connect.
    fn connect(&mut self) {
        for _ in 0..1_000 {
            let sent = self.newest_sends();
            let mut deadline = self.relay.poll_timeout(self.now);
            for mut datagram in sent {
                let step = match datagram.payload[0] {
                    0..=3 => "a STUN check",
                    _ => "a DTLS datagram",
                };
                let (relay, now) = (&mut self.relay, self.now);
                let answers = self.steps.time(step, || {
                    relay.handle_datagram(now, &mut datagram);
                    relay.flush(now)
                });
                self.deliver(answers);
            }
            if self
                .relay
                .poll_timeout(self.now)
                .is_some_and(|at| at <= self.now)
            {
                let (relay, now) = (&mut self.relay, self.now);
                relay.handle_timeout(now);
                let answers = relay.flush(now);
                self.deliver(answers);
            }
            let newest = self.clients.len() - 1;
            let peer = self.clients[newest].peer;
            while let Some(event) = self.relay.poll_event() {
                if matches!(event, Event::PeerConnected { peer: other, .. } if other == peer) {
                    return;
                }
            }
            deadline = deadline.min(self.relay.poll_timeout(self.now));
            let _ = deadline;
            self.now += Duration::from_millis(1);
        }
        panic!("a client does not connect");
    }

    fn newest_sends(&mut self) -> Vec<Datagram> {
        let now = self.now;
        let mut sent = Vec::new();
        let Some(client) = self.clients.last_mut() else {
            return sent;
        };
        client
            .rtc
            .handle_input(Input::Timeout(now))
            .expect("time passes");
        while let Ok(output) = client.rtc.poll_output() {
            match output {
                Output::Transmit(datagram) => sent.push(Datagram {
                    from: client.addr,
                    to: datagram.destination,
                    payload: datagram.contents.to_vec(),
                }),
                Output::Timeout(_) => break,
                Output::Event(_) => {}
            }
        }
        sent
    }

    fn deliver(&mut self, datagrams: Vec<Datagram>) {
        let now = self.now;
        for datagram in datagrams {
            let mut clients = self.clients.iter_mut();
            if let Some(client) = clients.find(|client| client.addr == datagram.to)
                && let Ok(contents) = datagram.payload.as_slice().try_into()
            {
                let receive = Receive {
                    proto: Protocol::Udp,
                    source: datagram.from,
                    destination: client.addr,
                    contents,
                };
                let _ = client.rtc.handle_input(Input::Receive(now, receive));
            }
        }
    }

    /// Renegotiates with so many more receiving m-lines.
    fn receive(&mut self, client: usize, lines: usize) {
        let client = &mut self.clients[client];
        let mut api = client.rtc.sdp_api();
        for line in 0..lines {
            let kind = [MediaKind::Audio, MediaKind::Video][line % 2];
            api.add_media(kind, Direction::RecvOnly, None, None, None);
        }
        let (offer, pending) = api.apply().expect("an offer");
        let offer = offer.to_sdp_string();
        let (relay, now, peer) = (&mut self.relay, self.now, client.peer);
        let steps = if lines == TILES {
            &mut self.steps
        } else {
            &mut self.offers
        };
        assert!(steps.time(READ, || relay.reads(&offer)));
        let answer = steps.time("a further offer and answer", || {
            relay.offer(now, peer, &offer)
        });
        let sdp = SdpAnswer::from_sdp_string(&answer.expect("an answer").sdp).expect("SDP");
        client
            .rtc
            .sdp_api()
            .accept_answer(pending, sdp)
            .expect("taken");
    }
}

/// Costs by name, in the order of their first appearance.
#[derive(Default)]
struct Steps(Vec<(&'static str, Vec<Duration>)>);

impl Steps {
    fn time<T>(&mut self, name: &'static str, step: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = step();
        let cost = start.elapsed();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, costs)) => costs.push(cost),
            None => self.0.push((name, vec![cost])),
        }
        result
    }

    fn print(&self) {
        for (name, costs) in &self.0 {
            let mut costs = costs.clone();
            costs.sort_unstable();
            let at = |share: f64| micros(costs[((costs.len() - 1) as f64 * share) as usize]);
            println!(
                "  {name:<28} {:>6} times  p50 {:>8.1} us  p99 {:>8.1} us  worst {:>8.1} us",
                costs.len(),
                at(0.5),
                at(0.99),
                at(1.0)
            );
        }
    }
}

fn micros(cost: Duration) -> f64 {
    cost.as_secs_f64() * 1e6
}
