//! Subscriptions of participants to tracks. `Participant::wanted` is the goal; the media plane is
//! asked until it is reached.

use futures_util::future::join_all;
use tracing::{debug, warn};

use super::ParticipantId;
use super::actor::{Room, within};
use crate::media::{PeerId, SfuError, TrackId};

/// A request the media plane had no room for.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Unfinished {
    Subscribe(ParticipantId, TrackId),
    Unsubscribe(PeerId, TrackId),
    ClosePeer(PeerId),
    View(ParticipantId),
    Settings(TrackId),
    Cap(PeerId),
}

/// Requests to the media plane under way at a time: enough to keep a worker busy, few beside the
/// length of its command queue.
const AT_A_TIME: usize = 64;

impl Room {
    /// Lets everyone who wants `tracks` receive them.
    pub(super) async fn subscribe_viewers(&mut self, tracks: &[TrackId]) {
        let pairs = self
            .participants
            .values()
            .flat_map(|viewer| {
                let wanted = tracks.iter().filter(|&track| viewer.wanted.contains(track));
                wanted.map(|&track| (viewer.id.clone(), track))
            })
            .collect();
        self.subscribe(pairs).await;
    }

    /// Lets a participant with a new transport receive all it wants.
    pub(super) async fn subscribe_to_wanted(&mut self, id: &ParticipantId) {
        let Some(viewer) = self.participants.get(id) else {
            return;
        };
        let pairs = viewer.wanted.iter().map(|&track| (id.clone(), track));
        self.subscribe(pairs.collect()).await;
    }

    /// Subscribes participants to tracks. Those without a transport are subscribed when they have
    /// one.
    pub(super) async fn subscribe(&mut self, pairs: Vec<(ParticipantId, TrackId)>) {
        for pairs in pairs.chunks(AT_A_TIME) {
            let requests = pairs.iter().filter_map(|(id, track)| {
                let peer = self.participants.get(id)?.peer?;
                let reply = self.shared.media.subscribe(peer, *track);
                Some(async move { (id, *track, within(reply).await) })
            });
            let mut subscribed = Vec::with_capacity(pairs.len());
            for (id, track, result) in join_all(requests).await {
                match result {
                    Ok(()) => {
                        debug!(room = %self.name, participant = %id, %track, "subscribed");
                        subscribed.push((id.clone(), track));
                    }
                    Err(SfuError::Overloaded) => {
                        self.unfinished
                            .insert(Unfinished::Subscribe(id.clone(), track));
                    }
                    // The peer or the track has ended; its event is on the way.
                    Err(
                        SfuError::NoSuchPeer
                        | SfuError::NoSuchTrack
                        | SfuError::WorkerFailed
                        | SfuError::Stopped,
                    ) => {}
                    Err(error) => {
                        warn!(room = %self.name, participant = %id, %track, %error, "not subscribed");
                        // It is not wanted any more, so that the client may ask again.
                        if let Some(viewer) = self.participants.get_mut(id) {
                            viewer.wanted.remove(&track);
                        }
                    }
                }
            }
            self.tell_views_of(&subscribed).await;
        }
    }

    pub(super) async fn unsubscribe(&mut self, peer: PeerId, tracks: &[TrackId]) {
        for tracks in tracks.chunks(AT_A_TIME) {
            let requests = tracks.iter().map(|&track| {
                let reply = self.shared.media.unsubscribe(peer, track);
                async move { (track, within(reply).await) }
            });
            for (track, result) in join_all(requests).await {
                if result == Err(SfuError::Overloaded) {
                    self.unfinished.insert(Unfinished::Unsubscribe(peer, track));
                }
            }
        }
    }

    pub(super) async fn close_peer(&mut self, peer: PeerId) {
        if within(self.shared.media.close_peer(peer)).await == Err(SfuError::Overloaded) {
            self.unfinished.insert(Unfinished::ClosePeer(peer));
        }
    }

    /// Tries everything unfinished once more; what still cannot be done stays.
    pub(super) async fn retry(&mut self) {
        let mut pairs = Vec::new();
        for unfinished in std::mem::take(&mut self.unfinished) {
            match unfinished {
                Unfinished::Subscribe(id, track) => {
                    let viewer = self.participants.get(&id);
                    if viewer.is_some_and(|viewer| viewer.wanted.contains(&track)) {
                        pairs.push((id, track));
                    }
                }
                Unfinished::Unsubscribe(peer, track) => {
                    let viewer = self.peers.get(&peer);
                    let viewer = viewer.and_then(|id| self.participants.get(id));
                    if viewer.is_some_and(|viewer| !viewer.wanted.contains(&track)) {
                        self.unsubscribe(peer, &[track]).await;
                    }
                }
                Unfinished::ClosePeer(peer) => self.close_peer(peer).await,
                Unfinished::View(id) => self.retry_views(&id).await,
                Unfinished::Settings(track) => {
                    let _ = self.tell_settings(track).await;
                }
                Unfinished::Cap(peer) => self.cap(peer).await,
            }
        }
        self.subscribe(pairs).await;
    }
}
