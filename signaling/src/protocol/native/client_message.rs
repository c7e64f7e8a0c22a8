//! Messages of a client. The server reads these through [`decode`](super::decode); bots write them.

use serde::{Deserialize, Serialize};

use crate::access::{Publish, Token};
use crate::room::Metadata;

/// One message with the request number its reply repeats.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ClientFrame {
    /// The request number; none if no reply is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The message.
    #[serde(flatten)]
    pub message: ClientMessage,
}

/// The messages of a client, by `type`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// Joins a room: first, and once.
    Join(Join),
    /// Comes back to a session, instead of joining.
    Resume(Resume),
    /// Acknowledges messages of the server.
    Ack {
        /// The number of numbered messages that the client has had.
        received: u64,
    },
    /// Makes or renegotiates the transport.
    Offer(Offer),
    /// An ICE candidate, which the server ignores.
    Candidate(Candidate),
    /// Receives tracks.
    Subscribe(Tracks),
    /// Receives tracks no more.
    Unsubscribe(Tracks),
    /// Mutes an own track, or unmutes it.
    Mute(Mute),
    /// Changes the own name and metadata.
    Update(Update),
    /// Writes in the chat.
    Chat(Chat),
    /// Tells how tracks are shown.
    View(View),
    /// Raises the own hand, or lowers it.
    Hand(Hand),
    /// Moderates.
    Moderate(Moderate),
    /// Makes an invitation.
    Invite(Invite),
    /// Asks for the invitations that let in.
    Invitations,
    /// Revokes an invitation.
    Revoke(Revoke),
    /// Asks for the transport's counters.
    Stats,
    /// Asks for the server's decisions about this participant.
    Timeline,
    /// Asks for some of the people in the room.
    People(People),
    /// Asks for a sign of life.
    Ping {
        /// Acknowledges likewise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        received: Option<u64>,
    },
    /// Leaves the room.
    Leave,
}

/// Joins a room.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Join {
    /// The version of the protocol, [`VERSION`](super::VERSION).
    pub version: u32,
    /// The room's name.
    pub room: String,
    /// The name asked for.
    pub name: String,
    /// Anything that the others should know, at most 4096 bytes as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
    /// Whether every track of the others is received, present and future.
    #[serde(default = "yes")]
    pub auto_subscribe: bool,
    /// The access token, at most 4096 bytes. An open server does not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// Whether the client takes the message `batch`.
    #[serde(default, skip_serializing_if = "is_no")]
    pub batch: bool,
    /// When the client sees the room as its audience does: counts, and those on stage. None: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// Whether the participant stays when the connection is lost, until the client resumes its session.
    #[serde(default, skip_serializing_if = "is_no")]
    pub resumable: bool,
    /// The last token of a session that the client had in this room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Token>,
    /// The first offer, as in the message `offer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// Views, as in the message `view`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<TrackView>,
}

/// The rooms that a client sees as their audience does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Every room.
    Always,
    /// Rooms of as many people as the operator says.
    Large,
}

/// Comes back to a session.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Resume {
    /// The session's token that was told last.
    pub session: Token,
    /// The number of numbered messages that the client has had; none with `fresh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
    /// Whether the client remembers nothing, and is to be told everything anew.
    #[serde(default, skip_serializing_if = "is_no")]
    pub fresh: bool,
    /// The first offer, with `fresh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// Views, with `fresh`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<TrackView>,
}

fn yes() -> bool {
    true
}

fn is_no(value: &bool) -> bool {
    !value
}

/// An offer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// The session description.
    pub sdp: String,
    /// The sources of its sending m-lines.
    #[serde(default)]
    pub tracks: Vec<CarriedTrack>,
}

/// The source that a sending m-line carries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CarriedTrack {
    /// The m-line.
    pub mid: String,
    /// Its source.
    pub source: Source,
    /// Whether it begins muted.
    #[serde(default)]
    pub muted: bool,
}

/// The source of a track.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A camera.
    Camera,
    /// A microphone.
    Microphone,
    /// A screen, a window or a tab.
    Screen,
    /// The sound of one.
    ScreenAudio,
    /// Anything else.
    Other,
}

/// An ICE candidate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Candidate {
    /// The candidate attribute.
    pub candidate: String,
    /// Its m-line.
    #[serde(default)]
    pub mid: Option<String>,
}

/// Tracks of others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tracks {
    /// Their ids.
    pub tracks: Vec<String>,
}

/// Views of others' tracks; those not named stay as they are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct View {
    /// Views of tracks, each once.
    pub tracks: Vec<TrackView>,
}

/// A view of a track. A track without a view counts as visible at any size.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrackView {
    /// The track's id.
    pub track: String,
    /// Whether it is on the screen.
    #[serde(default = "yes")]
    pub visible: bool,
    /// Height of its place on the screen, in device pixels; 0 if unknown.
    #[serde(default)]
    pub height: u16,
    /// Whether it comes first when the link does not carry all.
    #[serde(default)]
    pub pinned: bool,
}

/// A mute, or its end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mute {
    /// The id of an own track.
    pub track: String,
    /// Whether it is to be muted.
    pub muted: bool,
}

/// A change of name or metadata.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Update {
    /// The new name; none: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The new metadata, as a whole; none: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// A question for some of the people in the room, in the order they joined.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct People {
    /// `next` of the page before; none: the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// The number of people at most, 1 to 100. None: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u16>,
}

/// A chat message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Chat {
    /// The text.
    pub text: String,
}

/// A raised hand, or its end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hand {
    /// Whether it is to be raised.
    pub raised: bool,
}

/// An action of a moderator, by `action`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Moderate {
    /// Mutes a track of somebody else.
    Mute {
        /// The track's id.
        track: String,
    },
    /// Asks somebody to turn the microphone on.
    AskUnmute {
        /// The participant's id.
        participant: String,
    },
    /// Puts somebody out.
    Remove {
        /// The participant's id.
        participant: String,
    },
    /// Puts somebody out for as long as the room is there.
    Ban {
        /// The participant's id.
        participant: String,
    },
    /// Locks the room, or unlocks it.
    Lock {
        /// Whether it is to be locked.
        on: bool,
    },
    /// Lets newcomers wait, or no more.
    WaitingRoom {
        /// Whether newcomers are to wait.
        on: bool,
    },
    /// Lets others than moderators write, or no more.
    Chat {
        /// Whether others may write.
        on: bool,
    },
    /// Lets somebody in who waits.
    Admit {
        /// The id of the one who waits.
        participant: String,
    },
    /// Sends somebody away who waits.
    Deny {
        /// The id of the one who waits.
        participant: String,
    },
    /// Lowers somebody's hand.
    LowerHand {
        /// The participant's id.
        participant: String,
    },
    /// Ends the call for everybody.
    End,
}

/// An invitation to make.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invite {
    /// Seconds for which it lets in, 60 to 2,592,000.
    pub expires_s: u64,
    /// The name in the room of whoever uses it; none: the one that they ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The rights of whoever uses it; none: those of its maker, but to moderate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Grants>,
}

/// Rights that an invitation grants, as a token's claims name them. None: as its maker has it. An unknown one is refused,
/// since whoever names it counts on it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// The sources that may be published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<Vec<Publish>>,
    /// May receive tracks of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<bool>,
    /// May write in the chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<bool>,
    /// May send data channel messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<bool>,
    /// May change the own name and metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<bool>,
    /// May moderate; none: may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moderate: Option<bool>,
}

/// An invitation to revoke.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Revoke {
    /// The invitation's id.
    pub invitation: String,
}
