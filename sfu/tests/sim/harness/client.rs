//! A `str0m` client: an implementation of WebRTC that shares no code with ours.

pub(crate) mod hand;
mod place;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::bwe::BweKind;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::media::{
    Direction, KeyframeRequestKind, MediaKind, Mid, Rid, Simulcast, SimulcastLayer,
};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tertulia_sfu::rtp::codec::Codec;
use tertulia_sfu::rtp::extension::{AudioLevel, ExtensionMap};
use tertulia_sfu::rtp::{HeaderWriter, OutHeader, RtpHeader};
use tertulia_sfu::testing::network::{Datagram, Path, PathModel};
use tertulia_sfu::testing::{
    AudioConfig, LayerConfig, MediaSource, Oracle, OracleReport, VideoConfig,
};
use tertulia_sfu::{Answer, Needs, PeerId, SfuError, Slot, TrackId};

use super::coding::{Coding, Turning, Video};
use super::encoders::Encoders;
use super::hearing::Hearing;
use super::remb::Receiver;
use super::screen::Screen;
use super::sound::{self, Sound};
use super::stream::Stream;

/// One client with its path to the relay.
pub(crate) struct Client {
    pub(crate) peer: Option<PeerId>,
    /// Towards the relay.
    pub(crate) up: Path,
    /// The path from the relay.
    pub(crate) down: Path,
    pub(crate) connected_at: Option<Instant>,
    pub(crate) failed: bool,
    /// Does nothing any more, like a machine that lost power.
    pub(crate) frozen: bool,
    /// It is subscribed to everything.
    pub(crate) auto_subscribe: bool,
    /// Adds receiving m-lines when the relay asks for them.
    pub(crate) follows_needs: bool,
    /// The missing m-lines, as the relay last said.
    pub(crate) needs: Needs,
    /// It asks for a keyframe when no picture came for a while, as decoders do.
    pub(crate) wants_pictures: bool,
    /// It accepts that the beginning of a stream is lost.
    pub(crate) tolerates_lost_start: bool,
    /// It offers again when the relay asks for that.
    pub(crate) follows_renegotiation: bool,
    /// Times that it was asked.
    pub(crate) asked_to_offer: usize,
    renegotiates: bool,
    /// Its handling of a camera on its side.
    pub(crate) turning: Turning,
    pub(crate) slots: Vec<Slot>,
    pub(crate) published: Vec<TrackId>,
    /// Bytes of all datagrams received.
    pub(crate) datagram_bytes: u64,
    pub(crate) channels: BTreeMap<String, ChannelId>,
    pub(crate) messages: Vec<(String, Vec<u8>)>,
    pub(crate) streams: BTreeMap<u32, Stream>,
    pub(crate) keyframe_requests: usize,
    /// Sends the layers that the relay wants, and no others.
    pub(crate) obeys: bool,
    /// The layers of its video that the relay last wanted, lowest first.
    pub(crate) asked: Vec<bool>,
    /// It sends NACKs for audio (RFC 4585), and answers those of others.
    pub(crate) repairs_sound: bool,
    /// Its offers name no retransmission format (RFC 4588).
    pub(crate) without_rtx: bool,
    /// Its offers name no estimate of its own (`goog-remb`); it may send some.
    pub(crate) without_remb: bool,
    /// Replaces transport-wide feedback, which its offers then do not name.
    pub(crate) receiver: Option<Receiver>,
    /// The extension id of when a packet was sent.
    send_time: u8,
    /// The level of its audio.
    pub(crate) level: AudioLevel,
    /// Its last check that nominates.
    pub(crate) nomination: Vec<u8>,
    /// Its own; where it is seen from the relay may differ.
    pub(super) addr: SocketAddr,
    /// The address that the NAT before it gives it.
    mapped: SocketAddr,
    pub(super) rtc: Rtc,
    pub(super) wake_at: Instant,
    pub(super) now: Instant,
    epoch: Instant,
    pub(super) sources: Vec<Source>,
    wanted: Vec<(MediaKind, Direction, Option<Simulcast>)>,
    /// Labels of the channels to open, and their protocol.
    wants_channels: Vec<(&'static str, &'static str)>,
    restarts_ice: bool,
    turned: Vec<(Mid, Direction)>,
    idle: Vec<Source>,
    first_sequence: u64,
    /// Layers that it sends by its own estimate.
    pub(super) layers_active: BTreeMap<&'static str, bool>,
    /// SSRCs that need a keyframe; used by clients made by hand.
    plis: Vec<u32>,
    seed: u64,
}

