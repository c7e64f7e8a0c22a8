//! The media plane's events on their way to a room.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::media::{Event, EventBacklog};

/// One room's events. Whoever brings them never waits for the room, which may wait for an answer of the media plane
/// that comes after them: so no room holds up another's, or its own answers. Needs no bound but
/// [`EventBacklog`]'s: peers and tracks come by the room's own doing, and it takes these before it does more.
#[derive(Default)]
pub(super) struct Reports {
    backlog: Mutex<EventBacklog>,
    arrived: Notify,
}

impl Reports {
    pub(super) fn bring(&self, event: Event) {
        self.lock().push(event);
        self.arrived.notify_one();
    }

    pub(super) fn take(&self) -> Option<Event> {
        self.lock().pop()
    }

    /// Returns when there is something to take. For one task at a time; cancel-safe.
    pub(super) async fn arrived(&self) {
        while self.lock().is_empty() {
            // What comes in between is noted.
            self.arrived.notified().await;
        }
    }

    /// Nothing panics while it is locked.
    fn lock(&self) -> MutexGuard<'_, EventBacklog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
