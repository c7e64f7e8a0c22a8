//! The claim that keeps a signed token from being read, for who has made the token by hand.

use serde_json::{Map, Value};

use super::claims::Publish;

/// The rights that are true or false, each with the fault.
const FLAGS: [(&str, &str); 7] = [
    (
        "join",
        "has a `join` in `tertulia` that is neither true nor false",
    ),
    (
        "subscribe",
        "has a `subscribe` in `tertulia` that is neither true nor false",
    ),
    (
        "chat",
        "has a `chat` in `tertulia` that is neither true nor false",
    ),
    (
        "data",
        "has a `data` in `tertulia` that is neither true nor false",
    ),
    (
        "update",
        "has an `update` in `tertulia` that is neither true nor false",
    ),
    (
        "moderate",
        "has a `moderate` in `tertulia` that is neither true nor false",
    ),
    (
        "invited",
        "has an `invited` in `tertulia` that is neither true nor false",
    ),
];

/// The fault of claims in which nothing else is wrong.
const TWICE: &str = "has a claim twice";

/// The first fault that is found. The text continues "The access token". It shows nothing of the token.
pub(super) fn wrong(claims: &Map<String, Value>) -> &'static str {
    let is_no = |name: &str, is: fn(&Value) -> bool| {
        let value = claims.get(name);
        value.is_some_and(|value| !value.is_null() && !is(value))
    };
    let grants = match claims.get("tertulia") {
        None => return "has no claim `tertulia`, which grants the room",
        Some(Value::Object(grants)) => grants,
        Some(_) => return "has a claim `tertulia` that is no object",
    };
    if is_no("exp", Value::is_number) {
        return "has an `exp` that is no number of seconds";
    }
    if is_no("nbf", Value::is_number) {
        return "has an `nbf` that is no number of seconds";
    }
    if is_no("jti", Value::is_string) {
        return "has a `jti` that is no text";
    }
    if is_no("sub", Value::is_string) {
        return "has a `sub` that is no text";
    }
    if is_no("name", Value::is_string) {
        return "has a `name` that is no text";
    }
    if is_no("metadata", Value::is_object) {
        return "has a `metadata` that is no object";
    }
    // Duplicates alone are left.
    of_grants(grants).unwrap_or(TWICE)
}

fn of_grants(grants: &Map<String, Value>) -> Option<&'static str> {
    match grants.get("room") {
        None => return Some("has no `room` in `tertulia`"),
        Some(room) if !room.is_string() => {
            return Some("has a `room` in `tertulia` that is no text");
        }
        Some(_) => {}
    }
    match grants.get("publish") {
        None | Some(Value::Null) => {}
        Some(Value::Array(sources)) => {
            let is_known = |source: &Value| serde_json::from_value::<Publish>(source.clone());
            if sources.iter().any(|source| is_known(source).is_err()) {
                return Some(
                    "has a source in `publish` that this server does not know: it knows microphone, camera and screen",
                );
            }
        }
        Some(_) => return Some("has a `publish` in `tertulia` that is no list"),
    }
    for (name, fault) in FLAGS {
        if grants.get(name).is_some_and(|value| !value.is_boolean()) {
            return Some(fault);
        }
    }
    let is_known = |name: &String| {
        matches!(name.as_str(), "room" | "publish") || FLAGS.iter().any(|(flag, _)| flag == name)
    };
    let is_foreign = !grants.keys().all(is_known);
    is_foreign.then_some(
        "has a grant in `tertulia` that this server does not know: it knows room, join, publish, subscribe, chat, data, update, moderate and invited",
    )
}

/// Explains any claims. See [`testing`](crate::testing).
#[cfg(feature = "testing")]
pub(crate) fn fuzz(bytes: &[u8]) {
    use super::claims::Claims;
    use super::object::Object;
    let Ok(claims) = serde_json::from_slice::<Map<String, Value>>(bytes) else {
        return;
    };
    let said = wrong(&claims);
    // Written anew, nothing is in it twice.
    let text = Value::Object(claims).to_string();
    let is_readable = serde_json::from_str::<Object<Claims>>(&text).is_ok();
    assert_eq!(said == TWICE, is_readable, "{said}: {text}");
}
