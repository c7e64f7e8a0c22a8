//! A run with `str0m` as the sender: its estimator, its pacer, its repair, and the layer that a plain
//! relay would choose by that estimate.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::bwe::{Bitrate, BweKind};
use str0m::change::SdpOffer;
use str0m::media::{MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tertulia_sfu::rtp::RtpHeader;
use tertulia_sfu::rtp::codec::vp8::{self, Descriptor};
use tertulia_sfu::rtp::extension::ExtensionMap;
use tertulia_sfu::testing::network::Datagram;
use tertulia_sfu::testing::{AudioConfig, LayerConfig, MediaSource, VideoConfig};
use tertulia_sfu::{Answer, Needs, PeerId};

use super::figures::{Figures, LAYERS, STEP, Sampler, needs};
use super::{Case, Kind};
use crate::harness::Client;

/// Initial estimate in the examples of str0m's documentation.
const INITIAL: Bitrate = Bitrate::kbps(300);

pub(super) fn run(case: &Case, seed: u64) -> Figures {
    let script = case.script();
    let start = Instant::now();
    let mut now = start;
    let mut client = Client::new(start, now, 1, seed);
    client.tolerates_lost_start = true;
    client.wants_pictures = true;
    client.follows_needs = false;
    client.receive(1, u16::from(case.kind != Kind::Sound));
    client.up.set_model(script.start.up);
    client.down.set_model(script.start.down);
    let mut sender = Sender::new(now, case.kind, seed);
    client.negotiate(now, |_, offer| {
        Ok((PeerId::from_u64(1), sender.answer(offer)))
    });
    let mut playback = script.play(start);
    let mut link = script.start.down;
    let mut sampler = Sampler::new(case, start);
    let mut sample_at = start + STEP;
    let end = start + Duration::from_secs(case.seconds);
    while now < end {
        while let Some(change) = playback.poll(now) {
            client.up.set_model_at(now, change.models.up);
            client.down.set_model_at(now, change.models.down);
            link = change.models.down;
        }
        while let Some(datagram) = client.up.receive(now) {
            sender.receive(now, &datagram);
        }
        for datagram in sender.settle(now) {
            client.down.send(now, datagram);
        }
        client.settle(now);
        if now >= sample_at {
            sampler.sample(now, &mut client, link, sender.estimate);
            sample_at = now + STEP;
        }
        let paths = [client.up.next_arrival(), client.down.next_arrival()];
        let next = client.deadlines().chain(paths).flatten();
        let own = [Some(sender.next_at()), playback.next_at(), Some(sample_at)];
        let next = next.chain(own.into_iter().flatten()).min();
        now = next.map_or(end, |next| next.max(now)).min(end);
    }
    sampler.finish(now, &client)
}

struct Sender {
    rtc: Rtc,
    wake_at: Instant,
    connected: bool,
    estimate: Option<u64>,
    audio: MediaSource,
    video: Option<MediaSource>,
    /// The source's layers, lowest first, with the first timestamp and picture id of each.
    layers: [Layer; 3],
    current: Option<usize>,
    wanted: usize,
    /// Packets of the current layer's frame while it is not known whether the wanted layer begins with the same one;
    /// `passed` is the frame with which it does not.
    held: Vec<Frame>,
    passed: Option<u32>,
    audio_sequence: u64,
    video_sequence: u64,
    mids: Vec<(Mid, MediaKind)>,
    out: Vec<Datagram>,
}

/// A packet of it.
struct Frame {
    time: u32,
    marker: bool,
    payload: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
struct Layer {
    ssrc: u32,
    first: Option<(u32, u16)>,
}

impl Sender {
    fn new(now: Instant, kind: Kind, seed: u64) -> Self {
        let addr = SocketAddr::from(([10, 0, 0, 1], 10_000));
        let config = RtcConfig::new().set_rtp_mode(true);
        let mut rtc = config.enable_bwe(Some(INITIAL)).build(now);
        let candidate = Candidate::host(addr, "udp").expect("a valid candidate");
        rtc.add_local_candidate(candidate);
        let audio = AudioConfig {
            ssrc: 100,
            payload_type: 111,
            mid: String::new(),
            extensions: ExtensionMap::default(),
            seed,
        };
        let layers = LayerConfig::simulcast(1);
        let ssrcs = [layers[0].ssrc, layers[1].ssrc, layers[2].ssrc];
        let video = VideoConfig {
            layers,
            payload_type: 96,
            mid: String::new(),
            extensions: ExtensionMap::default(),
            frames_per_second: 30,
            temporal_layers: 1,
            seed: seed + 1,
        };
        Self {
            rtc,
            wake_at: now,
            connected: false,
            estimate: None,
            audio: MediaSource::opus(now, audio),
            video: (kind != Kind::Sound).then(|| MediaSource::vp8(now, video)),
            layers: ssrcs.map(|ssrc| Layer { ssrc, first: None }),
            current: None,
            wanted: 0,
            held: Vec::new(),
            passed: None,
            audio_sequence: 1,
            video_sequence: 1,
            mids: Vec::new(),
            out: Vec::new(),
        }
    }

    fn answer(&mut self, offer: &str) -> Answer {
        let offer = SdpOffer::from_sdp_string(offer).expect("str0m reads str0m");
        let answer = self.rtc.sdp_api().accept_offer(offer);
        self.want();
        Answer {
            sdp: answer.expect("str0m answers").to_sdp_string(),
            refused: Vec::new(),
            published: Vec::new(),
            slots: Vec::new(),
            needs: Needs::default(),
            offers: 1,
        }
    }

    fn next_at(&self) -> Instant {
        let video = self.video.as_ref().map(MediaSource::next_at);
        let media = [Some(self.audio.next_at()), video].into_iter().flatten();
        media.chain([self.wake_at]).min().unwrap_or(self.wake_at)
    }

    fn receive(&mut self, now: Instant, datagram: &Datagram) {
        let Ok(contents) = datagram.payload.as_slice().try_into() else {
            return;
        };
        let receive = Receive {
            proto: Protocol::Udp,
            source: datagram.from,
            destination: datagram.to,
            contents,
        };
        let input = Input::Receive(now, receive);
        self.rtc
            .handle_input(input)
            .expect("str0m takes a datagram");
        self.drain(now);
    }

    /// Does everything due, and returns the datagrams to send.
    fn settle(&mut self, now: Instant) -> Vec<Datagram> {
        let input = Input::Timeout(now);
        self.rtc.handle_input(input).expect("str0m takes the time");
        self.drain(now);
        while let Some(packet) = self.audio.poll_packet(now) {
            self.write_audio(now, &packet);
        }
        while let Some(packet) = self.video.as_mut().and_then(|video| video.poll_packet(now)) {
            self.write_video(now, &packet);
        }
        self.drain(now);
        std::mem::take(&mut self.out)
    }

    fn write_audio(&mut self, now: Instant, packet: &[u8]) {
        let header = RtpHeader::parse(packet).expect("sources write RTP");
        let sequence = self.audio_sequence;
        let payload = header.payload(packet).to_vec();
        if self.write(
            now,
            MediaKind::Audio,
            sequence,
            header.timestamp,
            header.marker,
            payload,
        ) {
            self.audio_sequence += 1;
        }
    }

    /// Sends packets of the current layer, and switches at a keyframe of the wanted one. All layers show the same
    /// frames, so that numbers continue from the first of each.
    fn write_video(&mut self, now: Instant, packet: &[u8]) {
        let header = RtpHeader::parse(packet).expect("sources write RTP");
        let mut payload = header.payload(packet).to_vec();
        let descriptor = Descriptor::parse(&payload).expect("sources write VP8");
        let layers = &mut self.layers;
        let Some(index) = layers.iter().position(|layer| layer.ssrc == header.ssrc) else {
            return;
        };
        let picture = descriptor.picture_id.unwrap_or_default();
        layers[index]
            .first
            .get_or_insert((header.timestamp, picture));
        if !self.connected {
            return;
        }
        let first = layers[index].first.unwrap_or_default();
        vp8::rewrite(
            &mut payload,
            &descriptor,
            picture.wrapping_sub(first.1) & 0x7fff,
            0,
        );
        let frame = Frame {
            time: header.timestamp.wrapping_sub(first.0),
            marker: header.marker,
            payload,
        };
        if self.current == Some(self.wanted) {
            self.send_held(now);
        } else if index == self.wanted && descriptor.start_of_frame {
            // Either the old layer's packets of this frame are sent, or the new one's.
            if descriptor.keyframe && self.passed == Some(frame.time) {
                self.ask(index);
            } else if descriptor.keyframe {
                self.held.clear();
                self.current = Some(index);
            } else {
                self.send_held(now);
                self.passed = Some(frame.time);
            }
        }
        if self.current != Some(index) {
            return;
        }
        let settled = self.current == Some(self.wanted) || self.passed == Some(frame.time);
        self.held.push(frame);
        if settled {
            self.send_held(now);
        }
    }

    fn send_held(&mut self, now: Instant) {
        for Frame {
            time,
            marker,
            payload,
        } in std::mem::take(&mut self.held)
        {
            let sequence = self.video_sequence;
            self.passed = Some(time);
            if self.write(now, MediaKind::Video, sequence, time, marker, payload) {
                self.video_sequence += 1;
            }
        }
    }

    fn write(
        &mut self,
        now: Instant,
        kind: MediaKind,
        sequence: u64,
        timestamp: u32,
        marker: bool,
        payload: Vec<u8>,
    ) -> bool {
        let Some(mid) = self.mid(kind) else {
            return false;
        };
        let wanted = match kind {
            MediaKind::Audio => str0m::format::Codec::Opus,
            MediaKind::Video => str0m::format::Codec::Vp8,
        };
        let Some(media) = self.rtc.media(mid) else {
            return false;
        };
        let negotiated = media.remote_pts().to_vec();
        let mut params = self.rtc.codec_config().params().iter();
        let of = params.find(|p| p.spec().codec == wanted && negotiated.contains(&p.pt()));
        let Some(pt) = of.map(|params| params.pt()) else {
            return false;
        };
        let write = RtpWrite::new(pt, sequence.into(), timestamp, now, payload);
        let write = write.marker(marker).nackable(kind == MediaKind::Video);
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(mid, None) else {
            return false;
        };
        stream.write_rtp(write);
        self.drain(now);
        true
    }

    fn mid(&self, kind: MediaKind) -> Option<Mid> {
        let mut mids = self.mids.iter();
        mids.find(|(_, of)| *of == kind).map(|(mid, _)| *mid)
    }

    fn drain(&mut self, now: Instant) {
        loop {
            match self.rtc.poll_output().expect("str0m goes on") {
                Output::Timeout(at) => {
                    self.wake_at = at.max(now + Duration::from_micros(100));
                    return;
                }
                Output::Transmit(transmit) => self.out.push(Datagram {
                    from: transmit.source,
                    to: transmit.destination,
                    payload: transmit.contents.to_vec(),
                }),
                Output::Event(event) => self.hear(event),
            }
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Connected => {
                self.connected = true;
                self.ask(self.wanted);
            }
            Event::MediaAdded(added) => self.mids.push((added.mid, added.kind)),
            Event::KeyframeRequest(_) => self.ask(self.current.unwrap_or(self.wanted)),
            Event::EgressBitrateEstimate(BweKind::Twcc { estimate, .. }) => {
                self.estimate = Some(estimate.as_u64());
                self.want();
            }
            _ => {}
        }
    }

    /// Wants the highest layer that fits the estimate, else the lowest, and probes for the next, as `set_bitrate`
    /// advises a relay.
    fn want(&mut self) {
        let estimate = self.estimate.unwrap_or(INITIAL.as_u64());
        let top = LAYERS.len() - 1;
        let (next, desired) = match self.video {
            None => (None, needs(None)),
            Some(_) => {
                let fits = (0..=top)
                    .rev()
                    .find(|layer| needs(Some(*layer)) <= estimate);
                let wanted = fits.unwrap_or(0);
                if wanted != self.wanted {
                    self.wanted = wanted;
                    self.ask(wanted);
                }
                (Some((wanted + 1).min(top)), needs(Some(top)))
            }
        };
        let minimum = Bitrate::from(needs(next));
        self.rtc.bwe().set_bitrate(minimum, Bitrate::from(desired));
    }

    fn ask(&mut self, layer: usize) {
        let ssrc = self.layers[layer].ssrc;
        if let Some(video) = &mut self.video {
            video.request_keyframe(ssrc);
        }
    }
}
