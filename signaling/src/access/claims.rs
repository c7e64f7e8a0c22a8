//! The claims of an access token: who, where, and which rights.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::hooks::{Admission, Permissions};
use crate::names;

/// The room of a token that is for every room.
pub const ROOM_ANY: &str = "*";

/// Bytes of the longest id of a token: a UUID has 36, and a set of keys lists many that were revoked.
pub(crate) const TOKEN_ID_BYTES: usize = 64;

/// The claims of an access token, besides its times.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The token's own id, at most 64 bytes, by which it can be revoked.
    #[serde(default, rename = "jti", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The issuer's key of the user, at most 256 bytes.
    #[serde(default, rename = "sub", skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The name in the room. None: the one that the client asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The metadata in the room. None: the client's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    #[serde(rename = "tertulia", deserialize_with = "super::object::read")]
    pub(super) grants: Grants,
    /// The time after which it lets nobody in, as it was read: Unix time in seconds, which may have a fraction.
    #[serde(default, rename = "exp", skip_serializing)]
    exp: Option<f64>,
}

/// The rights in a room. An unknown one refuses the token: whoever signed it counts on what this server would not do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Grants {
    pub(super) room: String,
    /// Not granted unless it is said.
    #[serde(default)]
    pub(super) join: bool,
    /// None: every source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publish: Option<Vec<Publish>>,
    #[serde(default = "yes")]
    subscribe: bool,
    #[serde(default = "yes")]
    chat: bool,
    #[serde(default = "yes")]
    data: bool,
    #[serde(default = "yes")]
    update: bool,
    /// Not granted unless it is said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    moderate: bool,
    /// Passes the waiting room. Not granted unless it is said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    invited: bool,
}

/// A source that may be published.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Publish {
    /// Sound that does not come with a screen.
    Microphone,
    /// Video that is no screen.
    Camera,
    /// A screen and its sound.
    Screen,
}

fn yes() -> bool {
    true
}

impl Claims {
    /// The claims that let somebody join `room`, or every room with [`ROOM_ANY`], with these rights.
    pub fn join(room: &str, permissions: Permissions) -> Self {
        let sources = [
            (permissions.microphone, Publish::Microphone),
            (permissions.camera, Publish::Camera),
            (permissions.screen, Publish::Screen),
        ];
        let granted = sources.into_iter().filter(|(may, _)| *may);
        Self {
            id: None,
            identity: None,
            name: None,
            metadata: None,
            grants: Grants {
                room: room.to_owned(),
                join: true,
                publish: Some(granted.map(|(_, source)| source).collect()),
                subscribe: permissions.subscribe,
                chat: permissions.chat,
                data: permissions.data,
                update: permissions.update,
                moderate: permissions.moderate,
                invited: false,
            },
            exp: None,
        }
    }

    /// Sets whether the holder passes the waiting room. A lock and a ban hold them nevertheless.
    #[must_use]
    pub fn invited(mut self, invited: bool) -> Self {
        self.grants.invited = invited;
        self
    }

    /// The room that it is for, as it is written.
    pub fn room(&self) -> &str {
        &self.grants.room
    }

    /// Whether it is for this room, given in the one form of its name.
    pub(super) fn is_for(&self, room: &str) -> bool {
        let named = self.room();
        named == ROOM_ANY || named == room || names::room_name(named).is_ok_and(|name| name == room)
    }

    /// The end of its time, by its own `exp`: Unix time in seconds. None if it was not read from a token.
    pub(crate) fn expires_s(&self) -> Option<u64> {
        // A number that no `u64` has becomes the nearest one.
        self.exp.map(|exp| exp as u64)
    }

    pub(crate) fn into_admission(self) -> Admission {
        let permissions = self.grants.permissions();
        let mut admission = Admission::new()
            .permissions(permissions)
            .invited(self.grants.invited);
        admission.identity = self.identity;
        admission.name = self.name;
        admission.metadata = self.metadata;
        admission
    }
}

impl Grants {
    fn permissions(&self) -> Permissions {
        let may = |source| {
            let listed = self.publish.as_ref();
            listed.is_none_or(|listed| listed.contains(&source))
        };
        Permissions::all()
            .microphone(may(Publish::Microphone))
            .camera(may(Publish::Camera))
            .screen(may(Publish::Screen))
            .subscribe(self.subscribe)
            .chat(self.chat)
            .data(self.data)
            .update(self.update)
            .moderate(self.moderate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(grants: &str) -> Option<Permissions> {
        let text = format!(r#"{{"tertulia":{grants}}}"#);
        let claims: Claims = serde_json::from_str(&text).ok()?;
        Some(claims.grants.permissions())
    }

    #[test]
    fn grants_are_permissions() {
        let all = Permissions::all();
        let none = Permissions::listener();
        for (grants, expected) in [
            (r#"{"room":"a"}"#, Some(all)),
            (
                r#"{"room":"a","publish":["camera"]}"#,
                Some(all.microphone(false).screen(false)),
            ),
            (
                r#"{"room":"a","publish":[],"chat":false,"data":false,"update":false}"#,
                Some(none),
            ),
            (
                r#"{"room":"a","subscribe":false}"#,
                Some(all.subscribe(false)),
            ),
            (r#"{"room":"a","record":true}"#, None),
            (r#"{"room":"a","moderate":false}"#, Some(all)),
            (r#"{"room":"a","moderate":true}"#, Some(all.moderate(true))),
            (r#"{"room":"a","moderate":"yes"}"#, None),
            (r#"{"room":"a","invited":true}"#, Some(all)),
            (r#"{"room":"a","invited":1}"#, None),
            (r#"{"room":"a","hidden":true}"#, None),
            (r#"{"room":"a","publish":["lidar"]}"#, None),
            (r#"{"room":"a","publish":"camera"}"#, None),
            (r#"{"room":"a","chat":"yes"}"#, None),
            (r#"{"room":"a","chat":true,"chat":false}"#, None),
            (r#"{"join":true}"#, None),
        ] {
            assert_eq!(read(grants), expected, "{grants}");
        }
    }

    #[test]
    fn claims_are_read_as_they_were_written() {
        for permissions in [
            Permissions::all(),
            Permissions::listener(),
            Permissions::listener().camera(true).subscribe(false),
            Permissions::listener().moderate(true),
        ] {
            let mut claims = Claims::join("a", permissions).invited(permissions.camera);
            claims.id = Some("7".into());
            let text = serde_json::to_string(&claims).expect("JSON");
            let read: Claims = serde_json::from_str(&text).expect("claims");
            assert_eq!(read.grants.permissions(), permissions);
            assert_eq!(read, claims);
            assert_eq!(read.into_admission().invited, permissions.camera);
        }
    }

    #[test]
    fn a_room_is_named_exactly_or_is_any() {
        for (named, room, expected) in [
            ("a", "a", true),
            ("a", "b", false),
            ("a", "A", false),
            ("a", "ab", false),
            ("cafe\u{301}", "caf\u{e9}", true),
            ("*", "anything", true),
            ("a*", "ab", false),
            ("", "a", false),
        ] {
            let claims = Claims::join(named, Permissions::all());
            assert_eq!(claims.is_for(room), expected, "{named} {room}");
        }
    }
}
