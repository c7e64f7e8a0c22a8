//! Actions of moderators: each is checked, done, told to whom it concerns, counted, and logged in one line.

use tracing::info;

use super::Moderate;
use super::bans::Ban;
use super::code::MUTE;
use super::door::Rules;
use crate::media::SfuError;
use crate::room::actor::{Closing, Room};
use crate::room::participant::{Participant, Silenced};
use crate::room::{
    Change, Ending, Event, InvitationId, LeaveReason, ParticipantId, Refusal, TrackName,
};

/// An action that a moderator asked for.
pub(super) struct Act {
    by: ParticipantId,
    request: Option<u32>,
    code: &'static str,
    on: Option<bool>,
    /// The ids that the moderator named, for the log: a refused one may have found nobody.
    about: About,
}

/// Ids that a client named. It may have made them up.
#[derive(Default)]
struct About {
    participant: Option<String>,
    track: Option<String>,
}

/// Characters of an id in the log: more than any id of the server's has.
const SHOWN_CHARS: usize = 64;

impl About {
    fn of(wish: &Moderate) -> Self {
        let shown = |id: &String| Some(id.chars().take(SHOWN_CHARS).collect());
        match wish {
            Moderate::Mute { track } => Self {
                track: shown(track),
                ..Self::default()
            },
            Moderate::AskUnmute { participant }
            | Moderate::Remove { participant }
            | Moderate::Ban { participant }
            | Moderate::Admit { participant }
            | Moderate::Deny { participant }
            | Moderate::LowerHand { participant } => Self {
                participant: shown(participant),
                ..Self::default()
            },
            Moderate::Lock(_) | Moderate::WaitingRoom(_) | Moderate::Chat(_) | Moderate::End => {
                Self::default()
            }
        }
    }
}

impl Act {
    /// An action that sets no rule.
    pub(super) fn of(by: &ParticipantId, request: Option<u32>, code: &'static str) -> Self {
        Self {
            by: by.clone(),
            request,
            code,
            on: None,
            about: About::default(),
        }
    }
}

/// The subject of an action that was done.
#[derive(Default)]
pub(super) struct Subject {
    participant: Option<ParticipantId>,
    track: Option<TrackName>,
    invitation: Option<InvitationId>,
}

impl From<ParticipantId> for Subject {
    fn from(participant: ParticipantId) -> Self {
        Self {
            participant: Some(participant),
            ..Self::default()
        }
    }
}

impl From<InvitationId> for Subject {
    fn from(invitation: InvitationId) -> Self {
        Self {
            invitation: Some(invitation),
            ..Self::default()
        }
    }
}

impl Room {
    /// Does what a moderator asks for, or refuses.
    pub(in crate::room) fn moderate(
        &mut self,
        from: &ParticipantId,
        request: Option<u32>,
        wish: Moderate,
    ) {
        let act = Act {
            on: wish.on(),
            about: About::of(&wish),
            ..Act::of(from, request, wish.code())
        };
        if let Err(refusal) = self.check_moderates(from) {
            return self.acted(act, Err(refusal));
        }
        let done = match wish {
            Moderate::Mute { track } => return self.mute_other(act, &track),
            Moderate::AskUnmute { participant } => self.ask_to_unmute(&act, &participant),
            Moderate::Remove { participant } => self.put_out(&act, &participant),
            Moderate::Ban { participant } => self.ban(&act, &participant),
            Moderate::Lock(on) => self.rule(from, |rules| rules.locked = on),
            Moderate::WaitingRoom(on) => self.rule(from, |rules| rules.waiting_room = on),
            Moderate::Chat(on) => self.rule(from, |rules| rules.chat = on),
            Moderate::Admit { participant } => {
                let admitted = self.admit_waiting(&participant, Some(from));
                admitted.map(Subject::from)
            }
            Moderate::Deny { participant } => {
                let denied = self.turn_away(&participant, Some(from), Refusal::denied_entry());
                denied.map(Subject::from)
            }
            Moderate::LowerHand { participant } => self.lower_other(&act, &participant),
            Moderate::End => {
                self.closed = Some(Closing {
                    message: format!(
                        "{} ended the call for everybody.",
                        self.name_of_person(from)
                    ),
                    by: Some(from.clone()),
                });
                Ok(Subject::default())
            }
        };
        self.acted(act, done);
    }

    /// Refuses who may not moderate.
    pub(super) fn check_moderates(&self, id: &ParticipantId) -> Result<(), Refusal> {
        match self.may(id, |it| it.moderate) {
            true => Ok(()),
            false => Err(Refusal::not_allowed("You may not moderate this room.")),
        }
    }

    /// Counts, logs, reports and answers an action.
    pub(super) fn acted(&mut self, act: Act, done: Result<Subject, Refusal>) {
        let done = self.note(&act, done);
        self.finish(&act.by, act.request, done);
    }

