//! The rules for VP9, AV1 and H.264: frames of spatial layers in a picture, their numbers, and what
//! synthetic frames say of themselves.

use std::collections::BTreeSet;

use super::order::Packet;
use super::{OracleReport, Violation};
use crate::rtp::codec::dd::{DependencyDescriptor, Structure};
use crate::rtp::codec::{Codec, vp9};
use crate::rtp::sequence::Extender;
use crate::testing::media::Mark;

/// Frames remembered to be referred to.
const MAX_SHOWN: usize = 1_024;
/// Pictures of one cycle of a temporal pattern, which may be left out between two that are sent; and as
/// many again for the frames of the spatial layers.
const MAX_STEP: u64 = 64;

#[derive(Debug)]
pub(super) struct Layered {
    codec: Codec,
    /// The frame in progress.
    frame: Option<Frame>,
    /// Frames of the picture in progress that were shown, and that were not.
    picture: (u32, u32),
    shown: Option<Shown>,
    /// No packet was lost since the last complete keyframe.
    intact: bool,
    structure: Option<Box<Structure>>,
    frame_numbers: Extender,
    /// Descriptor of VP9's last picture.
    last: Option<vp9::Descriptor>,
    tl0_pic_idx: Option<u8>,
    dimensions: Option<(u16, u16)>,
    /// Packets lost before the picture in progress.
    lost: u64,
}

#[derive(Debug)]
struct Frame {
    /// Unwrapped, by the dependency descriptor, with the frames it refers to as differences.
    number: Option<(u64, u64)>,
    broken: bool,
    ended: bool,
    mark: Option<Mark>,
    received: usize,
    corrupt: bool,
}

#[derive(Debug)]
struct Shown {
    keyframe: Mark,
    frames: BTreeSet<u32>,
    numbers: BTreeSet<u64>,
}

/// The place of a packet in its frame.
struct Part<'a> {
    begins: bool,
    ends: bool,
    data: &'a [u8],
}

impl Layered {
    pub(super) fn new(codec: Codec) -> Self {
        Self {
            codec,
            frame: None,
            picture: (0, 0),
            shown: None,
            intact: false,
            structure: None,
            frame_numbers: Extender::default(),
            last: None,
            tl0_pic_idx: None,
            dimensions: None,
            lost: 0,
        }
    }

    /// Width and height of the last keyframe shown.
    pub(super) fn dimensions(&self) -> Option<(u16, u16)> {
        self.dimensions
    }

    /// Handles a packet of the picture in progress, or the `first` received of a new one, after `lost` others.
    pub(super) fn packet(
        &mut self,
        packet: &Packet,
        first: bool,
        lost: u64,
        report: &mut OracleReport,
    ) {
        self.intact &= lost == 0;
        self.lost = if first { lost } else { self.lost + lost };
        let sequence = packet.sequence;
        let Some(part) = self.part(packet, first, lost, report) else {
            report.violate(Violation::Descriptor { sequence });
            self.frame = None;
            return;
        };
        if part.begins {
            self.end_frame(packet, lost == 0, report);
        }
        let number = self.number(packet, part.begins, report);
        let frame = self.frame.get_or_insert(Frame {
            number,
            broken: !part.begins,
            ended: false,
            mark: None,
            received: 0,
            corrupt: false,
        });
        if !part.begins {
            if frame.ended && lost == 0 && !frame.broken {
                let timestamp = packet.timestamp;
                report.violate(Violation::TornFrame {
                    sequence,
                    timestamp,
                });
            }
            frame.broken |= lost > 0 || frame.ended;
        }
        frame.collect(part.data);
        frame.ended |= part.ends;
    }

