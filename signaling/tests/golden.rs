//! The golden files are the contract with every other implementation: each must parse into the
//! message types and be written again unchanged.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tertulia_signaling::protocol::native::{ClientFrame, ClientMessage, ServerMessage, decode};

#[test]
fn client_messages_match_their_golden_files() {
    let seen = check("client", |frame: &ClientFrame| client_type(&frame.message));
    assert_eq!(seen, CLIENT_TYPES.into());
}

#[test]
fn server_messages_match_their_golden_files() {
    assert_eq!(check("server", server_type), SERVER_TYPES.into());
}

/// The server reads clients by its own decoder, not by the derived one that bots may use.
#[test]
fn the_decoder_reads_what_the_golden_files_say() {
    for (name, text) in golden_files("client") {
        let expected: ClientFrame = serde_json::from_str(&text).expect("golden message");
        assert_eq!(decode(&text), Ok(expected), "{name}");
    }
}

const CLIENT_TYPES: [&str; 21] = [
    "join",
    "offer",
    "candidate",
    "subscribe",
    "unsubscribe",
    "mute",
    "update",
    "chat",
    "stats",
    "ping",
    "leave",
    "view",
    "timeline",
    "hand",
    "moderate",
    "invite",
    "invitations",
    "revoke",
    "people",
    "resume",
    "ack",
];

/// A new variant does not compile here until it has a name, nor pass until it has a file.
fn client_type(message: &ClientMessage) -> &'static str {
    match message {
        ClientMessage::Join(_) => CLIENT_TYPES[0],
        ClientMessage::Offer(_) => CLIENT_TYPES[1],
        ClientMessage::Candidate(_) => CLIENT_TYPES[2],
        ClientMessage::Subscribe(_) => CLIENT_TYPES[3],
        ClientMessage::Unsubscribe(_) => CLIENT_TYPES[4],
        ClientMessage::Mute(_) => CLIENT_TYPES[5],
        ClientMessage::Update(_) => CLIENT_TYPES[6],
        ClientMessage::Chat(_) => CLIENT_TYPES[7],
        ClientMessage::Stats => CLIENT_TYPES[8],
        ClientMessage::Ping { .. } => CLIENT_TYPES[9],
        ClientMessage::Leave => CLIENT_TYPES[10],
        ClientMessage::View(_) => CLIENT_TYPES[11],
        ClientMessage::Timeline => CLIENT_TYPES[12],
        ClientMessage::Hand(_) => CLIENT_TYPES[13],
        ClientMessage::Moderate(_) => CLIENT_TYPES[14],
        ClientMessage::Invite(_) => CLIENT_TYPES[15],
        ClientMessage::Invitations => CLIENT_TYPES[16],
        ClientMessage::Revoke(_) => CLIENT_TYPES[17],
        ClientMessage::People(_) => CLIENT_TYPES[18],
        ClientMessage::Resume(_) => CLIENT_TYPES[19],
        ClientMessage::Ack { .. } => CLIENT_TYPES[20],
    }
}

const SERVER_TYPES: [&str; 38] = [
    "welcome",
    "answer",
    "needs",
    "slots",
    "participant_joined",
    "participant_updated",
    "participant_left",
    "track_published",
    "track_updated",
    "track_unpublished",
    "chat",
    "media",
    "stats",
    "ok",
    "pong",
    "error",
    "bye",
    "subscriptions",
    "layers",
    "speakers",
    "timeline",
    "unwatchable",
    "renegotiate",
    "wait",
    "rules",
    "hand",
    "moderated",
    "permissions",
    "waiting",
    "waiting_left",
    "invitation",
    "invitations",
    "batch",
    "audience",
    "people",
    "resumed",
    "presence",
    "ice_servers",
];

