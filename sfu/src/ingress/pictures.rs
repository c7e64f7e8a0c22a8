//! The pictures of one publisher: the tracks with pictures to turn, and whether tracks still come after the publisher
//! was left to turn them.

use std::time::{Duration, Instant};

use super::Asks;
use crate::event::MediaKind;
use crate::id::TrackId;
use crate::index::TrackIx;
use crate::track::{Track, Tracks};

/// Time after an answer in which pictures made before it still arrive.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// Time allowed for an encoder to start anew with pictures of another shape.
const PATIENCE: Duration = Duration::from_secs(3);

/// The outcome of an offer for the orientation extension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Orientation {
    /// The answer agrees on it.
    Agreed,
    /// The answer leaves it out, though it was offered.
    LeftOut,
    /// It was not offered.
    NotOffered,
}

impl Orientation {
    /// The answer to a publisher's offer. `insists`: the extension stays. `lacking`: some viewer does not turn
    /// pictures.
    pub(crate) fn answer(is_offered: bool, insists: bool, lacking: bool) -> Self {
        match (is_offered, insists || !lacking) {
            (false, _) => Self::NotOffered,
            (true, true) => Self::Agreed,
            (true, false) => Self::LeftOut,
        }
    }
}

/// Facts of the pictures that a publisher sends.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
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
    pub(crate) insists: bool,
    asks: Asks,
    /// The time of the next check.
    pub(crate) due: Option<Instant>,
}

impl Pictures {
    /// Records the answer to the publisher's offer, after which it publishes these tracks; returns the time of the next check.
    pub(crate) fn answered<'a>(
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
    pub(crate) fn turned(&mut self, track: TrackIx, tracks: &Tracks) -> bool {
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
    pub(crate) fn ask(&mut self, now: Instant) -> (bool, Option<Instant>) {
        if self.turned.is_empty() || self.insists {
            return (false, None);
        }
        let (may, next) = self.asks.ask(now);
        (may, Some(next))
    }

    /// Checks whether the awaited tracks have come; returns the time of the next check.
    pub(crate) fn look(
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
    pub(crate) fn take_silence(&mut self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{PeerId, RoomId};
    use crate::index::PeerIx;
    use crate::rtp::parameters::{MediaRole, SectionKind, SectionParameters};

    /// A publisher of one video.
    struct Publisher {
        start: Instant,
        tracks: Tracks,
        track: TrackIx,
        pictures: Pictures,
    }

    impl Publisher {
        fn new() -> Self {
            let (kind, role) = (SectionKind::Video, MediaRole::Publish);
            let media = SectionParameters::plain(kind, role, Vec::new());
            let owner = (RoomId::new(0, 1), PeerId::new(0, 2), PeerIx::from(0));
            let id = TrackId::new(0, 3);
            let track = Track::published(id, MediaKind::Video, &media, owner);
            let mut tracks = Tracks::default();
            let track = tracks.insert(track);
            Self {
                start: Instant::now(),
                tracks,
                track,
                pictures: Pictures::default(),
            }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.start + Duration::from_secs(seconds)
        }

        fn answered(&mut self, seconds: u64, how: Orientation) -> Option<Instant> {
            let now = self.at(seconds);
            self.pictures.answered(now, how, self.tracks.iter())
        }

        fn look(&mut self, seconds: u64) -> Option<Instant> {
            let now = self.at(seconds);
            self.pictures.look(now, true, &self.tracks)
        }
    }

    #[test]
    fn an_answer_agrees_if_all_viewers_turn_or_the_publisher_insists() {
        use Orientation::{Agreed, LeftOut, NotOffered};
        for (is_offered, insists, lacking, expected) in [
            (false, false, false, NotOffered),
            (false, true, true, NotOffered),
            (true, false, false, Agreed),
            (true, true, true, Agreed),
            (true, false, true, LeftOut),
        ] {
            let found = Orientation::answer(is_offered, insists, lacking);
            assert_eq!(found, expected, "{is_offered} {insists} {lacking}");
        }
    }

    #[test]
    fn a_publisher_of_turned_pictures_alone_is_asked() {
        let mut publisher = Publisher::new();
        let now = publisher.start;
        assert_eq!(publisher.pictures.ask(now), (false, None));
        let track = publisher.track;
        assert!(publisher.pictures.turned(track, &publisher.tracks));
        assert!(
            !publisher.pictures.turned(track, &publisher.tracks),
            "known"
        );
        assert!(publisher.pictures.ask(now).0);
        let (asks, next) = publisher.pictures.ask(now);
        assert!(!asks && next.is_some_and(|next| next > now));
        // It turns them itself now.
        publisher.answered(1, Orientation::LeftOut);
        assert_eq!(publisher.pictures.ask(publisher.at(100)), (false, None));
    }

    #[test]
    fn a_publisher_whose_pictures_stop_without_the_extension_keeps_it() {
        let mut publisher = Publisher::new();
        publisher
            .pictures
            .turned(publisher.track, &publisher.tracks);
        let due = publisher.answered(0, Orientation::LeftOut);
        assert_eq!(due, Some(publisher.at(0) + PATIENCE));
        assert!(!publisher.pictures.take_silence());
        assert_eq!(publisher.look(3), None);
        assert!(publisher.pictures.insists && publisher.pictures.take_silence());
        assert!(!publisher.pictures.take_silence(), "told once");
    }

    #[test]
    fn a_camera_that_never_sent_has_the_time_of_two_checks() {
        let mut publisher = Publisher::new();
        assert!(publisher.answered(0, Orientation::LeftOut).is_some());
        assert_eq!(publisher.look(3), Some(publisher.at(3) + PATIENCE));
        assert!(!publisher.pictures.insists);
        assert_eq!(publisher.look(6), None);
        assert!(publisher.pictures.insists);
        let mut agreed = Publisher::new();
        agreed.answered(0, Orientation::LeftOut);
        assert_eq!(agreed.answered(1, Orientation::Agreed), None);
        assert_eq!((agreed.look(9), agreed.pictures.insists), (None, false));
    }
}