pub(super) struct Source {
    pub(super) kind: MediaKind,
    pub(super) mid: Option<Mid>,
    pub(super) media: MediaSource,
    pub(super) coding: Coding,
    /// Its encoders behave as a browser's.
    pub(super) encoders: Option<Encoders>,
    /// The source's SSRCs stand for RIDs here; on the wire `str0m` uses its own.
    pub(super) layers: Vec<Layer>,
}

pub(super) struct Layer {
    pub(super) ssrc: u32,
    pub(super) rid: Option<Rid>,
    next_sequence: u64,
    sent: Sent,
}

/// A client's counters for a layer it sends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// Bytes of payload, without retransmissions.
    pub(crate) bytes: u64,
    pub(crate) last_at: Option<Instant>,
}

/// Payload types of sources are replaced by the negotiated ones; these only name the codec.
const SOURCE_PAYLOAD_TYPE: u8 = 96;

impl Client {
    pub(crate) fn new(epoch: Instant, now: Instant, number: u8, seed: u64) -> Self {
        let addr = SocketAddr::from(([10, 0, 1, number], 5_000));
        let mut rtc = RtcConfig::new().set_rtp_mode(true).build(now);
        let candidate = Candidate::host(addr, "udp").expect("a valid candidate");
        rtc.add_local_candidate(candidate);
        Self {
            peer: None,
            up: Path::new(PathModel::LAN, seed),
            down: Path::new(PathModel::LAN, seed.wrapping_mul(31)),
            connected_at: None,
            failed: false,
            frozen: false,
            auto_subscribe: true,
            follows_needs: true,
            needs: Needs::default(),
            wants_pictures: false,
            tolerates_lost_start: false,
            follows_renegotiation: true,
            asked_to_offer: 0,
            renegotiates: false,
            turning: Turning::default(),
            slots: Vec::new(),
            published: Vec::new(),
            datagram_bytes: 0,
            channels: BTreeMap::new(),
            messages: Vec::new(),
            streams: BTreeMap::new(),
            keyframe_requests: 0,
            obeys: false,
            asked: Vec::new(),
            level: AudioLevel {
                voice: true,
                level: 30,
            },
            addr,
            mapped: addr,
            nomination: Vec::new(),
            rtc,
            wake_at: now,
            now,
            epoch,
            repairs_sound: false,
            without_rtx: false,
            without_remb: false,
            receiver: None,
            send_time: 0,
            sources: Vec::new(),
            wanted: Vec::new(),
            wants_channels: Vec::new(),
            restarts_ice: false,
            turned: Vec::new(),
            idle: Vec::new(),
            first_sequence: 1,
            layers_active: BTreeMap::new(),
            plis: Vec::new(),
            seed,
        }
    }

    /// Prepares other ICE credentials for the next offer.
    pub(crate) fn restart_ice(&mut self) {
        self.restarts_ice = true;
    }

    /// Whether it publishes anything of a kind.
    pub(crate) fn publishes(&self, kind: MediaKind) -> bool {
        self.sources.iter().any(|source| source.kind == kind)
    }