    /// Counts, logs and reports an action.
    pub(super) fn note(&self, act: &Act, done: Result<Subject, Refusal>) -> Result<(), Refusal> {
        let Act {
            by,
            code,
            on,
            about,
            ..
        } = act;
        match done {
            Ok(Subject {
                participant,
                track,
                invitation,
            }) => {
                self.shared.moderated.count(code);
                info!(
                    room = %self.name, actor = %by, action = code, on,
                    subject = participant.as_ref().map(tracing::field::display),
                    track = track.as_ref().map(tracing::field::display),
                    invitation = invitation.as_ref().map(tracing::field::display), "moderated"
                );
                self.report_of(by, |by| Change::Moderated {
                    by,
                    action: code,
                    participant,
                    track,
                    invitation,
                    on: *on,
                });
                Ok(())
            }
            Err(refusal) => {
                self.shared.moderation_refused.count(refusal.code);
                info!(
                    room = %self.name, actor = %by, action = code, code = refusal.code,
                    subject = about.participant, track = about.track, "moderation refused"
                );
                Err(refusal)
            }
        }
    }

    /// Sets a rule for a moderator.
    fn rule(
        &mut self,
        by: &ParticipantId,
        change: impl FnOnce(&mut Rules),
    ) -> Result<Subject, Refusal> {
        self.set_rules(Some(by), change);
        Ok(Subject::default())
    }

    /// Changes the rules, and tells everybody if they differ.
    pub(super) fn set_rules(
        &mut self,
        by: Option<&ParticipantId>,
        change: impl FnOnce(&mut Rules),
    ) {
        let before = self.door.rules;
        change(&mut self.door.rules);
        let rules = self.door.rules;
        if rules == before {
            return;
        }
        let by_whom = by.cloned();
        self.tell_all(Event::Rules { rules, by: by_whom });
        if before.waiting_room && !rules.waiting_room {
            self.end_waiting(by);
        }
    }

    fn mute_other(&mut self, act: Act, name: &str) {
        let (owner, track) = match self.track_of_other(&act.by, name) {
            Ok(found) => found,
            Err(refusal) => return self.acted(act, Err(refusal)),
        };
        let Some(own) = self.own_track(&owner, track) else {
            return self.acted(act, Err(Refusal::no_such_track(name)));
        };
        let subject = Subject {
            participant: Some(owner.clone()),
            track: Some(own.info.name.clone()),
            ..Subject::default()
        };
        // From here on no offer of its publisher unmutes it.
        let was_silenced = own.silenced.replace(Silenced {
            by: act.by.clone(),
            source: own.info.source,
        });
        if own.info.muted {
            return self.acted(act, Ok(subject));
        }
        let settings = own.settings();
        // A track is announced as muted once it is no longer forwarded: so the media plane comes first.
        self.set_track(track, settings, move |room, told| {
            if let Err(error @ (SfuError::Overloaded | SfuError::Stopped)) = told {
                if let Some(own) = room.own_track(&owner, track) {
                    own.silenced = was_silenced;
                }
                return room.acted(act, Err(Refusal::of_media(&error)));
            }
            let Some(own) = room.own_track(&owner, track) else {
                let name = subject.track.as_ref().map_or("", TrackName::as_str);
                return room.acted(act, Err(Refusal::no_such_track(name)));
            };
            // Its publisher may have unmuted it meanwhile.
            if own.silenced.is_some() && !own.info.muted {
                room.muted(&owner, track, true);
                room.tell_moderated(&act, &owner, subject.track.clone());
            }
            room.acted(act, Ok(subject));
        });
    }

    fn ask_to_unmute(&mut self, act: &Act, participant: &str) -> Result<Subject, Refusal> {
        let id = self.other(&act.by, participant)?.id.clone();
        self.tell_moderated(act, &id, None);
        Ok(id.into())
    }

    /// Somebody else's track, and its publisher.
    fn track_of_other(
        &self,
        by: &ParticipantId,
        name: &str,
    ) -> Result<(ParticipantId, crate::media::TrackId), Refusal> {
        let track = self.track_ids.get(name).copied();
        let track = track.ok_or_else(|| Refusal::no_such_track(name))?;
        match self.tracks.get(&track) {
            Some((owner, _)) if owner == by => Err(Refusal::bad_field(
                "`track` must be somebody else's: `mute` is for your own.",
            )),
            Some((owner, _)) => Ok((owner.clone(), track)),
            None => Err(Refusal::no_such_track(name)),
        }
    }

    /// Somebody else who is in the room.
    fn other(&self, by: &ParticipantId, participant: &str) -> Result<&Participant, Refusal> {
        let found = self.participants.get(participant);
        let found = found.ok_or_else(Refusal::no_such_participant)?;
        if found.id == *by {
            return Err(Refusal::bad_field("`participant` must be somebody else."));
        }
        Ok(found)
    }

