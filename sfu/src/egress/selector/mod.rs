//! Selects the packets of a track that a viewer is sent.
//!
//! A selector has a target and sees every packet of every stream of the track. Between streams (simulcast) it switches
//! at the target's next keyframe and sends the old stream until then, so that no frame is ever torn. Within a stream it
//! decides frame by frame. It knows which of the stream's decode targets ([`Targets`]) are *intact*: no frame of them
//! was left out since the last frame at which they can begin. At the beginning of a picture it picks the best intact
//! one up to the target, and sends the frames that this needs. So a switch down is immediate where lower layers were
//! sent all along, and a switch up waits for a frame from which the upper layer decodes.
//!
//! Another module sets the target.

mod pictures;

use std::mem::offset_of;

use pictures::{Picture, Pictures};

use crate::rtp::codec::{FrameInfo, Targets};
use crate::rtp::sequence::newer_timestamp;
use crate::track::ladder::{LayerId, Ranks, SPATIAL, TEMPORAL};

/// The decision on a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Decision {
    /// Send it.
    Forward,
    /// Send it; it is the first of another stream.
    Switch,
    /// Send it, but not yet: it is the first of another stream, and would tear the frame being sent.
    Hold,
    /// Leave it out of the stream being sent, without a gap.
    Skip,
    /// It belongs to no stream being sent.
    Drop,
}

/// Facts of a packet that a selector needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    /// Index of its stream.
    pub(crate) stream: usize,
    pub(crate) timestamp: u32,
    pub(crate) frame: &'a FrameInfo,
    /// A decoder can begin at it.
    pub(crate) switchable: bool,
    /// It has no payload.
    pub(crate) empty: bool,
    /// Packets before it have not come.
    pub(crate) behind_gap: bool,
}

/// The selector of one video subscription, or of one audio subscription with its single layer.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct LayerSelector {
    /// The stream being sent.
    stream: Option<usize>,
    /// The timestamp of the newest picture.
    newest: Option<u32>,
    target: Option<LayerId>,
    /// The stream ends with the frame in progress, though another is to be sent.
    leaves: bool,
    /// The highest layer of the stream that is sent.
    picked: LayerId,
    decodable: Decodable,
    /// The track's encodings; with several, each spatial layer is a stream.
    order: Ranks,
    /// Last, as the largest field.
    pictures: Pictures,
}

/// Decode targets of the stream that the viewer can decode, from the frames it was sent.
#[derive(Debug, Default)]
struct Decodable {
    intact: Targets,
    /// Packets are missing since the last picture began.
    gap: bool,
    /// Upper spatial layers do not need the lower ones in every picture.
    apart: bool,
}

impl Decodable {
    /// Decides on a packet of a frame. Its picture is the `latest`, or an earlier one.
    fn decide(&mut self, picture: &mut Picture, frame: &FrameInfo, latest: bool) -> Decision {
        let sent = match picture.decision(frame) {
            Some(sent) => {
                // Some codecs mark a keyframe in its first packet only, which may come late.
                if latest && sent && frame.begins && frame.key {
                    self.intact = self.intact.with(picture.switches(frame));
                    self.gap &= !picture.is_alone(frame);
                }
                sent
            }
            None => {
                let picked = picture.picked();
                let sent = frame.needed.has(picked.spatial, picked.temporal);
                picture.decide(frame, sent);
                if latest && sent {
                    self.intact = self.intact.with(picture.switches(frame));
                } else if latest {
                    self.intact = self.intact.without(frame.needed);
                }
                if frame.spatial == 0 && !frame.key {
                    self.apart = !frame.needed.has(1, TEMPORAL as u8 - 1);
                }
                sent
            }
        };
        if sent {
            Decision::Forward
        } else {
            Decision::Skip
        }
    }
}

impl LayerSelector {
    /// Bytes of it that every packet needs: up to the newest picture.
    pub(super) const HOT: usize = offset_of!(Self, pictures) + size_of::<Picture>();

