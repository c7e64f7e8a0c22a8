//! People who wait before a room until a moderator admits them. They have no transport, and hear of nobody.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::info;

use super::Comer;
use super::door::Pass;
use crate::clients::ClientAddress;
use crate::memory::{Account, UNCOUNTED};
use crate::room::actor::Room;
use crate::room::admission::Guest;
use crate::room::registry::{Joined, Message};
use crate::room::{Event, Membership, ParticipantId, Refusal};

/// People who wait before one room. Overflow: `waiting_room_full`, for the last who came from the address that most wait
/// from: one guest alone keeps nobody out. Moderators read as many names and not more; each holds
/// a connection and up to 4 KiB of metadata.
const MOST: usize = 100;
/// Time after which somebody who waits is sent away: a moderator who did not look for so long does not look.
const PATIENCE: Duration = Duration::from_secs(600);
/// Interval of the looks at who has gone away, or has waited for too long.
pub(in crate::room) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The answer to somebody who comes.
pub(in crate::room) enum Entered {
    In(Joined),
    Waits(Turn),
}

/// The way to hear whether one is admitted. Dropped, one does not wait any more.
pub(in crate::room) type Turn = oneshot::Receiver<Result<Joined, Refusal>>;

/// Somebody's wait before a room. Dropped, it is over.
pub struct Waiting {
    turn: Turn,
    mailbox: mpsc::Sender<Message>,
}

impl Waiting {
    pub(in crate::room) fn new(turn: Turn, mailbox: mpsc::Sender<Message>) -> Self {
        Self { turn, mailbox }
    }

    /// Returns when a moderator has decided. Cancel-safe; not to be called after it has returned.
    ///
    /// # Errors
    ///
    /// The [`Refusal`]: `denied`, `banned`, `waiting_timeout`, `room_locked`, `room_full`, or `room_closed`.
    pub async fn admitted(&mut self) -> Result<Membership, Refusal> {
        let admitted = (&mut self.turn).await;
        let joined = admitted.unwrap_or_else(|_| Err(Refusal::room_closed()))?;
        Ok(Membership::new(joined, self.mailbox.clone()))
    }
}

/// Somebody who waits, as moderators are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WaitingPerson {
    /// The id that they will have in the room.
    pub id: ParticipantId,
    /// Their name.
    pub name: String,
}

/// The end of somebody's wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// They are in the room.
    Admitted,
    /// A moderator sent them away.
    Denied,
    /// They went away.
    Left,
    /// Nobody decided for too long.
    Timeout,
}

impl Outcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Denied => "denied",
            Self::Left => "left",
            Self::Timeout => "timeout",
        }
    }
}

struct Waiter {
    id: ParticipantId,
    guest: Guest,
    reply: oneshot::Sender<Result<Joined, Refusal>>,
    since: Instant,
    /// The memory that it holds, counted for its address.
    _held: Account,
}

/// Who waits, the first who came first.
#[derive(Default)]
pub(in crate::room) struct WaitingRoom(Vec<Waiter>);

impl WaitingRoom {
    pub(in crate::room) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, id: &str) -> Result<Waiter, Refusal> {
        let at = self.0.iter().position(|waiter| waiter.id.as_str() == id);
        let at = at.ok_or_else(Refusal::no_such_participant)?;
        Ok(self.0.remove(at))
    }

    /// Ids of those for whom `is_meant` holds.
    pub(super) fn ids(&self, is_meant: impl Fn(&Comer<'_>) -> bool) -> Vec<ParticipantId> {
        let meant = self.0.iter().filter(|it| is_meant(&it.guest.comer()));
        meant.map(|waiter| waiter.id.clone()).collect()
    }

    /// Who gives way to somebody of another address: the last who came from the address that most people wait from. None: the
    /// others would be no better off.
    fn crowd_beside(&self, client: Option<ClientAddress>) -> Option<ParticipantId> {
        let mut counts: HashMap<Option<ClientAddress>, usize> = HashMap::new();
        for waiter in &self.0 {
            *counts.entry(waiter.guest.entrant.client).or_default() += 1;
        }
        let own = counts.get(&client).copied().unwrap_or_default();
        let most = counts.values().copied().max()?;
        let mut latest = self.0.iter().rev();
        let last = latest.find(|it| counts.get(&it.guest.entrant.client) == Some(&most))?;
        (most > own + 1).then(|| last.id.clone())
    }

    /// Whether somebody waits under this id.
    pub(in crate::room) fn has(&self, id: &ParticipantId) -> bool {
        self.0.iter().any(|waiter| waiter.id == *id)
    }

    /// Who waits under this id.
    pub(super) fn find(&self, id: &str) -> Option<(ParticipantId, Comer<'_>)> {
        let waiter = self.0.iter().find(|waiter| waiter.id.as_str() == id)?;
        Some((waiter.id.clone(), waiter.guest.comer()))
    }
}

