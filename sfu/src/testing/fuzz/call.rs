//! A call of three in the real worker, and what clients make of it: bytes are steps, each an operation, and time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::super::{SimRelay, epoch};
use super::person::{Person, material};
use super::steps;
use crate::config::Limits;
use crate::demux::{Class, classify};
use crate::event::Answer;
use crate::id::{PeerId, RoomId, TrackId};
use crate::rtp::RtpHeader;
use crate::rtp::rtcp::{nack, parse_compound, write_feedback};
use crate::rtp::sequence::Extender;
use crate::testing::network::Datagram;
use crate::transport::SrtpProfile;
use crate::view::{Cap, TrackSettings, View};

/// An operation that steps may be of. A target has those that lead where it looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// RTP, which is sealed.
    Rtp,
    /// A count, and an RTP packet that comes so often, with a step in its sequence number and time each time.
    Burst,
    /// RTCP, once decrypted.
    Rtcp,
    /// Feedback on the latest packets: a byte for each tells how late it came, 255 that it did not.
    Feedback,
    /// NACKs for some of the latest packets: a byte for each counts the packets after it.
    Nack,
    /// Some time passes.
    Time,
    /// A call of the control plane.
    Command,
    /// A type and attributes, in a check that is signed.
    Check,
    /// Whether our checks are answered from now on.
    Answers,
    /// A datagram as it is.
    Datagram,
    /// A byte to change, the change, and an RTP or RTCP packet that is sealed before.
    Sealed,
}

use Operation as O;

const ALL: [Operation; 11] = [
    O::Rtp,
    O::Burst,
    O::Rtcp,
    O::Feedback,
    O::Time,
    O::Command,
    O::Check,
    O::Answers,
    O::Datagram,
    O::Sealed,
    O::Nack,
];

/// Offers of real browsers. The first three are those with which people join.
const OFFERS: [&str; 9] = [
    include_str!("../../transport/sdp/fixtures/chromium-call-1-simulcast.sdp"),
    include_str!("../../transport/sdp/fixtures/chromium-call-2-slots.sdp"),
    include_str!("../../transport/sdp/fixtures/firefox-simulcast.sdp"),
    include_str!("../../transport/sdp/fixtures/chromium-call-3-stopped.sdp"),
    include_str!("../../transport/sdp/fixtures/chromium-call-4-recycled.sdp"),
    include_str!("../../transport/sdp/fixtures/chromium-publish.sdp"),
    include_str!("../../transport/sdp/fixtures/chromium-receive.sdp"),
    include_str!("../../transport/sdp/fixtures/firefox-publish.sdp"),
    include_str!("../../transport/sdp/fixtures/firefox-receive.sdp"),
];
const PEOPLE: usize = 3;
/// Time that may pass in a step, in milliseconds.
const TIMES: [u64; 8] = [1, 5, 20, 100, 500, 2_000, 9_000, 40_000];
/// Steps of a run: more find nothing that these do not, more slowly.
const STEPS: usize = 200;

/// Runs steps of these operations. Each is a byte (the operation in its lower half, the person in the next two bits), a
/// length in two bytes, and as many bytes.
///
/// # Panics
///
/// If the worker's parts do not agree with each other; if it sends two packets under one number, or one that cannot be
/// parsed; or if it keeps anything after all have left.
pub fn call(bytes: &[u8], operations: &[Operation]) {
    let mut call = Call::new();
    for (flags, data) in steps(bytes).take(STEPS) {
        let operation = ALL[usize::from(flags & 15) % ALL.len()];
        if operations.contains(&operation) {
            call.step(operation, usize::from(flags >> 4 & 3) % PEOPLE, data);
            call.flush();
        }
    }
    call.end();
}

struct Call {
    relay: SimRelay,
    now: Instant,
    room: RoomId,
    people: Vec<Person>,
    tracks: Vec<TrackId>,
    /// The bytes sent under each number: who to, SSRC, index (RFC 3711 section 3.3.1).
    sent: HashMap<(PeerId, u32, u64), Vec<u8>>,
    /// The indexes of each receiver's SSRCs.
    indexes: HashMap<(PeerId, u32), Extender>,
}

