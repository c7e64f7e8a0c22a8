//! The stay of a participant, which ends with whoever holds it.

use tokio::sync::mpsc;

use super::ParticipantId;

/// A participant's stay, told apart from an earlier one under the same id. Dropped, its participant leaves: whoever was
/// to have the place has gone before they took it, or has failed.
pub(super) struct Stay {
    number: u64,
    participant: ParticipantId,
    abandoned: Option<Abandoned>,
}

/// The way to the room for stays that nobody holds. Unbounded, since a drop cannot wait: there is one message for each
/// stay at most, and the room takes them before it lets others in.
pub(super) type Abandoned = mpsc::UnboundedSender<(ParticipantId, u64)>;

impl Stay {
    pub(super) fn new(participant: ParticipantId, number: u64, abandoned: Abandoned) -> Self {
        Self {
            number,
            participant,
            abandoned: Some(abandoned),
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Ends it without a word: the room has been told.
    pub(super) fn end(mut self) {
        self.abandoned = None;
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if let Some(abandoned) = self.abandoned.take() {
            // A room that is gone needs no word.
            let _ = abandoned.send((self.participant.clone(), self.number));
        }
    }
}
