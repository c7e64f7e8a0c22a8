//! A publisher made by hand: the test supplies its descriptions and packets; only the transport is `str0m`'s. Its
//! packets are given to the relay as if it had just decrypted them.

use std::time::{Duration, Instant};

use str0m::media::{Direction, MediaKind};
use str0m::rtp::RawPacket;
use str0m::rtp::rtcp::Rtcp;
use str0m::{Candidate, RtcConfig};
use tertulia_sfu::rtp::extension::{ExtensionKind, ExtensionMap};
use tertulia_sfu::rtp::{HeaderWriter, OutHeader, RtpHeader};
use tertulia_sfu::testing::{LayerConfig, MediaSource, VideoConfig};
use tertulia_sfu::{PeerId, PublishedTrack, TrackId};

use crate::harness::{Client, Sim};

/// Interval of the checks for packets to be sent.
const STEP: Duration = Duration::from_millis(2);
/// Time for ICE and DTLS on a local network.
const CONNECTS: Duration = Duration::from_secs(2);

/// A publisher of video, made by hand.
pub(crate) struct Hand {
    pub(crate) peer: PeerId,
    pub(crate) published: Vec<PublishedTrack>,
    /// Its cameras, one for each m-line.
    pub(crate) cameras: Vec<MediaSource>,
    /// Its m-lines.
    pub(crate) mids: Vec<String>,
    pub(crate) ids: ExtensionMap,
    /// SSRCs that it sends cameras' streams under: the wire's, and the camera's.
    pub(crate) aliases: Vec<(u32, u32)>,
    /// The keyframe requests it heard, by SSRC.
    pub(crate) requests: Vec<(Instant, u32)>,
    client: usize,
    offer: String,
    payload_type: u8,
    seed: u64,
}

impl Hand {
    /// Joins with an m-line for each list of attributes.
    pub(crate) fn join(sim: &mut Sim, lines: &[Vec<String>]) -> Self {
        let index = sim.client();
        let now = sim.now;
        let client = &mut sim.clients[index];
        client.make_by_hand(now, lines.len());
        client.auto_subscribe = false;
        let (offer, pending) = client.offer();
        let text = describe(&offer, lines);
        let (peer, mut answer) = sim
            .relay
            .join(now, sim.room, &text, false)
            .expect("an answer");
        // `str0m` did not offer the lines written into its offer.
        let ours = |line: &&str| !line.starts_with("a=rid:") && !line.starts_with("a=simulcast:");
        answer.sdp = answer.sdp.split_inclusive('\n').filter(ours).collect();
        let client = &mut sim.clients[index];
        client.peer = Some(peer);
        client.accept(pending, &answer);
        client.settle(now);
        sim.run(CONNECTS);
        assert!(sim.clients[index].connected_at.is_some(), "it connects");
        Self {
            peer,
            published: answer.published,
            cameras: Vec::new(),
            mids: values(&offer, "a=mid:").map(str::to_owned).collect(),
            ids: extensions(&offer),
            aliases: Vec::new(),
            requests: Vec::new(),
            client: index,
            payload_type: payload_type(&offer),
            offer,
            seed: 1 + index as u64,
        }
    }

    /// Offers other attributes for the same m-lines.
    pub(crate) fn offer_again(&mut self, sim: &mut Sim, lines: &[Vec<String>]) {
        let text = describe(&self.offer, lines);
        let answer = sim
            .relay
            .offer(sim.now, self.peer, &text)
            .expect("an answer");
        self.published = answer.published;
    }

    /// A camera for the next m-line, of these encodings.
    pub(crate) fn film(&mut self, sim: &Sim, layers: Vec<LayerConfig>) {
        self.seed += 1;
        let config = VideoConfig {
            layers,
            payload_type: self.payload_type,
            mid: self.mids[self.cameras.len()].clone(),
            extensions: self.ids,
            frames_per_second: 30,
            temporal_layers: 1,
            seed: self.seed,
        };
        self.cameras.push(MediaSource::vp8(sim.now, config));
    }

    /// The track of an m-line.
    pub(crate) fn track(&self, line: usize) -> TrackId {
        self.published[line].track
    }

    /// The layers of its video that the relay wants, lowest first.
    pub(crate) fn asked(&self, sim: &Sim) -> Vec<bool> {
        sim.clients[self.client].asked.clone()
    }

    /// Lets time pass, sending what the cameras film.
    pub(crate) fn run(&mut self, sim: &mut Sim, duration: Duration) {
        self.run_altered(sim, duration, |_, packet| vec![packet]);
    }

