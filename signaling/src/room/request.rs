//! A participant's commands, all but offers.

use tracing::info;

use super::actor::Room;
use super::crowd::Scope;
use super::errands::Then;
use super::negotiation::Offer;
use super::participant::Track;
use super::timeline::unix_ms;
use super::{Action, Change, ChatEntry, Command, Event, Metadata, ParticipantId, Refusal};
use crate::hooks::Permissions;
use crate::media::{SfuError, TrackId};

impl Room {
    /// Does a command that has the turn of its participant, and says so by [`done`](Self::done) at the end.
    pub(super) fn take(&mut self, from: &ParticipantId, command: Command) {
        let Command { request, action } = command;
        let action = match action.checked(self.shared.limits.chat_chars) {
            Ok(action) => action,
            Err(refusal) => return self.finish(from, request, Err(refusal)),
        };
        match action {
            Action::Offer { sdp, carries } => self.offer(Offer {
                id: from.clone(),
                request,
                sdp,
                carries,
            }),
            Action::Stats => self.stats(from, request),
            Action::Timeline => self.timeline(from, request),
            Action::People { after, limit } => {
                let page = self.page(from, after, limit);
                self.answer(from, Event::People { request, page });
            }
            Action::View(views) => {
                let then = self.finished(from, request);
                self.view(from, &views, then);
            }
            Action::Subscribe(_) if !self.may(from, |it| it.subscribe) => {
                let refusal = Refusal::not_allowed("You may not receive others in this room.");
                self.finish(from, request, Err(refusal));
            }
            Action::Subscribe(tracks) => self.want(from, request, &tracks),
            Action::Unsubscribe(tracks) => self.unwant(from, request, &tracks),
            Action::Mute { track, muted } => self.mute(from, request, &track, muted),
            Action::Update { .. } if !self.may(from, |it| it.update) => {
                let refusal = Refusal::not_allowed("You may not change your name or metadata.");
                self.finish(from, request, Err(refusal));
            }
            Action::Chat(_) if !self.may(from, |it| it.chat) => {
                let refusal = Refusal::not_allowed("You may not write in this room.");
                self.finish(from, request, Err(refusal));
            }
            Action::Chat(_) if !self.door.rules.chat && !self.may(from, |it| it.moderate) => {
                let refusal = Refusal::chat_off();
                self.shared.moderation_refused.count(refusal.code);
                self.finish(from, request, Err(refusal));
            }
            Action::Update { name, metadata } => {
                self.update(from, name, metadata);
                self.finish(from, request, Ok(()));
            }
            Action::Chat(text) => {
                self.say(from, text);
                self.finish(from, request, Ok(()));
            }
            Action::Hand(raised) => {
                self.set_hand(from, raised, None);
                self.finish(from, request, Ok(()));
            }
            Action::Moderate(wish) => self.moderate(from, request, wish),
            Action::Invite(wish) => self.invite(from, request, wish),
            Action::Invitations => self.list_invitations(from, request),
            Action::Revoke(id) => self.revoke(from, request, &id),
        }
    }

    pub(super) fn may(&self, id: &ParticipantId, right: impl FnOnce(&Permissions) -> bool) -> bool {
        let participant = self.participants.get(id);
        participant.is_some_and(|participant| right(&participant.permissions))
    }

    /// Answers a command, which is done.
    pub(super) fn finish(
        &mut self,
        id: &ParticipantId,
        request: Option<u32>,
        done: Result<(), Refusal>,
    ) {
        let event = match done {
            Ok(()) => Event::Done { request },
            Err(refusal) => Event::Refused { request, refusal },
        };
        self.answer(id, event);
    }

    /// Answers a command later, when it is done.
    fn finished(&self, id: &ParticipantId, request: Option<u32>) -> Then {
        let id = id.clone();
        Box::new(move |room| room.finish(&id, request, Ok(())))
    }

    /// Tells the answer to a command, which is done.
    pub(super) fn answer(&mut self, id: &ParticipantId, event: Event) {
        self.tell(id, event);
        self.done(id);
    }

    fn want(&mut self, id: &ParticipantId, request: Option<u32>, names: &[String]) {
        let mut tracks = match self.find_tracks(id, names) {
            Ok(tracks) => tracks,
            Err(refusal) => return self.finish(id, request, Err(refusal)),
        };
        if let Some(participant) = self.participants.get_mut(id) {
            // Tracks wanted already are received, or will be.
            tracks.retain(|&track| participant.wanted.insert(track));
        }
        let pairs = tracks.into_iter().map(|track| (id.clone(), track));
        let then = self.finished(id, request);
        self.subscribe(pairs.collect(), then);
    }

