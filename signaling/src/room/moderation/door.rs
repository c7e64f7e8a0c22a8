//! The door of a room: who enters, who waits, and who is refused.

use std::collections::HashSet;
use std::sync::Arc;

use super::bans::Bans;
use crate::clients::ClientAddress;
use crate::room::Refusal;

/// Rules of a room that moderators set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Newcomers are refused.
    pub locked: bool,
    /// Newcomers wait until a moderator admits them.
    pub waiting_room: bool,
    /// Everybody with the right to may write in the chat. Otherwise only moderators may.
    pub chat: bool,
}

/// The rules of a new room.
impl Default for Rules {
    fn default() -> Self {
        Self {
            locked: false,
            waiting_room: false,
            chat: true,
        }
    }
}

/// Identities that are let in again. Overflow: the next is not remembered, and waits or is refused like a newcomer. It is
/// several times the participants of a full room.
const KNOWN: usize = 4_096;

/// Somebody who comes to the door.
#[derive(Clone, Copy, Debug)]
pub(in crate::room) struct Comer<'a> {
    pub(in crate::room) identity: Option<&'a str>,
    pub(in crate::room) address: Option<ClientAddress>,
    pub(in crate::room) name: &'a str,
    pub(in crate::room) moderates: bool,
}

/// The decision about a comer who is not refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pass {
    Enters,
    Waits,
}

#[derive(Default)]
pub(in crate::room) struct Door {
    pub(in crate::room) rules: Rules,
    pub(super) bans: Bans,
    /// Identities of who was in the room and was not put out: they come back after a cut, and are no newcomers.
    known: HashSet<Arc<str>>,
}

impl Door {
    /// Whether somebody is banned.
    pub(in crate::room) fn holds_out(&self, comer: &Comer<'_>) -> bool {
        self.bans.hold(comer)
    }

    pub(super) fn decide(&self, comer: &Comer<'_>) -> Result<Pass, Refusal> {
        if self.bans.hold(comer) {
            return Err(Refusal::banned());
        }
        let is_known = comer.identity.is_some_and(|it| self.known.contains(it));
        if comer.moderates || is_known {
            return Ok(Pass::Enters);
        }
        match self.rules {
            Rules { locked: true, .. } => Err(Refusal::room_locked()),
            Rules {
                waiting_room: true, ..
            } => Ok(Pass::Waits),
            _ => Ok(Pass::Enters),
        }
    }

    /// Remembers an identity that is in the room.
    pub(in crate::room) fn remember(&mut self, identity: &Arc<str>) {
        if self.known.len() < KNOWN {
            self.known.insert(Arc::clone(identity));
        }
    }

    /// Forgets an identity that is put out.
    pub(in crate::room) fn forget(&mut self, identity: &str) {
        self.known.remove(identity);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::bans::Ban;
    use super::*;

    fn comer(identity: Option<&'static str>, moderates: bool) -> Comer<'static> {
        Comer {
            identity,
            address: None,
            name: "Ada",
            moderates,
        }
    }

    #[test]
    fn the_door_by_its_rules() {
        let (enters, waits) = (Ok(Pass::Enters), Ok(Pass::Waits));
        let (locked, banned) = (Err("room_locked"), Err("banned"));
        // Of a stranger, one who was here, a moderator, and one who is banned.
        for (is_locked, waiting_room, expected) in [
            (false, false, [enters, enters, enters, banned]),
            (true, false, [locked, enters, enters, banned]),
            (false, true, [waits, enters, enters, banned]),
            (true, true, [locked, enters, enters, banned]),
        ] {
            let mut door = Door::default();
            (door.rules.locked, door.rules.waiting_room) = (is_locked, waiting_room);
            door.remember(&"known".into());
            // A banned moderator is refused as well.
            let eve = comer(Some("eve"), true);
            door.bans.add(Ban::of(&eve, false)).expect("a place");
            let comers = [
                comer(None, false),
                comer(Some("known"), false),
                comer(Some("boss"), true),
                eve,
            ];
            let decided = comers.map(|it| door.decide(&it).map_err(|refusal| refusal.code));
            assert_eq!(decided, expected, "{is_locked} {waiting_room}");
            door.forget("known");
            assert_eq!(
                door.decide(&comer(Some("known"), false))
                    .map_err(|it| it.code),
                expected[0],
                "who was put out is a newcomer"
            );
        }
    }

    proptest! {
        /// Whatever the rules, a ban is held and a moderator enters.
        #[test]
        fn a_ban_comes_first_and_then_the_moderator(
            locked in any::<bool>(), waiting_room in any::<bool>(), chat in any::<bool>(),
            who in 0..4_usize, banned in 0..4_usize, moderates in any::<bool>(),
        ) {
            const PEOPLE: [&str; 4] = ["a", "b", "c", "d"];
            let mut door = Door { rules: Rules { locked, waiting_room, chat }, ..Door::default() };
            door.bans.add(Ban::of(&comer(Some(PEOPLE[banned]), false), false)).expect("a place");
            let decided = door.decide(&comer(Some(PEOPLE[who]), moderates)).map_err(|it| it.code);
            let expected = match (who == banned, moderates, locked, waiting_room) {
                (true, ..) => Err("banned"),
                (_, true, ..) | (_, _, false, false) => Ok(Pass::Enters),
                (_, _, true, _) => Err("room_locked"),
                (_, _, false, true) => Ok(Pass::Waits),
            };
            prop_assert_eq!(decided, expected);
        }
    }
}