impl Call {
    fn new() -> Self {
        let now = epoch();
        let addr = SocketAddr::from(([192, 0, 2, 9], 9));
        let mut relay = SimRelay::new(now, addr, 1, Limits::default());
        let room = relay.create_room();
        let people = (0..PEOPLE).map(|number| Person::new(number as u8));
        let mut call = Self {
            relay,
            now,
            room,
            people: people.collect(),
            tracks: Vec::new(),
            sent: HashMap::new(),
            indexes: HashMap::new(),
        };
        for (who, offer) in OFFERS.iter().take(PEOPLE).enumerate() {
            call.join(who, offer);
        }
        call
    }

    fn step(&mut self, operation: Operation, who: usize, data: &[u8]) {
        let now = self.now;
        let Some(peer) = self.people[who].peer else {
            if operation == O::Command {
                self.command(who, data);
            }
            return;
        };
        match operation {
            O::Rtp => self.rtp(who, peer, data),
            O::Burst => self.burst(who, peer, data),
            O::Rtcp => self.relay.handle_rtcp(now, peer, data),
            O::Feedback => self.feedback(peer, data),
            O::Nack => self.nack(who, peer, data),
            O::Time => self.pass(TIMES[usize::from(data.first().copied().unwrap_or(0) & 7)]),
            O::Command => self.command(who, data),
            O::Check => {
                if let Some((kind, attributes)) = data.split_first() {
                    let check = self.people[who].check(*kind, attributes);
                    self.receive(who, check);
                }
            }
            O::Answers => self.people[who].answers = data.first().is_some_and(|byte| byte & 1 == 1),
            O::Datagram => self.receive(who, data.to_vec()),
            O::Sealed => {
                if let Some((change, packet)) = data.split_first_chunk()
                    && let Some(sealed) = self.people[who].sealed(change, packet)
                {
                    self.receive(who, sealed);
                }
            }
        }
    }

    fn receive(&mut self, who: usize, payload: Vec<u8>) {
        let mut datagram = Datagram {
            from: self.people[who].addr,
            to: self.relay.addr(),
            payload,
        };
        self.relay.handle_datagram(self.now, &mut datagram);
    }

    /// Through SRTP, which lets no number pass twice; past it, where it would not even be opened.
    fn rtp(&mut self, who: usize, peer: PeerId, packet: &[u8]) {
        match self.people[who].sealed(&[0, 0], packet) {
            Some(sealed) => self.receive(who, sealed),
            None => self.relay.handle_rtp(self.now, peer, &mut packet.to_vec()),
        }
    }

    fn burst(&mut self, who: usize, peer: PeerId, data: &[u8]) {
        let Some((&[count, sequences, time], packet)) = data.split_first_chunk() else {
            return;
        };
        for at in 0..count {
            let mut packet = packet.to_vec();
            if let Some(head) = packet.first_chunk_mut::<8>() {
                let [_, _, s0, s1, t0, t1, t2, t3] = *head;
                let sequence = u16::from(sequences).wrapping_mul(u16::from(at));
                let sequence = u16::from_be_bytes([s0, s1]).wrapping_add(sequence);
                let later = u32::from(time) * 90 * u32::from(at);
                let timestamp = u32::from_be_bytes([t0, t1, t2, t3]).wrapping_add(later);
                head[2..4].copy_from_slice(&sequence.to_be_bytes());
                head[4..].copy_from_slice(&timestamp.to_be_bytes());
            }
            self.rtp(who, peer, &packet);
            if time > 0 {
                self.pass(u64::from(time));
            }
        }
    }

    fn feedback(&mut self, peer: PeerId, data: &[u8]) {
        let Some(next) = self.relay.transport_sequence(peer) else {
            return;
        };
        let base = next.wrapping_sub(data.len() as u16);
        let ticks = (self.now - epoch()).as_micros() as i64 / 250;
        let arrivals = data.iter().enumerate().map(|(at, late)| {
            let late = i64::from(*late) * 4 + at as i64;
            (late < 255 * 4).then_some(ticks + late)
        });
        let arrivals: Vec<_> = arrivals.collect();
        let mut report = Vec::new();
        write_feedback(&mut report, 1, 1, data.len() as u8, base, &arrivals);
        self.relay.handle_rtcp(self.now, peer, &report);
    }

