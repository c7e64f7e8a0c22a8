//! One publishing peer, and its packets' way into their tracks.

use std::time::{Duration, Instant};

use super::binding::{Binding, Bindings, identify, names_another};
use super::feedback::{ArrivalLog, FeedbackReport};
use super::throttle::Throttle;
use crate::cache::CacheShare;
use crate::clock::{ClockOffset, SenderClock};
use crate::drops::DropReason;
use crate::event::MediaKind;
use crate::index::TrackIx;
use crate::packet::{Described, PassedOn};
use crate::rtp::RtpHeader;
use crate::rtp::codec::{Codec, is_keyframe};
use crate::rtp::extension::{ExtensionKind, TransportCc};
use crate::rtp::parameters::SectionParameters;
use crate::rtp::rtcp::{self, ReportBlock, Rtcp, TICKS_PER_SECOND};
use crate::track::{Layer, Received, StreamPacket, Track, Tracks};

/// Interval of receiver reports. RFC 4585 lets video sessions report this often.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// The SSRC of the server's reports. A report needs one, though the server sends no media on it. libwebrtc uses the
/// same for receive-only senders.
const REPORTER_SSRC: u32 = 1;

/// The outcome of a datagram.
pub(crate) enum Receipt {
    /// A packet to be routed.
    Media(Media),
    /// A packet with nothing to forward: padding or a duplicate.
    Nothing,
    /// Dropped.
    Dropped(DropReason),
}

/// A packet to be routed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Media {
    pub(crate) track: TrackIx,
    /// Index of the layer.
    pub(crate) layer: usize,
    /// Unwrapped sequence number.
    pub(crate) sequence: u64,
    /// The packet's first byte in the datagram.
    pub(crate) start: usize,
    pub(crate) header: RtpHeader,
    pub(crate) codec: Codec,
    pub(crate) keyframe: bool,
    pub(crate) described: Described,
    pub(crate) passed_on: PassedOn,
    /// The track's first packet.
    pub(crate) first: bool,
    /// The first packet of a stream that replaced another on its layer.
    pub(crate) anew: bool,
    /// The layers to choose among, their order or their codec have changed.
    pub(crate) layers_changed: bool,
}

/// One publishing peer. Its tracks are in the worker's table, which the calls are given.
#[derive(Debug)]
pub(crate) struct Publisher {
    began: Instant,
    /// Its tracks, in the order in which they were published.
    tracks: Vec<TrackIx>,
    bindings: Bindings,
    throttle: Throttle,
    /// The memory for cached packets.
    caches: CacheShare,
    arrivals: ArrivalLog,
    /// The id of the transport-wide sequence number on any m-line: the sequence is the transport's, and BUNDLE makes
    /// the ids agree (RFC 8843 section 9.2).
    transport_cc: Option<u8>,
    report_at: Instant,
    /// SSRC of the last packet: transport-wide feedback has to name one.
    media_ssrc: u32,
    clock_offset: ClockOffset,
}

impl Publisher {
    /// A publisher without tracks. `bitrate` is the most it may send, in bits a second; 0 is no bound.
    pub(crate) fn new(now: Instant, bitrate: u64, caches: CacheShare) -> Self {
        Self {
            began: now,
            tracks: Vec::new(),
            bindings: Bindings::default(),
            throttle: Throttle::new(now, bitrate),
            caches,
            arrivals: ArrivalLog::default(),
            transport_cc: None,
            report_at: now + REPORT_INTERVAL,
            media_ssrc: 0,
            clock_offset: ClockOffset::default(),
        }
    }

    /// The indexes of its tracks.
    pub(crate) fn indexes(&self) -> &[TrackIx] {
        &self.tracks
    }

