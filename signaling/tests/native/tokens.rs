//! Doors that lock: joins by access tokens, through the WebSocket.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use tertulia_signaling::access::{Claims, Keys};
use tertulia_signaling::hooks::{Admission, Denial, Hooks, JoinRequest, Permissions};
use tertulia_signaling::protocol::native::{
    Access, ClientMessage, Join, ServerMessage, Tracks, Update, Welcome,
};
use tertulia_signaling::{Config, Node, NodeError};
use tokio::net::TcpListener;

use crate::client::{Client, chat, join, offer};
use crate::counted::counted;
use crate::http::get;
use crate::server::Server;
use crate::sessions::{Member, resumable, welcomed};

const SECRET: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
const NEXT_SECRET: &str = "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg";
/// The public key of RFC 8037 appendix A.
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const HOUR: Duration = Duration::from_secs(3_600);

fn secret(id: &str, secret: &str) -> Value {
    json!({"kty": "oct", "kid": id, "k": secret})
}

fn keys_of(keys: &[Value]) -> Keys {
    Keys::from_json(&json!({ "keys": keys }).to_string()).expect("keys")
}

fn keys() -> Keys {
    let pair = json!({"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": PUBLIC});
    keys_of(&[secret("1", SECRET), pair])
}

async fn locked() -> Server {
    Server::with(|config| config.keys = Some(keys())).await
}

/// The text of a token with these claims, signed by hand.
fn signed(header: &Header, claims: &Value, secret: &[u8]) -> String {
    encode(header, claims, &EncodingKey::from_secret(secret)).expect("signed")
}

fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "exp": get_current_timestamp() + 60,
        "tertulia": {"room": "room", "join": true},
    });
    for (key, value) in changes.as_object().expect("an object") {
        claims[key] = value.clone();
    }
    claims
}

/// The bytes of [`SECRET`].
const BYTES: [u8; 32] = [7; 32];

fn good(changes: Value) -> String {
    signed(&Header::new(Algorithm::HS256), &claims(changes), &BYTES)
}

fn granting(permissions: Permissions) -> String {
    let token = keys().issue(&Claims::join("room", permissions), HOUR, None);
    token.expect("a token").as_str().to_owned()
}

fn with_token(token: &str) -> Join {
    Join {
        token: Some(token.into()),
        ..join("room", "Ada")
    }
}

async fn enter(client: &mut Client, token: &str) -> Welcome {
    match client.request(ClientMessage::Join(with_token(token))).await {
        ServerMessage::Welcome(welcome) => welcome,
        other => panic!("{other:?} instead of welcome"),
    }
}

