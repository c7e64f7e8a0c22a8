//! Whole frames out of a tap's packets: put in order, and joined as RFC 7741 (VP8) and RFC 7587 (Opus) say.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::{Tap, TapPacket};
use crate::clock::SenderClock;
use crate::rtp::codec::{Codec, vp8};

/// Packets of a picture that wait for a missing one, which its publisher is asked to send again: half a second at
/// 1 Mbit/s.
const LATE_PICTURE: usize = 64;
/// Packets of sound that wait for a missing one: 160 ms. Most publishers do not send lost sound again.
const LATE_SOUND: usize = 8;
/// Bytes of one frame at most. A keyframe of a shared screen has a few hundred KB; more comes only of a publisher that
/// never sets the marker.
const FRAME: usize = 8 << 20;
/// Bytes of frames that wait for the sender report that tells their time: five seconds, until a browser's first report
/// of sound, at 8 Mbit/s.
const UNTIMED: usize = 5 << 20;

/// A frame of a tapped track.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TapFrame {
    /// The codec: VP8 or Opus.
    pub codec: Codec,
    /// As [`TapPacket::layer`].
    pub layer: usize,
    /// A decoder can begin here. Always set for sound.
    pub keyframe: bool,
    /// Width and height in pixels, told by keyframes.
    pub dimensions: Option<(u16, u16)>,
    /// As [`TapPacket::timestamp`].
    pub timestamp: u32,
    /// As [`TapPacket::ntp`], and never missing.
    pub ntp: u64,
    /// The frame as its decoder takes it.
    pub data: Vec<u8>,
}

impl TapFrame {
    /// [`ntp`](Self::ntp) as the time since the year 1900.
    pub fn time(&self) -> Duration {
        let nanoseconds = (u128::from(self.ntp) * 1_000_000_000) >> 32;
        Duration::from_nanos(nanoseconds as u64)
    }
}

/// A tap that gives whole frames in order, each of which can be decoded: the first is a keyframe, and after a gap the
/// next one is. Frames of codecs other than VP8 and Opus are left out.
///
/// The frames before a layer's first sender report wait for it, which tells their times. Frames of a publisher that
/// sends no reports, which RFC 3550 section 6.4 demands, are dropped.
#[derive(Debug)]
pub struct TapFrames {
    tap: Tap,
    assembler: Assembler,
}

impl TapFrames {
    /// The frames of a tap, from its next packet on.
    pub fn new(tap: Tap) -> Self {
        Self {
            tap,
            assembler: Assembler::default(),
        }
    }

    /// The next frame; none once the tap has ended. Cancel-safe.
    pub async fn next(&mut self) -> Option<TapFrame> {
        loop {
            if let Some(frame) = self.assembler.ready.pop_front() {
                return Some(frame);
            }
            let packet = self.tap.recv().await?;
            if self.assembler.take(packet) {
                self.tap.request_keyframe();
            }
        }
    }
}

/// Puts packets in order and joins them.
#[derive(Debug, Default)]
struct Assembler {
    layer: usize,
    /// The number of the next packet.
    next: Option<u64>,
    /// Packets that wait for one before them, by number.
    held: BTreeMap<u64, TapPacket>,
    /// The frame that has begun.
    frame: Option<TapFrame>,
    /// A keyframe has come, and nothing has been missing since.
    decodes: bool,
    /// Frames without a time.
    untimed: Vec<TapFrame>,
    untimed_bytes: usize,
    ready: VecDeque<TapFrame>,
}

impl Assembler {
    /// Takes a packet; true if a keyframe is needed to go on.
    fn take(&mut self, packet: TapPacket) -> bool {
        if packet.layer != self.layer || self.next.is_none() {
            *self = Self {
                layer: packet.layer,
                next: Some(packet.sequence),
                ready: std::mem::take(&mut self.ready),
                ..Self::default()
            };
        }
        let late = match packet.codec.is_audio() {
            true => LATE_SOUND,
            false => LATE_PICTURE,
        };
        let decoded = self.decodes;
        self.held.insert(packet.sequence, packet);
        while let Some((sequence, _)) = self.held.first_key_value() {
            let is_gap = self.next.is_some_and(|next| *sequence > next);
            if is_gap && self.held.len() < late {
                break;
            }
            let Some((sequence, packet)) = self.held.pop_first() else {
                break;
            };
            if self.next.is_some_and(|next| sequence < next) {
                // It comes too late: it was given up.
                continue;
            }
            self.next = Some(sequence + 1);
            if is_gap && !packet.codec.is_audio() {
                (self.frame, self.decodes) = (None, false);
            }
            match packet.codec {
                Codec::Opus => self.finish(frame(&packet, None), packet.ntp),
                Codec::Vp8 => self.join(&packet),
                _ => {}
            }
        }
        decoded && !self.decodes
    }

