//! The rooms' model and the wire format, side by side.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::client_message::{Audience, CarriedTrack, Grants, Invite, Moderate, Source, TrackView};
use super::server_message as wire;
use super::{Refusal, ServerMessage, TurnOffer, encode};
use crate::access::{Access, Publish};
use crate::config::IceServer;
use crate::hooks::Permissions;
use crate::live::Live;
use crate::media;
use crate::room::{self, Event, NamedSlot, ParticipantId, ParticipantInfo, Told, TrackInfo};

/// The facts that only the welcome tells.
pub(super) struct Greeting {
    pub(super) ice_servers: Live<Arc<[IceServer]>>,
    /// None: the server's own TURN is off.
    pub(super) turn: Option<TurnOffer>,
    pub(super) limits: wire::MessageLimits,
    pub(super) data: wire::DataChannels,
    pub(super) access: Access,
}

impl Greeting {
    /// STUN and TURN servers, with users for this participant from now on. `host`: the name and port by which its client
    /// asked for the server, if it told.
    fn ice_servers(&self, participant: &ParticipantId, host: Option<&str>) -> Vec<wire::IceServer> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        let participant = participant.to_string();
        let servers = self.ice_servers.get();
        let told = servers.iter().map(|server| {
            let (username, credential) = server.user_of(&participant, now);
            wire::IceServer {
                urls: server.urls.clone(),
                username,
                credential,
            }
        });
        let own = self.turn.as_ref();
        let own = own.and_then(|turn| turn.server(&participant, host));
        told.chain(own).collect()
    }

    /// The time after which clients are to be told the servers again. None: their users have no end.
    pub(super) fn ice_servers_hold(&self) -> Option<Duration> {
        let servers = self.ice_servers.get();
        let shortest = servers.iter().filter_map(IceServer::ttl).min();
        shortest.map(|ttl| ttl / 2)
    }
}

/// The facts that one participant's welcome tells, beside those of the room.
#[derive(Default)]
pub(super) struct Own {
    /// None: it has no session.
    pub(super) session: Option<wire::SessionInfo>,
    /// The name and port by which its client asked for the server, if it told.
    pub(super) host: Option<Arc<str>>,
}

