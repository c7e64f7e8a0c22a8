//! Participants in a room, and their messages.

use serde_json::{Map, json};
use tertulia_signaling::protocol::native::{
    ClientMessage, Join, LeaveReason, Mute, ServerMessage, Update,
};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{chat, join, left};
use crate::server::Server;

#[tokio::test]
async fn a_participant_is_welcomed_and_announced() {
    let server = Server::start().await;
    let mut ada = server.connect().await;
    let welcome = ada.join("room", "Ada").await;
    assert_eq!((welcome.room.as_str(), welcome.version), ("room", 1));
    assert!(welcome.participant.starts_with("pa_"));
    assert!(welcome.participants.is_empty() && welcome.chat.is_empty());
    assert_eq!(welcome.limits.chat_chars, 2_000);
    assert_eq!(welcome.server.name, "tertulia");

    let mut grace = server.connect().await;
    let metadata = Map::from_iter([("avatar".to_owned(), json!({"hue": 120}))]);
    let message = ClientMessage::Join(Join {
        metadata: Some(metadata.clone().into()),
        ..join("room", "Grace")
    });
    let ServerMessage::Welcome(welcome) = grace.request(message).await else {
        panic!("no welcome");
    };
    let [seen] = welcome.participants.as_slice() else {
        panic!("{welcome:?}");
    };
    assert_eq!(
        (seen.id.as_str(), seen.name.as_str()),
        (ada.id.as_str(), "Ada")
    );
    let ServerMessage::ParticipantJoined { participant } = ada.next().await else {
        panic!("not announced");
    };
    assert_eq!(participant.id, welcome.participant);
    assert_eq!(participant.metadata, metadata.into());
}

#[tokio::test]
async fn rooms_do_not_hear_each_other_and_names_may_repeat() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut other = server.connect().await;
    other.join("other-room", "Ada").await;
    other.expect_ok(chat("to nobody")).await;
    let twin = server.join("Ada").await;
    let ServerMessage::ParticipantJoined { participant } = ada.next().await else {
        panic!("not announced");
    };
    assert_eq!(participant.id, twin.id);
    assert_ne!(twin.id, ada.id);
}

#[tokio::test]
async fn a_leaver_gets_bye_and_the_others_hear_of_it() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut grace = server.join("Grace").await;
    let id = grace.id.clone();
    let request = grace.send(ClientMessage::Leave).await;
    let ServerMessage::Bye {
        id: answers,
        reason,
        ..
    } = grace.next().await
    else {
        panic!("no bye");
    };
    assert_eq!((answers, reason.as_str()), (Some(request), "left"));
    assert_eq!(grace.closed().await, Some(CloseCode::Normal));
    assert_eq!(left(&mut ada).await, (id, LeaveReason::Left));
}

#[tokio::test]
async fn a_lost_connection_is_announced() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let grace = server.join("Grace").await;
    let id = grace.id.clone();
    drop(grace);
    assert_eq!(left(&mut ada).await, (id, LeaveReason::Disconnected));
}

#[tokio::test]
async fn a_silent_client_is_dropped() {
    let server = Server::with(|config| {
        config.limits.ping_interval_ms = 50;
        config.limits.silence_ms = 200;
    })
    .await;
    // Does not read, so it does not answer pings.
    let grace = server.join("Grace").await;
    let mut ada = server.join("Ada").await;
    assert_eq!(left(&mut ada).await, (grace.id, LeaveReason::Disconnected));
}

#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let server = Server::with(|config| {
        config.limits.ping_interval_ms = 50;
        config.limits.silence_ms = 200;
    })
    .await;
    let mut ada = server.join("Ada").await;
    let grace = server.join("Grace").await;
    // Ada reads until Grace, who does not, has been dropped for silence.
    assert_eq!(left(&mut ada).await.0, grace.id);
    ada.expect_ok(chat("still here")).await;
}

#[tokio::test]
async fn updates_are_told_to_the_others() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut grace = server.join("Grace").await;
    let update = Update {
        name: Some("Admiral".into()),
        metadata: None,
    };
    grace.expect_ok(ClientMessage::Update(update)).await;
    let updated = ada.find(|message| match message {
        ServerMessage::ParticipantUpdated { participant } => Some(participant.clone()),
        _ => None,
    });
    assert_eq!(updated.await.name, "Admiral");
    let welcome = server.connect().await.join("room", "Late").await;
    assert!(welcome.participants.iter().any(|p| p.name == "Admiral"));
}

#[tokio::test]
async fn chat_reaches_everyone_in_one_order_and_late_joiners() {
    let server = Server::with(|config| config.limits.chat_history = 3).await;
    let mut ada = server.join("Ada").await;
    let mut grace = server.join("Grace").await;
    for text in ["one", "two"] {
        ada.expect_ok(chat(text)).await;
        grace.expect_ok(chat(&text.to_uppercase())).await;
    }
    let mut heard = Vec::new();
    for client in [&mut ada, &mut grace] {
        let mut texts = Vec::new();
        for _ in 0..4 {
            texts.push(said(client).await);
        }
        heard.push(texts);
    }
    assert_eq!(heard[0], heard[1]);
    assert_eq!(heard[0][..2], ["one", "ONE"]);

    let welcome = server.connect().await.join("room", "Late").await;
    let kept: Vec<_> = welcome
        .chat
        .iter()
        .map(|m| (m.text.as_str(), m.id))
        .collect();
    assert_eq!(kept, [("ONE", 2), ("two", 3), ("TWO", 4)]);
    assert_eq!(welcome.chat[0].name, "Grace");
    assert!(welcome.chat[0].at_ms > 1_700_000_000_000);
}

#[tokio::test]
async fn an_empty_room_keeps_its_chat_for_a_reload() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    ada.expect_ok(chat("brb")).await;
    ada.send(ClientMessage::Leave).await;
    ada.closed().await;
    let welcome = server.connect().await.join("room", "Ada").await;
    assert_eq!(welcome.chat.len(), 1);
}

#[tokio::test]
async fn an_empty_room_is_closed_in_the_end() {
    let server = Server::with(|config| config.limits.empty_room_ms = 1).await;
    let mut ada = server.join("Ada").await;
    ada.expect_ok(chat("gone soon")).await;
    ada.send(ClientMessage::Leave).await;
    ada.closed().await;
    server.media.until(|books| books.rooms.is_empty()).await;
    let welcome = server.connect().await.join("room", "Ada").await;
    assert!(welcome.chat.is_empty());
}

#[tokio::test]
async fn nobody_is_told_about_oneself() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let track = ada.offer("send 0 audio").await.published[0].track.clone();
    let muted = true;
    ada.expect_ok(ClientMessage::Mute(Mute { track, muted }))
        .await;
    let update = Update {
        name: Some("Admiral".into()),
        metadata: None,
    };
    ada.expect_ok(ClientMessage::Update(update)).await;
    assert_eq!(ada.told().await, []);
}

async fn said(client: &mut crate::client::Client) -> String {
    client
        .find(|message| match message {
            ServerMessage::Chat { message } => Some(message.text.clone()),
            _ => None,
        })
        .await
}