    /// Its tracks with their indexes.
    pub(crate) fn tracks<'a>(
        &'a self,
        tracks: &'a Tracks,
    ) -> impl Iterator<Item = (TrackIx, &'a Track)> + Clone {
        let indexes = self.tracks.iter();
        indexes.filter_map(move |index| Some((*index, tracks.get(*index)?)))
    }

    /// Adds a track, which came from an m-line, and returns its index.
    pub(crate) fn publish(
        &mut self,
        tracks: &mut Tracks,
        track: Track,
        media: &SectionParameters,
    ) -> TrackIx {
        let index = tracks.insert(track);
        self.tracks.push(index);
        self.take_extensions(media);
        self.bind_announced(tracks, index, media);
        index
    }

    /// Applies a later offer to an m-line that goes on publishing.
    pub(crate) fn renegotiate(
        &mut self,
        tracks: &mut Tracks,
        index: TrackIx,
        media: &SectionParameters,
    ) {
        let Some(track) = tracks.get_mut(index) else {
            return;
        };
        for layer in track.renegotiate(media) {
            self.bindings.remove_layer(index, layer);
        }
        self.take_extensions(media);
        self.bind_announced(tracks, index, media);
    }

    fn take_extensions(&mut self, media: &SectionParameters) {
        self.transport_cc = media
            .extensions
            .id(ExtensionKind::TransportCc)
            .or(self.transport_cc);
    }

    fn bind_announced(&mut self, tracks: &mut Tracks, index: TrackIx, media: &SectionParameters) {
        let Some(track) = tracks.get(index) else {
            return;
        };
        for (layer, announced) in track.announced(media) {
            for (ssrc, repair) in [(Some(announced.ssrc), false), (announced.rtx, true)] {
                let binding = Binding {
                    track: index,
                    layer,
                    repair,
                };
                if let Some(ssrc) = ssrc.filter(|ssrc| self.bindings.get(*ssrc) != Some(binding)) {
                    self.unbind(tracks, ssrc);
                    self.bind_to(tracks, ssrc, binding);
                }
            }
        }
    }

    /// Forgets a track, which is removed from the worker's.
    pub(crate) fn unpublish(&mut self, index: TrackIx) {
        self.bindings.remove_track(index);
        self.tracks.retain(|other| *other != index);
    }

    /// Receives a decrypted packet.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        tracks: &mut Tracks,
        datagram: &mut [u8],
    ) -> Receipt {
        let mut header = match RtpHeader::parse(datagram) {
            Ok(header) => header,
            Err(error) => return Receipt::Dropped(error.into()),
        };
        let bindings = &self.bindings;
        let is_sound = || {
            let track = bindings
                .get(header.ssrc)
                .and_then(|bound| tracks.get(bound.track));
            track.is_some_and(|track| track.kind == MediaKind::Audio)
        };
        if !self.throttle.admits(now, datagram.len(), is_sound) {
            return Receipt::Dropped(DropReason::PublisherBitrate);
        }
        if let Some(id) = self.transport_cc
            && let Some(sequence) = header.extension(datagram, id).and_then(TransportCc::parse)
        {
            self.arrivals.receive(now, sequence.0);
        }
        let binding = match self.bind(now, tracks, &header, datagram) {
            Ok(binding) => binding,
            Err(reason) => return Receipt::Dropped(reason),
        };
        let Some(track) = tracks.get_mut(binding.track) else {
            return Receipt::Dropped(DropReason::RtpUnknownSsrc);
        };
        if let Some(layer) = track.layers.get_mut(binding.layer) {
            layer.hold_mut(binding.repair).hear(now);
        }
        let mut start = 0;
        if binding.repair {
            match unwrap_rtx(track, binding.layer, &header, datagram) {
                Ok(Some(at)) => start = at,
                Ok(None) => return Receipt::Nothing,
                Err(reason) => return Receipt::Dropped(reason),
            }
            header = match RtpHeader::parse(&datagram[start..]) {
                Ok(header) => header,
                Err(error) => return Receipt::Dropped(error.into()),
            };
        }
        let packet = &datagram[start..];
        let Some(codec) = track.codec(header.payload_type) else {
            return Receipt::Dropped(DropReason::RtpUnknownPayloadType);
        };
        let payload = header.payload(packet);
        let Some(layer) = track.layers.get_mut(binding.layer) else {
            return Receipt::Dropped(DropReason::RtpUnknownSsrc);
        };
        let anew = layer.begins_anew();
        let sequence = layer.receive(
            now,
            Received {
                sequence: header.sequence,
                timestamp: header.timestamp,
                clock_rate: codec.clock_rate(),
                payload_len: payload.len(),
                elapsed: now.saturating_duration_since(self.began),
                repaired: binding.repair,
                datagram: packet,
                caches: &self.caches,
            },
        );
        let Some(sequence) = sequence else {
            return Receipt::Nothing;
        };
        let other_codec = !codec.is_audio()
            && !binding.repair
            && layer.comes_as(now, sequence, header.payload_type);
        let passed_on = PassedOn::find(&header, packet, &track.extensions);
        let described = if codec.is_audio() {
            Described::plain(codec, payload)
        } else {
            layer.describe(
                now,
                StreamPacket {
                    codec,
                    sequence,
                    datagram: packet,
                    payload,
                    passed_on: &passed_on,
                },
            )
        };
        let keyframe = !codec.is_audio() && is_keyframe(codec, payload);
        if keyframe {
            layer.keyframe_came();
        }
        let mut layers_changed = layer.update(now, None) | other_codec;
        if keyframe || layers_changed {
            layers_changed |= track.rank(now);
        }
        if layers_changed {
            track.measure(now);
        }
        let first = !std::mem::replace(&mut track.live, true);
        Receipt::Media(Media {
            track: binding.track,
            layer: binding.layer,
            sequence,
            start,
            header,
            codec,
            keyframe,
            described,
            passed_on,
            first,
            anew,
            layers_changed,
        })
    }

    /// Finds the layer of a packet's stream: the bound one, the one it says it moved to, or the one a new stream names.
    fn bind(
        &mut self,
        now: Instant,
        tracks: &mut Tracks,
        header: &RtpHeader,
        packet: &[u8],
    ) -> Result<Binding, DropReason> {
        let Some(bound) = self.bindings.get(header.ssrc) else {
            let own = self.tracks(tracks);
            let place = identify(own, header, packet).ok_or(DropReason::RtpUnknownSsrc)?;
            return self.claim(now, tracks, header.ssrc, place);
        };
        let track = tracks.get(bound.track).ok_or(DropReason::RtpUnknownSsrc)?;
        if !names_another(track, header, packet) {
            return Ok(bound);
        }
        let past = !bound.repair
            && (track.layers.get(bound.layer)).is_some_and(|layer| layer.is_past(header.sequence));
        match identify(self.tracks(tracks), header, packet) {
            Some(place) if place.track != bound.track && !past => {
                self.move_to(now, tracks, header.ssrc, place)
            }
            _ => Ok(bound),
        }
    }

    /// Moves a stream to another m-line, and its repair stream with it.
    fn move_to(
        &mut self,
        now: Instant,
        tracks: &mut Tracks,
        ssrc: u32,
        place: Binding,
    ) -> Result<Binding, DropReason> {
        let repair = self.unbind(tracks, ssrc);
        let place = self.claim(now, tracks, ssrc, place)?;
        if let Some(repair) = repair.filter(|_| !place.repair) {
            let place = Binding {
                repair: true,
                ..place
            };
            // If another repair stream is heard there, this one must name its place itself.
            let _ = self.claim(now, tracks, repair, place);
        }
        Ok(place)
    }

    /// Binds a stream that only names itself, if its layer is free.
    fn claim(
        &mut self,
        now: Instant,
        tracks: &mut Tracks,
        ssrc: u32,
        place: Binding,
    ) -> Result<Binding, DropReason> {
        let layer = layer_mut(tracks, place).ok_or(DropReason::RtpUnknownSsrc)?;
        if !layer.hold_mut(place.repair).yields(now) {
            if let Some(track) = tracks.get_mut(place.track) {
                track.packets_passed_over += 1;
            }
            return Err(DropReason::RtpSecondStream);
        }
        layer.hold_mut(place.repair).take(now);
        self.bind_to(tracks, ssrc, place)
            .ok_or(DropReason::RtpUnknownSsrc)
    }

    /// Binds a stream to its layer, in place of the one bound there before.
    fn bind_to(&mut self, tracks: &mut Tracks, ssrc: u32, binding: Binding) -> Option<Binding> {
        if !self.bindings.insert(ssrc, binding) {
            return None;
        }
        let layer = layer_mut(tracks, binding)?;
        if binding.repair {
            layer.rtx_ssrc = Some(ssrc);
            return Some(binding);
        }
        let before = layer.ssrc.replace(ssrc);
        if before != Some(ssrc) {
            // The old stream's repair stream does not repair the new one.
            let repair = before.and_then(|_| layer.rtx_ssrc.take());
            let began_anew = before.is_some() || layer.last_packet().is_some();
            if began_anew {
                layer.rebind(ssrc);
            }
            if let Some(track) = tracks.get_mut(binding.track) {
                track.streams_begun_anew += u64::from(began_anew);
            }
            if let Some(repair) = repair {
                self.bindings.remove(repair);
            }
        }
        Some(binding)
    }

    /// Unbinds a stream; its repair stream is unbound too, and returned.
    fn unbind(&mut self, tracks: &mut Tracks, ssrc: u32) -> Option<u32> {
        let binding = self.bindings.get(ssrc)?;
        self.bindings.remove(ssrc);
        let layer = layer_mut(tracks, binding)?;
        layer.hold_mut(binding.repair).leave();
        if binding.repair {
            layer.rtx_ssrc = None;
            return None;
        }
        layer.ssrc = None;
        let repair = layer.rtx_ssrc?;
        self.unbind(tracks, repair);
        Some(repair)
    }

    /// Handles one RTCP packet about published tracks. `wall` is the server's NTP time.
    pub(crate) fn receive_rtcp(
        &mut self,
        now: Instant,
        wall: u64,
        tracks: &mut Tracks,
        packet: &Rtcp,
    ) {
        match packet {
            Rtcp::SenderReport { ssrc, ntp, rtp, .. } => {
                let Some(bound) = self.bindings.get(*ssrc).filter(|bound| !bound.repair) else {
                    return;
                };
                let (ours, shrunk) = self.clock_offset.translate(*ntp, wall);
                if shrunk > 0 {
                    // All clocks shift at once: otherwise audio and video would be apart by that much until their next
                    // reports.
                    for track in &self.tracks {
                        let layers = tracks.get_mut(*track).into_iter();
                        let layers = layers.flat_map(|track| &mut track.layers);
                        for layer in layers {
                            if let Some(sender) = &mut layer.sender {
                                sender.ntp = sender.ntp.wrapping_sub(shrunk);
                            }
                        }
                    }
                }
                if let Some(layer) = layer_mut(tracks, bound) {
                    layer.reception.sender_report(now, *ntp);
                    layer.sender = Some(SenderClock {
                        ntp: ours,
                        rtp: *rtp,
                    });
                }
            }
            Rtcp::Bye { ssrcs } => {
                for ssrc in ssrcs {
                    let Some(bound) = self.bindings.get(*ssrc) else {
                        continue;
                    };
                    if let Some(layer) = layer_mut(tracks, bound) {
                        layer.hold_mut(bound.repair).leave();
                    }
                }
            }
            _ => {}
        }
    }

    /// Asks for a keyframe of a layer: appends a PLI unless one was sent just now.
    pub(crate) fn request_keyframe(
        now: Instant,
        track: &mut Track,
        layer: usize,
        rtcp: &mut Vec<u8>,
    ) {
        let Some(layer) = track.layers.get_mut(layer) else {
            return;
        };
        if let Some(ssrc) = layer.ssrc
            && layer.keyframes.request(now)
        {
            rtcp::pli(rtcp, REPORTER_SSRC, ssrc);
        }
    }

    /// Packets dropped because the publisher sent more than allowed.
    pub(crate) fn packets_over_rate(&self) -> u64 {
        self.throttle.refused()
    }

    /// The time at which [`poll_rtcp`](Self::poll_rtcp) has something to do.
    pub(crate) fn poll_timeout(&self, tracks: &Tracks) -> Option<Instant> {
        let own = self.tracks(tracks);
        let ranks = own.clone().filter_map(|(_, track)| track.rank_due());
        let layers = own.flat_map(|(_, track)| &track.layers);
        layers
            .flat_map(|layer| {
                // A layer without a stream has no sender to ask.
                let nack = layer.nack.as_ref().filter(|_| layer.ssrc.is_some());
                let keyframes = Some(&layer.keyframes).filter(|_| layer.ssrc.is_some());
                [
                    nack.and_then(|nack| nack.poll_timeout()),
                    keyframes.and_then(|keyframes| keyframes.poll_timeout()),
                    layer.dies_at(),
                ]
            })
            .chain([
                self.arrivals.poll_timeout(),
                (!self.tracks.is_empty()).then_some(self.report_at),
            ])
            .flatten()
            .chain(ranks)
            .min()
    }

    /// Appends the RTCP due now, as one compound packet. Calls `layers_changed` with each track of which a layer died
    /// or the order of layers changed.
    pub(crate) fn poll_rtcp(
        &mut self,
        now: Instant,
        rtt: Option<Duration>,
        tracks: &mut Tracks,
        rtcp: &mut Vec<u8>,
        mut layers_changed: impl FnMut(TrackIx),
    ) {
        if now >= self.report_at {
            self.report_at = now + REPORT_INTERVAL;
            self.write_reports(now, tracks, rtcp);
        }
        let mut ask = Vec::new();
        for index in &self.tracks {
            let Some(track) = tracks.get_mut(*index) else {
                continue;
            };
            if track.update(now) {
                layers_changed(*index);
            }
            for layer in &mut track.layers {
                let Some(ssrc) = layer.ssrc else { continue };
                self.media_ssrc = ssrc;
                // A muted track is sent to nobody, so that nobody misses its lost packets.
                if track.settings.muted {
                    layer.ask_for_nothing();
                }
                if let Some(nack) = &mut layer.nack {
                    nack.poll(now, rtt, &mut ask);
                    if !ask.is_empty() {
                        layer.nacks_sent += ask.len() as u64;
                        rtcp::nack(rtcp, REPORTER_SSRC, ssrc, &ask);
                        ask.clear();
                    }
                }
                if layer.keyframes.poll(now) {
                    rtcp::pli(rtcp, REPORTER_SSRC, ssrc);
                }
            }
        }
        if let Some(report) = self.arrivals.poll(now) {
            self.write_feedback(&report, rtcp);
        }
    }

    /// Writes a report, as several packets if it exceeds the format of one.
    fn write_feedback(&mut self, report: &FeedbackReport, rtcp: &mut Vec<u8>) {
        let ticks = |at: Instant| {
            let since = at.saturating_duration_since(self.began);
            (since.as_micros() * TICKS_PER_SECOND as u128 / 1_000_000) as i64
        };
        let arrivals: Vec<_> = report.arrivals.iter().map(|at| at.map(ticks)).collect();
        let (mut base, mut rest) = (report.base_sequence, arrivals.as_slice());
        while !rest.is_empty() {
            let count = self.arrivals.next_count();
            let covered =
                rtcp::write_feedback(rtcp, REPORTER_SSRC, self.media_ssrc, count, base, rest);
            if covered == 0 {
                return;
            }
            base = base.wrapping_add(covered as u16);
            rest = rest.get(covered..).unwrap_or_default();
        }
    }

    fn write_reports(&self, now: Instant, tracks: &mut Tracks, rtcp: &mut Vec<u8>) {
        let mut blocks: Vec<ReportBlock> = Vec::new();
        for index in &self.tracks {
            let Some(track) = tracks.get_mut(*index) else {
                continue;
            };
            blocks.extend(track.layers.iter_mut().filter_map(|layer| {
                let report = layer.reception.report(now)?;
                Some(ReportBlock {
                    ssrc: layer.ssrc?,
                    fraction_lost: report.fraction_lost,
                    cumulative_lost: report.total_lost as i32,
                    highest_sequence: report.highest,
                    jitter: report.jitter,
                    last_sender_report: report.last_sr,
                    delay: report.delay,
                })
            }));
        }
        // The block count is a 5-bit field (RFC 3550 section 6.4.2).
        for blocks in blocks.chunks(31) {
            rtcp::receiver_report(rtcp, REPORTER_SSRC, blocks);
        }
    }
}

fn layer_mut(tracks: &mut Tracks, binding: Binding) -> Option<&mut Layer> {
    let track = tracks.get_mut(binding.track)?;
    track.layers.get_mut(binding.layer)
}

/// Restores the repaired packet in place (RFC 4588 section 4). Returns its first byte in the datagram; none if it
/// carried only padding.
fn unwrap_rtx(
    track: &Track,
    layer: usize,
    header: &RtpHeader,
    datagram: &mut [u8],
) -> Result<Option<usize>, DropReason> {
    /// The original sequence number before the original payload.
    const OSN: usize = 2;
    if header.payload(datagram).len() < OSN {
        return Ok(None);
    }
    let payload_type = track
        .repairs(header.payload_type)
        .ok_or(DropReason::RtxUnknownPayloadType)?;
    let ssrc = track.layers[layer]
        .ssrc
        .ok_or(DropReason::RtxWithoutMedia)?;
    let at = header.payload_offset;
    let sequence = [datagram[at], datagram[at + 1]];
    datagram.copy_within(..at, OSN);
    let packet = &mut datagram[OSN..];
    packet[1] = (packet[1] & 0x80) | payload_type;
    packet[2..4].copy_from_slice(&sequence);
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    Ok(Some(OSN))
}