    /// The picture has ended: whether something of it could be shown, if its frames are synthetic.
    pub(super) fn end_picture(
        &mut self,
        sequence: u16,
        complete: bool,
        report: &mut OracleReport,
    ) -> Option<bool> {
        if complete && let Some(frame) = &mut self.frame {
            frame.ended = true;
        }
        if let Some(frame) = self.frame.take() {
            self.judge(frame, sequence, report);
        }
        let (shown, not_shown) = std::mem::take(&mut self.picture);
        self.intact &= complete;
        (shown + not_shown > 0).then_some(shown > 0 && not_shown == 0)
    }

    fn end_frame(&mut self, packet: &Packet, intact: bool, report: &mut OracleReport) {
        let Some(frame) = self.frame.take() else {
            return;
        };
        if intact && !frame.ended {
            report.violate(Violation::TornFrame {
                sequence: packet.sequence,
                timestamp: packet.timestamp,
            });
        }
        self.judge(frame, packet.sequence, report);
    }

    fn judge(&mut self, frame: Frame, sequence: u16, report: &mut OracleReport) {
        let Some(mark) = frame.mark else { return };
        if frame.broken || !frame.ended {
            self.picture.1 += 1;
            self.intact = false;
            return;
        }
        if frame.corrupt || frame.received != mark.len as usize {
            let frame = mark.frame;
            report.violate(Violation::Corrupt { sequence, frame });
            self.picture.1 += 1;
            return;
        }
        if self.show(&frame, mark, sequence, report) {
            self.picture.0 += 1;
            self.dimensions = Some((mark.width, mark.height));
        } else {
            self.picture.1 += 1;
            self.intact = false;
        }
    }

    fn show(
        &mut self,
        frame: &Frame,
        mark: Mark,
        sequence: u16,
        report: &mut OracleReport,
    ) -> bool {
        if mark.references[0] == mark.frame {
            self.intact = true;
            self.shown = Some(Shown {
                keyframe: mark,
                frames: BTreeSet::from([mark.frame]),
                numbers: frame.number.iter().map(|(number, _)| *number).collect(),
            });
            return true;
        }
        let Some(shown) = &mut self.shown else {
            return false;
        };
        if mark.source != shown.keyframe.source {
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
        let mut missing = references.find(|frame| !shown.frames.contains(frame));
        if let Some((number, references)) = frame.number {
            // The references that a receiver relies on must be the real ones.
            let told = (1..=64).filter(|back| references >> (back - 1) & 1 != 0);
            let mut told = told.map(|back| number.wrapping_sub(back));
            let unknown = told.find(|number| !shown.numbers.contains(number));
            missing = missing.or(unknown.map(|number| number as u32));
        }
        if let Some(reference) = missing {
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
        shown.numbers.extend(frame.number.map(|(number, _)| number));
        if shown.frames.len() > MAX_SHOWN {
            shown.frames.pop_first();
            shown.numbers.pop_first();
        }
        true
    }

    /// The frame number, with what the frame refers to.
    fn number(
        &mut self,
        packet: &Packet,
        begins: bool,
        report: &mut OracleReport,
    ) -> Option<(u64, u64)> {
        let value = packet.dependencies.as_deref()?;
        let sequence = packet.sequence;
        let read = DependencyDescriptor::parse(value).ok();
        if let Some(read) = read
            && read.has_structure
        {
            match Structure::parse(value) {
                Ok(structure) => self.structure = Some(Box::new(structure)),
                Err(_) => report.violate(Violation::Descriptor { sequence }),
            }
        }
        let before = self.frame_numbers.highest();
        let Some((read, frame)) = read.zip(
            self.structure
                .as_ref()
                .and_then(|structure| structure.frame(value).ok()),
        ) else {
            // Without the structure the frame cannot be judged.
            if self.intact {
                report.violate(Violation::Descriptor { sequence });
            }
            return None;
        };
        let number = self.frame_numbers.extend(read.frame_number);
        let right = match before {
            None => true,
            Some(before) if begins => {
                (1..=MAX_STEP + 8 * self.lost).contains(&number.wrapping_sub(before))
            }
            Some(before) => number.wrapping_sub(before) <= MAX_STEP + 8 * self.lost,
        };
        let same = begins
            || self
                .frame
                .as_ref()
                .and_then(|frame| frame.number)
                .is_none_or(|(of, _)| of == number || self.lost > 0);
        if !right || !same {
            report.violate(Violation::FrameNumber {
                sequence,
                from: before.map(|before| before as u16),
                to: read.frame_number,
                lost: self.lost,
            });
        }
        Some((number, frame.references))
    }

    fn part<'a>(
        &mut self,
        packet: &'a Packet,
        first: bool,
        lost: u64,
        report: &mut OracleReport,
    ) -> Option<Part<'a>> {
        let payload = packet.payload.as_slice();
        match self.codec {
            Codec::Vp9 => {
                let read = vp9::Descriptor::parse(payload).ok()?;
                self.check_vp9(&read, packet.sequence, first, lost, report);
                Some(Part {
                    begins: read.start_of_frame,
                    ends: read.end_of_frame,
                    data: payload.get(read.descriptor_len..)?,
                })
            }
            Codec::Av1 => {
                let (_, data) = payload.split_first()?;
                let value = packet.dependencies.as_deref();
                let read = value.and_then(|value| DependencyDescriptor::parse(value).ok());
                let (begins, ends) = read.map_or((first, packet.marker), |read| {
                    (read.start_of_frame, read.end_of_frame)
                });
                Some(Part { begins, ends, data })
            }
            _ => Some(Part {
                begins: first,
                ends: packet.marker,
                data: h264(payload)?,
            }),
        }
    }