    /// Prepares the end of the tracks of a kind for the next offer.
    pub(crate) fn unpublish(&mut self, kind: MediaKind) {
        let sources = std::mem::take(&mut self.sources).into_iter();
        let (gone, kept): (Vec<_>, _) = sources.partition(|source| source.kind == kind);
        self.sources = kept;
        let mids = gone.iter().filter_map(|source| source.mid);
        self.turned
            .extend(mids.map(|mid| (mid, Direction::Inactive)));
        self.idle.extend(gone);
    }

    /// Prepares to publish the unpublished tracks again, on the same m-lines.
    pub(crate) fn republish(&mut self, now: Instant) {
        for mut source in self.idle.drain(..) {
            // Packets of the time in between are dropped.
            while source.media.poll_packet(now).is_some() {}
            for layer in &source.layers {
                source.media.request_keyframe(layer.ssrc);
            }
            let mid = source.mid.into_iter();
            self.turned
                .extend(mid.map(|mid| (mid, Direction::SendOnly)));
            self.sources.push(source);
        }
    }

    /// Streams published from now on begin with this sequence number.
    pub(crate) fn begin_at(&mut self, sequence: u16) {
        self.first_sequence = sequence.into();
    }

    /// Prepares a microphone for the next offer.
    pub(crate) fn publish_audio(&mut self) {
        self.wanted
            .push((MediaKind::Audio, Direction::SendOnly, None));
        self.seed += 1;
        let config = AudioConfig {
            ssrc: 1,
            payload_type: SOURCE_PAYLOAD_TYPE,
            mid: String::new(),
            extensions: ExtensionMap::default(),
            seed: self.seed,
        };
        let layers = vec![Layer {
            ssrc: 1,
            rid: None,
            next_sequence: self.first_sequence,
            sent: Sent::default(),
        }];
        let media = MediaSource::opus(self.wake_at, config);
        self.sources.push(Source {
            kind: MediaKind::Audio,
            coding: Coding::sound(),
            encoders: None,
            mid: None,
            media,
            layers,
        });
    }

    /// Prepares a camera for the next offer.
    pub(crate) fn publish_video(&mut self, video: Video) {
        let simulcast = (video == Video::Simulcast).then(|| {
            let mut simulcast = Simulcast::new();
            for rid in ["q", "h", "f"] {
                simulcast.add_send_layer(SimulcastLayer::new(rid));
            }
            simulcast
        });
        self.wanted
            .push((MediaKind::Video, Direction::SendOnly, simulcast));
        self.seed += 1;
        let layers = LayerConfig::simulcast(1);
        let layers = match video {
            Video::Single => layers
                .into_iter()
                .filter(|layer| layer.width == 640)
                .collect(),
            Video::Simulcast => layers,
        };
        let named = |layer: &LayerConfig| Layer {
            ssrc: layer.ssrc,
            rid: layer
                .rid
                .as_deref()
                .filter(|_| video == Video::Simulcast)
                .map(Rid::from),
            next_sequence: self.first_sequence,
            sent: Sent::default(),
        };
        let config = VideoConfig {
            layers,
            payload_type: SOURCE_PAYLOAD_TYPE,
            mid: String::new(),
            extensions: ExtensionMap::default(),
            frames_per_second: 30,
            temporal_layers: 1,
            seed: self.seed,
        };
        self.sources.push(Source {
            kind: MediaKind::Video,
            mid: None,
            layers: config.layers.iter().map(named).collect(),
            media: MediaSource::vp8(self.wake_at, config.clone()),
            coding: Coding::video(config),
            encoders: None,
        });
    }

    /// Prepares receiving m-lines for the next offer.
    pub(crate) fn receive(&mut self, audio: u16, video: u16) {
        let lines = (0..audio)
            .map(|_| MediaKind::Audio)
            .chain((0..video).map(|_| MediaKind::Video));
        self.wanted
            .extend(lines.map(|kind| (kind, Direction::RecvOnly, None)));
    }

    /// Prepares the two data channels for the next offer.
    pub(crate) fn open_channels(&mut self) {
        self.open_channel("reliable", "");
        self.open_channel("unreliable", "");
    }