    fn nack(&mut self, who: usize, peer: PeerId, data: &[u8]) {
        let mut report = Vec::new();
        for after in data {
            let latest = &self.people[who].heard;
            let asked = latest.len().checked_sub(1 + usize::from(*after));
            if let Some(&(ssrc, sequence)) = asked.and_then(|at| latest.get(at)) {
                nack(&mut report, 1, ssrc, &[sequence]);
            }
        }
        self.relay.handle_rtcp(self.now, peer, &report);
    }

    fn pass(&mut self, milliseconds: u64) {
        let until = self.now + Duration::from_millis(milliseconds);
        // Work that is due at once may make more work due at once: if that never ends, the time is up.
        for _ in 0..2_000 {
            let due = self
                .relay
                .poll_timeout(self.now)
                .filter(|due| *due <= until);
            let Some(due) = due else { break };
            self.now = self.now.max(due);
            self.relay.handle_timeout(self.now);
            self.flush();
        }
        self.now = until;
        self.relay.handle_timeout(until);
    }

    fn command(&mut self, who: usize, data: &[u8]) {
        let &[kind, which, how, ..] = data else {
            return;
        };
        let now = self.now;
        let offer = OFFERS[usize::from(which) % OFFERS.len()];
        let Some(peer) = self.people[who].peer else {
            return self.join(who, offer);
        };
        let tracks = self.tracks.len().max(1);
        let track = self.tracks.get(usize::from(which) % tracks).copied();
        let track = track.unwrap_or(TrackId::from_u64(u64::from(which)));
        // A refused command returns an error, and the audit finds anything left of it.
        match kind % 8 {
            0 => {
                if let Ok(answer) = self.relay.offer(now, peer, offer) {
                    self.answered(who, offer, &answer);
                }
            }
            1 => drop(self.relay.subscribe(now, peer, track)),
            2 => drop(self.relay.unsubscribe(now, peer, track)),
            3 => {
                let view = View {
                    track,
                    visible: how & 1 == 0,
                    height: u16::from(how) * 8,
                    pinned: how & 2 == 2,
                };
                drop(self.relay.set_views(now, peer, &[view]));
            }
            4 => {
                let settings = TrackSettings {
                    muted: how & 1 == 1,
                    screen: how & 2 == 2,
                };
                drop(self.relay.set_track(now, peer, track, settings));
            }
            5 => {
                let cap = Cap {
                    bitrate: (how > 0).then(|| u64::from(how) * 20_000),
                    height: (which > 0).then(|| u16::from(which) * 4),
                };
                drop(self.relay.set_cap(now, peer, cap));
            }
            6 => self.leave(who),
            _ => {
                let edited = edited(offer, data);
                if let Ok(answer) = self.relay.offer(now, peer, &edited) {
                    self.answered(who, &edited, &answer);
                }
            }
        }
    }

    fn join(&mut self, who: usize, offer: &str) {
        let Ok((peer, answer)) = self.relay.join(self.now, self.room, offer, true) else {
            return;
        };
        self.people[who].joined(peer);
        self.answered(who, offer, &answer);
        let check = self.people[who].check(0, &[0, 0x25, 0, 0]);
        self.receive(who, check);
        self.relay
            .connect(self.now, peer, self.people[who].addr, &material());
    }

    fn answered(&mut self, who: usize, offer: &str, answer: &Answer) {
        self.people[who].agreed(offer, &answer.sdp);
        let tracks = answer.published.iter().map(|track| track.track);
        let new: Vec<TrackId> = tracks
            .filter(|track| !self.tracks.contains(track))
            .collect();
        self.tracks.extend(new);
    }

    fn leave(&mut self, who: usize) {
        if let Some(peer) = self.people[who].peer.take() {
            self.relay.close_peer(self.now, peer);
        }
    }

    /// Reads the datagrams sent, as clients would.
    fn flush(&mut self) {
        loop {
            let sent = self.relay.flush(self.now);
            if sent.is_empty() {
                break;
            }
            for datagram in sent {
                self.read(&datagram);
            }
        }
        while let Some(event) = self.relay.poll_event() {
            if let crate::event::Event::PeerFailed { peer, .. } = event {
                let mut people = self.people.iter_mut();
                if let Some(person) = people.find(|person| person.peer == Some(peer)) {
                    person.peer = None;
                }
            }
        }
        let faults = self.relay.audit();
        assert!(faults.is_empty(), "{faults:#?}");
    }

