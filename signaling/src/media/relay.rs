//! The relay in this process, behind [`Media`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tertulia_sfu as sfu;
use tertulia_sfu::stats::SfuStats;
use tertulia_sfu::{Sfu, SfuConfig, SfuError, StartError};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use super::{
    Answer, Change, Event, Id, Media, PeerId, PeerStats, PublishedTrack, Reply, RoomId, Slot,
    TrackId,
};

/// The relay's workers run in this process.
pub struct Relay {
    sfu: Sfu,
    stats: Mutex<Option<(Instant, Arc<SfuStats>)>>,
}

/// Stats are copied out of the workers whole, so pollers share one copy for this long: a hundred
/// viewers who poll every second cost two copies a second.
const STATS_SHARED_FOR: Duration = Duration::from_millis(500);

/// Overflow: backpressure on the relay's own event queue, which is bounded itself.
const EVENT_QUEUE: usize = 1024;

impl Relay {
    /// Must run within a tokio runtime.
    ///
    /// # Errors
    ///
    /// What [`Sfu::start`] refuses.
    pub fn start(config: SfuConfig) -> Result<(Self, mpsc::Receiver<Event>), StartError> {
        let (sfu, mut relayed) = Sfu::start(config)?;
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        tokio::spawn(async move {
            while let Some(event) = relayed.recv().await {
                let Some(event) = translate(event) else {
                    continue;
                };
                if events.send(event).await.is_err() {
                    break;
                }
            }
        });
        let relay = Self {
            sfu,
            stats: Mutex::new(None),
        };
        Ok((relay, receiver))
    }

    async fn shared_stats(&self) -> Result<Arc<SfuStats>, SfuError> {
        let mut shared = self.stats.lock().await;
        if let Some((at, stats)) = shared.as_ref()
            && at.elapsed() < STATS_SHARED_FOR
        {
            return Ok(stats.clone());
        }
        let stats = Arc::new(self.sfu.stats().await?);
        *shared = Some((Instant::now(), stats.clone()));
        Ok(stats)
    }
}

impl Media for Relay {
    fn create_room(&self) -> Reply<'_, RoomId> {
        Box::pin(async { self.sfu.create_room().await.map(Id::Relay) })
    }

    fn join(&self, room: RoomId, offer: String) -> Reply<'_, (PeerId, Answer)> {
        Box::pin(async move {
            let join = sfu::Join {
                offer,
                auto_subscribe: false,
            };
            let (peer, answer) = self.sfu.join(own_room(room)?, join).await?;
            Ok((Id::Relay(peer), translate_answer(answer)))
        })
    }

    fn offer(&self, peer: PeerId, offer: String) -> Reply<'_, Answer> {
        Box::pin(async move {
            let answer = self.sfu.offer(own_peer(peer)?, offer).await?;
            Ok(translate_answer(answer))
        })
    }

    fn subscribe(&self, peer: PeerId, track: TrackId) -> Reply<'_, ()> {
        Box::pin(async move { self.sfu.subscribe(own_peer(peer)?, own_track(track)?).await })
    }

    fn unsubscribe(&self, peer: PeerId, track: TrackId) -> Reply<'_, ()> {
        Box::pin(async move {
            self.sfu
                .unsubscribe(own_peer(peer)?, own_track(track)?)
                .await
        })
    }

    fn close_peer(&self, peer: PeerId) -> Reply<'_, ()> {
        Box::pin(async move { self.sfu.close_peer(own_peer(peer)?).await })
    }

    fn close_room(&self, room: RoomId) -> Reply<'_, ()> {
        Box::pin(async move { self.sfu.close_room(own_room(room)?).await })
    }

    fn stats(&self, peer: PeerId) -> Reply<'_, Option<PeerStats>> {
        Box::pin(async move {
            let peer = own_peer(peer)?;
            let stats = self.shared_stats().await?;
            let mut peers = stats.workers.iter().flat_map(|worker| &worker.peers);
            Ok(peers.find(|stats| stats.peer == peer).map(PeerStats::from))
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.sfu.shutdown())
    }
}

fn own_room(id: RoomId) -> Result<sfu::RoomId, SfuError> {
    match id {
        Id::Relay(id) => Ok(id),
        Id::Number(_) => Err(SfuError::NoSuchRoom),
    }
}

fn own_peer(id: PeerId) -> Result<sfu::PeerId, SfuError> {
    match id {
        Id::Relay(id) => Ok(id),
        Id::Number(_) => Err(SfuError::NoSuchPeer),
    }
}

fn own_track(id: TrackId) -> Result<sfu::TrackId, SfuError> {
    match id {
        Id::Relay(id) => Ok(id),
        Id::Number(_) => Err(SfuError::NoSuchTrack),
    }
}

fn translate(event: sfu::Event) -> Option<Event> {
    use sfu::Event as E;
    let (room, peer, change) = match event {
        E::PeerConnected { room, peer } => (room, peer, Change::Connected),
        E::PeerFailed { room, peer, reason } => (room, peer, Change::Failed(reason)),
        E::TrackLive { room, peer, track } => (room, peer, Change::TrackLive(Id::Relay(track))),
        E::TrackEnded { room, peer, track } => (room, peer, Change::TrackEnded(Id::Relay(track))),
        E::SlotsChanged { room, peer, slots } => (
            room,
            peer,
            Change::Slots(slots.into_iter().map(translate_slot).collect()),
        ),
        E::NeedsChanged { room, peer, needs } => (room, peer, Change::Needs(needs)),
        _ => return None,
    };
    Some(Event {
        room: Id::Relay(room),
        peer: Id::Relay(peer),
        change,
    })
}

fn translate_answer(answer: sfu::Answer) -> Answer {
    Answer {
        sdp: answer.sdp,
        published: answer
            .published
            .into_iter()
            .map(|track| PublishedTrack {
                mid: track.mid,
                track: Id::Relay(track.track),
                kind: track.kind,
                codec: track.codec,
                simulcast: track.simulcast,
            })
            .collect(),
        slots: answer.slots.into_iter().map(translate_slot).collect(),
        needs: answer.needs,
    }
}

fn translate_slot(slot: sfu::Slot) -> Slot {
    Slot {
        mid: slot.mid,
        kind: slot.kind,
        track: slot.track.map(Id::Relay),
    }
}
