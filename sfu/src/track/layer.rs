//! One layer of a published track: one RTP stream with its repair stream.

use std::time::{Duration, Instant};

use super::format::{Format, Observed};
use super::frames::{FrameReader, StreamPacket};
use super::hold::Hold;
use super::keyframe::KeyframeRequests;
use super::nack::{Arrival, MISSING, NackGenerator};
use super::ranking::Seen;
use super::report::Reception;
use super::settled::Settled;
use crate::cache::{CacheShare, PacketCache};
use crate::clock::SenderClock;
use crate::packet::{Described, PassedOn};
use crate::rate::RateMeter;
use crate::rtp::codec::Codec;
use crate::rtp::sequence::Extender;

/// Silence after which a layer counts as switched off by its publisher. A camera in the dark still sends five frames a
/// second; browsers stop a layer for seconds at least.
const SILENCE: Duration = Duration::from_millis(1_500);
/// Silence after which missing packets are taken for lost: a publisher keeps what it has sent for about as long, and
/// retransmissions that come later are too late for a picture.
const AWAY: Duration = Duration::from_secs(1);
/// Silence after which a layer is dead while another layer of the track goes on, as a multiple of the longest recent
/// gap. All layers show the same camera, so that darkness or a lost network silences them together. Four, because lost
/// packets stretch a gap to two or three times its length.
const GAPS: u32 = 4;
/// Lower bound of that time: eight frames.
const STALL: Duration = Duration::from_millis(250);
/// Interval of the checks whether the other layers go on.
const LOOK: Duration = Duration::from_millis(50);

/// A publisher's name for an encoding.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct EncodingName {
    /// Its RID; none without simulcast by RID.
    pub(crate) rid: Option<String>,
    /// Its SSRC in an `a=ssrc-group:SIM`; none without.
    pub(crate) ssrc: Option<u32>,
}

/// One layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) name: EncodingName,
    /// Its stream, once bound.
    pub(crate) ssrc: Option<u32>,
    /// Its repair stream, once bound.
    pub(crate) rtx_ssrc: Option<u32>,
    /// How firmly each of these is bound.
    media_hold: Hold,
    repair_hold: Hold,
    pub(crate) reception: Reception,
    /// Its media clock, once the publisher reported it.
    pub(crate) sender: Option<SenderClock>,
    pub(crate) keyframes: KeyframeRequests,
    /// Video only: lost audio is not asked for again.
    pub(crate) nack: Option<NackGenerator>,
    pub(crate) cache: Option<PacketCache>,
    extender: Extender,
    /// Set while no packet has come since a stream began on this layer, another one or the same again. The value is the
    /// highest number of the stream before.
    anew: Option<u64>,
    last_packet: Option<Instant>,
    /// The newest packet came after a silence in which others were lost.
    returns: bool,
    /// The longest time between two packets, lately.
    gap: Duration,
    looked_at: Option<Instant>,
    alive: bool,
    /// A keyframe has come since the layer last began: its height is current.
    sized: bool,
    /// Its rate has been known.
    metered: bool,
    meter: RateMeter,
    settled: Settled,
    pub(crate) frames: FrameReader,
    /// Payload type; video only.
    pub(crate) format: Format,
    /// Height of the largest picture, in pixels; 0 while unknown.
    pub(crate) height: u16,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) nacks_sent: u64,
    pub(crate) repaired: u64,
}

impl Layer {
    /// A layer without packets so far.
    pub(crate) fn new(name: EncodingName, repairable: bool) -> Self {
        Self {
            name,
            ssrc: None,
            rtx_ssrc: None,
            media_hold: Hold::default(),
            repair_hold: Hold::default(),
            reception: Reception::default(),
            sender: None,
            keyframes: KeyframeRequests::default(),
            nack: repairable.then(NackGenerator::default),
            cache: None,
            extender: Extender::default(),
            anew: None,
            last_packet: None,
            returns: false,
            gap: Duration::ZERO,
            looked_at: None,
            alive: false,
            sized: false,
            metered: false,
            meter: RateMeter::default(),
            settled: Settled::default(),
            frames: FrameReader::default(),
            format: Format::default(),
            height: 0,
            packets: 0,
            bytes: 0,
            nacks_sent: 0,
            repaired: 0,
        }
    }

    /// Forgets the stream bound to this layer: its sender began a new one. Counters stay, and so does the time of the
    /// last keyframe request: streams that follow each other quickly cause no more than one.
    pub(crate) fn rebind(&mut self, ssrc: u32) {
        let fresh = Self::new(self.name.clone(), self.nack.is_some());
        *self = Self {
            ssrc: Some(ssrc),
            media_hold: self.media_hold,
            anew: self.extender.highest().or(self.anew),
            keyframes: std::mem::take(&mut self.keyframes),
            packets: self.packets,
            bytes: self.bytes,
            nacks_sent: self.nacks_sent,
            repaired: self.repaired,
            ..fresh
        };
    }