    /// Prepares a data channel of a label and a protocol for the next offer.
    pub(crate) fn open_channel(&mut self, label: &'static str, protocol: &'static str) {
        self.wants_channels.push((label, protocol));
    }

    /// Offers the prepared changes and applies the relay's answer.
    pub(crate) fn negotiate(
        &mut self,
        now: Instant,
        relay: impl FnOnce(Option<PeerId>, &str) -> Result<(PeerId, Answer), SfuError>,
    ) {
        let (offer, pending) = self.offer();
        let (peer, answer) = relay(self.peer, &offer).expect("the relay answers");
        self.peer = Some(peer);
        self.accept(pending, &answer);
        self.settle(now);
    }

    /// The offer for the prepared changes.
    pub(crate) fn offer(&mut self) -> (String, SdpPendingOffer) {
        let mut api = self.rtc.sdp_api();
        if std::mem::take(&mut self.restarts_ice) {
            api.ice_restart(true);
        }
        for (mid, direction) in std::mem::take(&mut self.turned) {
            api.set_direction(mid, direction);
        }
        for (kind, direction, simulcast) in std::mem::take(&mut self.wanted) {
            let mid = api.add_media(kind, direction, None, None, simulcast);
            if direction == Direction::SendOnly {
                let mut waiting = self
                    .sources
                    .iter_mut()
                    .filter(|source| source.mid.is_none());
                if let Some(source) = waiting.find(|source| source.kind == kind) {
                    source.mid = Some(mid);
                }
            }
        }
        for (label, protocol) in std::mem::take(&mut self.wants_channels) {
            let ordered = label != "unreliable";
            let reliability = match ordered {
                true => Reliability::Reliable,
                false => Reliability::MaxRetransmits { retransmits: 0 },
            };
            api.add_channel_with_config(ChannelConfig {
                label: label.to_owned(),
                ordered,
                reliability,
                protocol: protocol.to_owned(),
                ..Default::default()
            });
        }
        let (offer, pending) = match api.apply() {
            Some(offer) => offer,
            None => self.offer_again(),
        };
        let mut offer = self.turning.offer(offer.to_sdp_string());
        if self.repairs_sound {
            offer = sound::offer_repair(&offer);
        }
        let lines = offer.split_inclusive("\r\n");
        let kept = lines.filter(|line| {
            let rtx = line.contains(" rtx/90000") || line.contains(" apt=");
            let numbers = line.contains("transport-cc") || line.contains("transport-wide-cc");
            let remb = line.contains("goog-remb") && self.without_remb;
            !(remb || rtx && self.without_rtx || numbers && self.receiver.is_some())
        });
        (kept.collect(), pending)
    }

    /// Whether it is to offer again, said once.
    pub(crate) fn takes_renegotiation(&mut self) -> bool {
        std::mem::take(&mut self.renegotiates) && !self.frozen
    }

    /// Whether it is to offer more receiving m-lines.
    pub(crate) fn wants_lines(&self) -> bool {
        self.follows_needs && !self.frozen && self.needs != Needs::default()
    }

    /// Handles an event from signaling.
    pub(crate) fn tell(&mut self, event: &tertulia_sfu::Event) {
        match event {
            tertulia_sfu::Event::NeedsChanged { needs, .. } => self.needs = *needs,
            tertulia_sfu::Event::LayersWanted { layers, .. } => {
                self.asked = layers.iter().map(|layer| layer.active).collect();
                if self.obeys {
                    self.send_layers(layers);
                }
            }
            tertulia_sfu::Event::RenegotiationWanted { .. } => {
                self.asked_to_offer += 1;
                self.renegotiates = self.follows_renegotiation;
            }
            tertulia_sfu::Event::SlotsChanged { slots, .. } => {
                for changed in slots {
                    if let Some(slot) = self.slots.iter_mut().find(|s| s.mid == changed.mid) {
                        slot.track = changed.track;
                    }
                }
            }
            _ => {}
        }
    }