    /// The layer being sent.
    pub(crate) fn current(&self) -> Option<LayerId> {
        let stream = self.stream.filter(|_| self.target.is_some())?;
        let spatial = if self.order.is_single() {
            self.picked.spatial
        } else {
            self.order.rank(stream)?
        };
        Some(LayerId {
            spatial,
            temporal: self.picked.temporal,
        })
    }

    /// The layer to be sent.
    pub(crate) fn target(&self) -> Option<LayerId> {
        self.target
    }

    /// Sets the layer to send, or none: the stream then ends with the frame in progress.
    pub(crate) fn set_target(&mut self, target: Option<LayerId>) {
        self.target = target;
        self.leaves = false;
    }

    /// Ends the stream with the frame in progress, if another is to be sent. Nothing is sent until that one's keyframe.
    pub(crate) fn leave(&mut self) {
        self.leaves = self.stream.is_some() && self.stream != self.wanted_stream();
    }

    /// Ends the stream at once, even within a frame.
    pub(crate) fn halt(&mut self) {
        self.stream = None;
    }

    /// Applies the present order of the track's encodings. The stream being sent and the one to be sent stay.
    pub(crate) fn set_order(&mut self, order: Ranks) {
        let target = self.target;
        self.target = target.map(|target| self.order.translate(target, &order));
        self.order = order;
    }

    /// The order as last taken.
    pub(crate) fn order(&self) -> &Ranks {
        &self.order
    }

    /// The stream that is to be sent.
    pub(crate) fn wanted_stream(&self) -> Option<usize> {
        self.order.encoding_of(self.target?)
    }

    /// The stream that needs a keyframe, if any.
    pub(crate) fn awaits_keyframe_of(&self) -> Option<usize> {
        let target = self.target?;
        let wanted = self.wanted_stream()?;
        if self.stream != Some(wanted) {
            return Some(wanted);
        }
        let row = (0..=target.temporal).any(|t| self.decodable.intact.has(self.row_of(target), t));
        (!row).then_some(wanted)
    }

    /// Decides on a packet. `torn`: the stream being sent is in the middle of a frame.
    pub(crate) fn select(&mut self, packet: Candidate<'_>, torn: bool) -> Decision {
        if self.stream == Some(packet.stream) {
            return self.within(packet);
        }
        if self.wanted_stream() != Some(packet.stream) || !packet.switchable || packet.empty {
            return Decision::Drop;
        }
        if self.stream.is_some() && torn {
            return Decision::Hold;
        }
        self.stream = Some(packet.stream);
        self.restart(packet);
        Decision::Switch
    }

    /// Decides on an audio packet; each decodes alone.
    pub(crate) fn select_sound(&mut self, stream: usize) -> Decision {
        if self.wanted_stream() != Some(stream) {
            self.stream = None;
            return Decision::Drop;
        }
        match self.stream.replace(stream) {
            Some(before) if before == stream => Decision::Forward,
            _ => Decision::Switch,
        }
    }

    /// The stream being sent.
    pub(crate) fn stream(&self) -> Option<usize> {
        self.stream
    }

    /// The highest layer of the stream that is sent.
    pub(crate) fn picked(&self) -> LayerId {
        self.picked
    }

    /// Begins again with a packet of the same stream, as its sender restarted.
    pub(crate) fn restart(&mut self, packet: Candidate<'_>) {
        self.leaves = false;
        self.newest = Some(packet.timestamp);
        self.decodable.gap = false;
        self.decodable.intact = packet.frame.switches;
        if packet.frame.needed.is_empty() {
            // A keyframe makes every target decodable, whatever it says.
            self.decodable.intact = Targets::ALL;
        }
        self.picked = self.best();
        let mut picture = Picture::new(packet.stream, packet.timestamp, self.picked, true);
        picture.decide(packet.frame, true);
        self.pictures.push(picture);
    }

    /// Whether a frame of a stream is for this viewer, by the layers sent at its time; none if that is forgotten.
    pub(crate) fn sends(&self, stream: usize, timestamp: u32, frame: &FrameInfo) -> Option<bool> {
        self.pictures.sends(stream, timestamp, frame)
    }