    /// Whether the next packet is the first of a stream that replaced another.
    pub(crate) fn begins_anew(&self) -> bool {
        self.anew.is_some()
    }

    /// How firmly its stream, or its repair stream, is bound.
    pub(crate) fn hold_mut(&mut self, repair: bool) -> &mut Hold {
        match repair {
            true => &mut self.repair_hold,
            false => &mut self.media_hold,
        }
    }

    /// Becomes another encoding, without packets so far.
    pub(super) fn replace(&mut self, name: EncodingName) {
        *self = Self {
            keyframes: std::mem::take(&mut self.keyframes),
            anew: self.extender.highest().or(self.anew),
            ..Self::new(name, self.nack.is_some())
        };
    }

    /// Whether a packet is older than the newest received of its stream.
    pub(crate) fn is_past(&self, sequence: u16) -> bool {
        let highest = self.extender.highest();
        highest.is_some_and(|highest| self.extender.peek(sequence) < highest)
    }

    /// Counts a packet that authenticated. Returns its unwrapped sequence number; none for a duplicate.
    pub(crate) fn receive(&mut self, now: Instant, packet: Received<'_>) -> Option<u64> {
        if packet.repaired && self.repairs_another(packet.sequence) {
            return None;
        }
        if let Some(before) = self.anew.take() {
            self.extender = Extender::after(before, packet.sequence);
        }
        let before = self.extender.highest();
        let sequence = self.extender.extend(packet.sequence);
        let arrival = self.nack.as_mut().map(|nack| nack.receive(now, sequence));
        if arrival == Some(Arrival::Duplicate) {
            return None;
        }
        if packet.repaired {
            self.repaired += 1;
            self.reception.repaired(sequence);
        } else {
            self.reception.receive(
                sequence,
                packet.timestamp,
                packet.clock_rate,
                packet.elapsed,
            );
        }
        self.packets += 1;
        self.bytes += packet.payload_len as u64;
        self.meter.add(now, packet.datagram.len());
        self.settled.add(now, packet.datagram.len());
        // The gap counts even if the layer was taken for dead meanwhile: it is a slow one.
        if let Some(last) = self.last_packet.replace(now) {
            let gap = now.saturating_duration_since(last);
            if gap < SILENCE {
                self.gap = gap.max(self.gap - self.gap / 64);
            }
            self.returns = gap >= AWAY && before.is_some_and(|before| sequence > before + 1);
        }
        if self.nack.is_some() {
            self.keep(now, packet.caches, sequence, packet.datagram);
        }
        Some(sequence)
    }

    /// Drops the pending requests to its publisher, for missing packets and for a keyframe.
    pub(crate) fn ask_for_nothing(&mut self) {
        if let Some(nack) = &mut self.nack {
            nack.give_up();
        }
        self.keyframes.received();
    }

    /// Whether a repaired packet belongs to another stream. It may be ahead of all packets received, but only by the
    /// number that can be asked for again. Where the repair stream's layer was not announced, its packets may be of
    /// another layer.
    fn repairs_another(&self, sequence: u16) -> bool {
        let highest = self.extender.highest();
        highest.is_some_and(|highest| self.extender.peek(sequence) > highest + MISSING as u64)
    }

    /// Records the payload type of a video packet that was just received; true if it changed.
    pub(crate) fn comes_as(&mut self, now: Instant, sequence: u64, payload_type: u8) -> bool {
        let observed = self.format.observe(now, sequence, payload_type);
        self.reformat(observed)
    }

    /// Records the payload type that the publisher's worker reports; true if it changed.
    pub(crate) fn follow_format(&mut self, payload_type: Option<u8>) -> bool {
        let observed = self.format.follow(payload_type);
        self.reformat(observed)
    }

    /// Starts anew for another codec, which has its own layers and numbers.
    fn reformat(&mut self, observed: Observed) -> bool {
        if observed == Observed::Another {
            self.frames = FrameReader::default();
        }
        observed != Observed::Same
    }

    /// The frame info of a packet that was just received.
    pub(crate) fn describe(&mut self, now: Instant, packet: StreamPacket<'_>) -> Described {
        // Viewers would ask as well, but some only after they have waited 3 s for a picture.
        if std::mem::take(&mut self.returns) {
            self.keyframes.want(now);
        }
        let described = self.frames.receive(now, packet);
        self.height = self.frames.heights().into_iter().max().unwrap_or(0);
        described
    }