    /// Applies the relay's answer.
    pub(crate) fn accept(&mut self, pending: SdpPendingOffer, answer: &Answer) {
        let sdp = SdpAnswer::from_sdp_string(&answer.sdp).expect("str0m reads the answer");
        self.rtc
            .sdp_api()
            .accept_answer(pending, sdp)
            .expect("str0m takes the answer");
        let mut lines = answer
            .sdp
            .lines()
            .map(|line| line.strip_prefix("a=extmap:"));
        let send_time = lines.find_map(|line| line?.strip_suffix("/abs-send-time"));
        let id = send_time.and_then(|line| line.split([' ', '/']).next()?.parse().ok());
        self.send_time = id.unwrap_or(0);
        self.needs = answer.needs;
        self.slots.clone_from(&answer.slots);
        self.published = answer
            .published
            .iter()
            .map(|published| published.track)
            .collect();
        self.follow_codecs(&answer.sdp);
    }

    /// Sends a data channel message.
    pub(crate) fn send(&mut self, label: &str, message: &[u8]) -> bool {
        let Some(id) = self.channels.get(label) else {
            return false;
        };
        let Some(mut channel) = self.rtc.channel(*id) else {
            return false;
        };
        channel.write(true, message).is_ok_and(|written| written)
    }

    /// The times at which it has something to do.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = Option<Instant>> + '_ {
        let sources = self.sources.iter().filter(|source| source.mid.is_some());
        let sources = sources
            .map(|source| Some(source.media.next_at()))
            .filter(|_| self.connected_at.is_some());
        sources.chain([Some(self.wake_at)])
    }

    /// Does everything that is due now.
    pub(crate) fn settle(&mut self, now: Instant) {
        self.now = now;
        if self.frozen {
            while self.down.receive(now).is_some() {}
            return;
        }
        self.drain(now);
        while let Some(datagram) = self.down.receive(now) {
            self.datagram_bytes += datagram.payload.len() as u64;
            if let Some(receiver) = &mut self.receiver {
                receiver.packet(now, &datagram.payload, self.send_time);
            }
            let Ok(contents) = datagram.payload.as_slice().try_into() else {
                continue;
            };
            let receive = Receive {
                proto: Protocol::Udp,
                source: datagram.from,
                destination: self.addr,
                contents,
            };
            self.rtc
                .handle_input(Input::Receive(now, receive))
                .expect("str0m takes a datagram");
            self.drain(now);
        }
        self.rtc
            .handle_input(Input::Timeout(now))
            .expect("str0m takes the time");
        self.drain(now);
        if self.connected_at.is_some() {
            self.send_media(now);
        }
    }

    fn send_media(&mut self, now: Instant) {
        for at in 0..self.sources.len() {
            self.sources[at].encode_as_browsers(now);
            while let Some(packet) = self.sources[at].media.poll_packet(now) {
                self.write(now, at, &packet);
                self.drain(now);
            }
        }
    }

    fn write(&mut self, now: Instant, at: usize, packet: &[u8]) {
        let source = &mut self.sources[at];
        let header = RtpHeader::parse(packet).expect("sources write RTP");
        let layer = source
            .layers
            .iter_mut()
            .find(|layer| layer.ssrc == header.ssrc);
        let (Some(mid), Some(layer)) = (source.mid, layer) else {
            return;
        };
        let wanted = source.coding.codec;
        let timestamp = source.coding.timestamp(now, header.timestamp);
        let Some(media) = self.rtc.media(mid) else {
            return;
        };
        let params = self.rtc.codec_config().params().to_vec();
        let negotiated = media.remote_pts().to_vec();
        let Some(pt) = params
            .iter()
            .find(|params| params.spec().codec == wanted && negotiated.contains(&params.pt()))
            .map(|params| params.pt())
        else {
            return;
        };
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(mid, layer.rid) else {
            return;
        };
        let write = RtpWrite::new(
            pt,
            layer.next_sequence.into(),
            timestamp,
            now,
            header.payload(packet),
        )
        .marker(header.marker)
        .nackable(source.kind == MediaKind::Video || self.repairs_sound);
        let write = match source.kind {
            MediaKind::Audio => write.ext_vals(ExtensionValues {
                audio_level: Some(-(self.level.level as i8)),
                voice_activity: Some(self.level.voice),
                ..ExtensionValues::default()
            }),
            MediaKind::Video => write.ext_vals(self.turning.extension()),
        };
        stream.write_rtp(write);
        layer.next_sequence += 1;
        layer.sent.bytes += header.payload(packet).len() as u64;
        layer.sent.last_at = Some(now);
    }

    fn drain(&mut self, now: Instant) {
        loop {
            match self.rtc.poll_output().expect("str0m goes on") {
                Output::Timeout(at) => {
                    self.wake_at = at.max(now + Duration::from_micros(100));
                    return;
                }
                Output::Transmit(transmit) => {
                    let payload = transmit.contents.to_vec();
                    if place::nominates(&payload) {
                        self.nomination.clone_from(&payload);
                    }
                    let rtcp = payload[0] >> 6 == 2 && (192..224).contains(&payload[1]);
                    if rtcp && self.receiver.as_ref().is_some_and(|receiver| receiver.mute) {
                        continue;
                    }
                    self.up.send(
                        now,
                        Datagram {
                            from: self.mapped,
                            to: transmit.destination,
                            payload,
                        },
                    );
                }
                Output::Event(event) => self.hear(now, event),
            }
        }
    }

    fn hear(&mut self, now: Instant, event: Event) {
        match event {
            Event::Connected => self.connected_at = Some(now),
            Event::RtpPacket(packet) => self.packet(now, &packet),
            Event::RawPacket(packet) => self.plis.extend(hand::keyframe_wanted(&packet)),
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => {
                self.fit_uplink(estimate.as_u64());
            }
            Event::KeyframeRequest(request) => {
                self.keyframe_requests += 1;
                for source in self
                    .sources
                    .iter_mut()
                    .filter(|source| source.mid == Some(request.mid))
                {
                    for layer in source
                        .layers
                        .iter()
                        .filter(|layer| layer.rid == request.rid)
                    {
                        source.media.request_keyframe(layer.ssrc);
                    }
                }
            }
            Event::ChannelOpen(id, label) => {
                self.channels.insert(label, id);
            }
            Event::ChannelData(data) => {
                let label = self
                    .channels
                    .iter()
                    .find(|(_, id)| **id == data.id)
                    .map(|(label, _)| label.clone());
                self.messages.push((label.unwrap_or_default(), data.data));
            }
            _ if !self.rtc.is_alive() => self.failed = true,
            _ => {}
        }
    }

    fn packet(&mut self, now: Instant, packet: &RtpPacket) {
        let header = &packet.header;
        let kind = header
            .ext_vals
            .mid
            .and_then(|mid| self.rtc.media(mid))
            .map(|media| media.kind());
        let ssrc = *header.ssrc;
        // Without a MID the clock rate tells: opus is the only codec at 48 kHz.
        let audio = kind.map_or(packet.time.frequency().get() == 48_000, |kind| {
            kind.is_audio()
        });
        let codec = match self.codec_of(header.payload_type) {
            _ if audio => Codec::Opus,
            codec => codec,
        };
        // `str0m` does not ask by itself where there is no RTX to answer by.
        if (self.without_rtx || self.repairs_sound && audio)
            && !self.streams.contains_key(&ssrc)
            && let Some(received) = self.rtc.direct_api().stream_rx(&header.ssrc)
        {
            received.suppress_nack(false);
        }
        let sound = Sound::of(header, &packet.payload);
        let mut bytes = vec![0; 12];
        let out = OutHeader {
            marker: header.marker,
            payload_type: sound.payload_type,
            sequence: header.sequence_number,
            timestamp: header.timestamp,
            ssrc,
        };
        HeaderWriter::new(&mut bytes, &out).finish();
        bytes.extend_from_slice(sound.payload);
        let stream = self.streams.entry(ssrc).or_insert_with(|| Stream {
            oracle: match self.tolerates_lost_start {
                true => Oracle::new(codec).tolerate_lost_start(),
                false => Oracle::new(codec),
            },
            codec,
            before: Vec::new(),
            mid: None,
            screen: Screen::default(),
            hearing: Hearing::default(),
            bytes: 0,
            packets: 0,
            last_at: now,
            sequence: header.sequence_number,
            ahead: VecDeque::new(),
            asked_at: None,
        });
        if stream.codec != codec {
            // Decoders begin anew with another codec.
            let oracle = std::mem::replace(&mut stream.oracle, Oracle::new(codec));
            stream.before.push(oracle.report().clone());
            stream.codec = codec;
        }
        stream.oracle.observe(&bytes, now);
        stream.mid = stream.mid.or(header.ext_vals.mid);
        self.turning.seen += u64::from(header.ext_vals.video_orientation.is_some());
        stream.packets += 1;
        stream.bytes += packet.payload.len() as u64;
        stream.last_at = now;
        stream.sequence = header.sequence_number;
        if codec == Codec::Opus {
            stream.hearing.packet(now, header.timestamp);
            for timestamp in sound.earlier {
                stream.hearing.packet(now, timestamp);
            }
        }
        if codec == Codec::Vp8 {
            let (sequence, time) = (header.sequence_number, header.timestamp);
            stream.screen.packet(now, sequence, time, &packet.payload);
        }
        if self.wants_pictures && stream.misses_pictures(now) {
            stream.asked_at = Some(now);
            if let Some(received) = self.rtc.direct_api().stream_rx(&header.ssrc) {
                received.request_keyframe(KeyframeRequestKind::Pli);
            }
        }
        if let Some(report) = &packet.last_sender_info {
            let rate = f64::from(packet.time.frequency().get());
            let ticks = header
                .timestamp
                .wrapping_sub(report.rtp_time.numer() as u32) as i32;
            let wall = report
                .ntp_time
                .duration_since(std::time::SystemTime::UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs_f64();
            let captured = wall + f64::from(ticks) / rate;
            stream
                .ahead
                .push_front(captured - (now - self.epoch).as_secs_f64());
            stream.ahead.truncate(64);
        }
    }

    /// The received video with the most packets.
    pub(crate) fn video(&self) -> Option<(u32, &Stream)> {
        let streams = self.streams.iter();
        let video = streams.filter(|(_, stream)| stream.codec != Codec::Opus);
        video
            .max_by_key(|(_, stream)| stream.packets)
            .map(|(ssrc, stream)| (*ssrc, stream))
    }

    /// The received stream of a track; none before its first packet.
    pub(crate) fn stream_of(&self, track: TrackId) -> Option<&Stream> {
        let slot = self.slots.iter().find(|slot| slot.track == Some(track))?;
        let mid = Some(Mid::from(slot.mid.as_str()));
        self.streams.values().find(|stream| stream.mid == mid)
    }

    /// Counters for each layer of its video that it sends, lowest first.
    pub(crate) fn video_sent(&self) -> Vec<Sent> {
        let video = self.sources.iter();
        let video = video.filter(|source| source.kind == MediaKind::Video);
        let layers = video.flat_map(|source| &source.layers);
        layers.map(|layer| layer.sent).collect()
    }

    /// The oracle's report on each received stream.
    pub(crate) fn reports(&self) -> Vec<(u32, OracleReport)> {
        self.streams
            .iter()
            .map(|(ssrc, stream)| (*ssrc, stream.oracle.report().clone()))
            .collect()
    }
}
