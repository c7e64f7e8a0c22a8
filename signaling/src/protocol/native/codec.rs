//! Text frames to messages and back. Whatever a client sends, reading it takes memory in
//! proportion to its length, and never panics.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::error::Category;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{ClientFrame, ClientMessage, Refusal, ServerMessage, convert};
use crate::room;

/// The refusal of a frame, and the request that it had.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) id: Option<u32>,
    pub(super) refusal: room::Refusal,
}

impl From<Refused> for Refusal {
    fn from(Refused { id, refusal }: Refused) -> Self {
        convert::refused(id, &refusal)
    }
}

/// # Errors
///
/// The [`Refusal`] to send back: `bad_json`, `unknown_type` or `bad_field`. It repeats the
/// request's `id` when that could be read.
pub fn decode(text: &str) -> Result<ClientFrame, Refusal> {
    read_frame(text).map_err(Refusal::from)
}

pub(super) fn read_frame(text: &str) -> Result<ClientFrame, Refused> {
    // serde would read a struct from an array, too.
    if !text.trim_start().starts_with('{') {
        let message = "The message is not a JSON object.";
        return Err(refuse(None, "bad_json", message));
    }
    let envelope: Envelope<'_> = read(text).map_err(|error| refusal(None, error))?;
    let id = envelope.id;
    let message = match &*envelope.kind {
        "join" | "update" if text.len() > METADATA_MESSAGE_BYTES => {
            check_length(id, text)?;
            match &*envelope.kind {
                "join" => read(text).map(ClientMessage::Join),
                _ => read(text).map(ClientMessage::Update),
            }
        }
        "join" => read(text).map(ClientMessage::Join),
        "resume" => read(text).map(ClientMessage::Resume),
        "ack" => read(text).map(|Acknowledged { received }| ClientMessage::Ack { received }),
        "offer" => read(text).map(ClientMessage::Offer),
        "candidate" => read(text).map(ClientMessage::Candidate),
        "subscribe" => read(text).map(ClientMessage::Subscribe),
        "unsubscribe" => read(text).map(ClientMessage::Unsubscribe),
        "mute" => read(text).map(ClientMessage::Mute),
        "update" => read(text).map(ClientMessage::Update),
        "chat" => read(text).map(ClientMessage::Chat),
        "view" => read(text).map(ClientMessage::View),
        "hand" => read(text).map(ClientMessage::Hand),
        "moderate" => read(text).map(ClientMessage::Moderate),
        "invite" => read(text).map(ClientMessage::Invite),
        "invitations" => Ok(ClientMessage::Invitations),
        "revoke" => read(text).map(ClientMessage::Revoke),
        "stats" => Ok(ClientMessage::Stats),
        "timeline" => Ok(ClientMessage::Timeline),
        "people" => read(text).map(ClientMessage::People),
        "ping" => read(text).map(|Pinged { received }| ClientMessage::Ping { received }),
        "leave" => Ok(ClientMessage::Leave),
        unknown => {
            // The text is echoed, so a long one is cut.
            let shown: String = unknown.chars().take(32).collect();
            return Err(refuse(
                id,
                "unknown_type",
                format!("There is no message type `{shown}`."),
            ));
        }
    };
    let message = message.map_err(|error| refusal(id, error))?;
    Ok(ClientFrame { id, message })
}

#[derive(Deserialize)]
struct Acknowledged {
    received: u64,
}

#[derive(Deserialize)]
struct Pinged {
    #[serde(default)]
    received: Option<u64>,
}

