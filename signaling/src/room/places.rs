//! Places in a room, of which one address does not hold all, and a few are kept for moderators.

use std::collections::HashMap;

use tracing::info;

use super::actor::Room;
use super::{Ending, LeaveReason, ParticipantId, Refusal};
use crate::clients::ClientAddress;

/// Places beyond `limits.participants_per_room` for who brings the right to moderate. In a room that strangers have filled
/// somebody has to come in who can put them out. Overflow: `room_full`. A few are enough, and cost no more than a few people.
pub(crate) const RESERVE: usize = 4;
/// Sessions of one address without a connection, from which on the last of them gives way in a full room. One alone is
/// somebody whose network is gone for a moment.
const CROWD: usize = 2;

impl Room {
    /// Finds a place for somebody who comes, or refuses.
    pub(super) fn make_place(
        &mut self,
        client: Option<ClientAddress>,
        moderates: bool,
    ) -> Result<(), Refusal> {
        let most = self.shared.limits.participants_per_room;
        if self.participants.len() < most {
            return Ok(());
        }
        if let Some(absent) = self.absent_beside(client) {
            info!(room = %self.name, participant = %absent, "participant gives way: the room is full, and it has no connection");
            self.end(&absent, Ending::TooSlow, LeaveReason::Disconnected);
        }
        let reserve = if moderates { RESERVE } else { 0 };
        match self.participants.len() < most.saturating_add(reserve) {
            true => Ok(()),
            false => Err(Refusal::room_full(most)),
        }
    }

    /// The last who came of the address that has most sessions without a connection. None: it is the newcomer's, or none has
    /// several. A moderator gives way to nobody.
    fn absent_beside(&self, client: Option<ClientAddress>) -> Option<ParticipantId> {
        let absent = self.participants.values();
        let absent = absent.filter(|it| it.is_away && !it.permissions.moderate);
        let mut counts: HashMap<Option<ClientAddress>, (usize, u64)> = HashMap::new();
        for participant in absent {
            let (count, last) = counts.entry(participant.client).or_default();
            *count += 1;
            *last = participant.order.max(*last);
        }
        let (address, (count, last)) = counts.into_iter().max_by_key(|(_, counted)| *counted)?;
        let gives_way = count >= CROWD && (address.is_none() || address != client);
        gives_way.then(|| self.by_order.get(&last).cloned())?
    }
}
