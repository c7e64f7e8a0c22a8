//! The media plane of the real worker, in virtual time and without a network.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, pending, ready};
use tertulia_sfu::testing::{SimRelay, epoch};
use tertulia_signaling::media::{
    Answer, Cap, ClientOffer, Event, Join, Limits, Media, PeerId, Reply, RoomId, ServerData,
    SfuError, TrackId, TrackSettings, View, Workers, stats,
};
use tokio::sync::mpsc;

/// Its time is the tests': it passes as tokio's does.
pub struct Relay {
    relay: Mutex<SimRelay>,
    /// The ways to the rooms' receivers.
    events: Mutex<HashMap<RoomId, mpsc::Sender<Event>>>,
    began: tokio::time::Instant,
}

/// Events that fit the queue: more than a run of few steps makes.
const EVENTS: usize = 65_536;

impl Relay {
    /// Within a runtime.
    #[allow(clippy::new_without_default, reason = "it needs a runtime")]
    pub fn new() -> Self {
        let addr = SocketAddr::from(([192, 0, 2, 9], 9));
        Self {
            relay: Mutex::new(SimRelay::new(epoch(), addr, 1, Limits::default())),
            events: Mutex::default(),
            began: tokio::time::Instant::now(),
        }
    }

    /// Entries in the worker's tables.
    pub fn holdings(&self) -> usize {
        self.lock().holdings()
    }

    /// Does everything that is due.
    pub fn pass(&self) {
        self.run(|relay, now| {
            for _ in 0..1_000 {
                if relay.poll_timeout(now).is_none_or(|due| due > now) {
                    break;
                }
                relay.handle_timeout(now);
                relay.flush(now);
            }
        });
    }

    fn run<T>(&self, call: impl FnOnce(&mut SimRelay, Instant) -> T) -> T {
        let now = epoch() + self.began.elapsed();
        let mut relay = self.lock();
        let result = call(&mut relay, now);
        relay.flush(now);
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(event) = relay.poll_event() {
            // The receiver is gone once the room is closed.
            if let Some(room) = event.room().and_then(|room| events.get(&room)) {
                let _ = room.try_send(event);
            }
        }
        drop(events);
        let faults = relay.audit();
        assert!(faults.is_empty(), "{faults:#?}");
        result
    }

    fn answer<T: Send>(
        &self,
        call: impl FnOnce(&mut SimRelay, Instant) -> Result<T, SfuError>,
    ) -> Reply<'_, T>
    where
        T: 'static,
    {
        Box::pin(ready(self.run(call)))
    }

    fn lock(&self) -> MutexGuard<'_, SimRelay> {
        self.relay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Media for Relay {
    fn create_room(&self) -> Reply<'_, (RoomId, mpsc::Receiver<Event>)> {
        let room = self.run(|relay, _| relay.create_room());
        let (sender, events) = mpsc::channel(EVENTS);
        let mut rooms = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.insert(room, sender);
        Box::pin(ready(Ok((room, events))))
    }

    fn join(&self, room: RoomId, join: Join) -> Reply<'_, (PeerId, Answer)> {
        self.answer(|relay, now| relay.join(now, room, &join.offer.sdp, false))
    }

    fn offer(&self, peer: PeerId, offer: ClientOffer) -> Reply<'_, Answer> {
        self.answer(|relay, now| relay.offer(now, peer, &offer.sdp))
    }

    fn subscribe(&self, peer: PeerId, track: TrackId) -> Reply<'_, ()> {
        self.answer(|relay, now| relay.subscribe(now, peer, track))
    }

    fn unsubscribe(&self, peer: PeerId, track: TrackId) -> Reply<'_, ()> {
        self.answer(|relay, now| relay.unsubscribe(now, peer, track))
    }

    fn set_views(&self, peer: PeerId, views: Vec<View>) -> Reply<'_, ()> {
        self.answer(|relay, now| relay.set_views(now, peer, &views))
    }

    fn set_track(&self, peer: PeerId, track: TrackId, settings: TrackSettings) -> Reply<'_, ()> {
        self.answer(|relay, now| relay.set_track(now, peer, track, settings))
    }

    fn set_cap(&self, peer: PeerId, cap: Cap) -> Reply<'_, ()> {
        self.answer(|relay, now| relay.set_cap(now, peer, cap))
    }

    fn send_data(&self, _: RoomId, _: Option<PeerId>, _: ServerData) -> Reply<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    fn close_peer(&self, peer: PeerId) -> Reply<'_, ()> {
        self.answer(|relay, now| {
            relay.close_peer(now, peer);
            Ok(())
        })
    }

    fn close_room(&self, room: RoomId) -> Reply<'_, ()> {
        self.answer(|relay, now| {
            relay.close_room(now, room);
            Ok(())
        })
    }

    fn peer_stats(&self, peer: PeerId) -> Reply<'_, stats::PeerStats> {
        self.answer(|relay, _| relay.peer_stats(peer))
    }

    fn timeline(&self, room: RoomId) -> Reply<'_, Vec<stats::Decision>> {
        self.answer(|relay, _| relay.timeline(room))
    }

    fn totals(&self) -> Reply<'_, stats::SfuStats> {
        self.answer(|relay, _| {
            let mut stats = stats::SfuStats::default();
            stats.cipher = "ring";
            stats.workers = vec![relay.stats()];
            Ok(stats)
        })
    }

    fn workers(&self) -> Workers {
        Workers {
            count: 1,
            failed: Vec::new(),
        }
    }

    fn ended(&self) -> BoxFuture<'_, ()> {
        Box::pin(pending())
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }
}

/// Time that passes in a step.
pub(crate) const PAUSES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_secs(4),
    Duration::from_secs(40),
];