    fn unwant(&mut self, id: &ParticipantId, request: Option<u32>, names: &[String]) {
        let mut tracks = match self.find_tracks(id, names) {
            Ok(tracks) => tracks,
            Err(refusal) => return self.finish(id, request, Err(refusal)),
        };
        let mut pairs = Vec::new();
        if let Some(participant) = self.participants.get_mut(id) {
            tracks.retain(|track| participant.wanted.remove(track));
            let peer = participant.peer.into_iter();
            pairs.extend(peer.flat_map(|peer| tracks.iter().map(move |&track| (peer, track))));
        }
        let then = self.finished(id, request);
        self.unsubscribe(pairs, then);
    }

    /// Finds all the tracks, or refuses before anything has happened.
    fn find_tracks(&self, id: &ParticipantId, names: &[String]) -> Result<Vec<TrackId>, Refusal> {
        let find = |name: &String| {
            let track = self.track_ids.get(name.as_str());
            let track = *track.ok_or_else(|| Refusal::no_such_track(name))?;
            match self.tracks.get(&track) {
                Some((publisher, _)) if publisher == id => Err(Refusal::bad_field(
                    "`tracks` must not name a track of your own.",
                )),
                _ => Ok(track),
            }
        };
        names.iter().map(find).collect()
    }

    fn mute(&mut self, id: &ParticipantId, request: Option<u32>, name: &str, muted: bool) {
        let Some(track) = self.track_ids.get(name).copied() else {
            return self.finish(id, request, Err(Refusal::no_such_track(name)));
        };
        let Some(own) = self.own_track(id, track) else {
            return self.finish(id, request, Err(Refusal::not_your_track()));
        };
        let is_muted = own.info.muted || own.silenced.is_some();
        // From here on the word of a moderator does not count any more.
        own.silenced = own.silenced.take().filter(|_| muted);
        if is_muted == muted {
            return self.finish(id, request, Ok(()));
        }
        let settings = own.settings().with_muted(muted);
        let id = id.clone();
        // A track is announced as muted once it is no longer forwarded: so the media plane comes first.
        self.set_track(track, settings, move |room, told| {
            let done = match told {
                Err(error @ (SfuError::Overloaded | SfuError::Stopped)) => {
                    Err(Refusal::of_media(&error))
                }
                _ => {
                    room.muted(&id, track, muted);
                    Ok(())
                }
            };
            room.finish(&id, request, done);
        });
    }

    pub(super) fn muted(&mut self, id: &ParticipantId, track: TrackId, muted: bool) {
        let Some(own) = self.own_track(id, track) else {
            return;
        };
        own.info.muted = muted;
        let info = own.info.clone();
        info!(room = %self.name, participant = %id, track = %info.name, muted, "track muted");
        self.tell_others(
            id,
            Event::TrackUpdated {
                participant: id.clone(),
                track: info,
            },
        );
    }

    pub(super) fn own_track(&mut self, id: &ParticipantId, track: TrackId) -> Option<&mut Track> {
        let tracks = &mut self.participants.get_mut(id)?.tracks;
        tracks.iter_mut().find(|own| own.id == track)
    }

    fn update(&mut self, id: &ParticipantId, name: Option<String>, metadata: Option<Metadata>) {
        let Some(participant) = self.participants.get_mut(id) else {
            return;
        };
        if let Some(name) = name {
            participant.name = name;
        }
        if let Some(metadata) = metadata {
            participant.metadata = metadata;
        }
        participant.weigh();
        let (info, person) = (participant.info(), participant.person());
        self.report(|| Change::Updated(person));
        self.tell_others(id, Event::ParticipantUpdated(info));
    }

    fn say(&mut self, id: &ParticipantId, text: String) {
        let Some(participant) = self.participants.get(id) else {
            return;
        };
        let entry = ChatEntry {
            id: self.chat.next_id(),
            participant: id.clone(),
            name: participant.name.clone(),
            text: text.into(),
            at_ms: unix_ms(),
        };
        self.write(entry);
    }

    /// Keeps a chat message, and tells everybody.
    pub(super) fn write(&mut self, entry: ChatEntry) {
        self.chat.push(entry.clone());
        self.report(|| Change::Chat(entry.clone()));
        self.spread(Event::Chat(entry), Scope::Everybody, None);
    }

    fn stats(&mut self, id: &ParticipantId, request: Option<u32>) {
        let id = id.clone();
        self.peer_stats(&id.clone(), move |room, peer| {
            let event = match peer {
                Ok(peer) => Event::Stats { request, peer },
                Err(error) => Event::Refused {
                    request,
                    refusal: Refusal::of_media(&error),
                },
            };
            room.answer(&id, event);
        });
    }

    /// The decisions about this participant; the others are none of its business.
    fn timeline(&mut self, id: &ParticipantId, request: Option<u32>) {
        let id = id.clone();
        self.decisions(move |room, decided| {
            let event = match decided {
                Ok(mut timeline) => {
                    timeline
                        .decisions
                        .retain(|decision| decision.participant.as_ref() == Some(&id));
                    Event::Timeline { request, timeline }
                }
                Err(error) => Event::Refused {
                    request,
                    refusal: Refusal::of_media(&error),
                },
            };
            room.answer(&id, event);
        });
    }
}
