//! Invitations of all rooms: access tokens that moderators make, which this server signs, lists and revokes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::error;

use super::timeline::unix_ms;
use super::{InvitationId, Refusal};
use crate::access::{Claims, Keys, LEEWAY, Token, TokenFault, new_token_id};
use crate::clients::ClientAddress;
use crate::hooks::Permissions;
use crate::names::RoomName;

/// Invitations of a room that let in. Overflow: `too_many_invitations`. A moderator reads as many lines and not more.
const LIVE_OF_ROOM: usize = 100;
/// Invitations of a room that have not expired, revoked ones among them, which are to be known until then. Overflow: as
/// above. A moderator who has to revoke nine of ten should invite more rarely.
const KEPT_OF_ROOM: usize = 1_000;
/// Invitations of the server that have not expired. Overflow: as above. They take 10 MB, if every name in them is as long as
/// it may be.
const KEPT: usize = 10_000;
/// Invitations of those that were made from one address. Overflow: as above. On an open server everybody may make rooms
/// and invite: ten addresses have to do so before others cannot.
const KEPT_OF_ADDRESS: usize = KEPT / 10;
/// Invitations of those of one room that were made from one address. Overflow: as above. A moderator who makes and revokes one
/// after the other leaves place for the other moderators.
const KEPT_OF_ADDRESS_IN_ROOM: usize = KEPT_OF_ROOM / 4;

/// An invitation to a room. Its token is told once and not kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invitation {
    /// Its id, which is its token's as well (`jti`).
    pub id: InvitationId,
    /// The end of its time: Unix time in seconds.
    pub expires_s: u64,
    /// The name that its maker had at that time.
    pub made_by: String,
    /// The name in the room of whoever uses it. None: the one that they ask for.
    pub name: Option<String>,
    /// The rights of whoever uses it.
    pub permissions: Permissions,
}

/// The invitations of a server.
pub(super) struct Invitations {
    /// Signs where no key of the operator's can. It is gone with the process, and so are the invitations that it signed.
    own: Keys,
    kept: Mutex<Kept>,
}

impl fmt::Debug for Invitations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitations").finish_non_exhaustive()
    }
}

