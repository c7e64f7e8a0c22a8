//! Moderation of an open server, where nobody grants rights: whoever has been in the room for longest moderates, for as
//! long as they stay; then the next does.
//!
//! With nobody who may moderate, a laptop's page could not put out an uninvited guest. With everybody, the guest could put
//! out the host. A room never lacks a moderator while anybody is in it, so that a lock can always be taken back.

use tracing::info;

use crate::access::Access;
use crate::room::Event;
use crate::room::actor::Room;

impl Room {
    pub(in crate::room) fn is_open(&self) -> bool {
        self.shared.authority.access() == Access::Open
    }

    /// Whether a newcomer is the one to moderate.
    pub(in crate::room) fn lacks_moderator(&self) -> bool {
        self.is_open() && !self.participants.values().any(|it| it.permissions.moderate)
    }

    /// Somebody has left. The next moderates, or the empty room opens: nobody is there to open it.
    pub(in crate::room) fn pass_on(&mut self) {
        if !self.lacks_moderator() {
            return;
        }
        let people = self.participants.values_mut();
        let Some(next) = people.min_by_key(|participant| participant.order) else {
            self.set_rules(None, |rules| {
                rules.locked = false;
                rules.waiting_room = false;
            });
            return;
        };
        next.permissions.moderate = true;
        let (id, permissions) = (next.id.clone(), next.permissions);
        info!(room = %self.name, participant = %id, "participant moderates now");
        self.tell(&id, Event::Permissions(permissions));
        self.tell_waiting(&id);
    }
}
