//! Invitations that moderators make: past the waiting room, and nowhere else.

use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use tertulia_signaling::access::{Claims, Keys, Publish, Token};
use tertulia_signaling::hooks::{Hooks, Permissions};
use tertulia_signaling::protocol::native::{
    ClientMessage, Grants, Invitation, Invite, Join, Moderate, Revoke, ServerMessage, Welcome,
};
use tertulia_signaling::room::Change;
use tokio::io::AsyncReadExt;

use crate::client::{Client, chat, join};
use crate::embedder::change;
use crate::moderation::{bye, moderate, remove};
use crate::process::{Process, stopped, tertulia};
use crate::server::Server;

const HOUR: Duration = Duration::from_secs(3_600);
const HOUR_S: u64 = 3_600;
/// The bytes of the operator's secret.
const SECRET: [u8; 32] = [7; 32];

/// The operator's key, and tokens that are revoked.
fn keys(revoked: &[&str]) -> Keys {
    let key = json!({"kty": "oct", "kid": "1", "k": URL_SAFE_NO_PAD.encode(SECRET)});
    let set = json!({"keys": [key], "revoked": revoked});
    Keys::from_json(&set.to_string()).expect("keys")
}

async fn house() -> Server {
    Server::with(|config| config.keys = Some(keys(&[]))).await
}

/// A token of the operator's.
fn staff(permissions: Permissions, identity: &str, valid: Duration) -> Token {
    let mut claims = Claims::join("room", permissions);
    claims.identity = Some(identity.to_lowercase());
    let token = keys(&[]).issue(&claims, valid, None);
    token.expect("a token")
}

fn with_token(room: &str, name: &str, token: &Token) -> ClientMessage {
    ClientMessage::Join(Join {
        token: Some(token.clone()),
        ..join(room, name)
    })
}

async fn enter_with(server: &Server, name: &str, token: &Token) -> (Client, Welcome) {
    let mut client = server.connect().await;
    let answer = client.request(with_token("room", name, token)).await;
    let ServerMessage::Welcome(welcome) = answer else {
        panic!("{answer:?} instead of welcome");
    };
    client.id = welcome.participant.clone();
    (client, welcome)
}

async fn moderator(server: &Server, name: &str) -> Client {
    let token = staff(Permissions::all().moderate(true), name, HOUR);
    enter_with(server, name, &token).await.0
}

async fn guest(server: &Server, name: &str) -> Client {
    let token = staff(Permissions::all(), name, HOUR);
    enter_with(server, name, &token).await.0
}

/// The code of the refusal of a join.
async fn refused(server: &Server, room: &str, name: &str, token: &Token) -> String {
    let mut client = server.connect().await;
    client.refusal(with_token(room, name, token)).await.code
}

/// Whether a join has to wait.
async fn waits(server: &Server, name: &str, token: &Token) -> bool {
    let mut client = server.connect().await;
    client.send(with_token("room", name, token)).await;
    client.next().await == ServerMessage::Wait
}

fn wish(expires_s: u64) -> Invite {
    Invite {
        expires_s,
        name: None,
        grants: None,
    }
}

fn granting(grants: Grants) -> Invite {
    Invite {
        grants: Some(grants),
        ..wish(HOUR_S)
    }
}

fn to_moderate(expires_s: u64) -> Invite {
    let grants = Grants {
        moderate: Some(true),
        ..Grants::default()
    };
    Invite {
        grants: Some(grants),
        ..wish(expires_s)
    }
}

fn revoke(invitation: &str) -> ClientMessage {
    ClientMessage::Revoke(Revoke {
        invitation: invitation.into(),
    })
}

/// The id and the token of a new invitation.
async fn invite(client: &mut Client, wish: Invite) -> (String, Token) {
    let end = (get_current_timestamp() + wish.expires_s) * 1_000;
    let answer = client.request(ClientMessage::Invite(wish)).await;
    let ServerMessage::Invitation {
        invitation,
        token,
        expires_at_ms,
        ..
    } = answer
    else {
        panic!("{answer:?} instead of an invitation");
    };
    assert!((end..end + 60_000).contains(&expires_at_ms));
    (invitation, token)
}

async fn invitations(client: &mut Client) -> Vec<Invitation> {
    match client.request(ClientMessage::Invitations).await {
        ServerMessage::Invitations { invitations, .. } => invitations,
        other => panic!("{other:?} instead of invitations"),
    }
}

async fn rule(client: &mut Client, rule: Moderate) {
    client.expect_ok(moderate(rule)).await;
}

