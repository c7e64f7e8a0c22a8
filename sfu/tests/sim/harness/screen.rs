//! A screen that shows synthetic VP8 to a viewer. The oracle waits for packets that may still come
//! before it judges; a screen shows a keyframe as soon as it is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tertulia_sfu::rtp::codec::vp8::Descriptor;
use tertulia_sfu::testing::media::Mark;

/// A decoder that shows each frame once it is whole and the frames it refers to were shown.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    /// The time at which the last frame was shown.
    pub(crate) last: Option<Instant>,
    /// Width and height of the last frame.
    pub(crate) dimensions: Option<(u16, u16)>,
    /// Frames shown, and frames with at least one packet received.
    pub(crate) shown: u64,
    pub(crate) begun: u64,
    /// The media time of the last frame shown.
    up_to: Option<u32>,
    /// Frames that wait, by their distance from the first frame in media time.
    waiting: BTreeMap<u32, Frame>,
    first: Option<u32>,
    /// The encoder whose frames are shown.
    source: u32,
    decoded: BTreeSet<u32>,
}

#[derive(Debug, Default)]
struct Frame {
    mark: Option<Mark>,
    keyframe: bool,
    sequences: BTreeSet<u16>,
    bytes: usize,
}

impl Frame {
    fn is_whole(&self) -> bool {
        self.mark
            .is_some_and(|mark| self.bytes >= mark.len as usize)
    }
}

/// Ten seconds at 30 frames a second: references are younger.
const KEPT: usize = 300;

impl Screen {
    /// Handles the payload of a packet.
    pub(crate) fn packet(&mut self, now: Instant, sequence: u16, timestamp: u32, payload: &[u8]) {
        let Ok(read) = Descriptor::parse(payload) else {
            return;
        };
        // Media time from half its range on, so that what comes late does not wrap.
        let first = *self.first.get_or_insert(timestamp);
        let time = timestamp.wrapping_sub(first).wrapping_add(1 << 31);
        if self.up_to.is_some_and(|shown| time <= shown) {
            return;
        }
        let frame = self.waiting.entry(time).or_insert_with(|| {
            self.begun += 1;
            Frame::default()
        });
        if !frame.sequences.insert(sequence) {
            return;
        }
        let data = &payload[read.descriptor_len..];
        frame.bytes += data.len();
        if read.start_of_frame {
            frame.keyframe = read.keyframe;
            let header = if read.keyframe { 10 } else { 3 };
            frame.mark = data.get(header..).and_then(Mark::parse);
        }
        self.show(now);
    }

    fn show(&mut self, now: Instant) {
        loop {
            let ready = self.waiting.iter().find(|(_, frame)| {
                let shown = |reference: &u32| self.decoded.contains(reference);
                let of =
                    |mark: Mark| mark.source == self.source && mark.references.iter().all(shown);
                frame.is_whole() && (frame.keyframe || frame.mark.is_some_and(of))
            });
            let Some((time, _)) = ready else { return };
            let time = *time;
            // Older frames are not shown any more.
            let later = self.waiting.split_off(&(time + 1));
            let frame = self
                .waiting
                .remove(&time)
                .and_then(|frame| frame.mark.map(|m| (frame.keyframe, m)));
            self.waiting = later;
            self.up_to = Some(time);
            let Some((keyframe, mark)) = frame else {
                return;
            };
            if keyframe {
                self.decoded.clear();
                self.source = mark.source;
                self.dimensions = Some((mark.width, mark.height));
            }
            self.decoded.insert(mark.frame);
            while self.decoded.len() > KEPT {
                self.decoded.pop_first();
            }
            self.shown += 1;
            self.last = Some(now);
        }
    }
}
