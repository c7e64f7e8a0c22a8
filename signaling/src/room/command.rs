//! A protocol's requests to a room on behalf of a participant, checked before they are sent.

use std::sync::Arc;

use super::stage::LONGEST_PAGE;
use super::{Invite, Metadata, Moderate, Refusal};
use crate::access::Token;
use crate::clients::ClientAddress;
use crate::hooks::HttpRequest;
use crate::names;
use crate::session::Secret;

/// Someone who wants in.
#[derive(Clone, Debug)]
pub struct Entrant {
    /// The name asked for.
    pub name: String,
    /// Metadata for the others.
    pub metadata: Metadata,
    /// Receive every track of the others, present and future.
    pub auto_subscribe: bool,
    /// The request that [`Event::Welcome`](super::Event::Welcome) answers.
    pub request: Option<u32>,
    /// The address that it comes from, for the limits of each address. None: no limits.
    pub client: Option<ClientAddress>,
    /// The kind of socket that its messages take, for `/stats`. None: no socket of this server.
    pub socket: Option<SocketKind>,
    /// The access token that it brings.
    pub token: Option<Token>,
    /// The HTTP request that its connection began with, for the embedder's hooks.
    pub http: Option<Arc<HttpRequest>>,
    /// Whether it takes [`Event::Batch`](super::Event::Batch).
    pub takes_batches: bool,
    /// The rooms that it sees as their audience does; none: no room.
    pub audience: Option<Audience>,
    /// The secret of its session, which keeps what it is told until that is acknowledged. None: no session.
    pub session: Option<Secret>,
    /// Its views of tracks, taken as soon as it is in the room.
    pub views: Vec<NamedView>,
}

/// The kinds of sockets that carry a participant's messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SocketKind {
    /// A WebSocket.
    WebSocket,
    /// Server-sent events down, requests up.
    Sse,
    /// Requests both ways, whether or not the server holds them until it has something to say.
    Polling,
}

impl SocketKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::WebSocket, Self::Sse, Self::Polling];

    /// Its name in `/stats`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
            Self::Polling => "polling",
        }
    }
}

/// The rooms that somebody sees as their audience does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Audience {
    /// Every room.
    Always,
    /// Rooms of `limits.audience_from` people or more.
    Large,
}

/// A request of a participant.
#[derive(Clone, Debug)]
pub struct Command {
    /// Repeated by the event that answers.
    pub request: Option<u32>,
    /// The action.
    pub action: Action,
}

/// The actions of a participant.
#[derive(Clone, Debug)]
pub enum Action {
    /// Makes or renegotiates its transport.
    Offer {
        /// The session description.
        sdp: String,
        /// The sources of its sending m-lines.
        carries: Vec<Carried>,
    },
    /// Receives these tracks.
    Subscribe(Vec<String>),
    /// Receives these tracks no more.
    Unsubscribe(Vec<String>),
    /// Mutes an own track, or unmutes it.
    Mute {
        /// The track's id.
        track: String,
        /// Whether it is to be muted.
        muted: bool,
    },
    /// Changes its name and metadata.
    Update {
        /// The new name; none: it stays.
        name: Option<String>,
        /// The new metadata; none: it stays.
        metadata: Option<Metadata>,
    },
    /// Writes in the chat.
    Chat(String),
    /// Tells how it shows tracks.
    View(Vec<NamedView>),
    /// Raises its hand, or lowers it.
    Hand(bool),
    /// Moderates.
    Moderate(Moderate),
    /// Makes an invitation.
    Invite(Invite),
    /// Asks for the invitations that let in.
    Invitations,
    /// Revokes the invitation of this id.
    Revoke(String),
    /// Asks for its transport's counters.
    Stats,
    /// Asks for the decisions about it.
    Timeline,
    /// Asks for some of the people in the room.
    People {
        /// The place behind which they stand, from the page before; none: the first.
        after: Option<u64>,
        /// Their number at most.
        limit: Option<u16>,
    },
}

/// A participant's way to show a track.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedView {
    /// The track's id.
    pub track: String,
    /// Whether it is on the screen.
    pub visible: bool,
    /// Height in device pixels; 0 if unknown.
    pub height: u16,
    /// Whether it comes first when the link does not carry all.
    pub pinned: bool,
}

/// The source that a sending m-line carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Carried {
    /// The m-line.
    pub mid: String,
    /// Its source.
    pub source: Source,
    /// Whether it begins muted.
    pub muted: bool,
}

/// The source of a track.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
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

impl Source {
    /// Its name in messages.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Camera => "camera",
            Self::Microphone => "microphone",
            Self::Screen => "screen",
            Self::ScreenAudio => "screen_audio",
            Self::Other => "other",
        }
    }
}

/// Everyone in the room is sent it.
const METADATA_BYTES: usize = 4 * 1024;
/// m-lines of the largest offer the relay accepts.
const CARRIED_TRACKS: usize = 256;
/// Views in one request: more tiles than a page shows; a client with more tracks sends several requests.
const VIEWS: usize = 256;
/// Tracks in one request. Every track of a full room would be 8000; a client names them in several requests.
const NAMED_TRACKS: usize = 1024;

