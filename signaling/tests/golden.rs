//! The golden files are the contract with every other implementation: each must parse into the
//! message types and come out of them as it went in.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tertulia_signaling::protocol::native::{ClientFrame, ServerMessage};

#[test]
fn client_messages_match_their_golden_files() {
    let types = check::<ClientFrame>("client");
    let expected = [
        "candidate",
        "chat",
        "join",
        "leave",
        "mute",
        "offer",
        "ping",
        "stats",
        "subscribe",
        "unsubscribe",
        "update",
    ];
    assert_eq!(types, expected.map(String::from).into());
}

#[test]
fn server_messages_match_their_golden_files() {
    let types = check::<ServerMessage>("server");
    let expected = [
        "answer",
        "bye",
        "chat",
        "error",
        "media",
        "needs",
        "ok",
        "participant_joined",
        "participant_left",
        "participant_updated",
        "pong",
        "slots",
        "stats",
        "track_published",
        "track_unpublished",
        "track_updated",
        "welcome",
    ];
    assert_eq!(types, expected.map(String::from).into());
}

/// Returns the message types seen.
fn check<T: Serialize + DeserializeOwned>(side: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden/native")
        .join(side);
    let mut types = BTreeSet::new();
    for entry in std::fs::read_dir(&folder).expect("golden folder") {
        let path = entry.expect("entry").path();
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("name");
        let text = std::fs::read_to_string(&path).expect("golden file");
        let golden: Value = serde_json::from_str(&text).expect("golden JSON");
        let message: T = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let again = serde_json::to_value(&message).expect("serialize");
        assert_eq!(again, golden, "{name}");
        let kind = golden["type"].as_str().expect("type").to_owned();
        assert!(name.starts_with(&kind), "{name} holds a {kind}");
        types.insert(kind);
    }
    types
}
