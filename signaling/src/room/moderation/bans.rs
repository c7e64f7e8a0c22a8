//! People who were banned from a room, for as long as the room is there.

use std::collections::HashSet;
use std::sync::Arc;

use super::Comer;
use crate::clients::ClientAddress;
use crate::room::Refusal;

/// Bans of a room. Overflow: refused, with the advice to lock the room. A moderator who bans one person a second is busy
/// for an hour; each takes some 100 bytes.
const MOST: usize = 4_096;

/// The mark by which somebody is known again.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(in crate::room) enum Ban {
    /// The user, as a token or a hook names them.
    Identity(Arc<str>),
    /// The address, which nobody else in the room has.
    Address(ClientAddress),
    /// The address and the name: others in the room have the address too. Whoever takes another name comes back.
    AddressAndName(Option<ClientAddress>, Box<str>),
}

impl Ban {
    /// The mark of somebody. `is_shared`: others who are to stay have the address too.
    pub(super) fn of(comer: &Comer<'_>, is_shared: bool) -> Self {
        match (comer.identity, comer.address) {
            (Some(identity), _) => Self::Identity(identity.into()),
            (None, Some(address)) if !is_shared => Self::Address(address),
            (None, address) => Self::AddressAndName(address, comer.name.into()),
        }
    }
}

#[derive(Default)]
pub(in crate::room) struct Bans(HashSet<Ban>);

impl Bans {
    pub(super) fn add(&mut self, ban: Ban) -> Result<(), Refusal> {
        if self.0.len() >= MOST && !self.0.contains(&ban) {
            return Err(Refusal::too_many_bans(MOST));
        }
        self.0.insert(ban);
        Ok(())
    }

    pub(super) fn hold(&self, comer: &Comer<'_>) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let is_banned = |ban: Ban| self.0.contains(&ban);
        // Who has an identity is known by nothing else.
        match comer.identity {
            Some(identity) => is_banned(Ban::Identity(identity.into())),
            None => {
                comer.address.is_some_and(|it| is_banned(Ban::Address(it)))
                    || is_banned(Ban::AddressAndName(comer.address, comer.name.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn comer<'a>(identity: Option<&'a str>, last: u8, name: &'a str) -> Comer<'a> {
        Comer {
            identity,
            address: Some(IpAddr::from([192, 0, 2, last]).into()),
            name,
            moderates: false,
            invited: false,
        }
    }

    #[test]
    fn a_ban_holds_whom_it_can_tell() {
        let eve = comer(Some("eve"), 1, "Eve");
        let guest = comer(None, 1, "Guest");
        for (banned, is_shared, comes, held) in [
            // An identity is the user, wherever they come from and however they are named.
            (&eve, false, comer(Some("eve"), 9, "Other"), true),
            (&eve, true, comer(Some("eve"), 9, "Other"), true),
            (&eve, false, comer(Some("ada"), 1, "Eve"), false),
            (&eve, false, comer(None, 1, "Eve"), false),
            // Without one it is the address, if that is theirs alone.
            (&guest, false, comer(None, 1, "Other"), true),
            (&guest, false, comer(None, 2, "Guest"), false),
            (&guest, false, comer(Some("ada"), 1, "Guest"), false),
            // Else the name as well, which they may change.
            (&guest, true, comer(None, 1, "Guest"), true),
            (&guest, true, comer(None, 1, "Other"), false),
            (&guest, true, comer(None, 2, "Guest"), false),
        ] {
            let mut bans = Bans::default();
            assert!(!bans.hold(&comes), "nobody is banned");
            bans.add(Ban::of(banned, is_shared)).expect("a place");
            assert_eq!(bans.hold(&comes), held, "{banned:?} {is_shared} {comes:?}");
        }
    }

    #[test]
    fn bans_are_bounded_and_none_is_forgotten_for_another() {
        let mut bans = Bans::default();
        let names: Vec<_> = (0..=MOST).map(|number| number.to_string()).collect();
        for name in &names[..MOST] {
            let ban = Ban::of(&comer(Some(name), 1, name), false);
            assert!(bans.add(ban).is_ok());
        }
        let again = Ban::of(&comer(Some("0"), 1, "0"), false);
        assert!(bans.add(again).is_ok(), "it is there already");
        let more = Ban::of(&comer(Some(&names[MOST]), 1, "x"), false);
        let refused = bans.add(more).expect_err("one too many");
        assert_eq!(refused.code, "too_many_bans");
        assert!(bans.hold(&comer(Some("0"), 9, "x")));
    }
}