impl Guest {
    pub(in crate::room) fn comer(&self) -> Comer<'_> {
        Comer {
            identity: self.identity.as_deref(),
            address: self.entrant.client,
            name: &self.entrant.name,
            moderates: self.permissions.moderate,
            invited: self.invited,
        }
    }
}

impl Room {
    /// Lets somebody in, lets them wait, or refuses them.
    pub(in crate::room) fn enter(&mut self, mut guest: Guest) -> Result<Entered, Refusal> {
        // For the log, if they are refused.
        let (client, token) = (guest.entrant.client, guest.token.id.clone());
        let entered = match self.door.decide(&guest.comer()) {
            Ok(Pass::Enters) => {
                let id = self.id_for(&mut guest);
                self.admit(id, guest).map(Entered::In)
            }
            Ok(Pass::Waits) => self.let_wait(guest).map(Entered::Waits),
            Err(refusal) => Err(refusal),
        };
        entered.inspect_err(|refusal| self.log_refused(client, token.as_deref(), refusal))
    }

    /// Logs that somebody is refused: the address, and the id of the access token.
    pub(in crate::room) fn log_refused(
        &self,
        client: Option<ClientAddress>,
        token: Option<&str>,
        refusal: &Refusal,
    ) {
        let address = client.as_ref().map(tracing::field::display);
        info!(room = %self.name, code = refusal.code, address, token, "join refused: {}", refusal.message);
    }

    /// Refuses somebody who has waited.
    fn refuse_waiter(&self, waiter: Waiter, refusal: Refusal) {
        self.shared.joins_refused.count(refusal.code);
        let Guest { entrant, token, .. } = &waiter.guest;
        self.log_refused(entrant.client, token.id.as_deref(), &refusal);
        // Who went away in this moment is away.
        let _ = waiter.reply.send(Err(refusal));
    }

    /// Refuses everybody who waits: the room ends.
    pub(in crate::room) fn refuse_waiting(&mut self) {
        for waiter in std::mem::take(&mut self.waiting.0) {
            self.refuse_waiter(waiter, Refusal::room_closed());
        }
    }

    fn let_wait(&mut self, mut guest: Guest) -> Result<Turn, Refusal> {
        if self.waiting.0.len() >= MOST {
            let refusal = Refusal::waiting_room_full(MOST);
            let crowd = self.waiting.crowd_beside(guest.entrant.client);
            let crowd = crowd.ok_or_else(|| refusal.clone())?;
            self.turn_away(crowd.as_str(), None, refusal)?;
        }
        // They served to decide.
        (guest.entrant.http, guest.entrant.token) = (None, None);
        let (reply, turn) = oneshot::channel();
        let person = WaitingPerson {
            id: self.id_for(&mut guest),
            name: guest.entrant.name.clone(),
        };
        info!(room = %self.name, participant = %person.id, "participant waits");
        let mut held = self.shared.memory.people.open(guest.entrant.client, || {});
        // There is no bound on it that would refuse any.
        held.set(UNCOUNTED + guest.entrant.name.len() + guest.entrant.metadata.weight());
        self.waiting.0.push(Waiter {
            id: person.id.clone(),
            guest,
            reply,
            since: Instant::now(),
            _held: held,
        });
        self.tell_moderators(Event::Waiting(vec![person]));
        Ok(turn)
    }