/// Refuses a message that is too long even without its offer and views, which are no tree.
fn check_length(id: Option<u32>, text: &str) -> Result<(), Refused> {
    #[derive(Deserialize)]
    struct Texts<'a> {
        #[serde(borrow, default)]
        room: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        name: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        token: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        offer: Option<&'a RawValue>,
        #[serde(borrow, default)]
        views: Option<&'a RawValue>,
    }
    let Texts {
        room,
        name,
        token,
        offer,
        views,
    } = read(text).map_err(|error| refusal(id, error))?;
    let apart = [offer, views].into_iter().flatten();
    let apart: usize = apart.map(|value| value.get().len()).sum();
    if text.len() - apart <= METADATA_MESSAGE_BYTES {
        return Ok(());
    }
    let length = |text: &Option<Cow<'_, str>>| text.as_ref().map_or(0, |text| text.len());
    let named = [
        ("room", length(&room)),
        ("name", length(&name)),
        ("token", length(&token)),
    ];
    // The rest of the message leaves metadata room within its limit.
    let others = METADATA_MESSAGE_BYTES / 4;
    let field = named.into_iter().find(|(_, length)| *length > others);
    let (field, _) = field.unwrap_or(("metadata", 0));
    let message = format!("`{field}`: the message exceeds {METADATA_MESSAGE_BYTES} bytes.");
    Err(refuse(id, "bad_field", message))
}

/// Metadata is read into a tree that takes many times the memory of its text, so it is refused
/// unread when it cannot be within its limit even with every character escaped.
const METADATA_MESSAGE_BYTES: usize = 32 * 1024;

/// The text frame of a message.
pub fn encode(message: &ServerMessage) -> String {
    // Only maps with keys that are no strings fail, and the messages have none.
    serde_json::to_string(message).unwrap_or_default()
}

impl From<ServerMessage> for Utf8Bytes {
    fn from(message: ServerMessage) -> Self {
        encode(&message).into()
    }
}

/// The request number of a frame that is refused unread.
pub(super) fn request_id(text: &str) -> Option<u32> {
    read::<Envelope<'_>>(text).ok()?.id
}

/// Whether a text frame counts among the numbered messages of a client.
pub(super) fn is_numbered(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    let kind = read::<Kind<'_>>(text).map(|it| it.kind);
    !kind.is_ok_and(|kind| matches!(&*kind, "ping" | "ack" | "resume"))
}

pub(super) fn refuse(id: Option<u32>, code: &'static str, message: impl Into<String>) -> Refused {
    Refused {
        id,
        refusal: room::Refusal::new(code, message),
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    id: Option<u32>,
}

/// The fault, and its place.
struct Fault {
    path: String,
    error: serde_json::Error,
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Fault> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| Fault {
        path: error.path().to_string(),
        error: error.into_inner(),
    })?;
    // Anything after the value is a second message, or junk.
    let end = reader.end().map_err(|error| Fault {
        path: String::new(),
        error,
    });
    end.map(|()| value)
}

fn refusal(id: Option<u32>, Fault { path, error }: Fault) -> Refused {
    match error.classify() {
        Category::Data => {
            // A missing field is named by the error itself, at the path of its object.
            let place = if path == "." {
                String::new()
            } else {
                format!("`{}`: ", shortened(path))
            };
            let text = error.to_string();
            // The parser's place is one in a text that no person has seen.
            let said = match text.rsplit_once(" at line ") {
                Some((said, _)) => said.to_owned(),
                None => text,
            };
            let error = shortened(said);
            refuse(id, "bad_field", format!("{place}{error}."))
        }
        Category::Io | Category::Syntax | Category::Eof => {
            refuse(id, "bad_json", format!("The message is not JSON: {error}."))
        }
    }
}

/// Characters of a long description that are kept from its beginning, which repeats the client's value: enough to find
/// it, and an answer is not as long as what it refuses.
const SHOWN_CHARS: usize = 100;
/// Characters that are kept from its end, which says what was expected there.
const EXPECTED_CHARS: usize = 200;

/// A description, without the middle if it is long.
fn shortened(text: String) -> String {
    let chars = text.chars().count();
    if chars <= SHOWN_CHARS + EXPECTED_CHARS {
        return text;
    }
    let shown = text.chars().take(SHOWN_CHARS);
    let expected = text.chars().skip(chars - EXPECTED_CHARS);
    shown.chain("...".chars()).chain(expected).collect()
}

/// The reader of bots and tests.
impl ServerMessage {
    /// # Errors
    ///
    /// The text is no message of this version.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// The writer of bots and tests.
impl ClientFrame {
    /// The text frame of a client's message.
    pub fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::View;
    use super::*;

