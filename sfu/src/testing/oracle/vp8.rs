//! The rules for VP8: picture ids, temporal layers, and what synthetic frames say of themselves.

use std::collections::BTreeSet;

use super::order::Packet;
use super::{OracleReport, Violation};
use crate::rtp::codec::vp8::Descriptor;
use crate::testing::media::Mark;

#[derive(Debug, Default)]
pub(super) struct Vp8 {
    /// The first packet seen of the frame in progress, or of the last one.
    current: Option<Descriptor>,
    /// TL0PICIDX of the latest frame that had one.
    tl0_pic_idx: Option<u8>,
    /// Frames of layer 0 since the last frame of layers 1, 2 and 3.
    base_frames_since: [u32; 3],
    /// The frame in progress, if it is synthetic and complete so far.
    synthetic: Option<Synthetic>,
    /// No packet was lost since the last complete keyframe.
    intact: bool,
    shown: Option<Shown>,
    dimensions: Option<(u16, u16)>,
}

#[derive(Debug)]
struct Synthetic {
    mark: Mark,
    received: usize,
    corrupt: bool,
}

/// Decodable synthetic frames since a keyframe.
#[derive(Debug)]
struct Shown {
    keyframe: Mark,
    frames: BTreeSet<u32>,
}

/// Frames remembered to be referred to: no temporal layer pauses for longer than that.
const MAX_SHOWN: usize = 1_024;

/// An encoder that drops frames may leave a layer out of one cycle of its pattern, or two.
const MAX_BASE_FRAMES: u32 = 4;

pub(super) fn starts_frame(payload: &[u8]) -> bool {
    Descriptor::parse(payload).is_ok_and(|read| read.start_of_frame)
}

impl Vp8 {
    /// A packet, of the frame in progress or the `first` seen of a new one, behind `lost` others.
    /// Whether, by its picture id, no frame is missing before it.
    pub(super) fn packet(
        &mut self,
        packet: &Packet,
        first: bool,
        lost: u64,
        report: &mut OracleReport,
    ) -> bool {
        let sequence = packet.sequence;
        let Ok(read) = Descriptor::parse(&packet.payload) else {
            report.violate(Violation::Descriptor { sequence });
            self.synthetic = None;
            return false;
        };
        let mut follows = false;
        if first {
            follows = self.check_picture_id(&read, sequence, lost, report);
            self.check_tl0_pic_idx(&read, sequence, lost, report);
            self.current = Some(read);
            self.synthetic = None;
        } else if let Some(current) = self.current
            && current.picture_id != read.picture_id
        {
            report.violate(Violation::PictureId {
                sequence,
                from: current.picture_id,
                to: read.picture_id,
                lost,
            });
        }
        if lost > 0 && !follows {
            self.intact = false;
        }
        self.collect(&read, &packet.payload[read.descriptor_len..], lost);
        follows
    }

    /// The frame has ended; whether it is decodable, if it is complete and synthetic.
    pub(super) fn end_frame(
        &mut self,
        sequence: u16,
        complete: bool,
        no_frame_skipped: bool,
        keyframe: bool,
        report: &mut OracleReport,
    ) -> Option<bool> {
        let synthetic = self.synthetic.take();
        self.intact &= complete && no_frame_skipped;
        if complete && keyframe {
            self.intact = true;
            self.base_frames_since = [0; 3];
            self.dimensions = self.current.and_then(|read| read.dimensions);
        }
        self.check_temporal_layer(sequence, synthetic.is_some(), report);
        let Synthetic {
            mark,
            received,
            corrupt,
        } = synthetic.filter(|_| complete)?;
        if corrupt || received != mark.len as usize {
            let frame = mark.frame;
            report.violate(Violation::Corrupt { sequence, frame });
            return Some(false);
        }
        Some(self.show(mark, sequence, keyframe, report))
    }

    /// Width and height of the last complete keyframe.
    pub(super) fn dimensions(&self) -> Option<(u16, u16)> {
        self.dimensions
    }

