//! Tests that switch layers at random while packets are lost, repeated and reordered: a decoder may be shown every
//! stream that a viewer is sent. They use a real publisher and slot, without a network between.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

mod truth;

use truth::{Truth, Wrong};

use crate::cache::CacheShare;
use crate::egress::{Forwarder, Plan, Slot, SlotSeed, SourceTrack};
use crate::event::MediaKind;
use crate::id::{PeerId, RoomId, TrackId};
use crate::index::{PeerIx, TrackIx};
use crate::ingress::{Publisher, Receipt};
use crate::packet::{Packet, PacketInfo};
use crate::rtp::RtpHeader;
use crate::rtp::codec::Codec;
use crate::rtp::extension::{ExtensionKind, ExtensionMap};
use crate::rtp::parameters::{
    CodecFormat, CodecParameters, Feedback, MediaRole, SectionKind, SectionParameters,
};
use crate::testing::{
    LayerConfig, MediaSource, Oracle, OracleReport, Scalability, VideoConfig, epoch,
};
use crate::track::ladder::LayerId;
use crate::track::{Track, Tracks};

const SSRC: u32 = 10;
const FRAME: Duration = Duration::from_micros(33_333);
/// The viewer's id of the extension with the name of the m-line.
const MID: u8 = 6;

#[derive(Clone, Copy, Debug)]
struct Form {
    codec: Codec,
    streams: u8,
    spatial: u8,
    temporal: u8,
    inter_layer: bool,
}

/// Chances in a thousand.
#[derive(Clone, Copy, Debug, Default)]
struct Network {
    loss: u32,
    /// Chance that a lost packet is repaired.
    repaired: u32,
    duplicates: u32,
    late: u32,
    loss_to_viewer: u32,
}

struct Rig {
    form: Form,
    source: MediaSource,
    publisher: Publisher,
    tracks: Tracks,
    track: TrackIx,
    slot: Slot,
    oracle: Oracle,
    truth: Truth,
    /// The newest packet of the viewer's stream, and the packets asked for again with the number of requests.
    highest: Option<u16>,
    missing: BTreeMap<u16, (Instant, u32)>,
    /// Packets on their way.
    coming: BTreeMap<(Instant, u64), Vec<u8>>,
    count: u64,
    asked: BTreeSet<usize>,
    network: Network,
    rng: StdRng,
}

fn media(form: Form, role: MediaRole, extensions: ExtensionMap) -> SectionParameters {
    let parameters = match form.codec {
        Codec::Vp9 => CodecParameters::Vp9 { profile: 0 },
        Codec::Av1 => CodecParameters::Av1 {
            profile: 0,
            level_idx: 5,
            tier: 0,
        },
        Codec::H264 => CodecParameters::H264 {
            profile_level_id: [0x42, 0xe0, 0x1f],
            packetization_mode: 1,
        },
        _ => CodecParameters::Vp8,
    };
    let rids = ["q", "h", "f"].map(str::to_owned);
    SectionParameters {
        mid: "0".to_owned(),
        kind: SectionKind::Video,
        role,
        codecs: vec![CodecFormat {
            payload_type: 96,
            codec: form.codec,
            parameters,
            rtx: Some(97),
            feedback: Feedback::default(),
        }],
        extensions,
        rids: if form.streams > 1 {
            rids.to_vec()
        } else {
            Vec::new()
        },
        ssrcs: Vec::new(),
        sim: Vec::new(),
        rid_bounds: Vec::new(),
        slot: None,
    }
}