/// The claims of a token, whoever has signed it.
fn claims(token: &Token) -> Value {
    let claims = token.as_str().split('.').nth(1).expect("claims");
    let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    serde_json::from_slice(&claims).expect("JSON")
}

#[tokio::test]
async fn an_invitation_passes_the_waiting_room_until_it_is_revoked_and_who_is_in_stays() {
    let server = house().await;
    let mut boss = moderator(&server, "Boss").await;
    rule(&mut boss, Moderate::WaitingRoom { on: true }).await;
    let (id, token) = invite(&mut boss, wish(HOUR_S)).await;
    let eve = staff(Permissions::all(), "Eve", HOUR);
    assert!(waits(&server, "Eve", &eve).await);
    // By one link come as many as have it, each under the name that they ask for.
    let (mut ada, welcome) = enter_with(&server, "Ada", &token).await;
    assert_eq!(welcome.name.as_deref(), Some("Ada"));
    let permissions = welcome.permissions.expect("permissions");
    assert!(permissions.camera && permissions.chat && !permissions.moderate);
    enter_with(&server, "Grace", &token).await;
    let listed = invitations(&mut boss).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].id.as_str(), listed[0].made_by.as_str()),
        (id.as_str(), "Boss")
    );
    assert_eq!(listed[0].permissions, permissions);

    boss.expect_ok(revoke(&id)).await;
    assert_eq!(
        refused(&server, "room", "Eve", &token).await,
        "token_revoked"
    );
    ada.expect_ok(chat("I stay")).await;
    assert_eq!(invitations(&mut boss).await, []);
    let again = boss.refusal(revoke(&id)).await;
    assert_eq!(again.code, "no_such_invitation");
    let rooms = server.node.rooms();
    assert_eq!(rooms.joins_refused()["token_revoked"], 1);
    let done = rooms.moderated();
    assert_eq!((done["invite"], done["revoke"]), (1, 1));
    assert_eq!(rooms.moderation_refused()["no_such_invitation"], 1);
}

#[tokio::test]
async fn an_invitation_says_who_somebody_is_and_what_they_may_do() {
    let server = house().await;
    let mut boss = moderator(&server, "Boss").await;
    let grants = Grants {
        publish: Some(vec![Publish::Microphone]),
        chat: Some(false),
        update: Some(false),
        ..Grants::default()
    };
    let asked = Invite {
        name: Some(" Zoe\u{308} ".into()),
        ..granting(grants)
    };
    let (_, token) = invite(&mut boss, asked).await;
    let (mut zoe, welcome) = enter_with(&server, "Somebody", &token).await;
    assert_eq!(welcome.name.as_deref(), Some("Zo\u{eb}"));
    let permissions = welcome.permissions.expect("permissions");
    assert!(permissions.microphone && permissions.subscribe && permissions.data);
    assert!(!permissions.camera && !permissions.screen && !permissions.update);
    assert_eq!(zoe.refusal(chat("hello")).await.code, "not_allowed");
    let listed = invitations(&mut boss).await;
    assert_eq!(listed[0].name.as_deref(), Some("Zo\u{eb}"));
    assert_eq!(listed[0].permissions, permissions);
}

#[tokio::test]
async fn it_passes_no_lock_and_no_ban() {
    let server = house().await;
    let mut boss = moderator(&server, "Boss").await;
    let (_, token) = invite(&mut boss, wish(HOUR_S)).await;
    rule(&mut boss, Moderate::Lock { on: true }).await;
    assert_eq!(refused(&server, "room", "Ada", &token).await, "room_locked");
    rule(&mut boss, Moderate::Lock { on: false }).await;

    // Who came by it, and who had an identity before: the same address and name are both.
    let (mut mallory, _) = enter_with(&server, "Mallory", &token).await;
    let mut eve = guest(&server, "Eve").await;
    for banned in [&mut mallory, &mut eve] {
        let ban = Moderate::Ban {
            participant: banned.id.clone(),
        };
        rule(&mut boss, ban).await;
        assert_eq!(bye(banned).await.0, "banned");
    }
    for name in ["Mallory", "Eve"] {
        assert_eq!(
            refused(&server, "room", name, &token).await,
            "banned",
            "{name}"
        );
    }
    // Others of that address are not concerned, and least those who have an identity.
    enter_with(&server, "Ada", &token).await;
    guest(&server, "Grace").await;
}