    fn check_vp9(
        &mut self,
        read: &vp9::Descriptor,
        sequence: u16,
        first: bool,
        lost: u64,
        report: &mut OracleReport,
    ) {
        let last = self.last.replace(*read);
        let Some(last) = last else {
            self.tl0_pic_idx = read.tl0_pic_idx;
            return;
        };
        let step = match (last.picture_id, read.picture_id) {
            (Some(from), Some(to)) => u64::from(to.wrapping_sub(from) & 0x7fff),
            (None, None) => u64::from(first),
            _ => u64::MAX,
        };
        // A picture may be left out where a temporal layer is.
        let allowed = if first { 1..=MAX_STEP + lost } else { 0..=0 };
        if !allowed.contains(&step) {
            report.violate(Violation::PictureId {
                sequence,
                from: last.picture_id,
                to: read.picture_id,
                lost,
            });
        }
        if first && let (Some(from), Some(to)) = (self.tl0_pic_idx, read.tl0_pic_idx) {
            let own = u64::from(read.tid.unwrap_or(0) == 0);
            if !(own..=own + lost).contains(&u64::from(to.wrapping_sub(from))) {
                report.violate(Violation::Tl0PicIdx {
                    sequence,
                    from: Some(from),
                    to: Some(to),
                    lost,
                });
            }
        }
        self.tl0_pic_idx = read.tl0_pic_idx;
    }
}

impl Frame {
    fn collect(&mut self, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if self.received == 0 {
            self.mark = data.get(1..).and_then(Mark::parse);
        }
        if let Some(mark) = self.mark {
            self.corrupt |= data.iter().enumerate().any(|(at, byte)| {
                (self.received + at)
                    .checked_sub(1 + Mark::LEN)
                    .is_some_and(|offset| *byte != mark.filler(offset))
            });
        }
        self.received += data.len();
    }
}

/// The part of a slice in a payload (RFC 6184 section 5), which is in a packet alone or in FU-As.
fn h264(payload: &[u8]) -> Option<&[u8]> {
    let (first, rest) = payload.split_first()?;
    match first & 0x1f {
        24 => Some(&[]),
        // The first one's FU header stands where the unit's header would.
        28 if rest.first()? & 0x80 != 0 => Some(rest),
        28 => rest.get(1..),
        _ => Some(payload),
    }
}
