//! The pictures of one publisher: the tracks with pictures to turn, and whether tracks still come after the publisher
//! was left to turn them.

use std::time::{Duration, Instant};

use super::Orientation;
use crate::event::MediaKind;
use crate::id::TrackId;
use crate::index::TrackIx;
use crate::track::{Track, Tracks};
use crate::worker::codecs::Asks;

/// Time after an answer in which pictures made before it still arrive.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// Time allowed for an encoder to start anew with pictures of another shape.
const PATIENCE: Duration = Duration::from_secs(3);

/// Facts of the pictures that a publisher sends.
#[derive(Debug, Default)]
pub(in crate::worker) struct Pictures {
    /// Tracks with pictures that viewers are to turn.
    turned: Vec<TrackId>,
    /// Tracks without packets since the extension was left out.
    awaited: Vec<TrackId>,
    left_out: Option<Instant>,
    /// At the last check, pictures of an awaited track were wanted and could have come.
    expected: bool,
    /// No pictures came though they were expected, and the extension was not asked for yet.
    silent: bool,
    /// The extension stays: without it no pictures came.
    pub(super) insists: bool,
    asks: Asks,
    /// The time of the next check.
    pub(super) due: Option<Instant>,
}

impl Pictures {
    /// Records the answer to the publisher's offer, after which it publishes these tracks; returns the time of the next check.
    pub(super) fn answered<'a>(
        &mut self,
        now: Instant,
        how: Orientation,
        published: impl Iterator<Item = (TrackIx, &'a Track)>,
    ) -> Option<Instant> {
        match how {
            Orientation::Agreed => {
                self.awaited.clear();
                return None;
            }
            Orientation::NotOffered => {
                self.turned.clear();
                return None;
            }
            Orientation::LeftOut => {}
        }
        // These tracks came until now.
        self.expected = !self.turned.is_empty();
        self.awaited.append(&mut self.turned);
        // Nothing is known of tracks that have never come: they are awaited too.
        let published = published.map(|(_, track)| track);
        let fresh = published.filter(|track| track.kind == MediaKind::Video && !track.live);
        self.awaited.extend(fresh.map(|track| track.id));
        self.awaited.sort_unstable();
        self.awaited.dedup();
        self.left_out = Some(now);
        (!self.awaited.is_empty()).then_some(now + PATIENCE)
    }

    /// Records that a picture of a track needs turning; true for the first.
    pub(super) fn turned(&mut self, track: TrackIx, tracks: &Tracks) -> bool {
        let Some(track) = tracks.get(track).map(|track| track.id) else {
            return false;
        };
        if self.turned.contains(&track) {
            return false;
        }
        self.turned.retain(|id| tracks.find(*id).is_some());
        self.turned.push(track);
        true
    }

    /// Whether its publisher is to be asked to turn them now, which then counts as done; and the time of the next
    /// check.
    pub(super) fn ask(&mut self, now: Instant) -> (bool, Option<Instant>) {
        if self.turned.is_empty() || self.insists {
            return (false, None);
        }
        let (may, next) = self.asks.ask(now);
        (may, Some(next))
    }

    /// Checks whether the awaited tracks have come; returns the time of the next check.
    pub(super) fn look(
        &mut self,
        now: Instant,
        connected: bool,
        tracks: &Tracks,
    ) -> Option<Instant> {
        let since = self.left_out? + UNDER_WAY;
        let silent = |id: &TrackId| find(tracks, *id).filter(|track| !has_come(track, since));
        self.awaited.retain(|id| silent(id).is_some());
        if self.awaited.is_empty() {
            return None;
        }
        let expected = connected && self.awaited.iter().filter_map(silent).any(is_wanted);
        if std::mem::replace(&mut self.expected, expected) && expected {
            self.awaited.clear();
            (self.insists, self.silent) = (true, true);
            return None;
        }
        Some(now + PATIENCE)
    }

    /// Whether pictures failed to come; true once.
    pub(super) fn take_silence(&mut self) -> bool {
        std::mem::take(&mut self.silent)
    }
}

fn find(tracks: &Tracks, id: TrackId) -> Option<&Track> {
    tracks.get(tracks.find(id)?)
}

/// Whether a packet of a track came after a time.
fn has_come(track: &Track, since: Instant) -> bool {
    let mut layers = track.layers.iter();
    layers.any(|layer| layer.last_packet().is_some_and(|at| at > since))
}

/// Whether its publisher is asked to send it.
fn is_wanted(track: &Track) -> bool {
    let mut encodings = track.order().encodings();
    !track.settings.muted && encodings.any(|encoding| track.demand.asks_for(encoding))
}