fn server_type(message: &ServerMessage) -> &'static str {
    match message {
        ServerMessage::Welcome(_) => SERVER_TYPES[0],
        ServerMessage::Answer(_) => SERVER_TYPES[1],
        ServerMessage::Needs(_) => SERVER_TYPES[2],
        ServerMessage::Slots { .. } => SERVER_TYPES[3],
        ServerMessage::ParticipantJoined { .. } => SERVER_TYPES[4],
        ServerMessage::ParticipantUpdated { .. } => SERVER_TYPES[5],
        ServerMessage::ParticipantLeft { .. } => SERVER_TYPES[6],
        ServerMessage::TrackPublished { .. } => SERVER_TYPES[7],
        ServerMessage::TrackUpdated { .. } => SERVER_TYPES[8],
        ServerMessage::TrackUnpublished { .. } => SERVER_TYPES[9],
        ServerMessage::Chat { .. } => SERVER_TYPES[10],
        ServerMessage::Media { .. } => SERVER_TYPES[11],
        ServerMessage::Stats { .. } => SERVER_TYPES[12],
        ServerMessage::Ok { .. } => SERVER_TYPES[13],
        ServerMessage::Pong { .. } => SERVER_TYPES[14],
        ServerMessage::Error(_) => SERVER_TYPES[15],
        ServerMessage::Bye { .. } => SERVER_TYPES[16],
        ServerMessage::Subscriptions { .. } => SERVER_TYPES[17],
        ServerMessage::Layers { .. } => SERVER_TYPES[18],
        ServerMessage::Speakers { .. } => SERVER_TYPES[19],
        ServerMessage::Timeline { .. } => SERVER_TYPES[20],
        ServerMessage::Unwatchable { .. } => SERVER_TYPES[21],
        ServerMessage::Renegotiate { .. } => SERVER_TYPES[22],
        ServerMessage::Wait => SERVER_TYPES[23],
        ServerMessage::Rules { .. } => SERVER_TYPES[24],
        ServerMessage::Hand { .. } => SERVER_TYPES[25],
        ServerMessage::Moderated { .. } => SERVER_TYPES[26],
        ServerMessage::Permissions { .. } => SERVER_TYPES[27],
        ServerMessage::Waiting { .. } => SERVER_TYPES[28],
        ServerMessage::WaitingLeft { .. } => SERVER_TYPES[29],
        ServerMessage::Invitation { .. } => SERVER_TYPES[30],
        ServerMessage::Invitations { .. } => SERVER_TYPES[31],
        ServerMessage::Batch { .. } => SERVER_TYPES[32],
        ServerMessage::Audience(_) => SERVER_TYPES[33],
        ServerMessage::People { .. } => SERVER_TYPES[34],
        ServerMessage::Resumed { .. } => SERVER_TYPES[35],
        ServerMessage::Presence { .. } => SERVER_TYPES[36],
        ServerMessage::IceServers { .. } => SERVER_TYPES[37],
        ServerMessage::Unknown => panic!("a golden file of no type"),
    }
}

/// Returns the message types seen.
fn check<T: Serialize + DeserializeOwned>(
    side: &str,
    kind: impl Fn(&T) -> &'static str,
) -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    for (name, text) in golden_files(side) {
        let golden: Value = serde_json::from_str(&text).expect("golden JSON");
        let message: T = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let again = serde_json::to_value(&message).expect("serialize");
        assert_eq!(again, golden, "{name}");
        let kind = kind(&message);
        assert_eq!(golden["type"], kind, "{name}");
        assert!(name.starts_with(kind), "{name} holds a {kind}");
        seen.insert(kind);
    }
    seen
}

fn golden_files(side: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden/native")
        .join(side);
    let entries = std::fs::read_dir(&folder).expect("golden folder");
    let paths = entries.map(|entry| entry.expect("entry").path());
    paths
        .map(|path| {
            let name = path.file_stem().and_then(|stem| stem.to_str());
            let text = std::fs::read_to_string(&path).expect("golden file");
            (name.expect("name").to_owned(), text)
        })
        .collect()
}
