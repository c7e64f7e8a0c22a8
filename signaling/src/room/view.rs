//! The views and settings of tracks, by which the media plane chooses layers.

use std::collections::HashMap;

use tracing::warn;

use super::actor::{Room, within};
use super::subscription::Unfinished;
use super::{NamedView, ParticipantId};
use crate::media::{Cap, PeerId, SfuError, TrackId, View};

impl Room {
    /// Sets how a participant shows tracks. A track that has just ended is skipped, and so is the participant's own:
    /// neither is sent to it.
    pub(super) async fn view(&mut self, id: &ParticipantId, views: &[NamedView]) {
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
                let NamedView {
                    visible,
                    height,
                    pinned,
                    ..
                } = *view;
                known.insert(
                    track,
                    View {
                        track,
                        visible,
                        height,
                        pinned,
                    },
                );
            }
        }
        if let Some(viewer) = self.participants.get_mut(id) {
            viewer.views.extend(&known);
        }
        self.tell_views(id, known.into_values().collect()).await;
    }

    /// Repeats the views of tracks to which a participant has just been subscribed: the media plane keeps views of
    /// subscriptions only.
    pub(super) async fn tell_views_of(&mut self, subscribed: &[(ParticipantId, TrackId)]) {
        let mut by_viewer: HashMap<&ParticipantId, Vec<View>> = HashMap::new();
        for (id, track) in subscribed {
            let viewer = self.participants.get(id);
            if let Some(view) = viewer.and_then(|viewer| viewer.views.get(track)) {
                by_viewer.entry(id).or_default().push(*view);
            }
        }
        for (id, views) in by_viewer {
            self.tell_views(id, views).await;
        }
    }

    /// Tells the media plane of views. Without a transport nothing is told, and later subscriptions repeat it.
    async fn tell_views(&mut self, id: &ParticipantId, views: Vec<View>) {
        let Some(peer) = self.participants.get(id).and_then(|viewer| viewer.peer) else {
            return;
        };
        if views.is_empty() {
            return;
        }
        if within(self.shared.media.set_views(peer, views)).await == Err(SfuError::Overloaded) {
            self.unfinished.insert(Unfinished::View(id.clone()));
        }
    }

    pub(super) async fn retry_views(&mut self, id: &ParticipantId) {
        if let Some(viewer) = self.participants.get(id) {
            let views = viewer.views.values().copied().collect();
            self.tell_views(id, views).await;
        }
    }

    /// Tells the media plane that a track is muted, or shows a screen. One that is overloaded is told
    /// later how it is then.
    pub(super) async fn tell_settings(&mut self, track: TrackId) -> Result<(), SfuError> {
        let publisher = self.tracks.get(&track).map(|(id, _)| id);
        let publisher = publisher.and_then(|id| self.participants.get(id));
        let publisher = publisher.ok_or(SfuError::NoSuchTrack)?;
        let own = publisher.tracks.iter().find(|own| own.id == track);
        let own = own.ok_or(SfuError::NoSuchTrack)?;
        let peer = publisher.peer.ok_or(SfuError::NoSuchPeer)?;
        let told = within(self.shared.media.set_track(peer, track, own.settings())).await;
        if told == Err(SfuError::Overloaded) {
            self.unfinished.insert(Unfinished::Settings(track));
        }
        told
    }

    /// Tells the settings of new tracks, as [`tell_settings`](Self::tell_settings) does; default settings are not told.
    pub(super) async fn tell_new_settings(&mut self, tracks: &[TrackId]) {
        for &track in tracks {
            let publisher = self.tracks.get(&track).map(|(id, _)| id);
            let publisher = publisher.and_then(|id| self.participants.get(id));
            let own = publisher.and_then(|p| p.tracks.iter().find(|own| own.id == track));
            if own.is_some_and(|own| own.settings() != Default::default()) {
                let _ = self.tell_settings(track).await;
            }
        }
    }

    /// Bounds the rate to a new peer, in a room with a cap.
    pub(super) async fn cap(&mut self, peer: PeerId) {
        let Some(cap) = self.shared.caps.get(self.name.as_str()) else {
            return;
        };
        let cap = Cap {
            bitrate: cap.max_viewer_bitrate,
            height: cap.max_viewer_height,
        };
        match within(self.shared.media.set_cap(peer, cap)).await {
            Ok(()) | Err(SfuError::NoSuchPeer | SfuError::WorkerFailed | SfuError::Stopped) => {}
            Err(SfuError::Overloaded) => {
                self.unfinished.insert(Unfinished::Cap(peer));
            }
            Err(error) => warn!(room = %self.name, %peer, %error, "not capped"),
        }
    }
}