    fn code(text: &str) -> (String, Option<u32>, String) {
        let refusal = decode(text).expect_err(text);
        (refusal.code, refusal.id, refusal.message)
    }

    #[test]
    fn what_is_not_json_is_bad_json() {
        for text in [
            "",
            "{",
            "hello",
            "[]",
            "1",
            "null",
            "\"join\"",
            "{\"type\":\"ping\"} {}",
            "{\"type\":\"ping\",}",
            "{\"type\":\"chat\",\"text\":\"\\ud800\"}",
            &"[".repeat(100_000),
            &format!("{{\"type\":\"ping\",\"x\":{}", "[".repeat(100_000)),
        ] {
            assert_eq!(code(text).0, "bad_json", "{text:.60}");
        }
    }

    #[test]
    fn a_bad_field_is_named_without_the_parsers_place() {
        for (text, end) in [
            (r#"{"type":"chat","id":7,"text":9}"#, "expected a string."),
            (r#"{"type":"chat","id":7}"#, "missing field `text`."),
        ] {
            let refused = read_frame(text).expect_err("refused");
            let message = refused.refusal.message;
            assert!(message.ends_with(end), "{message}");
        }
    }

    #[test]
    fn a_bad_field_is_named() {
        for (text, id, named) in [
            (r#"{"id":1}"#, None, "type"),
            (r#"{"type":5}"#, None, "type"),
            (r#"{"type":"ping","id":-1}"#, None, "id"),
            (r#"{"type":"ping","id":4294967296}"#, None, "id"),
            (r#"{"type":"ping","id":"x"}"#, None, "id"),
            (r#"{"type":"ping","type":"ping"}"#, None, "type"),
            (r#"{"type":"chat","id":7}"#, Some(7), "text"),
            (r#"{"type":"chat","id":7,"text":9}"#, Some(7), "text"),
            (
                r#"{"type":"mute","track":"tr_1","muted":"yes"}"#,
                None,
                "muted",
            ),
            (r#"{"type":"join","version":1,"room":"a"}"#, None, "name"),
            (
                r#"{"type":"join","version":1,"room":"a","name":"b","metadata":[]}"#,
                None,
                "metadata",
            ),
            (
                r#"{"type":"offer","sdp":"","tracks":[{"mid":"0","source":"lidar"}]}"#,
                None,
                "tracks[0].source",
            ),
            (r#"{"type":"subscribe","tracks":"tr_1"}"#, None, "tracks"),
            (r#"{"type":"hand","raised":1}"#, None, "raised"),
            (r#"{"type":"people","limit":-1}"#, None, "limit"),
            (
                r#"{"type":"join","version":1,"room":"a","name":"b","audience":"stage"}"#,
                None,
                "audience",
            ),
            (r#"{"type":"ack"}"#, None, "received"),
            (r#"{"type":"ack","received":-1}"#, None, "received"),
            (r#"{"type":"ping","received":"x"}"#, None, "received"),
            (
                r#"{"type":"resume","id":7,"received":1}"#,
                Some(7),
                "session",
            ),
            (
                r#"{"type":"join","version":1,"room":"a","name":"b","offer":{"tracks":[]}}"#,
                None,
                "sdp",
            ),
            (r#"{"type":"moderate","id":7}"#, Some(7), "action"),
            (
                r#"{"type":"moderate","id":7,"action":"promote"}"#,
                Some(7),
                "promote",
            ),
            (r#"{"type":"moderate","action":"mute"}"#, None, "track"),
            (r#"{"type":"invite","id":7}"#, Some(7), "expires_s"),
            (r#"{"type":"invite","expires_s":-1}"#, None, "expires_s"),
            (r#"{"type":"invite","expires_s":60.5}"#, None, "expires_s"),
            (
                r#"{"type":"invite","expires_s":60,"grants":{"record":true}}"#,
                None,
                "record",
            ),
            (
                r#"{"type":"invite","expires_s":60,"grants":{"publish":["lidar"]}}"#,
                None,
                "grants.publish[0]",
            ),
            (r#"{"type":"revoke"}"#, None, "invitation"),
            (
                r#"{"type":"view","tracks":[{"track":"tr_1","height":70000}]}"#,
                None,
                "tracks[0].height",
            ),
            (
                r#"{"type":"view","tracks":[{"track":"tr_1","height":-1}]}"#,
                None,
                "tracks[0].height",
            ),
        ] {
            let (code, got_id, message) = code(text);
            assert_eq!((code.as_str(), got_id), ("bad_field", id), "{text}");
            assert!(message.contains(named), "{text}: {message}");
        }
    }

    #[test]
    fn what_makes_a_message_too_long_is_named() {
        let long = "x".repeat(1_000_000);
        let escaped = "\\u0078".repeat(20_000);
        for (fields, named) in [
            (format!(r#""room":"a","name":"{long}""#), "`name`"),
            (format!(r#""room":"a","name":"{escaped}""#), "`name`"),
            (format!(r#""room":"{long}","name":"b""#), "`room`"),
            (
                format!(r#""room":"a","name":"b","token":"{long}""#),
                "`token`",
            ),
            (
                format!(r#""room":"a","name":"b","metadata":{{"k":"{long}"}}"#),
                "`metadata`",
            ),
            (
                format!(r#""room":"a","name":"b","other":"{long}""#),
                "`metadata`",
            ),
            (format!(r#""room":"a","name":5,"other":"{long}""#), "`name`"),
        ] {
            let text = format!(r#"{{"type":"join","id":7,"version":1,{fields}}}"#);
            let (code, id, message) = code(&text);
            assert_eq!((code.as_str(), id), ("bad_field", Some(7)));
            assert!(
                message.starts_with(named) && message.len() < 200,
                "{message:.200}"
            );
        }
    }

    #[test]
    fn a_long_wrong_value_is_not_sent_back_whole() {
        let long = "é".repeat(300_000);
        for (text, expected) in [
            (
                format!(r#"{{"type":"ping","id":"{long}"}}"#),
                "expected u32",
            ),
            (
                format!(r#"{{"type":"hand","raised":"{long}"}}"#),
                "expected a boolean",
            ),
            (
                format!(
                    r#"{{"type":"offer","sdp":"","tracks":[{{"mid":"0","source":"{long}"}}]}}"#
                ),
                "`tracks[0].source`",
            ),
            (
                format!(r#"{{"type":"moderate","action":"{long}"}}"#),
                "expected one of",
            ),
            (
                format!(r#"{{"type":"invite","expires_s":60,"grants":{{"{long}":true}}}}"#),
                "unknown field",
            ),
        ] {
            let (code, _, message) = code(&text);
            assert_eq!(code, "bad_field");
            assert!(message.contains(expected), "{message:.900}");
            assert!(message.chars().count() < 700, "{message:.900}");
        }
    }

    #[test]
    fn a_join_may_have_a_long_offer_and_long_views() {
        let sdp = "v=0\\r\\n".repeat(20_000);
        let view = r#"{"track":"tr_123456789012","visible":false}"#;
        let views = [view; 256].join(",");
        let join = |metadata: &str| {
            format!(
                r#"{{"type":"join","version":1,"room":"a","name":"b","offer":{{"sdp":"{sdp}"}},"views":[{views}],"metadata":{{"k":"{metadata}"}}}}"#
            )
        };
        assert!(decode(&join("")).is_ok());
        let (code, _, message) = code(&join(&"x".repeat(40_000)));
        assert!(
            code == "bad_field" && message.starts_with("`metadata`"),
            "{message}"
        );
    }

    #[test]
    fn what_counts_among_the_numbered_messages() {
        for (text, counts) in [
            (r#"{"type":"ping"}"#, false),
            (r#"{"type":"ack","received":1}"#, false),
            (r#"{"type":"resume"}"#, false),
            (r#"{"type":"ping","id":-1}"#, false),
            (r#"{"type":"chat","text":"ping"}"#, true),
            (r#"{"type":"pong"}"#, true),
            (r#"{"type":"ping""#, true),
            ("", true),
        ] {
            assert_eq!(is_numbered(text), counts, "{text}");
        }
    }

    #[test]
    fn an_unknown_type_is_named_in_short() {
        let (code, id, message) = code(&format!(r#"{{"type":"{}","id":3}}"#, "x".repeat(500)));
        assert_eq!((code.as_str(), id), ("unknown_type", Some(3)));
        assert!(message.len() < 100);
    }

    #[test]
    fn defaults_and_unknown_fields() {
        let frame = decode(r#"{"type":"join","version":1,"room":"a","name":"b","new":[1]}"#);
        let Ok(ClientFrame {
            id: None,
            message: ClientMessage::Join(join),
        }) = frame
        else {
            panic!("{frame:?}");
        };
        assert!(join.auto_subscribe && join.metadata.is_none());
        assert!(decode(r#"{"type":"ping","id":4294967295}"#).is_ok());
        let view = decode(r#"{"type":"view","tracks":[{"track":"tr_1"}]}"#).expect("view");
        let ClientMessage::View(View { tracks }) = view.message else {
            panic!("{view:?}");
        };
        assert!(tracks[0].visible && tracks[0].height == 0 && !tracks[0].pinned);
    }

    #[test]
    fn a_message_of_a_later_version_can_be_passed_over() {
        let text = r#"{"type":"hologram","depth":{"near":3}}"#;
        assert_eq!(
            ServerMessage::read(text).expect("read"),
            ServerMessage::Unknown
        );
        assert!(ServerMessage::read(r#"{"depth":3}"#).is_err());
    }

    /// Metadata is the client's: a number in it reaches the others to the last digit that a double has.
    #[test]
    fn numbers_in_metadata_stay_as_they_are() {
        for number in [
            "166666666666666666666666666666666666666666",
            "0.1",
            "2.2250738585072011e-308",
        ] {
            let text = format!(r#"{{"type":"update","metadata":{{"n":{number}}}}}"#);
            let frame = decode(&text).expect("read");
            let written = frame.write();
            assert_eq!(decode(&written), Ok(frame), "{number}");
            let object: serde_json::Value = serde_json::from_str(&written).expect("an object");
            let expected: f64 = number.parse().expect("a number");
            assert_eq!(object["metadata"]["n"].as_f64(), Some(expected));
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            prop::num::f64::NORMAL.prop_map(Into::into),
            ".{0,20}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(field(), inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn field() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z]{1,6}",
            prop::sample::select(vec![
                "type",
                "id",
                "version",
                "room",
                "name",
                "metadata",
                "sdp",
                "tracks",
                "mid",
                "source",
                "muted",
                "track",
                "text",
                "visible",
                "height",
                "pinned",
                "token",
                "expires_s",
                "grants",
                "publish",
                "chat",
                "invitation",
                "batch",
                "audience",
                "after",
                "limit",
                "session",
                "received",
                "fresh",
                "offer",
                "views",
                "resumable",
            ])
            .prop_map(String::from),
        ]
    }

    fn kind() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "join",
            "offer",
            "candidate",
            "subscribe",
            "unsubscribe",
            "mute",
            "update",
            "chat",
            "view",
            "stats",
            "timeline",
            "people",
            "ping",
            "ack",
            "resume",
            "leave",
            "invite",
            "invitations",
            "revoke",
            "nonsense",
        ])
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = decode(&text);
        }

        /// Every accepted message survives being written and read again.
        #[test]
        fn any_object_is_read_or_refused(
            kind in kind(),
            fields in prop::collection::btree_map(field(), json(), 0..6),
        ) {
            let mut object: serde_json::Map<_, _> = fields.into_iter().collect();
            object.insert("type".into(), kind.into());
            match decode(&serde_json::Value::Object(object).to_string()) {
                Ok(frame) => prop_assert_eq!(decode(&frame.write()), Ok(frame)),
                Err(refusal) => prop_assert!(!refusal.fatal),
            }
        }
    }
}