    /// Lets time pass; `alter` changes each packet of a camera before it is sent.
    pub(crate) fn run_altered(
        &mut self,
        sim: &mut Sim,
        duration: Duration,
        mut alter: impl FnMut(usize, Vec<u8>) -> Vec<Vec<u8>>,
    ) {
        let end = sim.now + duration;
        while sim.now < end {
            for (at, camera) in self.cameras.iter_mut().enumerate() {
                while let Some(packet) = camera.poll_packet(sim.now) {
                    for mut packet in alter(at, packet) {
                        sim.relay.handle_rtp(sim.now, self.peer, &mut packet);
                    }
                }
            }
            sim.run(STEP.min(end - sim.now));
            for ssrc in std::mem::take(&mut sim.clients[self.client].plis) {
                self.requests.push((sim.now, ssrc));
                let alias = self.aliases.iter().find(|(wire, _)| *wire == ssrc);
                let ssrc = alias.map_or(ssrc, |(_, of)| *of);
                self.cameras
                    .iter_mut()
                    .for_each(|camera| camera.request_keyframe(ssrc));
            }
        }
    }
}

impl Client {
    /// Makes it record the RTCP it gets, and gives it m-lines for so many cameras that it does not send by itself. Call
    /// it before it joins.
    fn make_by_hand(&mut self, now: Instant, lines: usize) {
        let config = RtcConfig::new().set_rtp_mode(true);
        self.rtc = config.enable_raw_packets(true).build(now);
        let candidate = Candidate::host(self.addr, "udp").expect("a valid candidate");
        self.rtc.add_local_candidate(candidate);
        let line = (MediaKind::Video, Direction::SendOnly, None);
        self.wanted.extend(vec![line; lines]);
    }
}

/// The stream that a raw packet asks a keyframe of.
pub(super) fn keyframe_wanted(packet: &RawPacket) -> Option<u32> {
    match packet {
        RawPacket::RtcpRx(Rtcp::Pli(pli)) => Some(*pli.ssrc),
        _ => None,
    }
}

/// A packet under another SSRC that names this m-line and this RID, or none.
pub(crate) fn named(
    packet: &[u8],
    ids: &ExtensionMap,
    ssrc: u32,
    mid: Option<&str>,
    rid: Option<&str>,
) -> Vec<u8> {
    let header = RtpHeader::parse(packet).expect("cameras write RTP");
    let out = OutHeader {
        marker: header.marker,
        payload_type: header.payload_type,
        sequence: header.sequence,
        timestamp: header.timestamp,
        ssrc,
    };
    let mut bytes = vec![0; packet.len() + 100];
    let mut writer = HeaderWriter::new(&mut bytes, &out);
    for (kind, value) in [(ExtensionKind::Mid, mid), (ExtensionKind::Rid, rid)] {
        if let (Some(id), Some(value)) = (ids.id(kind), value) {
            assert!(writer.extension(id, value.as_bytes()));
        }
    }
    let len = writer.finish();
    bytes.truncate(len);
    bytes.extend_from_slice(header.payload(packet));
    bytes
}

/// The offer with other attributes in its m-lines, and no streams of `str0m`'s.
fn describe(offer: &str, lines: &[Vec<String>]) -> String {
    let mut out = String::new();
    let mut added = lines.iter();
    for line in offer.split_inclusive("\r\n") {
        if line.starts_with("a=ssrc") {
            continue;
        }
        out.push_str(line);
        if line.starts_with("a=mid:") {
            for attribute in added.next().into_iter().flatten() {
                out.push_str(attribute);
                out.push_str("\r\n");
            }
        }
    }
    out
}

fn values<'a>(offer: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    offer
        .lines()
        .filter_map(move |line| line.strip_prefix(prefix))
}

fn extensions(offer: &str) -> ExtensionMap {
    let mut ids = ExtensionMap::default();
    for line in values(offer, "a=extmap:") {
        let Some((id, uri)) = line.split_once(' ') else {
            continue;
        };
        if let (Ok(id), Some(kind)) = (id.parse(), ExtensionKind::from_uri(uri))
            && matches!(kind, ExtensionKind::Mid | ExtensionKind::Rid)
        {
            ids.insert(id, kind);
        }
    }
    ids
}

fn payload_type(offer: &str) -> u8 {
    let vp8 = values(offer, "a=rtpmap:").find_map(|line| line.strip_suffix(" VP8/90000"));
    vp8.expect("VP8 is offered").parse().expect("a number")
}