impl Rig {
    fn new(form: Form, network: Network, seed: u64) -> Self {
        let mut extensions = ExtensionMap::default();
        extensions.insert(1, ExtensionKind::Mid);
        extensions.insert(2, ExtensionKind::Rid);
        extensions.insert(3, ExtensionKind::DependencyDescriptor);
        let mut layers = LayerConfig::simulcast(SSRC);
        layers.drain(..layers.len() - usize::from(form.streams));
        for (layer, rid) in layers.iter_mut().zip(["q", "h", "f"]) {
            layer.rid = (form.streams > 1).then(|| rid.to_owned());
            layer.bitrate = layer.bitrate.min(600_000);
        }
        let config = VideoConfig {
            layers,
            payload_type: 96,
            mid: "0".to_owned(),
            extensions,
            frames_per_second: 30,
            temporal_layers: form.temporal,
            seed,
        };
        let source = if form.codec == Codec::Vp8 {
            MediaSource::vp8(epoch(), config)
        } else {
            let scalability = Scalability {
                codec: form.codec,
                spatial_layers: form.spatial,
                temporal_layers: form.temporal,
                inter_layer: form.inter_layer,
            };
            MediaSource::layered(epoch(), config, scalability)
        };
        let mut publisher = Publisher::new(epoch(), 0, CacheShare::default());
        let published = media(form, MediaRole::Publish, extensions);
        let id = TrackId::new(1, 1);
        let owner = (RoomId::new(1, 1), PeerId::new(0, 1), PeerIx::from(0));
        let track = Track::published(id, MediaKind::Video, &published, owner);
        let mut tracks = Tracks::default();
        let track = publisher.publish(&mut tracks, track, &published);
        let mut theirs = ExtensionMap::default();
        theirs.insert(5, ExtensionKind::DependencyDescriptor);
        theirs.insert(MID, ExtensionKind::Mid);
        let mut slot = Slot::new(
            MediaKind::Video,
            SlotSeed {
                ssrc: 77,
                rtx_ssrc: Some(78),
                sequence: 65_000,
                rtx_sequence: 0,
                timestamp: u32::MAX - 90_000,
            },
            media(form, MediaRole::Slot, theirs),
            CacheShare::default(),
        );
        slot.assign(&SourceTrack {
            id,
            kind: MediaKind::Video,
            publisher: PeerId::new(0, 1),
            index: track,
            codecs: published.codecs,
        });
        let order = tracks.get(track).unwrap().order();
        slot.forwarder.as_mut().unwrap().set_order(order);
        Self {
            form,
            source,
            publisher,
            tracks,
            track,
            slot,
            oracle: Oracle::new(form.codec).with_extensions(&theirs),
            truth: Truth::default(),
            highest: None,
            missing: BTreeMap::new(),
            coming: BTreeMap::new(),
            count: 0,
            asked: BTreeSet::new(),
            network,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    fn chance(&mut self, of_a_thousand: u32) -> bool {
        self.rng.random_range(0..1_000) < of_a_thousand
    }

    fn forwarder(&mut self) -> &mut Forwarder {
        self.slot.forwarder.as_mut().unwrap()
    }

    fn random_target(&mut self) -> Option<LayerId> {
        let spatial = self.form.streams.max(self.form.spatial);
        let target = LayerId {
            spatial: self.rng.random_range(0..spatial),
            temporal: self.rng.random_range(0..self.form.temporal),
        };
        (!self.chance(100)).then_some(target)
    }

    /// Runs for the time of a picture.
    fn picture(&mut self, now: Instant) {
        while let Some(packet) = self.source.poll_packet(now) {
            let network = self.network;
            if self.chance(network.loss) {
                if self.chance(network.repaired) {
                    let repair = Duration::from_millis(self.rng.random_range(30..120));
                    self.come(now + repair, packet);
                }
                continue;
            }
            if self.chance(network.duplicates) {
                let delay = Duration::from_millis(self.rng.random_range(0..50));
                self.come(now + delay, packet.clone());
            }
            let delay = if self.chance(network.late) {
                Duration::from_millis(self.rng.random_range(0..90))
            } else {
                Duration::ZERO
            };
            self.come(now + delay, packet);
        }
        while let Some(entry) = self.coming.first_entry()
            && entry.key().0 <= now
        {
            let mut packet = entry.remove();
            self.receive(now, &mut packet);
        }
        self.repair(now);
        // A request takes some time.
        for layer in std::mem::take(&mut self.asked) {
            self.source
                .request_keyframe(SSRC + self.first_ssrc() + layer as u32);
        }
    }

    fn first_ssrc(&self) -> u32 {
        3 - u32::from(self.form.streams)
    }

    fn come(&mut self, at: Instant, packet: Vec<u8>) {
        self.count += 1;
        self.coming.insert((at, self.count), packet);
    }

    fn receive(&mut self, now: Instant, datagram: &mut [u8]) {
        let Receipt::Media(media) = self.publisher.receive(now, &mut self.tracks, datagram) else {
            return;
        };
        let track = self.tracks.get(self.track).unwrap();
        let info = PacketInfo {
            header: media.header,
            codec: media.codec,
            track: track.id,
            layer: media.layer,
            sequence: media.sequence,
            switchable: media.keyframe,
            cached: true,
            sender: track.layers[media.layer].sender,
            described: media.described,
            passed_on: media.passed_on,
        };
        let packet = Packet {
            datagram,
            info: &info,
        };
        if let Some(start) = self.plan(now, &packet).replay {
            let track = self.tracks.get(self.track).unwrap();
            let cached_since = track.layers[start.layer].cached_since(start.sequence);
            let sequences: Vec<u64> = cached_since.map(|(sequence, _)| sequence).collect();
            for sequence in sequences {
                self.with_cached(start.layer, sequence, |rig, packet| {
                    rig.plan(now, packet);
                });
            }
        }
    }

    fn with_cached(&mut self, layer: usize, sequence: u64, f: impl FnOnce(&mut Self, &Packet<'_>)) {
        let track = self.tracks.get(self.track).unwrap();
        let ssrc = track.layers[layer].ssrc.unwrap();
        let Some((datagram, info)) = track.cached(layer, ssrc, sequence) else {
            return;
        };
        let datagram = datagram.to_vec();
        let packet = Packet {
            datagram: &datagram,
            info: &info,
        };
        f(self, &packet);
    }

    fn plan(&mut self, now: Instant, packet: &Packet<'_>) -> Plan {
        let mut plan = Plan::default();
        self.slot.plan(now, packet, &mut plan);
        self.asked.extend(plan.keyframe_of);
        if plan.switched {
            self.truth.begin(packet);
        }
        if let Some(outgoing) = &plan.outgoing {
            let bytes = self.slot.write(outgoing, packet);
            self.truth.sent(packet, &bytes);
            self.towards_viewer(now, &bytes);
        } else if self.forwarder().selector.stream() == Some(packet.layer) && plan.replay.is_none()
        {
            self.truth.left_out(packet);
        }
        plan
    }

    fn towards_viewer(&mut self, now: Instant, bytes: &[u8]) {
        let sequence = RtpHeader::parse(bytes).unwrap().sequence;
        if let Some(highest) = self.highest
            && sequence.wrapping_sub(highest) < 0x8000
        {
            let mut missing = highest.wrapping_add(1);
            while missing != sequence && sequence.wrapping_sub(missing) < 0x8000 {
                self.missing.insert(missing, (now, 0));
                missing = missing.wrapping_add(1);
            }
        }
        if self
            .highest
            .is_none_or(|highest| sequence.wrapping_sub(highest) < 0x8000)
        {
            self.highest = Some(sequence);
        }
        if self.chance(self.network.loss_to_viewer) {
            self.missing.entry(sequence).or_insert((now, 0));
            return;
        }
        self.missing.remove(&sequence);
        self.oracle.observe(bytes, now);
    }

    /// Asks for the packets that the viewer lacks.
    fn repair(&mut self, now: Instant) {
        let mut ask = Vec::new();
        self.missing.retain(|sequence, (since, times)| {
            if now >= *since + FRAME * (*times + 1) {
                *times += 1;
                ask.push(*sequence);
            }
            *times < 10
        });
        let mut repairs = Vec::new();
        self.slot.locate(now, Some(FRAME), &ask, &mut repairs);
        for repair in repairs {
            self.with_cached(repair.layer, repair.sequence, |rig, packet| {
                if let Some(bytes) = rig.slot.write_again(&repair, packet) {
                    rig.truth.sent(packet, &bytes);
                    rig.towards_viewer(now, &bytes);
                }
            });
        }
    }
}

/// Runs so many switches. Returns the oracle's report, further faults, and the number of switches completed.
fn run(
    form: Form,
    network: Network,
    switches: usize,
    seed: u64,
) -> (OracleReport, Vec<Wrong>, usize) {
    let mut rig = Rig::new(form, network, seed);
    let (mut now, mut reached) = (epoch(), 0);
    for _ in 0..switches {
        let target = rig.random_target();
        rig.forwarder().set_target(target);
        if rig.chance(50) {
            rig.asked.insert(0);
        }
        for _ in 0..rig.rng.random_range(1..20) {
            now += FRAME;
            rig.picture(now);
        }
        reached += usize::from(rig.forwarder().current() == target);
    }
    (rig.oracle.finish(), rig.truth.finish(), reached)
}

const FORMS: [(&str, Form); 11] = {
    const fn form(codec: Codec, streams: u8, spatial: u8, temporal: u8, inter: bool) -> Form {
        Form {
            codec,
            streams,
            spatial,
            temporal,
            inter_layer: inter,
        }
    }
    [
        ("VP8 simulcast", form(Codec::Vp8, 3, 1, 1, false)),
        ("VP8 L1T3", form(Codec::Vp8, 1, 1, 3, false)),
        ("VP8 simulcast of L1T3", form(Codec::Vp8, 3, 1, 3, false)),
        ("VP9 L1T3", form(Codec::Vp9, 1, 1, 3, false)),
        ("VP9 L3T3", form(Codec::Vp9, 1, 3, 3, true)),
        ("VP9 L3T3_KEY", form(Codec::Vp9, 1, 3, 3, false)),
        ("VP9 simulcast", form(Codec::Vp9, 3, 1, 3, false)),
        ("AV1 L3T3", form(Codec::Av1, 1, 3, 3, true)),
        ("AV1 L3T3_KEY", form(Codec::Av1, 1, 3, 3, false)),
        ("AV1 simulcast", form(Codec::Av1, 3, 1, 2, false)),
        ("H.264 simulcast", form(Codec::H264, 3, 1, 3, false)),
    ]
};

/// Without loss everything sent is shown, nothing is missing, and switches complete.
#[test]
fn a_clean_network_shows_all() {
    for (name, form) in FORMS {
        let (report, wrong, reached) = run(form, Network::default(), 300, 1);
        assert_eq!(
            (&report.violations[..], &wrong[..]),
            (&[][..], &[][..]),
            "{name}"
        );
        assert_eq!((report.lost, report.duplicates), (0, 0), "{name}");
        assert_eq!(report.frames, report.decodable_frames, "{name}");
        assert!(reached > 200, "{name}: {reached} of 300");
    }
}

/// Firefox takes a repair for nobody's if no MID has come with its SSRC, and has none for the media's any more.
#[test]
fn a_repair_names_its_m_line_when_media_does_not_any_more() {
    for (name, form) in FORMS {
        let mut rig = Rig::new(form, Network::default(), 3);
        rig.slot.report_received(0);
        let target = LayerId {
            spatial: form.streams.max(form.spatial) - 1,
            temporal: form.temporal - 1,
        };
        rig.forwarder().set_target(Some(target));
        let mut now = epoch();
        for _ in 0..60 {
            now += FRAME;
            rig.picture(now);
        }
        let lost = rig.highest.unwrap();
        let mut repairs = Vec::new();
        rig.slot.locate(now, Some(FRAME), &[lost], &mut repairs);
        assert_eq!(repairs.len(), 1, "{name}");
        let mut named = None;
        for repair in repairs {
            rig.with_cached(repair.layer, repair.sequence, |rig, packet| {
                let bytes = rig.slot.write_again(&repair, packet).unwrap();
                let header = RtpHeader::parse(&bytes).unwrap();
                named = header.extension(&bytes, MID).map(<[u8]>::to_vec);
            });
        }
        assert_eq!(named.as_deref(), Some(&b"0"[..]), "{name}");
    }
}

/// A picture of which waiting packets are dropped goes on with a keyframe, though its layer stays.
#[test]
fn a_picture_that_is_shed_goes_on_with_a_keyframe() {
    for (name, form) in FORMS {
        let mut rig = Rig::new(form, Network::default(), 2);
        let target = LayerId {
            spatial: form.streams.max(form.spatial) - 1,
            temporal: form.temporal - 1,
        };
        rig.forwarder().set_target(Some(target));
        let mut now = epoch();
        for _ in 0..60 {
            now += FRAME;
            rig.picture(now);
        }
        assert_eq!(rig.forwarder().current(), Some(target), "{name}");
        let dropped = rig.highest.unwrap();
        let keyframes = rig.oracle.report().keyframes;
        rig.slot.shed(now);
        // Packets that were dropped are not sent again: the keyframe replaces them.
        let mut repairs = Vec::new();
        rig.slot.locate(now, Some(FRAME), &[dropped], &mut repairs);
        assert_eq!(repairs, [], "{name}");
        let before = rig.highest;
        while rig.highest == before {
            assert_eq!(rig.oracle.report().keyframes, keyframes, "{name}");
            now += FRAME;
            rig.picture(now);
        }
        assert_eq!(rig.oracle.report().keyframes, keyframes + 1, "{name}");
        for _ in 0..60 {
            now += FRAME;
            rig.picture(now);
        }
        assert_eq!(rig.forwarder().current(), Some(target), "{name}");
        let report = rig.oracle.finish();
        assert_eq!(
            (report.lost, report.frames),
            (0, report.decodable_frames),
            "{name}"
        );
    }
}

/// Switches of each form and round: 10,000 of a form in all, fewer where they take long.
const SWITCHES: usize = if cfg!(debug_assertions) { 100 } else { 1_000 };
const ROUNDS: usize = 10;

/// The network of a round; the rounds cover all combinations of faults.
fn bad_network(round: usize) -> Network {
    Network {
        loss: [0, 5, 20, 50, 100][round % 5],
        repaired: [1_000, 900][round % 2],
        duplicates: [0, 20, 100][round % 3],
        late: [0, 30, 200, 500][round % 4],
        loss_to_viewer: [0, 0, 30][round % 3],
    }
}

#[test]
fn random_switches_on_bad_networks_break_no_decoder() {
    let mut failures = Vec::new();
    for (index, (name, form)) in (0..).zip(FORMS) {
        let (mut frames, mut shown) = (0, 0);
        for round in 0..ROUNDS {
            let network = bad_network(round);
            let seed = 1_000 * index + round as u64;
            let (report, wrong, _) = run(form, network, SWITCHES, seed);
            if report.violation_count > 0 || !wrong.is_empty() {
                let first = (report.violations.first().copied(), wrong.first().copied());
                failures.push((name, seed, report.violation_count, wrong.len(), first));
            }
            let decodable = report.decodable_frames;
            assert!(
                decodable > 100,
                "{name}, seed {seed}, {network:?}: {report:?}"
            );
            frames += report.frames;
            shown += decodable;
        }
        println!(
            "{name}: {} switches, {frames} frames, {shown} shown",
            SWITCHES * ROUNDS
        );
    }
    assert_eq!(failures, []);
}
