//! The views and settings of tracks, by which the media plane chooses layers.

use std::collections::HashMap;

use tracing::warn;

use super::actor::Room;
use super::errands::Then;
use super::subscription::Unfinished;
use super::{NamedView, ParticipantId};
use crate::media::{Cap, PeerId, SfuError, TrackId, TrackSettings, View};

impl Room {
    /// Sets how a participant shows tracks. A track that has just ended is skipped, and so is the participant's own:
    /// neither is sent to it.
    pub(super) fn view(&mut self, id: &ParticipantId, views: &[NamedView], then: Then) {
        let known = self.note_views(id, views);
        self.tell_views(id, known, then);
    }

    /// Keeps how a participant shows tracks. Returns the views of tracks that it may be sent.
    pub(super) fn note_views(&mut self, id: &ParticipantId, views: &[NamedView]) -> Vec<View> {
        let mut known = HashMap::new();
        for view in views {
            let Some(&track) = self.track_ids.get(view.track.as_str()) else {
                continue;
            };
            if self
                .tracks
                .get(&track)
                .is_some_and(|(owner, _)| owner != id)
            {
                let view = View::of(track)
                    .with_visible(view.visible)
                    .with_height(view.height)
                    .with_pinned(view.pinned);
                known.insert(track, view);
            }
        }
        if let Some(viewer) = self.participants.get_mut(id) {
            viewer.views.extend(&known);
        }
        known.into_values().collect()
    }

    /// Repeats the views of tracks to which a participant has just been subscribed: the media plane keeps views of
    /// subscriptions only.
    pub(super) fn tell_views_of(&mut self, subscribed: &[(ParticipantId, TrackId)]) {
        let mut by_viewer: HashMap<&ParticipantId, Vec<View>> = HashMap::new();
        for (id, track) in subscribed {
            let viewer = self.participants.get(id);
            if let Some(view) = viewer.and_then(|viewer| viewer.views.get(track)) {
                by_viewer.entry(id).or_default().push(*view);
            }
        }
        for (id, views) in by_viewer {
            self.tell_views(id, views, Box::new(|_| {}));
        }
    }

    /// Tells the media plane of views. Without a transport nothing is told, and later subscriptions repeat it.
    fn tell_views(&mut self, id: &ParticipantId, views: Vec<View>, then: Then) {
        let peer = self.participants.get(id).and_then(|viewer| viewer.peer);
        let Some(peer) = peer.filter(|_| !views.is_empty()) else {
            return then(self);
        };
        let id = id.clone();
        self.ask(
            move |media| media.set_views(peer, views),
            move |room, told| {
                if told == Err(SfuError::Overloaded) {
                    room.unfinished.insert(Unfinished::View(id));
                }
                then(room);
            },
        );
    }

    pub(super) fn retry_views(&mut self, id: &ParticipantId) {
        if let Some(viewer) = self.participants.get(id) {
            let views = viewer.views.values().copied().collect();
            self.tell_views(id, views, Box::new(|_| {}));
        }
    }

    /// Tells the media plane how to treat a track. One that is overloaded is told later how it is then.
    pub(super) fn set_track(
        &mut self,
        track: TrackId,
        settings: TrackSettings,
        then: impl FnOnce(&mut Room, Result<(), SfuError>) + Send + 'static,
    ) {
        let publisher = self.tracks.get(&track).map(|(id, _)| id);
        let publisher = publisher.and_then(|id| self.participants.get(id));
        let Some(peer) = publisher.and_then(|publisher| publisher.peer) else {
            return then(self, Err(SfuError::NoSuchTrack));
        };
        self.ask(
            move |media| media.set_track(peer, track, settings),
            move |room, told| {
                if told == Err(SfuError::Overloaded) {
                    room.unfinished.insert(Unfinished::Settings(track));
                }
                then(room, told);
            },
        );
    }

    /// Tells the media plane which tracks are muted, or show a screen, and goes on.
    pub(super) fn tell_settings(&mut self, tracks: &[TrackId], then: Then) {
        let settings = tracks.iter().filter_map(|&track| {
            let (id, _) = self.tracks.get(&track)?;
            let publisher = self.participants.get(id)?;
            let own = publisher.tracks.iter().find(|own| own.id == track)?;
            Some((publisher.peer?, track, own.settings()))
        });
        let settings: Vec<_> = settings.collect();
        if settings.is_empty() {
            return then(self);
        }
        self.ask_all(
            settings,
            |media, &(peer, track, settings)| media.set_track(peer, track, settings),
            |room, told| {
                for ((_, track, _), told) in told {
                    if told == Err(SfuError::Overloaded) {
                        room.unfinished.insert(Unfinished::Settings(track));
                    }
                }
                then(room);
            },
        );
    }

    /// Whether a new track is muted or shows a screen: of any other the media plane need not be told.
    pub(super) fn needs_settings(&self, track: TrackId) -> bool {
        let publisher = self.tracks.get(&track).map(|(id, _)| id);
        let publisher = publisher.and_then(|id| self.participants.get(id));
        let own = publisher.and_then(|p| p.tracks.iter().find(|own| own.id == track));
        own.is_some_and(|own| own.settings() != Default::default())
    }

    /// Bounds the rate to a new peer, in a room with a cap.
    pub(super) fn cap(&mut self, peer: PeerId) {
        let Some(cap) = self.shared.caps.get(self.name.as_str()) else {
            return;
        };
        let cap = Cap {
            bitrate: cap.max_viewer_bitrate,
            height: cap.max_viewer_height,
        };
        self.ask(
            move |media| media.set_cap(peer, cap),
            move |room, told| match told {
                Ok(()) | Err(SfuError::NoSuchPeer | SfuError::WorkerFailed | SfuError::Stopped) => {
                }
                Err(SfuError::Overloaded) => {
                    room.unfinished.insert(Unfinished::Cap(peer));
                }
                Err(error) => warn!(room = %room.name, %peer, %error, "not capped"),
            },
        );
    }
}