    fn read(&mut self, datagram: &Datagram) {
        let who = self
            .people
            .iter()
            .position(|person| person.addr == datagram.to);
        let who = who.expect("nobody else is sent anything");
        match classify(&datagram.payload) {
            Class::Stun => {
                if let Some(answer) = self.people[who].answer(&datagram.payload) {
                    self.receive(who, answer);
                }
            }
            Class::Rtp => {
                let Some(peer) = self.people[who].peer else {
                    return;
                };
                let header = RtpHeader::parse_sealed(&datagram.payload).expect("a header");
                let indexes = self.indexes.entry((peer, header.ssrc)).or_default();
                let index = indexes.extend(header.sequence);
                match self.sent.entry((peer, header.ssrc, index)) {
                    Entry::Vacant(entry) => {
                        entry.insert(datagram.payload.clone());
                        self.people[who].heard.push((header.ssrc, header.sequence));
                        let plain = self.people[who].open_rtp(&datagram.payload);
                        RtpHeader::parse(&plain).expect("RTP");
                    }
                    // Other bytes under one nonce give the key away.
                    Entry::Occupied(entry) => {
                        let (one, other) = (entry.get(), &datagram.payload);
                        if one != other {
                            let [one, other] =
                                [one, other].map(|sealed| Person::new(0).open_rtp(sealed));
                            panic!("a number used twice: {one:x?} and {other:x?}");
                        }
                    }
                }
            }
            Class::Rtcp => {
                let plain = self.people[who].open_rtcp(&datagram.payload);
                for packet in parse_compound(&plain) {
                    packet.expect("RTCP");
                }
            }
            Class::Dtls => {}
            Class::Unknown => panic!("nobody reads {:?}", datagram.payload),
        }
    }

    fn end(mut self) {
        for who in 0..PEOPLE {
            self.leave(who);
        }
        self.flush();
        self.relay.close_room(self.now, self.room);
        self.flush();
        assert_eq!(self.relay.holdings(), 0, "all have left");
    }
}

/// An offer with some lines left out, moved to the end, or said twice: two bytes say which line and how.
fn edited(offer: &str, data: &[u8]) -> String {
    let mut lines: Vec<&str> = offer.lines().collect();
    for edit in data[3..].chunks_exact(2) {
        let at = usize::from(edit[0]) % lines.len();
        match edit[1] & 3 {
            0 => drop(lines.remove(at)),
            1 => {
                let line = lines.remove(at);
                lines.push(line);
            }
            2 => lines.insert(at, lines[at]),
            _ => {
                let other = usize::from(edit[1]) % lines.len();
                lines.swap(at, other);
            }
        }
        if lines.is_empty() {
            break;
        }
    }
    lines.iter().flat_map(|line| [line, "\r\n"]).collect()
}

/// The profile under which all of it is sealed.
pub(super) const PROFILE: SrtpProfile = SrtpProfile::AeadAes128Gcm;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Marks that each target's seeds have to reach, so that it looks where it is meant to.
    #[test]
    fn seeds_lead_where_their_targets_look() {
        for target in [
            "call_media",
            "call_feedback",
            "call_commands",
            "stun",
            "srtp",
        ] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("fuzz/seeds")
                .join(target);
            let (mut received, mut sent, mut again) = (0, 0, 0);
            for seed in fs::read_dir(folder).expect("seeds") {
                let seed = fs::read(seed.expect("a seed").path()).expect("bytes");
                let mut call = Call::new();
                for (flags, data) in steps(&seed).take(STEPS) {
                    let operation = ALL[usize::from(flags & 15) % ALL.len()];
                    call.step(operation, usize::from(flags >> 4 & 3) % PEOPLE, data);
                    call.flush();
                }
                sent += call.sent.len();
                let stats = call.relay.stats();
                let tracks = stats.peers.iter().flat_map(|peer| &peer.published);
                received += tracks
                    .flat_map(|track| &track.layers)
                    .map(|layer| layer.packets)
                    .sum::<u64>();
                let subscriptions = stats.peers.iter().flat_map(|peer| &peer.subscriptions);
                again += subscriptions.map(|each| each.retransmitted).sum::<u64>();
                call.end();
            }
            let media = target != "stun";
            assert_eq!(again > 0, target == "call_feedback", "{target}");
            assert_eq!((received > 0, sent > 0), (media, media), "{target}");
        }
    }
}