impl Invitations {
    pub(super) fn new() -> Self {
        Self {
            // No key of the operator's has this id by chance.
            own: Keys::fresh(format!("invitations-{}", new_token_id())),
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an invitation, and makes its token: signed by the first of `keys` that can, so that it outlives the process.
    pub(super) fn make(
        &self,
        keys: Option<&Keys>,
        room: &Arc<str>,
        maker: Option<ClientAddress>,
        invitation: Invitation,
    ) -> Result<Token, Refusal> {
        let mut claims = Claims::join(room, invitation.permissions).invited(true);
        claims.id = Some(invitation.id.to_string());
        claims.name.clone_from(&invitation.name);
        let signer = keys.filter(|keys| keys.can_sign()).unwrap_or(&self.own);
        let token = signer.issue_until(&claims, invitation.expires_s, None);
        let token = token.map_err(|error| {
            let room = RoomName::from(Arc::clone(room));
            error!(%room, %error, "an invitation cannot be signed");
            Refusal::invitation_not_signed()
        })?;
        self.kept().add(room, maker, invitation, now_s())?;
        Ok(token)
    }

    /// The invitations of a room that let in, the oldest first: without those that the operator has revoked in `keys`.
    pub(super) fn of_room(&self, keys: Option<&Keys>, room: &str) -> Vec<Invitation> {
        let kept = self.kept();
        let lets_in = |it: &&OneKept| {
            let id = it.invitation.id.as_str();
            !keys.is_some_and(|keys| keys.has_revoked(id))
        };
        let live = kept.live(room, now_s()).filter(lets_in);
        live.map(|kept| kept.invitation.clone()).collect()
    }

    /// Revokes an invitation of a room: nobody comes in by it from now on.
    pub(super) fn revoke(&self, room: &str, id: &str) -> Result<InvitationId, Refusal> {
        self.kept().revoke(room, id, now_s())
    }

    /// Ends the invitations of a room.
    pub(super) fn end(&self, room: &str) {
        self.kept().rooms.remove(room);
    }

    /// Verifies an access token, be it an invitation or the operator's, where a join needs one.
    pub(super) fn verify(
        &self,
        keys: &Keys,
        token: &Token,
        room: &str,
    ) -> Result<Claims, TokenFault> {
        let signer = match self.own.is_named_in(token) {
            true => &self.own,
            false => keys,
        };
        let claims = signer.verify(token, room)?;
        let is_revoked =
            |id: &String| keys.has_revoked(id) || self.kept().is_live(room, id) == Some(false);
        match claims.id.as_ref().is_some_and(is_revoked) {
            true => Err(TokenFault::Revoked),
            false => Ok(claims),
        }
    }

    /// The id of a token that this process or a key of the operator's has signed, even if it lets nobody in.
    pub(super) fn signed_id(&self, keys: Option<&Keys>, token: &Token) -> Option<String> {
        let of_operator = || keys.and_then(|keys| keys.signed_id(token));
        self.own.signed_id(token).or_else(of_operator)
    }

    /// Verifies an invitation to a room that everybody may join. None: the token is no such invitation, or has expired.
    /// A guest who brings it is one like any other then.
    pub(super) fn verify_in_open_room(
        &self,
        token: &Token,
        room: &str,
    ) -> Result<Option<Claims>, TokenFault> {
        if !self.own.is_named_in(token) {
            return Ok(None);
        }
        let Ok(claims) = self.own.verify(token, room) else {
            return Ok(None);
        };
        let id = claims.id.as_deref().unwrap_or_default();
        let is_live = self.kept().is_live(room, id);
        match is_live {
            Some(true) => Ok(Some(claims)),
            Some(false) => Err(TokenFault::Revoked),
            // The room in which it was made is gone.
            None => Ok(None),
        }
    }
}

/// Unix time in seconds.
pub(super) fn now_s() -> u64 {
    unix_ms() / 1_000
}

/// Invitations that have not expired, by the names of their rooms.
#[derive(Default)]
struct Kept {
    rooms: HashMap<Arc<str>, Vec<OneKept>>,
}

struct OneKept {
    invitation: Invitation,
    /// The address of its maker.
    maker: Option<ClientAddress>,
    is_revoked: bool,
}

impl OneKept {
    /// Whether its token may let in still, by its times alone.
    fn lasts(&self, now_s: u64) -> bool {
        now_s <= self.invitation.expires_s.saturating_add(LEEWAY.as_secs())
    }
}

impl Kept {
    fn add(
        &mut self,
        room: &Arc<str>,
        maker: Option<ClientAddress>,
        invitation: Invitation,
        now_s: u64,
    ) -> Result<(), Refusal> {
        self.rooms.retain(|_, kept| {
            kept.retain(|it| it.lasts(now_s));
            !kept.is_empty()
        });
        if self.live(room, now_s).count() >= LIVE_OF_ROOM {
            return Err(Refusal::too_many_invitations(LIVE_OF_ROOM));
        }
        let of_room = self.rooms.get(room).map_or(0, Vec::len);
        let of_all: usize = self.rooms.values().map(Vec::len).sum();
        if of_room >= KEPT_OF_ROOM || of_all >= KEPT {
            return Err(Refusal::no_place_for_invitation());
        }
        let is_own = |it: &&OneKept| maker.is_some() && it.maker == maker;
        let own = self.rooms.values().flatten().filter(is_own).count();
        let here = self.rooms.get(room).into_iter().flatten();
        if own >= KEPT_OF_ADDRESS || here.filter(is_own).count() >= KEPT_OF_ADDRESS_IN_ROOM {
            return Err(Refusal::no_place_for_invitation());
        }
        let kept = self.rooms.entry(Arc::clone(room)).or_default();
        kept.push(OneKept {
            invitation,
            maker,
            is_revoked: false,
        });
        Ok(())
    }

    fn live(&self, room: &str, now_s: u64) -> impl Iterator<Item = &OneKept> {
        let kept = self.rooms.get(room).into_iter().flatten();
        kept.filter(move |it| !it.is_revoked && it.lasts(now_s))
    }

    fn revoke(&mut self, room: &str, id: &str, now_s: u64) -> Result<InvitationId, Refusal> {
        let kept = self.rooms.get_mut(room).into_iter().flatten();
        let mut live = kept.filter(|it| !it.is_revoked && it.lasts(now_s));
        let found = live.find(|it| it.invitation.id.as_str() == id);
        let found = found.ok_or_else(Refusal::no_such_invitation)?;
        found.is_revoked = true;
        Ok(found.invitation.id.clone())
    }

    /// Whether an invitation to a room lets in, apart from its times; none if it is not known.
    fn is_live(&self, room: &str, id: &str) -> Option<bool> {
        let mut kept = self.rooms.get(room)?.iter();
        let found = kept.find(|it| it.invitation.id.as_str() == id)?;
        Some(!found.is_revoked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::access::new_key_set;

    const HOUR: u64 = 3_600;

    fn invitation(expires_s: u64) -> Invitation {
        Invitation {
            id: InvitationId::random(),
            expires_s,
            made_by: "Ada".into(),
            name: None,
            permissions: Permissions::all(),
        }
    }

    fn made(invitations: &Invitations, keys: Option<&Keys>, room: &str) -> (InvitationId, Token) {
        let invitation = invitation(now_s() + HOUR);
        let id = invitation.id.clone();
        let token = invitations.make(keys, &room.into(), None, invitation);
        (id, token.expect("a token"))
    }

    fn keys(more: &str) -> Keys {
        let set = new_key_set("1");
        let set = set.trim_end_matches('}');
        Keys::from_json(&format!("{set}{more}}}")).expect("keys")
    }

    fn public_keys() -> Keys {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let key = format!(r#"{{"kty":"OKP","kid":"ed","crv":"Ed25519","x":"{x}"}}"#);
        Keys::from_json(&format!(r#"{{"keys":[{key}]}}"#)).expect("keys")
    }

    #[test]
    fn the_operators_key_signs_so_that_another_process_lets_in_as_well() {
        let (keys, invitations) = (keys(""), Invitations::new());
        let (id, token) = made(&invitations, Some(&keys), "a");
        for server in [&invitations, &Invitations::new()] {
            let claims = server.verify(&keys, &token, "a").expect("admitted");
            assert_eq!(claims.id.as_deref(), Some(id.as_str()));
            assert!(claims.into_admission().invited);
            let elsewhere = server.verify(&keys, &token, "b");
            assert_eq!(elsewhere, Err(TokenFault::WrongRoom));
        }
        assert_eq!(invitations.revoke("a", id.as_str()), Ok(id));
        let refused = invitations.verify(&keys, &token, "a");
        assert_eq!(refused, Err(TokenFault::Revoked));
        // What the page revokes is known to this process alone.
        assert!(Invitations::new().verify(&keys, &token, "a").is_ok());
    }

    #[test]
    fn without_a_key_that_signs_the_processes_own_does_and_no_other_process_knows_it() {
        let (keys, invitations) = (public_keys(), Invitations::new());
        let (id, token) = made(&invitations, Some(&keys), "a");
        assert!(invitations.verify(&keys, &token, "a").is_ok());
        let other = Invitations::new().verify(&keys, &token, "a");
        assert_eq!(other.map_err(TokenFault::code), Err("token_invalid"));
        invitations.revoke("a", id.as_str()).expect("revoked");
        let refused = invitations.verify(&keys, &token, "a");
        assert_eq!(refused, Err(TokenFault::Revoked));
    }

    #[test]
    fn the_operators_list_revokes_whatever_has_signed() {
        let invitations = Invitations::new();
        for signing in [keys(""), public_keys()] {
            let (id, token) = made(&invitations, Some(&signing), "a");
            let listed = format!(r#","revoked":["{id}"]"#);
            // A set of another key: what the process has signed is verified by its own.
            let revoking = keys(&listed);
            let refused = invitations.verify(&revoking, &token, "a");
            let expected = match signing.can_sign() {
                true => "token_invalid",
                false => "token_revoked",
            };
            assert_eq!(refused.map_err(TokenFault::code), Err(expected));
        }
    }

    #[test]
    fn an_invitation_that_the_operator_has_revoked_is_not_listed() {
        let invitations = Invitations::new();
        let (revoked, _) = made(&invitations, None, "a");
        let (kept, _) = made(&invitations, None, "a");
        let listed = |keys: &Keys| -> Vec<InvitationId> {
            let listed = invitations.of_room(Some(keys), "a").into_iter();
            listed.map(|it| it.id).collect()
        };
        assert_eq!(listed(&keys("")), [revoked.clone(), kept.clone()]);
        let revoking = keys(&format!(r#","revoked":["{revoked}"]"#));
        assert_eq!(listed(&revoking), [kept]);
    }

    #[test]
    fn in_an_open_room_an_invitation_counts_while_its_room_lives() {
        let invitations = Invitations::new();
        let (_, token) = made(&invitations, None, "a");
        let (id, revoked) = made(&invitations, None, "a");
        invitations.revoke("a", id.as_str()).expect("revoked");
        let verified = |token: &Token, room: &str| {
            let claims = invitations.verify_in_open_room(token, room);
            claims.map(|claims| claims.is_some())
        };
        assert_eq!(verified(&token, "a"), Ok(true));
        assert_eq!(verified(&revoked, "a"), Err(TokenFault::Revoked));
        assert_eq!(verified(&token, "b"), Ok(false));
        let (_, stranger) = made(&Invitations::new(), None, "a");
        let tampered = Token::from(format!("{}x", token.as_str()));
        for passed_over in [&stranger, &tampered, &"nonsense".into()] {
            assert_eq!(verified(passed_over, "a"), Ok(false));
        }
        invitations.end("b");
        assert_eq!(verified(&token, "a"), Ok(true));
        invitations.end("a");
        for gone in [&token, &revoked] {
            assert_eq!(verified(gone, "a"), Ok(false));
        }
        assert_eq!(invitations.of_room(None, "a"), []);
    }

    #[test]
    fn an_operators_token_is_no_invitation_whatever_its_id_is() {
        let (keys, invitations) = (keys(""), Invitations::new());
        let mut claims = Claims::join("a", Permissions::all());
        claims.id = Some("staff".into());
        let token = keys.issue_until(&claims, now_s() + HOUR, None);
        let token = token.expect("a token");
        assert!(invitations.verify(&keys, &token, "a").is_ok());
        let refused = invitations.revoke("a", "staff").expect_err("none");
        assert_eq!(refused.code, "no_such_invitation");
        assert!(invitations.verify(&keys, &token, "a").is_ok());
    }

    #[test]
    fn invitations_are_bounded_by_room_and_server_and_make_place_when_they_expire() {
        let mut kept = Kept::default();
        let room = |number: usize| Arc::<str>::from(number.to_string());
        let full = |kept: &mut Kept, room: &Arc<str>, now| {
            let refused = kept.add(room, None, invitation(now + 60), now);
            refused.map_err(|refusal| refusal.code)
        };
        for _ in 0..LIVE_OF_ROOM {
            assert_eq!(full(&mut kept, &room(0), 0), Ok(()));
        }
        assert_eq!(full(&mut kept, &room(0), 0), Err("too_many_invitations"));
        // Revoked ones make place, and are remembered.
        for _ in LIVE_OF_ROOM..KEPT_OF_ROOM {
            let id = kept.live("0", 0).next().expect("one").invitation.id.clone();
            kept.revoke("0", id.as_str(), 0).expect("revoked");
            assert_eq!(full(&mut kept, &room(0), 0), Ok(()));
        }
        let id = kept.live("0", 0).next().expect("one").invitation.id.clone();
        kept.revoke("0", id.as_str(), 0).expect("revoked");
        assert_eq!(full(&mut kept, &room(0), 0), Err("too_many_invitations"));
        for number in 0..KEPT - KEPT_OF_ROOM {
            let number = 1 + number / LIVE_OF_ROOM;
            assert_eq!(full(&mut kept, &room(number), 0), Ok(()));
        }
        let next = room(KEPT);
        assert_eq!(full(&mut kept, &next, 0), Err("too_many_invitations"));
        // Within the leeway a token lets in, so that a revoked one has to be known.
        assert_eq!(full(&mut kept, &next, 65), Err("too_many_invitations"));
        assert_eq!(full(&mut kept, &next, 66), Ok(()));
        assert_eq!(kept.rooms.len(), 1, "the others have expired");
    }

    #[test]
    fn one_address_leaves_place_for_the_invitations_of_others() {
        let mut kept = Kept::default();
        let address = |last: u8| Some(std::net::IpAddr::from([192, 0, 2, last]).into());
        let mut add = |number: usize, last| {
            let room = Arc::from(number.to_string());
            let refused = kept.add(&room, address(last), invitation(60), 0);
            refused.map_err(|refusal| refusal.code)
        };
        for number in 0..KEPT_OF_ADDRESS {
            assert_eq!(add(number, 1), Ok(()));
        }
        assert_eq!(add(KEPT, 1), Err("too_many_invitations"));
        assert_eq!(add(KEPT, 2), Ok(()));
    }

    #[test]
    fn a_moderator_who_makes_and_revokes_leaves_place_for_the_others_of_the_room() {
        let mut kept = Kept::default();
        let room = Arc::<str>::from("a");
        let mut add = |last: u8| {
            let maker = Some(std::net::IpAddr::from([192, 0, 2, last]).into());
            let made = invitation(60);
            let id = made.id.clone();
            kept.add(&room, maker, made, 0)
                .map_err(|refusal| refusal.code)?;
            kept.revoke("a", id.as_str(), 0).map_err(|it| it.code)
        };
        for _ in 0..KEPT_OF_ADDRESS_IN_ROOM {
            assert!(add(1).is_ok());
        }
        assert_eq!(add(1), Err("too_many_invitations"));
        assert!(add(2).is_ok());
    }

    /// Steps of moderators of two rooms.
    #[derive(Clone, Debug)]
    enum Step {
        Make(usize, u64),
        Revoke(usize, prop::sample::Index),
        Wait(u64),
        End(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..2_usize, 60..200_u64).prop_map(|(room, lasts)| Step::Make(room, lasts)),
            (0..2_usize, any::<prop::sample::Index>())
                .prop_map(|(room, at)| Step::Revoke(room, at)),
            (1..100_u64).prop_map(Step::Wait),
            (0..2_usize).prop_map(Step::End),
        ]
    }

    proptest! {
        /// A list beside it, which forgets nothing, says the same of every invitation there ever was.
        #[test]
        fn each_invitation_is_live_until_it_is_revoked_or_expires_or_its_room_ends(
            steps in prop::collection::vec(step(), 0..60),
        ) {
            const ROOMS: [&str; 2] = ["a", "b"];
            let mut kept = Kept::default();
            let mut now = 1_000;
            // Room, id, end, and whether it was revoked or its room ended.
            let mut all: Vec<(usize, InvitationId, u64, bool, bool)> = Vec::new();
            for step in steps {
                match step {
                    Step::Make(room, lasts) => {
                        let new = invitation(now + lasts);
                        all.push((room, new.id.clone(), new.expires_s, false, false));
                        prop_assert!(kept.add(&ROOMS[room].into(), None, new, now).is_ok());
                    }
                    Step::Revoke(room, at) if !all.is_empty() => {
                        let at = at.index(all.len());
                        let (of, id, end, revoked, ended) = &mut all[at];
                        let is_live = *of == room && now <= *end + 5 && !*revoked && !*ended;
                        let done = kept.revoke(ROOMS[room], id.as_str(), now);
                        prop_assert_eq!(done.is_ok(), is_live);
                        *revoked |= is_live;
                    }
                    Step::Revoke(..) => {}
                    Step::Wait(seconds) => now += seconds,
                    Step::End(room) => {
                        kept.rooms.remove(ROOMS[room]);
                        for one in all.iter_mut().filter(|one| one.0 == room) {
                            one.4 = true;
                        }
                    }
                }
                for (at, room) in ROOMS.into_iter().enumerate() {
                    let live: Vec<_> = kept.live(room, now).map(|it| &it.invitation.id).collect();
                    let expected = all.iter().filter(|(of, _, end, revoked, ended)| {
                        *of == at && now <= *end + 5 && !revoked && !ended
                    });
                    let expected: Vec<_> = expected.map(|(_, id, ..)| id).collect();
                    prop_assert_eq!(live, expected);
                    for (_, id, _, revoked, _) in all.iter().filter(|(of, _, end, _, ended)| {
                        *of == at && now <= *end + 5 && !ended
                    }) {
                        prop_assert_eq!(kept.is_live(room, id.as_str()), Some(!revoked));
                    }
                }
            }
        }
    }
}