#[tokio::test]
async fn a_wrong_room_an_expired_and_a_tampered_one_are_refused() {
    let server = house().await;
    let mut boss = moderator(&server, "Boss").await;
    let (id, token) = invite(&mut boss, wish(HOUR_S)).await;
    assert_eq!(
        refused(&server, "other", "Ada", &token).await,
        "token_wrong_room"
    );

    let claims = claims(&token);
    assert_eq!(claims["jti"], id);
    let signed = |changes: Value, secret: &[u8]| -> Token {
        let mut claims = claims.clone();
        for (key, value) in changes.as_object().expect("an object") {
            claims[key] = value.clone();
        }
        let mut header = Header::new(jsonwebtoken::Algorithm::HS256);
        header.kid = Some("1".into());
        let key = EncodingKey::from_secret(secret);
        encode(&header, &claims, &key).expect("signed").into()
    };
    let past = get_current_timestamp() - 60;
    let mut grants = claims["tertulia"].clone();
    grants["moderate"] = true.into();
    // The claims of a moderator under the signature of this one.
    let forged = signed(json!({"tertulia": grants}), &[9; 32]);
    let mut parts: Vec<&str> = forged.as_str().split('.').collect();
    let signature = token.as_str().rsplit('.').next().expect("a signature");
    parts[2] = signature;
    for (token, code) in [
        (signed(json!({"exp": past}), &SECRET), "token_expired"),
        (signed(json!({}), &[9; 32]), "token_invalid"),
        (Token::from(parts.join(".")), "token_invalid"),
    ] {
        assert_eq!(refused(&server, "room", "Ada", &token).await, code);
    }
    // An invitation of the operator's own, which no moderator has made, is one as well.
    rule(&mut boss, Moderate::WaitingRoom { on: true }).await;
    enter_with(&server, "Ada", &signed(json!({"jti": "own"}), &SECRET)).await;
    assert_eq!(boss.refusal(revoke("own")).await.code, "no_such_invitation");
}

#[tokio::test]
async fn who_may_not_moderate_neither_makes_nor_reads_nor_revokes_any() {
    let server = house().await;
    let mut boss = moderator(&server, "Boss").await;
    let (id, token) = invite(&mut boss, wish(HOUR_S)).await;
    let mut ada = guest(&server, "Ada").await;
    for message in [
        ClientMessage::Invite(wish(HOUR_S)),
        // The right comes before the fields.
        ClientMessage::Invite(wish(0)),
        ClientMessage::Invitations,
        revoke(&id),
        revoke("in_none"),
    ] {
        let refusal = ada.refusal(message.clone()).await;
        assert_eq!(refusal.code, "not_allowed", "{message:?}");
        assert!(!refusal.fatal && refusal.message.ends_with('.'));
    }
    let rooms = server.node.rooms();
    assert_eq!(rooms.moderation_refused()["not_allowed"], 5);
    assert_eq!(rooms.moderated()["invite"], 1);
    enter_with(&server, "Grace", &token).await;
    // Who moderates another room neither.
    let mut claims = Claims::join("other", Permissions::all().moderate(true));
    claims.identity = Some("mallory".into());
    let other = keys(&[]).issue(&claims, HOUR, None).expect("a token");
    let mut mallory = server.connect().await;
    let answer = mallory
        .request(with_token("other", "Mallory", &other))
        .await;
    assert!(matches!(answer, ServerMessage::Welcome(_)), "{answer:?}");
    assert_eq!(invitations(&mut mallory).await, []);
    let refusal = mallory.refusal(revoke(&id)).await;
    assert_eq!(refusal.code, "no_such_invitation");
    assert_eq!(invitations(&mut boss).await.len(), 1);
}

#[tokio::test]
async fn nobody_grants_more_than_they_have_or_for_longer_than_they_have_it() {
    let server = house().await;
    let rights = Permissions::all().chat(false).moderate(true);
    let token = staff(rights, "Boss", HOUR);
    let (mut boss, _) = enter_with(&server, "Boss", &token).await;
    let chatting = Grants {
        chat: Some(true),
        ..Grants::default()
    };
    for (asked, code) in [
        (granting(chatting), "not_allowed"),
        // An hour is later now than when the token was made, or as late.
        (to_moderate(HOUR_S + 60), "not_allowed"),
        (wish(59), "bad_field"),
        (wish(30 * 86_400 + 1), "bad_field"),
        (wish(u64::MAX), "bad_field"),
        (
            Invite {
                name: Some("a\nb".into()),
                ..wish(60)
            },
            "bad_field",
        ),
    ] {
        let refusal = boss.refusal(ClientMessage::Invite(asked.clone())).await;
        assert_eq!(refusal.code, code, "{asked:?}");
    }
    assert_eq!(invitations(&mut boss).await, []);
    let refused_so_far = server.node.rooms().moderation_refused();
    assert_eq!(
        (refused_so_far["not_allowed"], refused_so_far["bad_field"]),
        (2, 4)
    );
    // By default it grants what its maker has, to guests for as long as may be.
    let (_, token) = invite(&mut boss, wish(30 * 86_400)).await;
    let (_, welcome) = enter_with(&server, "Ada", &token).await;
    assert!(!welcome.permissions.expect("permissions").chat);
    // A second moderator acts as the first.
    let (_, token) = invite(&mut boss, to_moderate(60)).await;
    let (mut second, welcome) = enter_with(&server, "Second", &token).await;
    assert!(welcome.permissions.expect("permissions").moderate);
    let refusal = second
        .refusal(ClientMessage::Invite(to_moderate(120)))
        .await;
    assert_eq!(refusal.code, "not_allowed");
    let (id, _) = invite(&mut second, wish(HOUR_S)).await;
    boss.expect_ok(revoke(&id)).await;
    second.expect_ok(remove(&boss.id)).await;
}

