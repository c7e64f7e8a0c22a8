//! Empty rooms. They keep their chat for a while, for a lone participant who comes back. When there are too many, or
//! others need the place, those that have been empty for longest are closed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::registry::Message;
use crate::clients::ClientAddress;

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Vacancies {
    most: usize,
    rooms: Arc<Mutex<Rooms>>,
}

#[derive(Default)]
struct Rooms {
    added: u64,
    by_age: BTreeMap<u64, (Option<ClientAddress>, mpsc::Sender<Message>)>,
}

/// A room's place among the empty ones.
pub(super) struct Vacancy {
    vacancies: Vacancies,
    number: u64,
}

impl Vacancies {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            rooms: Arc::default(),
        }
    }

    /// Adds an empty room; `maker` made it. Evicts the oldest if this is one too many.
    pub(super) fn add(
        &self,
        maker: Option<ClientAddress>,
        mailbox: &mpsc::Sender<Message>,
    ) -> Vacancy {
        let mut rooms = self.lock();
        rooms.added += 1;
        let number = rooms.added;
        rooms.by_age.insert(number, (maker, mailbox.clone()));
        let too_many = rooms.by_age.len() > self.most;
        drop(rooms);
        if too_many {
            self.evict(|_| true);
        }
        Vacancy {
            vacancies: self.clone(),
            number,
        }
    }

    /// Tells the room that has been empty for longest, among those that `of` selects by their maker, to close. Its
    /// mailbox closes when it has; if a participant comes before, it does not.
    pub(super) fn evict(
        &self,
        of: impl Fn(Option<ClientAddress>) -> bool,
    ) -> Option<mpsc::Sender<Message>> {
        let mut rooms = self.lock();
        loop {
            let mut oldest = rooms.by_age.iter();
            let number = *oldest.find(|(_, (maker, _))| of(*maker))?.0;
            let (_, mailbox) = rooms.by_age.remove(&number)?;
            // A full mailbox contains a join.
            if mailbox.try_send(Message::Evict).is_ok() {
                return Some(mailbox);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Vacancy {
    fn drop(&mut self) {
        self.vacancies.lock().by_age.remove(&self.number);
    }
}
