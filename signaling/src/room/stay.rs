//! The stay of a participant, which ends with whoever holds it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::ParticipantId;

/// A participant's stay, told apart from an earlier one under the same id. Dropped, its participant leaves: whoever was
/// to have the place has gone before they took it, or has failed.
pub(super) struct Stay {
    number: u64,
    participant: ParticipantId,
    abandoned: Option<Abandoned>,
}

/// The stays of a room that nobody holds. A stay is in it once, and the room takes all of them before each batch of
/// messages: so there are at most as many as participants, and messages of a batch, each of which begins one at most.
#[derive(Clone, Default)]
pub(super) struct Abandoned(Arc<List>);

#[derive(Default)]
struct List {
    stays: Mutex<Vec<(ParticipantId, u64)>>,
    grown: Notify,
}

impl Abandoned {
    /// Returns the stays that were dropped, once there are any. Cancel-safe.
    pub(super) async fn take(&self) -> Vec<(ParticipantId, u64)> {
        loop {
            let stays = std::mem::take(&mut *self.lock());
            if !stays.is_empty() {
                return stays;
            }
            self.0.grown.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(ParticipantId, u64)>> {
        self.0.stays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stay {
    pub(super) fn new(participant: ParticipantId, number: u64, abandoned: Abandoned) -> Self {
        Self {
            number,
            participant,
            abandoned: Some(abandoned),
        }
    }

    /// The number that tells it apart.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Ends the stay. The room has been told.
    pub(super) fn end(mut self) {
        self.abandoned = None;
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if let Some(abandoned) = self.abandoned.take() {
            abandoned
                .lock()
                .push((self.participant.clone(), self.number));
            abandoned.0.grown.notify_one();
        }
    }
}