#[tokio::test]
async fn a_room_has_a_hundred_and_a_revoked_one_makes_place() {
    let server = Server::with(|config| {
        config.keys = Some(keys(&[]));
        config.limits.message_burst = 1_000;
    })
    .await;
    let mut boss = moderator(&server, "Boss").await;
    let (first, _) = invite(&mut boss, wish(HOUR_S)).await;
    for _ in 1..100 {
        invite(&mut boss, wish(HOUR_S)).await;
    }
    let refusal = boss.refusal(ClientMessage::Invite(wish(HOUR_S))).await;
    assert_eq!(refusal.code, "too_many_invitations");
    boss.expect_ok(revoke(&first)).await;
    invite(&mut boss, wish(HOUR_S)).await;
    assert_eq!(invitations(&mut boss).await.len(), 100);
}

#[tokio::test]
async fn on_an_open_server_an_invitation_passes_the_waiting_room_and_ends_with_the_room() {
    let server = Server::with(|config| config.limits.empty_room_ms = 0).await;
    let mut boss = server.join("Boss").await;
    rule(&mut boss, Moderate::WaitingRoom { on: true }).await;
    let (id, token) = invite(&mut boss, wish(HOUR_S)).await;
    let (gone, revoked) = invite(&mut boss, wish(HOUR_S)).await;
    assert_eq!(invitations(&mut boss).await.len(), 2);
    let (mut ada, welcome) = enter_with(&server, "Ada", &token).await;
    assert!(!welcome.permissions.expect("permissions").moderate);
    boss.expect_ok(revoke(&gone)).await;
    assert_eq!(
        refused(&server, "room", "Bob", &revoked).await,
        "token_revoked"
    );
    // Whatever else is brought is no invitation, and does no harm.
    let tampered = Token::from(format!("{}x", token.as_str()));
    let operators = staff(Permissions::all().moderate(true), "Eve", HOUR);
    for token in [&tampered, &operators, &"nonsense".into()] {
        assert!(waits(&server, "Eve", token).await);
    }
    let mut elsewhere = server.connect().await;
    let answer = elsewhere.request(with_token("other", "Eve", &token)).await;
    assert!(matches!(answer, ServerMessage::Welcome(_)), "{answer:?}");
    // Nobody grants rights there.
    let refusal = boss
        .refusal(ClientMessage::Invite(to_moderate(HOUR_S)))
        .await;
    assert_eq!(refusal.code, "bad_field");
    rule(&mut boss, Moderate::Lock { on: true }).await;
    assert_eq!(refused(&server, "room", "Bob", &token).await, "room_locked");

    // Others may meet under this name: who was invited before waits like anybody.
    for client in [&mut ada, &mut boss, &mut elsewhere] {
        client.expect_bye(ClientMessage::Leave).await;
    }
    while server.node.counts().rooms > 0 {
        tokio::task::yield_now().await;
    }
    let mut other = server.join("Other").await;
    assert_eq!(invitations(&mut other).await, []);
    assert_eq!(other.refusal(revoke(&id)).await.code, "no_such_invitation");
    rule(&mut other, Moderate::WaitingRoom { on: true }).await;
    for token in [&token, &revoked] {
        assert!(waits(&server, "Ada", token).await);
    }
}

/// Lets everybody moderate.
struct Everybody;

impl Hooks for Everybody {
    async fn authorize(
        &self,
        request: tertulia_signaling::hooks::JoinRequest,
    ) -> Result<tertulia_signaling::hooks::Admission, tertulia_signaling::hooks::Denial> {
        let admission = tertulia_signaling::hooks::Admission::new();
        let guest = request.name.starts_with("Guest");
        let permissions = Permissions::all().moderate(!guest);
        Ok(admission
            .permissions(permissions)
            .invited(request.name == "Guest of honour"))
    }
}