    /// Adds a packet to its frame: a packet with the start of partition 0 begins it, one with the marker ends it.
    fn join(&mut self, packet: &TapPacket) {
        let Ok(descriptor) = vp8::Descriptor::parse(&packet.payload) else {
            return;
        };
        if descriptor.start_of_frame {
            // The frame before has no end: what refers to it cannot be decoded.
            self.decodes &= self.frame.is_none();
            self.decodes |= descriptor.keyframe;
            self.frame = self.decodes.then(|| frame(packet, Some(&descriptor)));
        }
        let Some(frame) = &mut self.frame else {
            return;
        };
        // Without its start a frame would be joined to the one before.
        let fits = frame.data.len() + packet.payload.len() <= FRAME;
        if frame.timestamp != packet.timestamp || !fits {
            (self.frame, self.decodes) = (None, false);
            return;
        }
        let data = packet.payload.get(descriptor.descriptor_len..);
        frame.data.extend_from_slice(data.unwrap_or_default());
        if packet.marker
            && let Some(whole) = self.frame.take()
        {
            self.finish(whole, packet.ntp);
        }
    }

    /// Gives a whole frame its time, and those before it that have none.
    fn finish(&mut self, frame: TapFrame, ntp: Option<u64>) {
        self.untimed_bytes += frame.data.len();
        let (timestamp, rate) = (frame.timestamp, frame.codec.clock_rate());
        self.untimed.push(frame);
        if let Some(ntp) = ntp {
            let clock = SenderClock {
                ntp,
                rtp: timestamp,
            };
            self.untimed_bytes = 0;
            self.ready
                .extend(self.untimed.drain(..).map(|frame| TapFrame {
                    ntp: clock.ntp_of(frame.timestamp, rate),
                    ..frame
                }));
        } else if self.untimed_bytes > UNTIMED {
            self.untimed.clear();
            (self.untimed_bytes, self.decodes) = (0, false);
        }
    }
}