#[tokio::test]
async fn each_refusal_has_its_code_a_sentence_and_a_count_and_may_be_followed_by_a_better_token() {
    let server = locked().await;
    let admin = server.admin().await;
    let mut client = server.connect().await;
    let now = get_current_timestamp();
    let hs256 = Header::new(Algorithm::HS256);
    let mut named = hs256.clone();
    named.kid = Some("gone".into());
    let mut tampered = good(json!({}));
    let place = tampered.find('.').expect("a point") + 5;
    let byte = if tampered.as_bytes()[place] == b'A' {
        "B"
    } else {
        "A"
    };
    tampered.replace_range(place..=place, byte);
    let none = good(json!({})).replacen(
        good(json!({})).split('.').next().expect("a header"),
        // {"alg":"none"}
        "eyJhbGciOiJub25lIn0",
        1,
    );
    let unsigned = none.rsplit_once('.').map(|(rest, _)| format!("{rest}."));
    let mut expected = serde_json::Map::new();
    for (token, code) in [
        (None, "token_required"),
        (Some(good(json!({"exp": now - 60}))), "token_expired"),
        (Some(good(json!({"nbf": now + 60}))), "token_not_yet_valid"),
        (
            Some(good(json!({"tertulia": {"room": "another", "join": true}}))),
            "token_wrong_room",
        ),
        (
            Some(good(json!({"tertulia": {"room": "room"}}))),
            "not_allowed",
        ),
        // Wrong key, and a key that is gone.
        (
            Some(signed(&hs256, &claims(json!({})), &[9; 32])),
            "token_invalid",
        ),
        (
            Some(signed(&named, &claims(json!({})), &BYTES)),
            "token_invalid",
        ),
        // Wrong algorithm.
        (
            Some(signed(
                &Header::new(Algorithm::HS512),
                &claims(json!({})),
                &BYTES,
            )),
            "token_invalid",
        ),
        (Some(none), "token_invalid"),
        (unsigned, "token_invalid"),
        // The public key as a secret.
        (
            Some(signed(&hs256, &claims(json!({})), PUBLIC.as_bytes())),
            "token_invalid",
        ),
        (Some(tampered), "token_invalid"),
        (Some(good(json!({"name": "a\nb"}))), "token_invalid"),
        (Some(good(json!({"sub": "i".repeat(257)}))), "token_invalid"),
        (
            Some(good(
                json!({"tertulia": {"room": "room", "join": true, "record": true}}),
            )),
            "token_invalid",
        ),
        (Some("x".repeat(5_000)), "token_invalid"),
        (Some(String::new()), "token_invalid"),
    ] {
        let join = Join {
            token: token.as_deref().map(Into::into),
            ..join("room", "Ada")
        };
        let refusal = client.refusal(ClientMessage::Join(join)).await;
        assert_eq!(refusal.code, code, "{token:?}: {refusal:?}");
        assert!(
            refusal.message.ends_with('.') && !refusal.fatal,
            "{refusal:?}"
        );
        let count = expected.entry(code).or_insert_with(|| 0.into());
        *count = (count.as_u64().expect("a count") + 1).into();
    }
    assert_eq!(server.node.counts().rooms, 0, "no room is made for them");
    let stats: Value = serde_json::from_str(&get(admin, "/stats").await.body).expect("JSON");
    assert_eq!(counted(admin, "joins_refused").await, Value::from(expected));
    assert_eq!(stats["access"], "tokens");
    let welcome = enter(&mut client, &good(json!({}))).await;
    assert_eq!(welcome.access, Some(Access::Tokens));
}

/// A token of a user, who may moderate or not.
fn user(identity: &str, moderate: bool) -> String {
    let grants = json!({"room": "room", "join": true, "moderate": moderate});
    good(json!({"sub": identity, "tertulia": grants}))
}

#[tokio::test]
async fn a_session_is_none_of_another_users() {
    let server = locked().await;
    let joining = |token: &str, session: Option<&str>| Join {
        session: session.map(Into::into),
        token: Some(token.into()),
        ..resumable("room", "Ada")
    };
    let mut boss = Member::joining(&server, joining(&user("boss", true), None)).await;
    let first = boss.token.clone();
    boss.come_back(&server).await;
    let mut thief = server.connect().await;
    let taking = joining(&user("thief", false), Some(&first));
    let stolen = welcomed(&mut thief, taking).await;
    assert_ne!(stolen.participant, boss.client.id);
    let token = stolen.session.expect("a session").token;
    assert_ne!(token.as_str()[..22], first[..22], "a secret of its own");
    boss.client.expect_ok(chat("still here")).await;
    boss.received += 2;
    boss.come_back(&server).await;
    boss.client.expect_ok(chat("and back")).await;
    // Its id is that of its new secret: whoever brings that takes the place over.
    let mut again = server.connect().await;
    let renewing = joining(&user("thief", false), Some(token.as_str()));
    let welcome = welcomed(&mut again, renewing).await;
    assert_eq!(welcome.participant, stolen.participant);
    assert_eq!(server.node.counts().participants, 2);
}

#[tokio::test]
async fn a_token_says_who_somebody_is() {
    let server = locked().await;
    let mut client = server.connect().await;
    let token = good(json!({
        "sub": "user-1", "name": "Zoe\u{308}", "metadata": {"seat": 4},
        "tertulia": {"room": "*", "join": true, "update": false},
    }));
    let welcome = enter(&mut client, &token).await;
    assert_eq!(welcome.name.as_deref(), Some("Zo\u{eb}"));
    assert_eq!(json!(welcome.metadata), json!({"seat": 4}));
    let rooms = server.node.rooms();
    let room = rooms.snapshot("room").await.expect("the room");
    assert_eq!(
        room.participants[0].person.identity.as_deref(),
        Some("user-1")
    );
    let update = ClientMessage::Update(Update {
        name: Some("Eve".into()),
        metadata: None,
    });
    assert_eq!(client.refusal(update).await.code, "not_allowed");
    // Without these claims it is as the client asks.
    let mut other = server.connect().await;
    let welcome = enter(&mut other, &good(json!({}))).await;
    assert_eq!(welcome.name.as_deref(), Some("Ada"));
}