    fn put_out(&mut self, act: &Act, participant: &str) -> Result<Subject, Refusal> {
        let other = self.other(&act.by, participant)?;
        let (id, identity) = (other.id.clone(), other.identity.clone());
        if let Some(identity) = identity {
            self.door.forget(&identity);
        }
        let sentence = format!(
            "{} removed you from the room.",
            self.name_of_person(&act.by)
        );
        self.dismiss(act, &id, sentence);
        Ok(id.into())
    }

    /// Ends the stay of somebody, and tells the other moderators who did it.
    fn dismiss(&mut self, act: &Act, id: &ParticipantId, message: String) {
        let by = Some(act.by.clone());
        let ending = match act.code {
            "ban" => Ending::Banned { message, by },
            _ => Ending::Kicked { message, by },
        };
        self.end(id, ending, LeaveReason::Kicked);
        self.tell_moderated(act, id, None);
    }

    fn ban(&mut self, act: &Act, participant: &str) -> Result<Subject, Refusal> {
        let actor = self.participants.get(&act.by);
        let actor_identity = actor.and_then(|actor| actor.identity.clone());
        let (id, comer) = match self.waiting.find(participant) {
            Some(waiting) => waiting,
            None => {
                let other = self.other(&act.by, participant)?;
                (other.id.clone(), other.comer())
            }
        };
        let is_shared = self.has_address(&id, comer.address);
        let ban = Ban::of(&comer, is_shared);
        let unnamed = Ban::of(&comer.without_identity(), is_shared);
        let identity = match &ban {
            Ban::Identity(identity) => Some(identity.clone()),
            _ => None,
        };
        if identity.is_some() && identity == actor_identity {
            return Err(Refusal::bad_field("`participant` must be somebody else."));
        }
        self.door.bans.add(ban)?;
        if let Some(identity) = &identity {
            self.door.forget(identity);
        }
        // A user may come again by an invitation, which has no identity. Others who have one are not concerned. Where there
        // is no place for this, the identity is banned nevertheless.
        let _ = self.door.bans.add(unnamed);
        // The user is put out, on whatever devices.
        let is_meant =
            |it: &Participant| it.id == id || identity.is_some() && it.identity == identity;
        let people = self.participants.values().filter(|it| is_meant(it));
        let present: Vec<_> = people.map(|it| it.id.clone()).collect();
        let sentence = format!(
            "{} removed you from the room until the call ends.",
            self.name_of_person(&act.by)
        );
        for present in present {
            self.dismiss(act, &present, sentence.clone());
        }
        let banned = self.waiting.ids(|comer| self.door.bans.hold(comer));
        for waiting in banned {
            let _ = self.turn_away(waiting.as_str(), Some(&act.by), Refusal::banned());
        }
        Ok(id.into())
    }

    /// Whether anybody else in the room comes from this address; an unknown one tells nobody apart.
    fn has_address(
        &self,
        except: &ParticipantId,
        address: Option<crate::clients::ClientAddress>,
    ) -> bool {
        let mut others = self.participants.values().filter(|it| it.id != *except);
        address.is_none() || others.any(|it| it.client == address)
    }

    fn lower_other(&mut self, act: &Act, participant: &str) -> Result<Subject, Refusal> {
        let id = self.participants.get(participant).map(|it| it.id.clone());
        let id = id.ok_or_else(Refusal::no_such_participant)?;
        self.set_hand(&id, false, Some(&act.by));
        Ok(id.into())
    }

    /// Raises or lowers a hand, and tells everybody if that changes something.
    pub(in crate::room) fn set_hand(
        &mut self,
        id: &ParticipantId,
        raised: bool,
        by: Option<&ParticipantId>,
    ) {
        let changed = match raised {
            true => self.hands.raise(id),
            false => self.hands.lower(id),
        };
        if changed {
            self.tell_hand(id, raised, by.cloned());
        }
    }

    /// Tells the one whom an action is about, and all moderators.
    fn tell_moderated(&mut self, act: &Act, whom: &ParticipantId, track: Option<TrackName>) {
        let event = Event::Moderated {
            action: act.code,
            by: act.by.clone(),
            participant: whom.clone(),
            track,
        };
        self.tell_some(event, |it| it.permissions.moderate || it.id == *whom);
    }

    /// Tells a publisher that a moderator's mute holds for the track that took the place of the muted one.
    pub(in crate::room) fn tell_silenced(
        &mut self,
        id: &ParticipantId,
        by: ParticipantId,
        track: TrackName,
    ) {
        let event = Event::Moderated {
            action: MUTE,
            by,
            participant: id.clone(),
            track: Some(track),
        };
        self.tell(id, event);
    }

    pub(super) fn tell_moderators(&mut self, event: Event) {
        self.tell_some(event, |it| it.permissions.moderate);
    }

    fn name_of_person(&self, id: &ParticipantId) -> &str {
        let participant = self.participants.get(id);
        participant.map_or("A moderator", |it| it.name.as_str())
    }
}
