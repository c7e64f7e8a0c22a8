//! A participant's commands, all but offers.

use serde_json::{Map, Value};
use tracing::info;

use super::actor::Room;
use super::timeline::unix_ms;
use super::{Action, ChatEntry, Command, Event, ParticipantId, Refusal, TrackInfo};
use crate::media::{SfuError, TrackId};

impl Room {
    pub(super) async fn take(&mut self, from: &ParticipantId, command: Command) {
        // A participant just removed as too slow may have sent more.
        if !self.participants.contains_key(from) {
            return;
        }
        let Command { request, action } = command;
        let done = match action.checked(self.shared.limits.chat_chars) {
            Err(refusal) => Err(refusal),
            Ok(action) => match action {
                Action::Offer { sdp, carries } => {
                    return self.offer(from, request, sdp, &carries).await;
                }
                Action::Stats => return self.stats(from, request).await,
                Action::Timeline => return self.timeline(from, request).await,
                Action::View(views) => {
                    self.view(from, &views).await;
                    Ok(())
                }
                Action::Subscribe(tracks) => self.want(from, &tracks).await,
                Action::Unsubscribe(tracks) => self.unwant(from, &tracks).await,
                Action::Mute { track, muted } => self.mute(from, &track, muted).await,
                Action::Update { name, metadata } => {
                    self.update(from, name, metadata);
                    Ok(())
                }
                Action::Chat(text) => {
                    self.say(from, text);
                    Ok(())
                }
            },
        };
        let event = match done {
            Ok(()) => Event::Done { request },
            Err(refusal) => Event::Refused { request, refusal },
        };
        self.tell(from, event);
    }

    async fn want(&mut self, id: &ParticipantId, names: &[String]) -> Result<(), Refusal> {
        let mut tracks = self.find_tracks(id, names)?;
        if let Some(participant) = self.participants.get_mut(id) {
            // Tracks wanted already are received, or will be.
            tracks.retain(|&track| participant.wanted.insert(track));
        }
        let pairs = tracks.into_iter().map(|track| (id.clone(), track));
        self.subscribe(pairs.collect()).await;
        Ok(())
    }

    async fn unwant(&mut self, id: &ParticipantId, names: &[String]) -> Result<(), Refusal> {
        let mut tracks = self.find_tracks(id, names)?;
        let Some(participant) = self.participants.get_mut(id) else {
            return Ok(());
        };
        tracks.retain(|track| participant.wanted.remove(track));
        if let Some(peer) = participant.peer {
            self.unsubscribe(peer, &tracks).await;
        }
        Ok(())
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

    async fn mute(&mut self, id: &ParticipantId, name: &str, muted: bool) -> Result<(), Refusal> {
        let track = self.track_ids.get(name).copied();
        let track = track.ok_or_else(|| Refusal::no_such_track(name))?;
        let own = self.own_track(id, track);
        let own = own.ok_or_else(Refusal::not_your_track)?;
        if std::mem::replace(&mut own.muted, muted) == muted {
            return Ok(());
        }
        // A track is announced as muted once it is no longer forwarded: so the media plane comes
        // first.
        let told = self.tell_settings(track).await;
        let Some(own) = self.own_track(id, track) else {
            return Ok(());
        };
        if let Err(error @ (SfuError::Overloaded | SfuError::Stopped)) = told {
            own.muted = !muted;
            return Err(Refusal::of_media(&error));
        }
        let info = own.clone();
        info!(room = %self.name, participant = %id, track = %info.name, muted, "track muted");
        self.tell_others(
            id,
            Event::TrackUpdated {
                participant: id.clone(),
                track: info,
            },
        );
        Ok(())
    }

    fn own_track(&mut self, id: &ParticipantId, track: TrackId) -> Option<&mut TrackInfo> {
        let tracks = &mut self.participants.get_mut(id)?.tracks;
        let own = tracks.iter_mut().find(|own| own.id == track)?;
        Some(&mut own.info)
    }

    fn update(
        &mut self,
        id: &ParticipantId,
        name: Option<String>,
        metadata: Option<Map<String, Value>>,
    ) {
        let Some(participant) = self.participants.get_mut(id) else {
            return;
        };
        if let Some(name) = name {
            participant.name = name;
        }
        if let Some(metadata) = metadata {
            participant.metadata = metadata;
        }
        let info = participant.info();
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
        self.chat.push(entry.clone());
        self.tell_all(Event::Chat(entry));
    }

    async fn stats(&mut self, id: &ParticipantId, request: Option<u32>) {
        let event = match self.peer_stats(id).await {
            Ok(peer) => Event::Stats { request, peer },
            Err(error) => Event::Refused {
                request,
                refusal: Refusal::of_media(&error),
            },
        };
        self.tell(id, event);
    }

    /// The decisions about this participant; the others are none of its business.
    async fn timeline(&mut self, id: &ParticipantId, request: Option<u32>) {
        let event = match self.decisions().await {
            Ok(mut timeline) => {
                timeline
                    .decisions
                    .retain(|decision| decision.participant.as_ref() == Some(id));
                Event::Timeline { request, timeline }
            }
            Err(error) => Event::Refused {
                request,
                refusal: Refusal::of_media(&error),
            },
        };
        self.tell(id, event);
    }
}