    /// Counts and caches a packet that its publisher's worker sent and has already checked.
    pub(crate) fn receive_piped(&mut self, now: Instant, packet: FromPipe<'_>) {
        self.follow_stream(packet.ssrc);
        let stream = StreamPacket {
            codec: packet.codec,
            sequence: packet.sequence,
            datagram: packet.datagram,
            payload: packet.payload,
            passed_on: packet.passed_on,
        };
        self.frames.follow(now, stream, packet.described);
        self.height = self.frames.heights().into_iter().max().unwrap_or(0);
        self.meter.add(now, packet.datagram.len());
        self.settled.add(now, packet.datagram.len());
        self.sender = packet.sender;
        self.packets += 1;
        self.bytes += packet.payload.len() as u64;
        if packet.keep {
            self.keep(now, packet.caches, packet.sequence, packet.datagram);
        }
    }

    /// Caches a packet, if there is memory.
    fn keep(&mut self, now: Instant, caches: &CacheShare, sequence: u64, datagram: &[u8]) {
        if self.cache.is_none() {
            self.cache = PacketCache::new(caches);
        }
        if let Some(cache) = &mut self.cache {
            cache.insert(now, sequence, datagram);
        }
    }

    /// Drops the cached packets if the SSRC is another: its packets are numbered anew.
    pub(crate) fn follow_stream(&mut self, ssrc: u32) {
        if self.ssrc.replace(ssrc) != Some(ssrc) {
            self.cache = None;
            self.frames = FrameReader::default();
        }
    }

    /// Makes its rate known: 1,000 bits a second.
    #[cfg(test)]
    pub(super) fn set_metered(&mut self, start: Instant) {
        for ms in (0..1_200).step_by(100) {
            self.meter.add(start + Duration::from_millis(ms), 13);
        }
    }

    /// Records whether another worker judges the layer alive; true if that changed.
    pub(crate) fn set_alive(&mut self, alive: bool) -> bool {
        if !alive {
            // The layer ended long ago: nobody asks for its packets again.
            self.cache = None;
            self.sized = false;
        }
        std::mem::replace(&mut self.alive, alive) != alive
    }

    /// Cached packets from one on, with their unwrapped sequence numbers.
    pub(crate) fn cached_since(&self, sequence: u64) -> impl Iterator<Item = (u64, &[u8])> {
        self.cache
            .iter()
            .flat_map(move |cache| cache.since(sequence))
    }

    /// Bits a second that came lately, or when packets last came.
    pub(crate) fn bitrate(&self, now: Instant) -> u64 {
        self.meter.bitrate(now)
    }

    /// Bits a second in the last second, for people: 0 during a silence.
    pub(super) fn measured_bitrate(&self, now: Instant) -> u64 {
        self.meter.measured(now)
    }

    /// Whether it has come for too short a time to tell its rate.
    pub(super) fn begins(&self) -> bool {
        self.packets > 0 && !self.meter.is_known() && self.settled().is_none()
    }

    /// Bits a second over at least a whole window; none while less has come.
    pub(super) fn known_bitrate(&self, now: Instant) -> Option<u64> {
        self.meter.is_known().then(|| self.bitrate(now))
    }

    /// Bits a second that it settles at; none while too little of it has come.
    pub(crate) fn settled(&self) -> Option<u64> {
        self.settled.bitrate()
    }

    /// Records that a keyframe came, and with it the current height.
    pub(crate) fn keyframe_came(&mut self) {
        self.keyframes.received();
        self.sized = true;
    }

    /// The measurements by which the track's encodings are ordered.
    pub(super) fn seen(&self, now: Instant) -> Seen {
        Seen {
            alive: self.alive,
            height: if self.sized { self.height } else { 0 },
            bitrate: self.bitrate(now),
        }
    }

    /// Whether its rate has just become known: only then can a live layer be chosen.
    fn meter_tells(&mut self, now: Instant) -> bool {
        !self.metered && {
            self.metered = self.alive && self.meter.bitrate(now) > 0;
            self.metered
        }
    }

    /// Whether packets have come lately, as of the last [`update`](Self::update).
    pub(crate) fn is_alive(&self) -> bool {
        self.alive
    }

    /// The time of its last packet.
    pub(crate) fn last_packet(&self) -> Option<Instant> {
        self.last_packet
    }