#[tokio::test]
async fn a_key_is_rotated_without_an_hour_in_which_nobody_gets_in() {
    let old = keys_of(&[secret("1", SECRET)]);
    let both = keys_of(&[secret("2", NEXT_SECRET), secret("1", SECRET)]);
    let new = keys_of(&[secret("2", NEXT_SECRET)]);
    let issued = |keys: &Keys| {
        let token = keys.issue(&Claims::join("room", Permissions::all()), HOUR, None);
        token.expect("a token").as_str().to_owned()
    };
    for (server, by_old, by_new) in [
        (&old, true, false),
        (&both, true, true),
        (&new, false, true),
    ] {
        let server = Server::with(|config| config.keys = Some(server.clone())).await;
        for (issuer, admitted) in [(&old, by_old), (&new, by_new), (&both, by_new)] {
            let mut client = server.connect().await;
            let join = ClientMessage::Join(with_token(&issued(issuer)));
            match client.request(join).await {
                ServerMessage::Welcome(_) => assert!(admitted),
                ServerMessage::Error(refusal) => {
                    assert_eq!((refusal.code.as_str(), admitted), ("token_invalid", false));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn who_may_not_receive_gets_no_track_whatever_it_asks_for() {
    let server = locked().await;
    let mut ada = server.connect().await;
    enter(&mut ada, &granting(Permissions::all())).await;
    let first = ada.offer("send 0 audio").await.published[0].track.clone();
    let mut deaf = server.connect().await;
    let welcome = enter(&mut deaf, &granting(Permissions::all().subscribe(false))).await;
    assert!(!welcome.permissions.expect("permissions").subscribe);
    let answer = deaf.offer("send 0 audio\nrecv 1 audio\nrecv 2 video").await;
    assert_eq!(answer.published.len(), 1, "it may publish");
    let viewer = server.last_peer();
    let subscribe = ClientMessage::Subscribe(Tracks {
        tracks: vec![first],
    });
    assert_eq!(deaf.refusal(subscribe).await.code, "not_allowed");
    // A track of later is not sent either; the others hear of it.
    let sdp = "send 0 audio\nsend 1 video";
    ada.request(offer(sdp)).await;
    deaf.offer("send 0 audio\nrecv 1 audio\nrecv 2 video\nrecv 3 video")
        .await;
    let told = deaf.told().await;
    let slots = told.iter().filter_map(|message| match message {
        ServerMessage::Slots { slots } => Some(slots),
        _ => None,
    });
    assert!(slots.flatten().all(|slot| slot.track.is_none()), "{told:?}");
    assert!(server.media.books().peers[&viewer].subscriptions.is_empty());
    // The others do receive it.
    deaf.expect_ok(chat("hello")).await;
    let receives = server
        .media
        .books()
        .peers
        .values()
        .any(|peer| !peer.subscriptions.is_empty());
    assert!(receives);
}

/// The relay itself answers, to an offer as Chromium writes it.
#[tokio::test]
async fn who_may_not_publish_gets_no_track_of_the_real_relay() {
    const CHROMIUM: &str =
        include_str!("../../../sfu/src/transport/sdp/fixtures/chromium-publish.sdp");
    let config = Config {
        media_ip: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        media_port: 0,
        workers: 1,
        keys: Some(keys()),
        ..Config::default()
    };
    let node = Node::start(config).expect("node");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let addr: SocketAddr = listener.local_addr().expect("address");
    let server = node.clone();
    tokio::spawn(async move { server.serve(listener).await });
    let url = format!("ws://{addr}/v1/ws");
    for (permissions, published, refused) in [
        (Permissions::listener(), 0, 2),
        (Permissions::listener().camera(true), 1, 1),
        (Permissions::all(), 2, 0),
    ] {
        let mut client = Client::connect(&url).await;
        enter(&mut client, &granting(permissions)).await;
        // It names no sources: a hand-made client may leave out or invent them.
        let sdp = ClientMessage::Offer(tertulia_signaling::protocol::native::Offer {
            sdp: CHROMIUM.to_owned(),
            tracks: Vec::new(),
        });
        let ServerMessage::Answer(answer) = client.request(sdp).await else {
            panic!("no answer");
        };
        assert_eq!(
            (answer.published.len(), answer.refused.len()),
            (published, refused),
            "{permissions:?}"
        );
        assert!(answer.refused.iter().all(|line| line.code == "not_allowed"));
        // Their m-lines stay in use: browsers lose all if the first of the BUNDLE group is not.
        assert_eq!(answer.sdp.matches("a=inactive").count(), refused);
        assert!(answer.sdp.contains("a=group:BUNDLE 0 1\r\n"));
    }
    node.shutdown().await;
}

#[tokio::test]
async fn a_call_goes_on_when_its_token_has_expired() {
    let server = locked().await;
    let mut client = server.connect().await;
    // It has expired, and the clocks may differ by some seconds.
    let token = good(json!({"exp": get_current_timestamp()}));
    enter(&mut client, &token).await;
    client.expect_ok(chat("still here")).await;
    let mut late = server.connect().await;
    let expired = good(json!({"exp": get_current_timestamp() - 60}));
    let refusal = late
        .refusal(ClientMessage::Join(with_token(&expired)))
        .await;
    assert_eq!(refusal.code, "token_expired");
    client.expect_ok(chat("and here")).await;
}

/// Whoever had a right by an earlier token does not keep it by the session of then.
#[tokio::test]
async fn who_joins_anew_has_the_rights_of_the_new_token() {
    let server = locked().await;
    let mut ada = server.connect().await;
    let strong = granting(Permissions::all().moderate(true));
    let first = Join {
        resumable: true,
        ..with_token(&strong)
    };
    let ServerMessage::Welcome(welcome) = ada.request(ClientMessage::Join(first)).await else {
        panic!("no welcome");
    };
    assert!(welcome.permissions.is_some_and(|it| it.moderate));
    let session = welcome.session.expect("a session").token;
    let mut again = server.connect().await;
    let weak = granting(Permissions::all());
    let second = Join {
        resumable: true,
        session: Some(session),
        ..with_token(&weak)
    };
    let ServerMessage::Welcome(renewed) = again.request(ClientMessage::Join(second)).await else {
        panic!("no welcome");
    };
    assert_eq!(renewed.participant, welcome.participant);
    assert!(renewed.permissions.is_some_and(|it| !it.moderate));
}

#[tokio::test]
async fn an_open_server_reads_no_token() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let welcome = enter(&mut client, "nonsense").await;
    assert_eq!(welcome.access, Some(Access::Open));
}

/// Admits whom the token admits that it verifies itself.
struct Reader(Keys);

impl Hooks for Reader {
    async fn authorize(&self, request: JoinRequest) -> Result<Admission, Denial> {
        let token = request.token.ok_or_else(|| Denial::new("Bring a token."))?;
        let admitted = self.0.admit(&token, &request.room);
        admitted.map_err(|fault| Denial::new(fault.to_string()))
    }
}

#[tokio::test]
async fn hooks_decide_alone_and_may_read_the_token() {
    let server = Server::built(|_| {}, |builder| builder.hooks(Reader(keys()))).await;
    let mut client = server.connect().await;
    for (join, sentence) in [
        (join("room", "Ada"), "Bring a token."),
        (with_token("x"), "The access token is no JSON Web Token."),
    ] {
        let refusal = client.refusal(ClientMessage::Join(join)).await;
        assert_eq!(
            (refusal.code.as_str(), refusal.message.as_str()),
            ("not_allowed", sentence)
        );
    }
    assert_eq!(server.node.rooms().joins_refused()["not_allowed"], 2);
    let welcome = enter(&mut client, &granting(Permissions::all())).await;
    assert_eq!(welcome.access, Some(Access::Hooks));
}

#[tokio::test]
async fn keys_beside_hooks_are_an_error_because_they_would_do_nothing() {
    let config = Config {
        keys: Some(keys()),
        ..Config::default()
    };
    let built = Node::builder().config(config).hooks(Reader(keys())).build();
    let Err(error @ NodeError::Config(_)) = built else {
        panic!("built");
    };
    assert!(error.to_string().contains("hooks"), "{error}");
}