    /// Whether a packet is the last of its picture that is sent, though the publisher's picture goes on with upper
    /// layers.
    pub(crate) fn ends_picture(&self, stream: usize, timestamp: u32, frame: &FrameInfo) -> bool {
        frame.ends
            && self
                .pictures
                .picked(stream, timestamp)
                .is_some_and(|picked| frame.spatial == picked.spatial)
    }

    fn within(&mut self, packet: Candidate<'_>) -> Decision {
        self.decodable.gap |= packet.behind_gap;
        if packet.empty {
            return Decision::Skip;
        }
        let frame = packet.frame;
        let newer = self
            .newest
            .is_none_or(|newest| newer_timestamp(packet.timestamp, newest));
        if newer {
            if self.target.is_none() || self.leaves {
                self.stream = None;
                return Decision::Drop;
            }
            self.newest = Some(packet.timestamp);
            self.turn(&packet);
            let mut picture = Picture::new(packet.stream, packet.timestamp, self.picked, false);
            let decision = self.decodable.decide(&mut picture, frame, true);
            self.pictures.push(picture);
            return decision;
        }
        let latest = self.newest == Some(packet.timestamp);
        match self.pictures.find_or_make(packet.stream, packet.timestamp) {
            Some(picture) => self.decodable.decide(picture, frame, latest),
            None => Decision::Skip,
        }
    }

    /// Picks the layer to send from a new picture on.
    fn turn(&mut self, packet: &Candidate<'_>) {
        let frame = packet.frame;
        if self.decodable.gap {
            self.decodable.intact = self.decodable.intact.and(self.certain());
        }
        // The missing packets may be of this picture too.
        self.decodable.gap = packet.behind_gap && !(frame.begins && frame.spatial == 0);
        if frame.key {
            self.decodable.intact = frame.switches;
        }
        let wanted = self.wanted();
        let next = LayerId {
            temporal: self.picked.temporal + 1,
            ..self.picked
        };
        if frame.joins && frame.temporal == next.temporal && wanted.temporal >= next.temporal {
            self.decodable.intact = self.decodable.intact.with(frame.switches);
        }
        self.picked = self.best();
    }

    /// Decode targets that survive a gap: missing packets of these are forwarded if they still arrive.
    fn certain(&self) -> Targets {
        let LayerId { spatial, temporal } = self.picked;
        let lowest = if self.decodable.apart { spatial } else { 0 };
        Targets::up_to(spatial, temporal).without(Targets::below(lowest))
    }

    /// The best intact layer.
    fn best(&self) -> LayerId {
        let wanted = self.wanted();
        let down = |spatial: u8, temporal: u8| {
            let intact = |temporal: &u8| self.decodable.intact.has(spatial, *temporal);
            let found = (0..=temporal).rev().find(intact);
            found.map(|temporal| LayerId { spatial, temporal })
        };
        let lower = || {
            (0..wanted.spatial)
                .rev()
                .find_map(|s| down(s, wanted.temporal))
        };
        down(wanted.spatial, wanted.temporal)
            .or_else(|| down(self.picked.spatial, wanted.temporal))
            .or_else(lower)
            .unwrap_or(self.picked)
    }

    /// The layer wanted of the stream being sent. On the way to a smaller stream it is thinned out at once.
    fn wanted(&self) -> LayerId {
        let Some(target) = self.target else {
            return self.picked;
        };
        let rank = self.stream.and_then(|stream| self.order.rank(stream));
        let on_the_way_up =
            !self.order.is_single() && rank.is_some_and(|rank| rank < target.spatial);
        LayerId {
            spatial: self.row_of(target),
            temporal: if on_the_way_up {
                self.picked.temporal.max(target.temporal)
            } else {
                target.temporal
            }
            .min(TEMPORAL as u8 - 1),
        }
    }

    /// The target's spatial layer within its stream; with simulcast the stream's highest.
    fn row_of(&self, target: LayerId) -> u8 {
        if self.order.is_single() {
            target.spatial.min(SPATIAL as u8 - 1)
        } else {
            SPATIAL as u8 - 1
        }
    }
}

#[cfg(test)]
mod tests;
