//! Invitations: moderators make them, list them and revoke them.

use std::ops::RangeInclusive;

use super::act::{Act, Subject};
use crate::access::{Access, Token};
use crate::hooks::Permissions;
use crate::room::actor::Room;
use crate::room::command::display_name;
use crate::room::invitations::now_s;
use crate::room::{Event, Invitation, InvitationId, ParticipantId, Refusal};

/// Seconds for which an invitation may let in. In less than a minute nobody has opened a link. In more than 30 days nobody
/// remembers it.
const SECONDS: RangeInclusive<u64> = 60..=30 * 24 * 60 * 60;

/// A wish for an invitation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invite {
    /// Seconds from now on for which it is to let in, 60 to 2,592,000.
    pub expires_s: u64,
    /// The name in the room of whoever uses it. None: the one that they ask for.
    pub name: Option<String>,
    /// The rights of whoever uses it.
    pub grants: Granting,
}

/// Rights that an invitation is to grant. None: as its maker has it, but not to moderate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Granting {
    /// To publish a microphone.
    pub microphone: Option<bool>,
    /// To publish a camera.
    pub camera: Option<bool>,
    /// To publish a screen and its sound.
    pub screen: Option<bool>,
    /// To receive tracks of others.
    pub subscribe: Option<bool>,
    /// To write in the chat.
    pub chat: Option<bool>,
    /// To send data channel messages.
    pub data: Option<bool>,
    /// To change the own name and metadata.
    pub update: Option<bool>,
    /// To moderate.
    pub moderate: Option<bool>,
}

impl Granting {
    /// Computes the rights of an invitation whose maker has `own`.
    fn by(self, own: Permissions) -> Result<Permissions, Refusal> {
        let right = |asked: Option<bool>, has: bool| match (asked, has) {
            (Some(true), false) => Err(Refusal::not_allowed(
                "You may not grant a right that you do not have.",
            )),
            (Some(granted), _) => Ok(granted),
            (None, has) => Ok(has),
        };
        Ok(Permissions::listener()
            .microphone(right(self.microphone, own.microphone)?)
            .camera(right(self.camera, own.camera)?)
            .screen(right(self.screen, own.screen)?)
            .subscribe(right(self.subscribe, own.subscribe)?)
            .chat(right(self.chat, own.chat)?)
            .data(right(self.data, own.data)?)
            .update(right(self.update, own.update)?)
            .moderate(right(Some(self.moderate.unwrap_or(false)), own.moderate)?))
    }
}

impl Room {
    /// Makes an invitation, and answers with its token.
    pub(in crate::room) fn invite(
        &mut self,
        from: &ParticipantId,
        request: Option<u32>,
        wish: Invite,
    ) {
        let act = Act::of(from, request, "invite");
        let (invitation, token) = match self.make_invitation(from, wish) {
            Ok(made) => made,
            Err(refusal) => return self.acted(act, Err(refusal)),
        };
        let subject = Subject::from(invitation.id.clone());
        // It cannot be refused any more.
        let _ = self.note(&act, Ok(subject));
        let event = Event::Invitation {
            request,
            id: invitation.id,
            token,
            expires_s: invitation.expires_s,
        };
        self.answer(from, event);
    }

    /// Tells a moderator which invitations let in.
    pub(in crate::room) fn list_invitations(&mut self, from: &ParticipantId, request: Option<u32>) {
        if let Err(refusal) = self.check_moderates(from) {
            return self.acted(Act::of(from, request, "invitations"), Err(refusal));
        }
        let keys = self.shared.authority.keys.as_ref().map(|keys| keys.get());
        let kept = &self.shared.invitations;
        let invitations = kept.of_room(keys.as_ref(), self.name.as_str());
        let event = Event::Invitations {
            request,
            invitations,
        };
        self.answer(from, event);
    }

    /// Revokes an invitation. Whoever is in by it stays.
    pub(in crate::room) fn revoke(&mut self, from: &ParticipantId, request: Option<u32>, id: &str) {
        let act = Act::of(from, request, "revoke");
        let allowed = self.check_moderates(from);
        let revoked = allowed.and_then(|()| self.shared.invitations.revoke(self.name.as_str(), id));
        self.acted(act, revoked.map(Subject::from));
    }