    fn check_picture_id(
        &self,
        read: &Descriptor,
        sequence: u16,
        lost: u64,
        report: &mut OracleReport,
    ) -> bool {
        let Some(last) = self.current else {
            return false;
        };
        let (from, to) = (last.picture_id, read.picture_id);
        let step = match (from, to) {
            (None, None) => return lost == 0,
            (Some(from), Some(to)) if last.long_picture_id == read.long_picture_id => {
                let mask = if read.long_picture_id { 0x7fff } else { 0x7f };
                u64::from(to.wrapping_sub(from) & mask)
            }
            _ => 0,
        };
        // Each missing frame had at least one packet.
        if !(1..=lost + 1).contains(&step) {
            report.violate(Violation::PictureId {
                sequence,
                from,
                to,
                lost,
            });
        }
        step == 1
    }

    fn check_tl0_pic_idx(
        &mut self,
        read: &Descriptor,
        sequence: u16,
        lost: u64,
        report: &mut OracleReport,
    ) {
        let to = read.tl0_pic_idx;
        let from = self.tl0_pic_idx;
        let had = self.current.is_some();
        self.tl0_pic_idx = to;
        let own = u64::from(read.tid.unwrap_or(0) == 0);
        let right = match (from, to) {
            (None, None) => true,
            (Some(from), Some(to)) => {
                (own..=own + lost).contains(&u64::from(to.wrapping_sub(from)))
            }
            _ => !had,
        };
        if !right {
            report.violate(Violation::Tl0PicIdx {
                sequence,
                from,
                to,
                lost,
            });
        }
    }

    /// A synthetic frame's references tell better.
    fn check_temporal_layer(&mut self, sequence: u16, synthetic: bool, report: &mut OracleReport) {
        let Some(read) = self.current else { return };
        match read.tid {
            Some(tid @ 1..=3) => {
                let since = &mut self.base_frames_since[tid as usize - 1];
                if *since > MAX_BASE_FRAMES && !read.layer_sync && self.intact && !synthetic {
                    report.violate(Violation::TemporalLayerWithoutSync { sequence, tid });
                }
                *since = 0;
            }
            _ => self
                .base_frames_since
                .iter_mut()
                .for_each(|since| *since += 1),
        }
    }

    /// Follows a synthetic frame's bytes for as long as they are without a gap.
    fn collect(&mut self, read: &Descriptor, data: &[u8], lost: u64) {
        if read.start_of_frame {
            let header = if read.keyframe { 10 } else { 3 };
            let mark = data.get(header..).and_then(Mark::parse);
            self.synthetic = mark.map(|mark| Synthetic {
                mark,
                received: 0,
                corrupt: false,
            });
        } else if lost > 0 {
            self.synthetic = None;
        }
        let Some(synthetic) = &mut self.synthetic else {
            return;
        };
        // Filler begins behind the mark, whose place the references tell: only a keyframe refers
        // to itself.
        let mark = synthetic.mark;
        let header = if mark.references[0] == mark.frame {
            10
        } else {
            3
        };
        synthetic.corrupt |= data.iter().enumerate().any(|(at, byte)| {
            (synthetic.received + at)
                .checked_sub(header + Mark::LEN)
                .is_some_and(|offset| *byte != mark.filler(offset))
        });
        synthetic.received += data.len();
    }

    fn show(
        &mut self,
        mark: Mark,
        sequence: u16,
        keyframe: bool,
        report: &mut OracleReport,
    ) -> bool {
        if keyframe {
            self.shown = Some(Shown {
                keyframe: mark,
                frames: BTreeSet::from([mark.frame]),
            });
            return true;
        }
        let Some(shown) = &mut self.shown else {
            return false;
        };
        let identity = |mark: &Mark| (mark.source, mark.width, mark.height);
        if identity(&mark) != identity(&shown.keyframe) {
            if self.intact {
                report.violate(Violation::ChangeWithoutKeyframe {
                    sequence,
                    from: (shown.keyframe.width, shown.keyframe.height),
                    to: (mark.width, mark.height),
                });
            }
            return false;
        }
        let mut references = mark.references.into_iter();
        if let Some(reference) = references.find(|frame| !shown.frames.contains(frame)) {
            if self.intact {
                report.violate(Violation::MissingReference {
                    sequence,
                    frame: mark.frame,
                    reference,
                });
            }
            return false;
        }
        shown.frames.insert(mark.frame);
        if shown.frames.len() > MAX_SHOWN {
            shown.frames.pop_first();
        }
        true
    }
}
