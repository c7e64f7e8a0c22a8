//! What a protocol asks of a room on behalf of a participant, checked before it is sent.

use serde_json::{Map, Value};

use super::Refusal;

/// Someone who wants in.
#[derive(Clone, Debug)]
pub struct Entrant {
    pub name: String,
    pub metadata: Map<String, Value>,
    /// Receive every track of the others, present and future.
    pub auto_subscribe: bool,
    /// The request that [`Event::Welcome`](super::Event::Welcome) answers.
    pub request: Option<u32>,
}

#[derive(Clone, Debug)]
pub struct Command {
    /// Repeated by the event that answers.
    pub request: Option<u32>,
    pub action: Action,
}

#[derive(Clone, Debug)]
pub enum Action {
    Offer {
        sdp: String,
        carries: Vec<Carried>,
    },
    Subscribe(Vec<String>),
    Unsubscribe(Vec<String>),
    Mute {
        track: String,
        muted: bool,
    },
    Update {
        name: Option<String>,
        metadata: Option<Map<String, Value>>,
    },
    Chat(String),
    View(Vec<NamedView>),
    Stats,
    Timeline,
}

/// How a participant shows a track.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedView {
    pub track: String,
    pub visible: bool,
    /// In device pixels; 0 if unknown.
    pub height: u16,
    pub pinned: bool,
}

/// What a sending m-line carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Carried {
    pub mid: String,
    pub source: Source,
    pub muted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    Camera,
    Microphone,
    Screen,
    ScreenAudio,
    Other,
}

/// It is part of page addresses, file names of recordings and log lines.
const ROOM_NAME_CHARS: usize = 64;
/// Fits under a tile, with room for scripts that need several characters for one sign.
const NAME_CHARS: usize = 64;
/// Everyone in the room is sent it.
const METADATA_BYTES: usize = 4 * 1024;
/// m-lines of the largest offer the relay accepts.
const CARRIED_TRACKS: usize = 256;
/// More tiles than a page shows; a client with more tracks than that tells them in several requests.
const VIEWS: usize = 256;
/// Every track of a full room would be 8000; a client names them in several requests.
const NAMED_TRACKS: usize = 1024;

pub(crate) fn check_room_name(room: &str) -> Result<(), Refusal> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    if room.is_empty() || room.len() > ROOM_NAME_CHARS || !room.bytes().all(allowed) {
        return Err(Refusal::bad_field(format!(
            "`room` must have 1 to {ROOM_NAME_CHARS} characters of A-Z a-z 0-9 . _ -."
        )));
    }
    Ok(())
}

impl Entrant {
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        check_name(&self.name)?;
        check_metadata(&self.metadata)
    }
}

impl Action {
    pub(crate) fn check(&self, chat_chars: usize) -> Result<(), Refusal> {
        match self {
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
            Self::View(views) if views.len() > VIEWS => Err(Refusal::bad_field(format!(
                "`tracks` must have at most {VIEWS} entries."
            ))),
            Self::Update { name, metadata } => {
                name.as_deref().map_or(Ok(()), check_name)?;
                metadata.as_ref().map_or(Ok(()), check_metadata)
            }
            Self::Chat(text) if text.is_empty() || text.chars().count() > chat_chars => Err(
                Refusal::bad_field(format!("`text` must have 1 to {chat_chars} characters.")),
            ),
            _ => Ok(()),
        }
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let length = name.chars().count();
    if name.trim().is_empty() || length > NAME_CHARS || name.chars().any(char::is_control) {
        return Err(Refusal::bad_field(format!(
            "`name` must have 1 to {NAME_CHARS} printable characters."
        )));
    }
    Ok(())
}

fn check_metadata(metadata: &Map<String, Value>) -> Result<(), Refusal> {
    let bytes = serde_json::to_string(metadata).map_or(usize::MAX, |text| text.len());
    if bytes > METADATA_BYTES {
        return Err(Refusal::bad_field(format!(
            "`metadata` must take at most {METADATA_BYTES} bytes as JSON."
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_names() {
        for good in ["a", "daily-standup", "A.b_C-9", &"x".repeat(64)] {
            assert_eq!(check_room_name(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a/b", "\u{e9}t\u{e9}", "a\n", &"x".repeat(65)] {
            assert!(check_room_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names() {
        for good in [
            "Ada",
            "\u{674e}\u{534e}",
            "O'Neil \u{1f600}",
            &"\u{e9}".repeat(64),
        ] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "  ", "a\tb", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
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
        assert_eq!(Action::View(vec![view.clone(); VIEWS]).check(10), Ok(()));
        for bad in [
            Action::View(vec![view; VIEWS + 1]),
            Action::Subscribe(many.clone()),
            Action::Unsubscribe(many),
            Action::Chat(String::new()),
            Action::Chat("\u{e9}".repeat(11)),
            Action::Update {
                name: None,
                metadata: Some(metadata),
            },
        ] {
            assert!(bad.check(10).is_err());
        }
        assert_eq!(Action::Chat("\u{e9}".repeat(10)).check(10), Ok(()));
    }
}
