//! Taps of the tracks that peers of this worker publish: adding them, feeding them, and forgetting those whose reader
//! is gone.

use std::time::{Duration, Instant};

use super::Worker;
use crate::drops::DropReason;
use crate::error::{Limit, SfuError};
use crate::event::MediaKind;
use crate::id::TrackId;
use crate::index::TrackIx;
use crate::ingress::Media;
use crate::seat::Seat;
use crate::tap::{Arrived, Choice, Given, TAPS_PER_TRACK, Tap, TapSettings, TapSink, tap};
use crate::track::ladder::{LayerSet, SPATIAL};

/// Interval of the looks for taps whose reader is gone. Until then such a tap keeps its layers published.
const LOOKS: Duration = Duration::from_secs(1);

/// The taps of a worker's tracks.
#[derive(Debug, Default)]
pub(super) struct Taps {
    /// The time of the next look at them; none while there are none.
    due: Option<Instant>,
}

impl Taps {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

impl Worker {
    /// Adds a tap of a track that a peer of this worker publishes. The seat counts it among the process's.
    pub(crate) fn tap(
        &mut self,
        now: Instant,
        track: TrackId,
        settings: &TapSettings,
        seat: Seat,
    ) -> Result<Tap, SfuError> {
        let at = self.tracks.find(track).ok_or(SfuError::NoSuchTrack)?;
        let track = self.tracks.get_mut(at);
        let track = track.filter(|track| track.peer().is_some());
        let track = track.ok_or(SfuError::NoSuchTrack)?;
        track.sinks.forget_gone_taps();
        if track.sinks.taps().len() >= TAPS_PER_TRACK {
            return Err(SfuError::Limit {
                what: Limit::TapsPerTrack,
                limit: TAPS_PER_TRACK,
            });
        }
        let (sink, tap) = tap(settings, seat);
        track.sinks.add_tap(sink);
        self.taps.due.get_or_insert(now + LOOKS);
        self.begin_taps(now, at);
        Ok(tap)
    }

    /// Asks for the keyframes with which the taps of a track begin, and for the layers they take.
    pub(super) fn begin_taps(&mut self, now: Instant, at: TrackIx) {
        let Some(track) = self.tracks.get(at) else {
            return;
        };
        self.marks.mark(at);
        if track.kind == MediaKind::Audio {
            return;
        }
        let begin = track.awaited_by_taps();
        self.request_keyframes(now, at, begin);
    }

    /// Gives a packet to the taps of its track.
    pub(super) fn feed_taps(&mut self, now: Instant, media: &Media, datagram: &[u8]) {
        let Some(track) = self.tracks.get_mut(media.track) else {
            return;
        };
        let arrived = Arrived {
            layer: media.layer,
            begins: media.keyframe || media.codec.is_audio(),
            largest: track.largest_alive(),
        };
        let mut packet = None;
        let (mut ask, mut dropped, mut gone) = (LayerSet::NONE, 0, false);
        for at in 0..track.sinks.taps().len() {
            let tap = track.sinks.taps_mut().get_mut(at);
            match tap.map(|tap| tap.choose(arrived)) {
                Some(Choice::Take) => {}
                Some(Choice::Await(layer)) => {
                    ask.insert(layer);
                    continue;
                }
                Some(Choice::Leave) | None => continue,
            }
            let packet = packet.get_or_insert_with(|| media.for_taps(track, datagram));
            let tap = track.sinks.taps_mut().get_mut(at);
            match tap.map(|tap| tap.give(now, packet)) {
                Some(Given::Whole) | None => {}
                Some(Given::NeedsKeyframe) => ask.insert(media.layer),
                Some(Given::Dropped) => dropped += 1,
                Some(Given::Gone) => gone = true,
            }
        }
        self.counters.drop_many(DropReason::TapFull, dropped);
        if gone {
            track.sinks.forget_gone_taps();
            self.marks.mark(media.track);
        }
        if !media.codec.is_audio() {
            self.request_keyframes(now, media.track, ask);
        }
    }

    /// Has the taps of a track begin anew once it is forwarded again: the packets until then are not given.
    pub(super) fn interrupt_taps(&mut self, at: TrackIx) {
        if let Some(track) = self.tracks.get_mut(at) {
            let taps = track.sinks.taps_mut().iter_mut();
            taps.for_each(TapSink::begin_again);
        }
    }

    /// Forgets the taps whose reader is gone.
    pub(super) fn poll_taps(&mut self, now: Instant) {
        if self.taps.due.is_none_or(|due| now < due) {
            return;
        }
        let mut left = false;
        for (at, track) in self.tracks.iter_mut() {
            if track.sinks.forget_gone_taps() {
                self.marks.mark(at);
            }
            left |= !track.sinks.taps().is_empty();
        }
        self.taps.due = left.then(|| now + LOOKS);
    }

    fn request_keyframes(&mut self, now: Instant, at: TrackIx, layers: LayerSet) {
        for layer in (0..SPATIAL).filter(|layer| layers.contains(*layer)) {
            self.request_keyframe(now, at, layer);
        }
    }
}
