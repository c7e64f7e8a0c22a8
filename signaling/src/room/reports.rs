//! The media plane's events on their way to a room.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::media::{Event, EventBacklog};

/// The events of one room. Their sender never waits for the room, which may wait for a later answer of the media plane:
/// so no room delays another's events, or its own answers. They need no bound but [`EventBacklog`]'s: only the room's
/// own commands add peers and tracks, and it reads these events before it gives more commands.
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
            // An event that comes meanwhile is noted.
            self.arrived.notified().await;
        }
    }

    /// Locks the backlog; no code panics while it is locked.
    fn lock(&self) -> MutexGuard<'_, EventBacklog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