    fn make_invitation(
        &self,
        from: &ParticipantId,
        wish: Invite,
    ) -> Result<(Invitation, Token), Refusal> {
        self.check_moderates(from)?;
        let maker = self.participants.get(from);
        let maker = maker.ok_or_else(Refusal::no_such_participant)?;
        let access = self.shared.authority.access();
        if access == Access::Hooks {
            return Err(Refusal::invitations_off());
        }
        if access == Access::Open && wish.grants != Granting::default() {
            return Err(Refusal::bad_field(
                "`grants` must be left out on an open server: nobody grants rights there.",
            ));
        }
        if !SECONDS.contains(&wish.expires_s) {
            return Err(Refusal::bad_field(format!(
                "`expires_s` must be {} to {}.",
                SECONDS.start(),
                SECONDS.end()
            )));
        }
        let permissions = wish.grants.by(maker.permissions)?;
        let expires_s = now_s().saturating_add(wish.expires_s);
        // Whoever may moderate until tomorrow would otherwise do so for ever, by one invitation after the other.
        let ends_before = |end: u64| end < expires_s;
        if permissions.moderate && maker.token_expires_s.is_some_and(ends_before) {
            return Err(Refusal::not_allowed(
                "An invitation to moderate may not let in for longer than your own access token.",
            ));
        }
        let invitation = Invitation {
            id: InvitationId::random(),
            expires_s,
            made_by: maker.name.clone(),
            name: wish.name.as_deref().map(display_name).transpose()?,
            permissions,
        };
        let keys = self.shared.authority.keys.as_ref().map(|keys| keys.get());
        let token = self.shared.invitations.make(
            keys.as_ref(),
            &self.name.shared(),
            maker.client,
            invitation.clone(),
        )?;
        Ok((invitation, token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_grants_what_they_do_not_have() {
        let all = Permissions::all();
        let none = Granting::default();
        let (yes, no) = (Some(true), Some(false));
        for (own, asked, expected) in [
            (all, none, Some(all)),
            // The right to moderate is granted only if it is named.
            (all.moderate(true), none, Some(all)),
            (
                all.moderate(true),
                Granting {
                    moderate: yes,
                    ..none
                },
                Some(all.moderate(true)),
            ),
            (
                all,
                Granting {
                    moderate: yes,
                    ..none
                },
                None,
            ),
            (
                all,
                Granting {
                    moderate: no,
                    ..none
                },
                Some(all),
            ),
            (
                all.camera(false).chat(false),
                none,
                Some(all.camera(false).chat(false)),
            ),
            (all, Granting { chat: no, ..none }, Some(all.chat(false))),
            (all.chat(false), Granting { chat: yes, ..none }, None),
            (
                all.chat(false),
                Granting { chat: no, ..none },
                Some(all.chat(false)),
            ),
        ] {
            assert_eq!(asked.by(own).ok(), expected, "{own:?} {asked:?}");
        }
    }

    /// Each right by itself is granted only by who has it, and withheld only if it is named.
    #[test]
    fn each_right_is_its_own() {
        type Field = fn(&mut Granting) -> &mut Option<bool>;
        type Set = fn(Permissions, bool) -> Permissions;
        let rights: [(Field, Set); 8] = [
            (|it| &mut it.microphone, |it, may| it.microphone(may)),
            (|it| &mut it.camera, |it, may| it.camera(may)),
            (|it| &mut it.screen, |it, may| it.screen(may)),
            (|it| &mut it.subscribe, |it, may| it.subscribe(may)),
            (|it| &mut it.chat, |it, may| it.chat(may)),
            (|it| &mut it.data, |it, may| it.data(may)),
            (|it| &mut it.update, |it, may| it.update(may)),
            (|it| &mut it.moderate, |it, may| it.moderate(may)),
        ];
        let all = Permissions::all().moderate(true);
        let everything = Granting {
            moderate: Some(true),
            ..Granting::default()
        };
        for (field, set) in rights {
            let mut asked = everything;
            *field(&mut asked) = Some(false);
            assert_eq!(asked.by(all), Ok(set(all, false)));
            *field(&mut asked) = Some(true);
            assert_eq!(asked.by(all), Ok(all));
            assert!(asked.by(set(all, false)).is_err());
        }
    }
}
