//! Messages that are wrong, each with its error, and the connection lives on.

use serde_json::{Map, json};
use tertulia_signaling::protocol::native::{ClientMessage, Join, Offer, Tracks, Update};
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, chat, join, offer};
use crate::server::Server;

#[tokio::test]
async fn frames_that_are_no_messages() {
    let server = Server::start().await;
    let mut client = server.join("Ada").await;
    for (frame, code, id) in [
        ("{", "bad_json", None),
        ("", "bad_json", None),
        ("[1,2]", "bad_json", None),
        ("{\"id\":4}", "bad_field", None),
        ("{\"type\":\"ping\",\"id\":-4}", "bad_field", None),
        ("{\"type\":\"fly\",\"id\":4}", "unknown_type", Some(4)),
        (
            "{\"type\":\"chat\",\"id\":4,\"text\":{}}",
            "bad_field",
            Some(4),
        ),
    ] {
        client.send_text(frame).await;
        let refusal = client.next_refusal().await;
        assert_eq!((refusal.code.as_str(), refusal.id), (code, id), "{frame}");
        assert!(!refusal.fatal && refusal.message.ends_with('.'));
    }
    client.send_raw(Message::binary(vec![0, 1, 2])).await;
    assert_eq!(client.next_refusal().await.code, "not_text");
    client.expect_ok(chat("still here")).await;
}

#[tokio::test]
async fn messages_out_of_order() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    for early in [
        chat("hello"),
        offer("send 0 audio"),
        ClientMessage::Stats,
        ClientMessage::Subscribe(Tracks { tracks: Vec::new() }),
    ] {
        assert_eq!(client.refusal(early).await.code, "not_joined");
    }
    client.request(ClientMessage::Ping { received: None }).await;
    client.join("room", "Ada").await;
    let again = ClientMessage::Join(join("room", "Ada"));
    assert_eq!(client.refusal(again).await.code, "already_joined");
    client.expect_ok(chat("still here")).await;
}

#[tokio::test]
async fn joins_that_cannot_be() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let bad_version = Join {
        version: 2,
        ..join("room", "Ada")
    };
    let refusal = client.refusal(ClientMessage::Join(bad_version)).await;
    assert_eq!(refusal.code, "bad_version");
    let metadata = Map::from_iter([("k".to_owned(), json!("v".repeat(5_000)))]);
    for (bad, field) in [
        (join("", "Ada"), "room"),
        (join("a/b", "Ada"), "room"),
        (join(&"r".repeat(65), "Ada"), "room"),
        (join("room", ""), "name"),
        (join("room", &"n".repeat(65)), "name"),
        (join("room", "a\nb"), "name"),
        (join("room", "\u{200b}\u{200b}"), "name"),
        (join("room", "Eve \u{202e}gnp.exe"), "U+202E"),
        (join("a\u{200b}b", "Ada"), "U+200B"),
        (
            Join {
                metadata: Some(metadata.into()),
                ..join("room", "Ada")
            },
            "metadata",
        ),
    ] {
        let refusal = client.refusal(ClientMessage::Join(bad)).await;
        assert_eq!(refusal.code, "bad_field");
        assert!(refusal.message.contains(field), "{}", refusal.message);
    }
    // The connection may still join.
    client.join("room", "Ada").await;
    assert_eq!(server.node.counts().rooms, 1);
}

#[tokio::test]
async fn requests_that_cannot_be() {
    let server = Server::start().await;
    let mut client = server.join("Ada").await;
    let track = client.offer("send 0 audio").await.published[0]
        .track
        .clone();
    let subscribe = |track: &str| {
        ClientMessage::Subscribe(Tracks {
            tracks: vec![track.to_owned()],
        })
    };
    let junk = ClientMessage::Offer(Offer {
        sdp: "v=0 junk".into(),
        tracks: Vec::new(),
    });
    let nameless = ClientMessage::Update(Update {
        name: Some(" ".into()),
        metadata: None,
    });
    for (message, code) in [
        (junk, "sdp_syntax"),
        (nameless, "bad_field"),
        (chat(""), "bad_field"),
        (chat(&"x".repeat(2_001)), "bad_field"),
        (subscribe("tr_none"), "no_such_track"),
        (subscribe(&track), "bad_field"),
    ] {
        assert_eq!(
            client.refusal(message.clone()).await.code,
            code,
            "{message:?}"
        );
    }
    client.expect_ok(chat(&"\u{1f600}".repeat(2_000))).await;
}

#[tokio::test]
async fn a_junk_first_offer_may_be_followed_by_a_good_one() {
    let server = Server::start().await;
    let mut client = server.join("Ada").await;
    assert_eq!(client.refusal(offer("junk")).await.code, "sdp_syntax");
    assert_eq!(client.offer("send 0 audio").await.published.len(), 1);
}

#[tokio::test]
async fn another_site_may_not_connect() {
    let server = Server::start().await;
    let origin = |origin: &str| {
        format!(
            "GET /v1/ws HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            server.addr
        )
    };
    let evil = crate::http::status(&server, &origin("https://evil.example")).await;
    assert_eq!(evil, 403);
    let own = format!("http://{}", server.addr);
    assert_eq!(crate::http::status(&server, &origin(&own)).await, 101);
    Client::connect(&server.url())
        .await
        .join("room", "Ada")
        .await;
}