    /// Tells a moderator who waits, if anybody does.
    pub(in crate::room) fn tell_waiting(&mut self, moderator: &ParticipantId) {
        let people = self.waiting.0.iter().map(|waiter| WaitingPerson {
            id: waiter.id.clone(),
            name: waiter.guest.entrant.name.clone(),
        });
        let people: Vec<_> = people.collect();
        if !people.is_empty() {
            self.tell(moderator, Event::Waiting(people));
        }
    }

    /// Lets somebody in who waits.
    pub(super) fn admit_waiting(
        &mut self,
        id: &str,
        by: Option<&ParticipantId>,
    ) -> Result<ParticipantId, Refusal> {
        // In a full room they wait on.
        let (_, comer) = self
            .waiting
            .find(id)
            .ok_or_else(Refusal::no_such_participant)?;
        let (address, moderates) = (comer.address, comer.moderates);
        self.make_place(address, moderates)?;
        let waiter = self.waiting.take(id)?;
        self.waiting_left(&waiter.id, Outcome::Admitted, by);
        let joined = self.admit(waiter.id, waiter.guest)?;
        let id = joined.participant.clone();
        if waiter.reply.send(Ok(joined)).is_err() {
            // They went away in this moment.
            self.remove(&id, crate::room::LeaveReason::Disconnected);
        }
        Ok(id)
    }

    /// Sends somebody away who waits.
    pub(super) fn turn_away(
        &mut self,
        id: &str,
        by: Option<&ParticipantId>,
        refusal: Refusal,
    ) -> Result<ParticipantId, Refusal> {
        let waiter = self.waiting.take(id)?;
        let id = waiter.id.clone();
        self.waiting_left(&id, Outcome::Denied, by);
        self.refuse_waiter(waiter, refusal);
        Ok(id)
    }

    /// Nobody waits any more: all are let in by the rules as they are now.
    pub(super) fn end_waiting(&mut self, by: Option<&ParticipantId>) {
        let waiting = self.waiting.0.iter().map(|waiter| waiter.id.clone());
        for id in waiting.collect::<Vec<_>>() {
            let decided = match self.waiting.find(id.as_str()) {
                Some((_, comer)) => self.door.decide(&comer),
                None => continue,
            };
            let admitted = match decided {
                Ok(_) => self.admit_waiting(id.as_str(), by),
                Err(refusal) => Err(refusal),
            };
            if let Err(refusal) = admitted {
                let _ = self.turn_away(id.as_str(), by, refusal);
            }
        }
    }

    /// Forgets who went away, and sends away who has waited for too long.
    pub(in crate::room) fn look_at_waiting(&mut self) {
        let now = Instant::now();
        let ended = self.waiting.0.iter().filter_map(|waiter| {
            if waiter.reply.is_closed() {
                return Some((waiter.id.clone(), Outcome::Left));
            }
            let is_late = now.duration_since(waiter.since) >= PATIENCE;
            is_late.then(|| (waiter.id.clone(), Outcome::Timeout))
        });
        for (id, outcome) in ended.collect::<Vec<_>>() {
            let Ok(waiter) = self.waiting.take(id.as_str()) else {
                continue;
            };
            if outcome == Outcome::Timeout {
                self.refuse_waiter(waiter, Refusal::waiting_timeout());
            }
            self.waiting_left(&id, outcome, None);
        }
    }

    fn waiting_left(&mut self, id: &ParticipantId, outcome: Outcome, by: Option<&ParticipantId>) {
        info!(room = %self.name, participant = %id, outcome = outcome.as_str(), "participant waits no more");
        self.tell_moderators(Event::WaitingLeft {
            participant: id.clone(),
            outcome,
            by: by.cloned(),
        });
    }
}