/// The one form of a room's name.
pub(crate) fn room_name(room: &str) -> Result<String, Refusal> {
    let named = names::room_name(room);
    named.map_err(|error| Refusal::bad_field(format!("`room` {error}.")))
}

pub(super) fn display_name(name: &str) -> Result<String, Refusal> {
    let named = names::display_name(name);
    named.map_err(|error| Refusal::bad_field(format!("`name` {error}.")))
}

impl Entrant {
    /// Names itself in the one form of its name.
    pub(crate) fn checked(self) -> Result<Self, Refusal> {
        check_metadata(&self.metadata)?;
        check_views("views", &self.views)?;
        let name = display_name(&self.name)?;
        Ok(Self { name, ..self })
    }
}

impl Action {
    /// The request in checked form.
    pub(crate) fn checked(self, chat_chars: usize) -> Result<Self, Refusal> {
        match &self {
            Self::Offer { carries, .. } if carries.len() > CARRIED_TRACKS => {
                Err(Refusal::bad_field(format!(
                    "`tracks` must have at most {CARRIED_TRACKS} entries."
                )))
            }
            Self::Subscribe(tracks) | Self::Unsubscribe(tracks) if tracks.len() > NAMED_TRACKS => {
                Err(Refusal::bad_field(format!(
                    "`tracks` must have at most {NAMED_TRACKS} entries."
                )))
            }
            Self::View(views) => check_views("tracks", views).map(|()| self),
            Self::People {
                limit: Some(limit), ..
            } if !(1..=LONGEST_PAGE).contains(limit) => Err(Refusal::bad_field(format!(
                "`limit` must be from 1 to {LONGEST_PAGE}."
            ))),
            Self::Update { name, metadata } => {
                metadata.as_ref().map_or(Ok(()), check_metadata)?;
                let name = name.as_deref().map(display_name).transpose()?;
                let metadata = metadata.clone();
                Ok(Self::Update { name, metadata })
            }
            Self::Chat(text) => match names::check_chat(text, chat_chars) {
                Ok(()) => Ok(self),
                Err(wrong) => Err(Refusal::bad_field(format!("`text` {wrong}."))),
            },
            _ => Ok(self),
        }
    }
}

pub(super) fn check_views(field: &str, views: &[NamedView]) -> Result<(), Refusal> {
    if views.len() > VIEWS {
        let sentence = format!("`{field}` must have at most {VIEWS} entries.");
        return Err(Refusal::bad_field(sentence));
    }
    Ok(())
}

fn check_metadata(metadata: &Metadata) -> Result<(), Refusal> {
    if metadata.as_json().len() > METADATA_BYTES {
        return Err(Refusal::bad_field(format!(
            "`metadata` must take at most {METADATA_BYTES} bytes as JSON."
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;

    #[test]
    fn names_are_kept_in_their_one_form() {
        assert_eq!(room_name("cafe\u{301}").as_deref(), Ok("caf\u{e9}"));
        let refusal = room_name("a b").expect_err("a space");
        assert!(
            refusal
                .message
                .starts_with("`room` has the character U+0020")
        );
        let entrant = Entrant {
            name: " Zoe\u{308} ".into(),
            metadata: Metadata::default(),
            auto_subscribe: true,
            request: None,
            client: None,
            socket: None,
            token: None,
            http: None,
            takes_batches: false,
            audience: None,
            session: None,
            views: Vec::new(),
        };
        assert_eq!(entrant.checked().expect("a name").name, "Zo\u{eb}");
        let update = Action::Update {
            name: Some("Zoe\u{308}".into()),
            metadata: None,
        };
        match update.checked(1) {
            Ok(Action::Update { name, .. }) => assert_eq!(name.as_deref(), Some("Zo\u{eb}")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn actions() {
        let many = vec![String::from("tr_x"); NAMED_TRACKS + 1];
        let metadata =
            Map::from_iter([(String::from("k"), Value::from("v".repeat(METADATA_BYTES)))]);
        let view = NamedView {
            track: String::from("tr_x"),
            visible: true,
            height: 0,
            pinned: false,
        };
        assert!(Action::View(vec![view.clone(); VIEWS]).checked(10).is_ok());
        for bad in [
            Action::View(vec![view; VIEWS + 1]),
            Action::Subscribe(many.clone()),
            Action::Unsubscribe(many),
            Action::Chat(String::new()),
            Action::People {
                after: None,
                limit: Some(0),
            },
            Action::People {
                after: None,
                limit: Some(LONGEST_PAGE + 1),
            },
            Action::Chat("\u{e9}".repeat(11)),
            Action::Update {
                name: None,
                metadata: Some(metadata.into()),
            },
        ] {
            assert!(bad.checked(10).is_err());
        }
        assert!(Action::Chat("\u{e9}".repeat(10)).checked(10).is_ok());
    }
}