    /// Checks again whether the layer is alive. True if that changed, or if its rate is known for the first time.
    /// `newest` is the time of the last packet of any layer of its track.
    pub(crate) fn update(&mut self, now: Instant, newest: Option<Instant>) -> bool {
        self.looked_at = Some(now);
        let stall = self.stall();
        let alive = self.last_packet.is_some_and(|at| {
            now < at + SILENCE && newest.is_none_or(|newest| newest < at + stall)
        });
        let within = self.frames.has_layers() && self.frames.update(now);
        self.set_alive(alive) | within | self.meter_tells(now)
    }

    /// Silence after which it is dead while other layers go on.
    fn stall(&self) -> Duration {
        (self.gap * GAPS).clamp(STALL, SILENCE)
    }

    /// The time at which [`update`](Self::update) may find it dead.
    pub(crate) fn dies_at(&self) -> Option<Instant> {
        self.last_packet
            .filter(|_| self.alive)
            .map(|at| {
                let look = self.looked_at.map_or(at, |looked| looked + LOOK);
                (at + self.stall()).max(look).min(at + SILENCE)
            })
            .into_iter()
            .chain(self.frames.dies_at())
            .min()
    }
}

/// Facts that a layer needs about a packet that another worker received.
pub(crate) struct FromPipe<'a> {
    pub(crate) ssrc: u32,
    /// Unwrapped sequence number, from that worker.
    pub(crate) sequence: u64,
    pub(crate) codec: Codec,
    pub(crate) payload: &'a [u8],
    pub(crate) passed_on: &'a PassedOn,
    pub(crate) described: &'a Described,
    pub(crate) sender: Option<SenderClock>,
    /// The packet is cached for retransmission.
    pub(crate) keep: bool,
    /// The memory for the cache.
    pub(crate) caches: &'a CacheShare,
    pub(crate) datagram: &'a [u8],
}

/// Facts that a layer needs about a packet.
pub(crate) struct Received<'a> {
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) clock_rate: u32,
    pub(crate) payload_len: usize,
    /// Time since the peer began, for jitter.
    pub(crate) elapsed: Duration,
    /// It came on the repair stream.
    pub(crate) repaired: bool,
    /// Decrypted and unwrapped, for the cache.
    pub(crate) datagram: &'a [u8],
    /// The memory for the cache.
    pub(crate) caches: &'a CacheShare,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times at which a layer is found dead. `packets` are its packets' times in ms; another layer of the track
    /// sends one every 33 ms, and for two seconds more.
    fn deaths(packets: &[u64], others: bool) -> Vec<u64> {
        let start = Instant::now();
        let mut layer = Layer::new(EncodingName::default(), true);
        let mut deaths = Vec::new();
        let (mut next, mut newest) = (packets.iter().copied().peekable(), None);
        for ms in 0..packets.last().unwrap_or(&0) + 2_000 {
            let now = start + Duration::from_millis(ms);
            if others && ms % 33 == 0 {
                newest = Some(now);
            }
            if next.next_if_eq(&ms).is_some() {
                let sequence = ms as u16;
                layer.receive(
                    now,
                    Received {
                        sequence,
                        timestamp: ms as u32 * 90,
                        clock_rate: 90_000,
                        payload_len: 0,
                        elapsed: now - start,
                        repaired: false,
                        datagram: &[0; 12],
                        caches: &CacheShare::default(),
                    },
                );
                layer.update(now, None);
            }
            let newest = newest.max(layer.last_packet());
            let due = layer.dies_at().is_some_and(|at| at <= now);
            if due && layer.update(now, newest) && !layer.is_alive() {
                deaths.push(ms);
            }
        }
        deaths
    }

    #[test]
    fn a_layer_that_stalls_while_others_go_on_dies_soon() {
        let steady: Vec<u64> = (0..30).map(|frame| frame * 33).collect();
        let last = steady[29];
        // All layers are silent together: a dark camera, or a lost network.
        assert_eq!(deaths(&steady, false), [last + 1_500]);
        let alone = deaths(&steady, true);
        assert!(
            matches!(alone[..], [at] if (last + 250..last + 350).contains(&at)),
            "{alone:?}"
        );
        // A slow layer is taken for dead at most once, and not while it is only slow.
        let slow: Vec<u64> = (0..20).map(|frame| frame * 330).collect();
        let found = deaths(&slow, true);
        assert!(found.len() <= 2 && found.first() <= Some(&330), "{found:?}");
        assert!(
            found.last().is_some_and(|at| *at > slow[19] + 1_000),
            "{found:?}"
        );
        // Losses of a few frames do not make it dead either.
        let gaps: Vec<u64> = (0..60)
            .filter(|frame| frame % 10 < 6)
            .map(|frame| frame * 33)
            .collect();
        assert_eq!(deaths(&gaps, true).len(), 1);
    }
}