/// An event as a text frame. One that several participants are told is written once. `own`: what the participant alone is
/// told.
pub(super) fn text(told: &Told, greeting: &Greeting, own: &dyn Fn() -> Own) -> Utf8Bytes {
    told.text(|event| match event {
        Event::Batch(parts) => {
            let parts = parts.iter().map(|part| text(part, greeting, &Own::default));
            let parts: Vec<Utf8Bytes> = parts.collect();
            let parts: Vec<&str> = parts.iter().map(Utf8Bytes::as_str).collect();
            format!(r#"{{"type":"batch","messages":[{}]}}"#, parts.join(","))
        }
        event => encode(&message(event, greeting, own)),
    })
}

fn message(event: &Event, greeting: &Greeting, own: &dyn Fn() -> Own) -> ServerMessage {
    match event {
        Event::Welcome(snapshot) => ServerMessage::Welcome(welcome(snapshot, greeting, own())),
        Event::IceServers(participant) => ServerMessage::IceServers {
            ice_servers: greeting.ice_servers(participant, own().host.as_deref()),
        },
        Event::Answered { request, answer } => ServerMessage::Answer(wire::Answer {
            id: *request,
            sdp: answer.sdp.clone(),
            published: answer
                .published
                .iter()
                .map(|(mid, track)| wire::PublishedTrack {
                    mid: mid.clone(),
                    track: track.to_string(),
                })
                .collect(),
            refused: answer
                .refused
                .iter()
                .map(|(mid, reason)| wire::RefusedMedia {
                    mid: mid.clone(),
                    code: reason.code.to_owned(),
                    message: reason.message.clone(),
                })
                .collect(),
            slots: answer.slots.iter().map(slot).collect(),
            needs: needs(answer.needs),
        }),
        Event::Stats { request, peer } => ServerMessage::Stats {
            id: *request,
            peer: peer
                .as_ref()
                .and_then(|peer| serde_json::to_value(peer).ok()),
        },
        Event::Done { request } => ServerMessage::Ok { id: *request },
        Event::Refused { request, refusal } => ServerMessage::Error(refused(*request, refusal)),
        Event::ParticipantJoined(info) => ServerMessage::ParticipantJoined {
            participant: participant(info),
        },
        Event::ParticipantUpdated(info) => ServerMessage::ParticipantUpdated {
            participant: participant(info),
        },
        Event::ParticipantLeft {
            participant,
            reason,
        } => ServerMessage::ParticipantLeft {
            participant: participant.to_string(),
            reason: (*reason).into(),
        },
        Event::Presence {
            participant,
            connected,
        } => ServerMessage::Presence {
            participant: participant.to_string(),
            connected: *connected,
        },
        Event::TrackPublished {
            participant,
            track: info,
        } => ServerMessage::TrackPublished {
            participant: participant.to_string(),
            track: track(info),
        },
        Event::TrackUpdated {
            participant,
            track: info,
        } => ServerMessage::TrackUpdated {
            participant: participant.to_string(),
            track: track(info),
        },
        Event::TrackUnpublished { participant, track } => ServerMessage::TrackUnpublished {
            participant: participant.to_string(),
            track: track.to_string(),
        },
        Event::Chat(entry) => ServerMessage::Chat {
            message: chat(entry),
        },
        Event::MediaConnected => ServerMessage::Media {
            state: wire::MediaState::Connected,
            reason: None,
        },
        Event::MediaFailed(failure) => ServerMessage::Media {
            state: wire::MediaState::Failed,
            reason: Some(failure.code().to_owned()),
        },
        Event::Slots(slots) => ServerMessage::Slots {
            slots: slots.iter().map(slot).collect(),
        },
        Event::Needs(value) => ServerMessage::Needs(needs(*value)),
        Event::Subscriptions(subscriptions) => ServerMessage::Subscriptions {
            subscriptions: subscriptions.iter().map(subscription).collect(),
        },
        Event::Layers { track, layers } => ServerMessage::Layers {
            track: track.to_string(),
            layers: layers
                .iter()
                .map(|layer| wire::LayerWanted {
                    rid: layer.rid.clone(),
                    active: layer.active,
                })
                .collect(),
        },
        Event::Unwatchable(unwatchable) => ServerMessage::Unwatchable {
            track: unwatchable.track.to_string(),
            count: unwatchable.count,
            participants: unwatchable
                .participants
                .iter()
                .map(|(participant, reason)| wire::Unable {
                    participant: participant.to_string(),
                    reason: reason.code().to_owned(),
                })
                .collect(),
        },
        Event::Renegotiate(reason) => ServerMessage::Renegotiate {
            reason: reason.code().to_owned(),
        },
        Event::Speakers(speakers) => ServerMessage::Speakers {
            recent: speakers.recent.iter().map(ToString::to_string).collect(),
            speaking: speakers.speaking,
        },
        Event::Rules { rules: value, by } => ServerMessage::Rules {
            rules: rules(*value),
            by: by.as_ref().map(ToString::to_string),
        },
        Event::Hand {
            participant,
            raised,
            by,
        } => ServerMessage::Hand {
            participant: participant.to_string(),
            raised: *raised,
            by: by.as_ref().map(ToString::to_string),
        },
        Event::Moderated {
            action,
            by,
            participant,
            track,
        } => ServerMessage::Moderated {
            action: (*action).to_owned(),
            by: by.to_string(),
            participant: participant.to_string(),
            track: track.as_ref().map(ToString::to_string),
        },
        Event::Permissions(value) => ServerMessage::Permissions {
            permissions: permissions(*value),
        },
        Event::Waiting(people) => ServerMessage::Waiting {
            waiting: people.iter().map(waiting).collect(),
        },
        Event::WaitingLeft {
            participant,
            outcome,
            by,
        } => ServerMessage::WaitingLeft {
            participant: participant.to_string(),
            outcome: outcome.as_str().to_owned(),
            by: by.as_ref().map(ToString::to_string),
        },
        Event::Invitation {
            request,
            id,
            token,
            expires_s,
        } => ServerMessage::Invitation {
            id: *request,
            invitation: id.to_string(),
            token: token.clone(),
            expires_at_ms: expires_s.saturating_mul(1_000),
        },
        Event::Invitations {
            request,
            invitations,
        } => ServerMessage::Invitations {
            id: *request,
            invitations: invitations.iter().map(invitation).collect(),
        },
        Event::DataRefused(reason) => {
            ServerMessage::Error(refused(None, &room::Refusal::of_data(*reason)))
        }
        Event::Batch(parts) => ServerMessage::Batch {
            messages: parts
                .iter()
                .map(|part| message(part, greeting, &Own::default))
                .collect(),
        },
        Event::Audience(value) => ServerMessage::Audience(counts(*value)),
        Event::People { request, page } => ServerMessage::People {
            id: *request,
            participants: page.participants.iter().map(participant).collect(),
            total: page.total,
            next: page.next,
        },
        Event::Timeline { request, timeline } => ServerMessage::Timeline {
            id: *request,
            now_ms: timeline.now_ms,
            decisions: timeline.decisions.iter().map(decision).collect(),
        },
    }
}

pub(super) fn refused(id: Option<u32>, refusal: &room::Refusal) -> Refusal {
    Refusal {
        id,
        code: refusal.code.to_owned(),
        message: refusal.message.clone(),
        fatal: false,
        retry_after_ms: refusal.retry_after.map(milliseconds),
    }
}

/// Rounded up, so that nobody comes too early.
fn milliseconds(time: Duration) -> u64 {
    let whole = time.as_nanos().div_ceil(1_000_000);
    u64::try_from(whole).unwrap_or(u64::MAX)
}

fn welcome(snapshot: &room::Snapshot, greeting: &Greeting, own: Own) -> wire::Welcome {
    let ice_servers = greeting.ice_servers(&snapshot.participant, own.host.as_deref());
    wire::Welcome {
        id: snapshot.request,
        version: super::VERSION,
        room: snapshot.room.to_string(),
        participant: snapshot.participant.to_string(),
        name: Some(snapshot.name.clone()),
        metadata: Some(snapshot.metadata.clone()),
        permissions: Some(permissions(snapshot.permissions)),
        participants: snapshot.participants.iter().map(participant).collect(),
        chat: snapshot.chat.iter().map(chat).collect(),
        rules: Some(rules(snapshot.rules)),
        hands: snapshot.hands.iter().map(ToString::to_string).collect(),
        audience: snapshot.audience.map(counts),
        ice_servers,
        limits: greeting.limits,
        data: Some(greeting.data.clone()),
        server: wire::ServerInfo {
            name: "tertulia".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        access: Some(match greeting.access {
            Access::Open => wire::Access::Open,
            Access::Tokens => wire::Access::Tokens,
            Access::Hooks => wire::Access::Hooks,
        }),
        session: own.session,
    }
}

fn counts(counts: room::PeopleCounts) -> wire::AudienceCounts {
    wire::AudienceCounts {
        participants: counts.participants,
        publishers: counts.publishers,
        hands: counts.hands,
    }
}

fn permissions(permissions: Permissions) -> wire::Permissions {
    wire::Permissions {
        microphone: permissions.microphone,
        camera: permissions.camera,
        screen: permissions.screen,
        subscribe: permissions.subscribe,
        chat: permissions.chat,
        data: permissions.data,
        update: permissions.update,
        moderate: permissions.moderate,
    }
}

fn rules(rules: room::Rules) -> wire::Rules {
    wire::Rules {
        locked: rules.locked,
        waiting_room: rules.waiting_room,
        chat: rules.chat,
    }
}

fn waiting(person: &room::WaitingPerson) -> wire::WaitingPerson {
    wire::WaitingPerson {
        id: person.id.to_string(),
        name: person.name.clone(),
    }
}

fn invitation(invitation: &room::Invitation) -> wire::Invitation {
    wire::Invitation {
        id: invitation.id.to_string(),
        expires_at_ms: invitation.expires_s.saturating_mul(1_000),
        made_by: invitation.made_by.clone(),
        name: invitation.name.clone(),
        permissions: permissions(invitation.permissions),
    }
}

fn participant(info: &ParticipantInfo) -> wire::Participant {
    wire::Participant {
        id: info.id.to_string(),
        name: info.name.clone(),
        metadata: info.metadata.clone(),
        tracks: info.tracks.iter().map(track).collect(),
        connected: info.connected,
    }
}

fn track(info: &TrackInfo) -> wire::Track {
    wire::Track {
        id: info.name.to_string(),
        kind: info.kind.into(),
        source: info.source.into(),
        muted: info.muted,
        simulcast: info.simulcast,
        codec: info.codec.to_owned(),
    }
}

fn chat(entry: &room::ChatEntry) -> wire::ChatMessage {
    wire::ChatMessage {
        id: entry.id,
        participant: entry.participant.to_string(),
        name: entry.name.clone(),
        text: entry.text.to_string(),
        at_ms: entry.at_ms,
    }
}

fn slot(slot: &NamedSlot) -> wire::Slot {
    wire::Slot {
        mid: slot.mid.clone(),
        kind: slot.kind.into(),
        track: slot.track.as_ref().map(ToString::to_string),
    }
}

fn subscription(state: &room::NamedSubscription) -> wire::SubscriptionState {
    wire::SubscriptionState {
        track: state.track.to_string(),
        layer: state.layer,
        temporal: state.temporal,
        paused: state.layer.is_none(),
        reason: state.reason.code().to_owned(),
    }
}

fn decision(decision: &room::NamedDecision) -> wire::Decision {
    wire::Decision {
        at_ms: decision.at_ms,
        track: decision.track.as_ref().map(ToString::to_string),
        layer: decision.layer,
        temporal: decision.temporal,
        reason: decision.reason.to_owned(),
        estimate: decision.estimate,
    }
}

fn needs(needs: media::Needs) -> wire::Needs {
    wire::Needs {
        audio: needs.audio,
        video: needs.video,
    }
}

impl From<media::MediaKind> for wire::MediaKind {
    fn from(kind: media::MediaKind) -> Self {
        match kind {
            media::MediaKind::Audio => Self::Audio,
            media::MediaKind::Video => Self::Video,
        }
    }
}

impl From<room::LeaveReason> for wire::LeaveReason {
    fn from(reason: room::LeaveReason) -> Self {
        match reason {
            room::LeaveReason::Left => Self::Left,
            room::LeaveReason::Disconnected => Self::Disconnected,
            room::LeaveReason::MediaFailed => Self::MediaFailed,
            room::LeaveReason::Server => Self::Server,
            room::LeaveReason::Kicked => Self::Kicked,
            room::LeaveReason::Audience => Self::Audience,
            room::LeaveReason::Replaced => Self::Replaced,
        }
    }
}

impl From<room::Source> for Source {
    fn from(source: room::Source) -> Self {
        match source {
            room::Source::Camera => Self::Camera,
            room::Source::Microphone => Self::Microphone,
            room::Source::Screen => Self::Screen,
            room::Source::ScreenAudio => Self::ScreenAudio,
            room::Source::Other => Self::Other,
        }
    }
}

impl From<Source> for room::Source {
    fn from(source: Source) -> Self {
        match source {
            Source::Camera => Self::Camera,
            Source::Microphone => Self::Microphone,
            Source::Screen => Self::Screen,
            Source::ScreenAudio => Self::ScreenAudio,
            Source::Other => Self::Other,
        }
    }
}

impl From<CarriedTrack> for room::Carried {
    fn from(track: CarriedTrack) -> Self {
        Self {
            mid: track.mid,
            source: track.source.into(),
            muted: track.muted,
        }
    }
}

impl From<Audience> for room::Audience {
    fn from(audience: Audience) -> Self {
        match audience {
            Audience::Always => Self::Always,
            Audience::Large => Self::Large,
        }
    }
}

impl From<Moderate> for room::Moderate {
    fn from(wish: Moderate) -> Self {
        match wish {
            Moderate::Mute { track } => Self::Mute { track },
            Moderate::AskUnmute { participant } => Self::AskUnmute { participant },
            Moderate::Remove { participant } => Self::Remove { participant },
            Moderate::Ban { participant } => Self::Ban { participant },
            Moderate::Lock { on } => Self::Lock(on),
            Moderate::WaitingRoom { on } => Self::WaitingRoom(on),
            Moderate::Chat { on } => Self::Chat(on),
            Moderate::Admit { participant } => Self::Admit { participant },
            Moderate::Deny { participant } => Self::Deny { participant },
            Moderate::LowerHand { participant } => Self::LowerHand { participant },
            Moderate::End => Self::End,
        }
    }
}

impl From<Invite> for room::Invite {
    fn from(wish: Invite) -> Self {
        let Grants {
            publish,
            subscribe,
            chat,
            data,
            update,
            moderate,
        } = wish.grants.unwrap_or_default();
        let publishes = |source| publish.as_ref().map(|listed| listed.contains(&source));
        Self {
            expires_s: wish.expires_s,
            name: wish.name,
            grants: room::Granting {
                microphone: publishes(Publish::Microphone),
                camera: publishes(Publish::Camera),
                screen: publishes(Publish::Screen),
                subscribe,
                chat,
                data,
                update,
                moderate,
            },
        }
    }
}

impl From<TrackView> for room::NamedView {
    fn from(view: TrackView) -> Self {
        Self {
            track: view.track,
            visible: view.visible,
            height: view.height,
            pinned: view.pinned,
        }
    }
}