/// The frame that a packet begins: empty for VP8, whole for Opus.
fn frame(packet: &TapPacket, vp8: Option<&vp8::Descriptor>) -> TapFrame {
    TapFrame {
        codec: packet.codec,
        layer: packet.layer,
        keyframe: vp8.is_none_or(|vp8| vp8.keyframe),
        dimensions: vp8.and_then(|vp8| vp8.dimensions),
        timestamp: packet.timestamp,
        ntp: 0,
        data: match vp8 {
            Some(_) => Vec::new(),
            None => packet.payload.to_vec(),
        },
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    /// A VP8 packet: its place in the stream, its frame, and whether it begins and ends that. Its data is its number.
    fn packet(sequence: u64, frame: u32, begins: bool, ends: bool) -> TapPacket {
        // Frame 0 and each fortieth are keyframes: the lowest bit of the first byte is 0 then (RFC 6386 section 9.1).
        let keyframe = begins && frame.is_multiple_of(40);
        let start = if begins { 0x10 } else { 0 };
        let mut payload = vec![start, u8::from(!keyframe), 0, 0];
        if keyframe {
            payload.extend([0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00]);
        }
        payload.push(sequence as u8);
        TapPacket {
            codec: Codec::Vp8,
            payload_type: 96,
            clock_rate: 90_000,
            layer: 0,
            keyframe,
            sequence,
            timestamp: frame * 3_000,
            marker: ends,
            ntp: Some(u64::from(frame) << 32),
            missed: 0,
            payload: Bytes::from(payload),
        }
    }

    /// Frames of two or three packets each.
    fn stream(frames: u32) -> Vec<TapPacket> {
        let mut packets = Vec::new();
        for frame in 0..frames {
            let len = 2 + frame % 2;
            for at in 0..len {
                let sequence = packets.len() as u64;
                packets.push(packet(sequence, frame, at == 0, at + 1 == len));
            }
        }
        packets
    }

    fn numbers(assembler: &mut Assembler) -> Vec<u32> {
        let frames = assembler.ready.drain(..);
        frames.map(|frame| frame.timestamp / 3_000).collect()
    }

    #[test]
    fn packets_become_frames_from_the_keyframe_on() {
        let mut assembler = Assembler::default();
        let packets = stream(51);
        // The first frame lacks its beginning, and so the next ones cannot be decoded either.
        for packet in &packets[1..] {
            assert!(!assembler.take(packet.clone()));
        }
        let first = assembler.ready.front().expect("the second keyframe");
        assert_eq!((first.keyframe, first.dimensions), (true, Some((320, 180))));
        assert_eq!(first.data.len(), 11 + 4, "without the descriptors");
        assert_eq!(numbers(&mut assembler), (40..51).collect::<Vec<_>>());
    }

    #[test]
    fn a_packet_that_never_comes_costs_the_frames_up_to_the_next_keyframe() {
        let mut assembler = Assembler::default();
        let packets = stream(60);
        let mut asked = 0;
        for packet in packets.iter().filter(|packet| packet.sequence != 30) {
            asked += u32::from(assembler.take(packet.clone()));
        }
        let lost = packets[30].timestamp / 3_000;
        let expected: Vec<_> = (0..lost).chain(40..60).collect();
        assert_eq!((lost, numbers(&mut assembler)), (12, expected));
        assert_eq!(asked, 1);
        assert!(assembler.held.is_empty());
    }

    #[test]
    fn sound_goes_on_without_what_is_lost() {
        let mut assembler = Assembler::default();
        let sound = |sequence: u64| TapPacket {
            codec: Codec::Opus,
            ..packet(sequence, sequence as u32, false, false)
        };
        for sequence in (0..20).filter(|sequence| *sequence != 5) {
            assert!(!assembler.take(sound(sequence)), "no keyframe is needed");
        }
        let heard: Vec<_> = (0..20).filter(|number| *number != 5).collect();
        assert_eq!(numbers(&mut assembler), heard);
        assert!(!assembler.take(sound(5)) && assembler.ready.is_empty());
    }

    #[test]
    fn frames_before_the_first_report_get_their_times_from_it() {
        let mut assembler = Assembler::default();
        for (at, packet) in stream(30).into_iter().enumerate() {
            let ntp = packet.ntp.filter(|_| at >= 50);
            assembler.take(TapPacket { ntp, ..packet });
            assert!(at >= 50 || assembler.ready.is_empty());
        }
        let frames = &assembler.ready;
        let times: Vec<_> = frames.iter().map(|frame| frame.time()).collect();
        // 50 packets are 20 frames; a frame's time is 1 s here, its timestamps a thirtieth.
        let first = Duration::from_secs(20) - Duration::from_secs(20) / 30;
        assert!(
            times[0].abs_diff(first) < Duration::from_millis(1),
            "{times:?}"
        );
        assert!(times.is_sorted() && times.len() == 30);
    }

    #[test]
    fn frames_whose_times_are_never_told_are_dropped() {
        let mut assembler = Assembler::default();
        let mut asked = 0;
        for mut packet in stream(100) {
            packet.payload = [&packet.payload[..], &[0; 100_000]].concat().into();
            packet.ntp = None;
            asked += u32::from(assembler.take(packet));
            assert!(assembler.untimed_bytes <= UNTIMED);
        }
        assert_eq!((asked > 0, assembler.ready.len()), (true, 0));
    }

    #[test]
    fn another_layer_begins_with_its_keyframe() {
        let mut assembler = Assembler::default();
        for packet in stream(5) {
            assembler.take(packet);
        }
        for packet in stream(15) {
            // Its numbers are lower than the other layer's last.
            assembler.take(TapPacket { layer: 2, ..packet });
        }
        let layers: Vec<_> = assembler.ready.iter().map(|frame| frame.layer).collect();
        assert_eq!(layers, [vec![0; 5], vec![2; 15]].concat());
    }

    proptest! {
        /// However packets are reordered within the bound, every frame comes, whole and in order.
        #[test]
        fn order_of_arrival_does_not_matter(delays in prop::collection::vec(0u64..40, 40..200)) {
            let packets = stream(delays.len() as u32 / 2);
            let mut arrivals: Vec<_> = packets.iter().skip(1).zip(&delays).collect();
            arrivals.sort_by_key(|(packet, delay)| packet.sequence + **delay);
            let mut assembler = Assembler::default();
            assembler.take(packets[0].clone());
            for (packet, _) in &arrivals {
                prop_assert!(!assembler.take((*packet).clone()));
            }
            let last = arrivals.iter().map(|(packet, _)| packet.sequence).max().unwrap_or(0);
            for frame in &assembler.ready {
                let of = packets.iter().filter(|packet| packet.timestamp == frame.timestamp);
                let data: Vec<u8> = of.flat_map(|packet| packet.payload[1..].to_vec()).collect();
                prop_assert_eq!(&data, &frame.data);
            }
            let whole = packets.iter().filter(|packet| packet.marker && packet.sequence <= last);
            prop_assert_eq!(numbers(&mut assembler).len(), whole.count());
        }
    }
}