#[tokio::test]
async fn with_hooks_the_embedder_invites() {
    let server = Server::built(|_| {}, |builder| builder.hooks(Everybody)).await;
    let mut boss = server.join("Boss").await;
    let refusal = boss.refusal(ClientMessage::Invite(wish(HOUR_S))).await;
    assert_eq!(refusal.code, "invitations_off");
    let refused = server.node.rooms().moderation_refused();
    assert_eq!(refused["invitations_off"], 1);
    assert_eq!(invitations(&mut boss).await, []);
    rule(&mut boss, Moderate::WaitingRoom { on: true }).await;
    let mut guest = server.connect().await;
    guest.send(ClientMessage::Join(join("room", "Guest"))).await;
    assert_eq!(guest.next().await, ServerMessage::Wait);
    server.join("Guest of honour").await;
}

#[tokio::test]
async fn a_restart_keeps_what_the_operators_key_has_signed_and_the_operators_list_alone_revokes_it()
{
    let server = house().await;
    let mut boss = moderator(&server, "Boss").await;
    let (id, token) = invite(&mut boss, wish(HOUR_S)).await;
    boss.expect_ok(revoke(&id)).await;
    assert_eq!(
        refused(&server, "room", "Ada", &token).await,
        "token_revoked"
    );
    let next = house().await;
    enter_with(&next, "Ada", &token).await;
    let mut boss = moderator(&next, "Boss").await;
    assert_eq!(invitations(&mut boss).await, []);
    let listing = Server::with(|config| config.keys = Some(keys(&[&id]))).await;
    assert_eq!(
        refused(&listing, "room", "Ada", &token).await,
        "token_revoked"
    );
}

#[tokio::test]
async fn an_embedder_hears_of_each() {
    let server = house().await;
    let mut boss = moderator(&server, "Boss").await;
    let mut events = server.node.events();
    let (id, _) = invite(&mut boss, wish(HOUR_S)).await;
    boss.expect_ok(revoke(&id)).await;
    for expected in ["invite", "revoke"] {
        let Change::Moderated {
            by,
            action,
            invitation,
            participant: None,
            track: None,
            on: None,
        } = change(&mut events).await
        else {
            panic!("no action");
        };
        assert_eq!((action, by.identity.as_deref()), (expected, Some("boss")));
        assert_eq!(invitation.as_ref().map(|it| it.as_str()), Some(id.as_str()));
    }
}

#[tokio::test]
async fn each_is_one_line_of_the_log_by_its_id_and_never_by_its_token() {
    let ports = ["--listen", "127.0.0.1:0", "--media-port", "0"];
    let logged = ["--log", "json", "--log-filter", "trace"];
    let mut command = tertulia(&[&ports[..], &logged].concat());
    command.env_remove("RUST_LOG").stderr(Stdio::piped());
    let mut process = Process::spawn(command).await;
    let mut stderr = process.child.stderr.take().expect("stderr");
    let mut ada = process.join("Ada").await;
    let (id, token) = invite(&mut ada, wish(HOUR_S)).await;
    let mut grace = Client::connect(&process.url()).await;
    let answer = grace.request(with_token("room", "Grace", &token)).await;
    let ServerMessage::Welcome(welcome) = answer else {
        panic!("{answer:?}");
    };
    ada.expect_ok(revoke(&id)).await;
    assert_eq!(ada.refusal(revoke(&id)).await.code, "no_such_invitation");
    assert_eq!(stopped(&mut process).await, Some(0));
    let mut logged = String::new();
    stderr.read_to_string(&mut logged).await.expect("text");
    let signature = token.as_str().rsplit('.').next().expect("a signature");
    assert!(!logged.contains(signature));
    let lines = logged.lines().filter_map(|line| {
        let json: Value = serde_json::from_str(line).expect(line);
        let fields = json["fields"].clone();
        (fields["action"].is_string() || fields["token"].is_string()).then_some(fields)
    });
    let line = |action: &str| json!({"message": "moderated", "room": "room", "actor": ada.id, "action": action, "invitation": id});
    let expected = [
        line("invite"),
        json!({"message": "participant joined", "room": "room", "participant": welcome.participant, "token": id, "client": "127.0.0.1"}),
        line("revoke"),
        json!({
            "message": "moderation refused", "room": "room", "actor": ada.id, "action": "revoke",
            "code": "no_such_invitation",
        }),
    ];
    assert_eq!(lines.collect::<Vec<_>>(), expected);
}
