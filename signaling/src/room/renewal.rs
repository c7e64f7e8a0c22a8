//! Participants who keep their id: whoever comes back with the secret of its session, and whoever joins a second time.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tracing::info;

use super::actor::Room;
use super::admission::Guest;
use super::command::Entrant;
use super::moderation::Entered;
use super::registry::Reply;
use super::{Change, Ending, Event, LeaveReason, NamedView, ParticipantId, Refusal};
use crate::session::Secret;

/// A participant's new beginning: with the same id, without its transport and tracks.
pub(super) struct Renewal {
    /// The request that the welcome answers.
    pub(super) request: Option<u32>,
    pub(super) views: Vec<NamedView>,
    /// It joins anew, by another connection than it has. None: it comes back to its session.
    pub(super) guest: Option<Guest>,
    pub(super) reply: Reply,
}

impl Room {
    /// Lets somebody in, or take over the place that they have already.
    pub(super) fn come(&mut self, guest: Guest, reply: Reply) {
        let Some(id) = self.place_of(&guest) else {
            // An actor that stops listening to the reply meanwhile is noticed as gone.
            let _ = reply.send(self.enter(guest));
            return;
        };
        // Who is in the room is no newcomer: neither a lock nor the waiting room is for them.
        if self.door.holds_out(&guest.comer()) {
            let refusal = Refusal::banned();
            self.log_refused(guest.entrant.client, guest.token.id.as_deref(), &refusal);
            let _ = reply.send(Err(refusal));
            return;
        }
        // Bounded by connections, each of which joins one room at a time.
        let Ok(place) = Arc::new(Semaphore::new(1)).try_acquire_owned() else {
            return;
        };
        let renewal = Renewal {
            request: guest.entrant.request,
            views: guest.entrant.views.clone(),
            guest: Some(guest),
            reply,
        };
        self.queue_renewal(&id, renewal, place);
    }

    /// The participant who has the secret of a guest. Another user with the same secret is another participant.
    fn place_of(&self, guest: &Guest) -> Option<ParticipantId> {
        let id = self.id_of_session(guest)?;
        let participant = self.participants.get(&id)?;
        let is_same = participant.identity.as_deref() == guest.identity.as_deref();
        is_same.then_some(id)
    }

    fn id_of_session(&self, guest: &Guest) -> Option<ParticipantId> {
        let secret = guest.entrant.session.as_ref()?;
        Some(ParticipantId::of_session(self.name.as_str(), secret))
    }

    /// The id for a guest who is no participant yet. If that of its secret is another one's, the guest gets another secret
    /// as well: a session that was found by the secret of somebody else would put its owner out.
    pub(super) fn id_for(&self, guest: &mut Guest) -> ParticipantId {
        let own = self.id_of_session(guest);
        let free = own.filter(|id| self.is_free(id) && !self.waiting.has(id));
        free.unwrap_or_else(|| self.draw_id(&mut guest.entrant))
    }

    /// Draws an id, and the secret of the session that it belongs to.
    pub(super) fn draw_id(&self, entrant: &mut Entrant) -> ParticipantId {
        let Some(secret) = &mut entrant.session else {
            return ParticipantId::random();
        };
        *secret = Secret::random();
        ParticipantId::of_session(self.name.as_str(), secret)
    }

    /// Whether nobody has this id, and no reply is on its way to anybody who had.
    pub(super) fn is_free(&self, id: &ParticipantId) -> bool {
        !self.participants.contains_key(id) && !self.unsettled.contains(id)
    }

    /// Ends the stay of a user who joins anew.
    pub(super) fn replace_others(&mut self, identity: &str) {
        let same = self.participants.values();
        let same = same.filter(|it| it.identity.as_deref() == Some(identity));
        for id in same.map(|it| it.id.clone()).collect::<Vec<_>>() {
            info!(room = %self.name, participant = %id, "participant joins anew elsewhere");
            self.end(&id, Ending::Replaced, LeaveReason::Replaced);
        }
    }

    /// Lets a participant begin anew. No command of its old client is under way.
    pub(super) fn renew(&mut self, id: &ParticipantId, renewal: Renewal) {
        let Renewal {
            request,
            views,
            guest,
            reply,
        } = renewal;
        // The new welcome has what the others wait to be told.
        self.tell_crowd();
        if let Some(peer) = self.take_peer(id) {
            self.close_peer(peer);
        }
        let old = self.participants.get(id).map(|it| it.client);
        let client = guest.as_ref().map_or(old.flatten(), |it| it.entrant.client);
        let secret = guest.as_ref().and_then(|it| it.entrant.session);
        let (way, mut joined) = self.open_way(id, client, true);
        joined.session = secret;
        // Where rights are granted, they are those of the latest join.
        let keeps_moderate = self.is_open();
        let sees_as_audience = guest
            .as_ref()
            .map(|it| self.is_audience(it.entrant.audience));
        let held = self.shared.memory.people.open(client, || {});
        let Some(participant) = self.participants.get_mut(id) else {
            return self.done(id);
        };
        let old_way = std::mem::replace(&mut participant.way, way);
        participant.stay = joined.stay.number();
        participant.client = client;
        let is_taken_over = guest.is_some();
        let is_changed = guest.is_some_and(|guest| participant.take_over(guest, keeps_moderate));
        if let Some(sees_as_audience) = sees_as_audience {
            participant.is_audience = sees_as_audience && !participant.permissions.moderate;
        }
        participant.held = held;
        participant.weigh();
        participant.lane.forget_former();
        participant.views.clear();
        participant.wanted = match participant.auto_subscribe {
            true => self.tracks.keys().copied().collect(),
            false => Default::default(),
        };
        if is_changed {
            let (info, person) = (participant.info(), participant.person());
            self.report(|| Change::Updated(person));
            self.tell_others(id, Event::ParticipantUpdated(info));
        }
        self.set_presence(id, true);
        info!(room = %self.name, participant = %id, "participant begins anew");
        self.note_views(id, &views);
        self.greet(id, request);
        // Before the old way ends: its owner then knows why. One who has gone meanwhile is noticed as detached.
        let _ = reply.send(Ok(Entered::In(joined)));
        if is_taken_over {
            let _ = old_way.ending.send(Ending::Replaced);
        }
        self.done(id);
    }

    /// Tells the others that a participant's session has lost its connection, or has one again.
    pub(super) fn set_presence(&mut self, id: &ParticipantId, connected: bool) {
        let Some(participant) = self.participants.get_mut(id) else {
            return;
        };
        if participant.is_away != connected {
            return;
        }
        participant.is_away = !connected;
        info!(room = %self.name, participant = %id, connected, "presence changed");
        self.tell_others(
            id,
            Event::Presence {
                participant: id.clone(),
                connected,
            },
        );
    }
}
