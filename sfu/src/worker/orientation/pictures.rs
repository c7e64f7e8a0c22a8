//! The pictures of one publisher: of which tracks some are to be turned, and whether they come still once it
//! was left to the publisher to turn them.

use std::time::{Duration, Instant};

use super::Orientation;
use crate::event::MediaKind;
use crate::id::TrackId;
use crate::ingress::{Publisher, Track};
use crate::worker::codecs::Asks;

/// The time after an answer within which pictures come that were made before it.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// For an encoder that starts anew with pictures of another shape.
const PATIENCE: Duration = Duration::from_secs(3);

/// Facts of the pictures that a publisher sends.
#[derive(Debug, Default)]
pub(in crate::worker) struct Pictures {
    /// Tracks of which some are to be turned by the viewers.
    turned: Vec<TrackId>,
    /// Tracks of which none came since the extension was left out.
    awaited: Vec<TrackId>,
    left_out: Option<Instant>,
    /// Pictures of an awaited track were wanted, and could have come, when they were last looked at.
    expected: bool,
    /// None came though they were expected, and nobody has asked for the extension yet.
    silent: bool,
    /// The extension stays: without it none came.
    pub(super) insists: bool,
    asks: Asks,
    /// The time of the next look at them.
    pub(super) due: Option<Instant>,
}

impl Pictures {
    /// Its publisher's offer was answered; when to look.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        how: Orientation,
        publisher: &Publisher,
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
        // They came until now.
        self.expected = !self.turned.is_empty();
        self.awaited.append(&mut self.turned);
        // Of what has never come nothing is known.
        let tracks = publisher.tracks().map(|(_, track)| track);
        let fresh = tracks.filter(|track| track.kind == MediaKind::Video && !track.live);
        self.awaited.extend(fresh.map(|track| track.id));
        self.awaited.sort_unstable();
        self.awaited.dedup();
        self.left_out = Some(now);
        (!self.awaited.is_empty()).then_some(now + PATIENCE)
    }

    /// A picture of a track is to be turned; true if that is the first.
    pub(super) fn turned(&mut self, track: usize, publisher: &Publisher) -> bool {
        let Some(track) = publisher.track(track).map(|track| track.id) else {
            return false;
        };
        if self.turned.contains(&track) {
            return false;
        }
        self.turned.retain(|id| find(publisher, *id).is_some());
        self.turned.push(track);
        true
    }

    /// Whether its publisher is to be asked to turn them now, which then counts; and when to look again.
    pub(super) fn ask(&mut self, now: Instant) -> (bool, Option<Instant>) {
        if self.turned.is_empty() || self.insists {
            return (false, None);
        }
        let (may, next) = self.asks.ask(now);
        (may, Some(next))
    }

    /// Looks whether what is awaited has come; when to look again.
    pub(super) fn look(
        &mut self,
        now: Instant,
        connected: bool,
        publisher: &Publisher,
    ) -> Option<Instant> {
        let since = self.left_out? + UNDER_WAY;
        let silent = |id: &TrackId| find(publisher, *id).filter(|track| !has_come(track, since));
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

    /// Whether none came, if nobody has been asked for that yet.
    pub(super) fn take_silence(&mut self) -> bool {
        std::mem::take(&mut self.silent)
    }
}

fn find(publisher: &Publisher, id: TrackId) -> Option<&Track> {
    let mut tracks = publisher.tracks().map(|(_, track)| track);
    tracks.find(|track| track.id == id)
}

/// Whether a packet of a track came after a time.
fn has_come(track: &Track, since: Instant) -> bool {
    let mut layers = track.layers.iter();
    layers.any(|layer| layer.last_packet().is_some_and(|at| at > since))
}

/// Whether its publisher is to send it.
fn is_wanted(track: &Track) -> bool {
    let mut encodings = track.order().encodings();
    !track.settings.muted && encodings.any(|encoding| track.demand.asks_for(encoding))
}
