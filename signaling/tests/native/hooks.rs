//! Who joins, as whom, and what they may do there.

use std::sync::Arc;

use futures_util::future::pending;
use serde_json::{Map, json};
use tertulia_signaling::hooks::{Admission, Denial, Hooks, JoinRequest};
use tertulia_signaling::protocol::native::{
    CarriedTrack, ClientMessage, Join, Offer, Permissions, ServerMessage, Source, Update, Welcome,
};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{Client, chat, join, offer};
use crate::embedder::SHORT;
use crate::server::Server;

/// Joins and returns the welcome.
async fn welcome(client: &mut Client, join: Join) -> Welcome {
    match client.request(ClientMessage::Join(join)).await {
        ServerMessage::Welcome(welcome) => welcome,
        other => panic!("{other:?} instead of welcome"),
    }
}

fn carrying(sdp: &str, sources: &[(&str, Source)]) -> ClientMessage {
    let tracks = sources.iter().map(|(mid, source)| CarriedTrack {
        mid: (*mid).to_owned(),
        source: *source,
        muted: false,
    });
    ClientMessage::Offer(Offer {
        sdp: sdp.to_owned(),
        tracks: tracks.collect(),
    })
}

#[tokio::test]
async fn the_embedders_middleware_and_hook_decide_who_joins_and_as_whom() {
    let server = Server::with_door().await;
    let addr = server.mounted().await;
    for path in ["/call/v1/ws", "/talk/v1/ws", "/deep/down/v1/ws"] {
        let url = format!("ws://{addr}{path}");
        let mut ada = Client::connect_asking(&url, &[("cookie", "user=ada")]).await;
        let brought = Map::from_iter([("colour".to_owned(), json!("red"))]);
        let welcome = welcome(
            &mut ada,
            Join {
                metadata: Some(brought.clone().into()),
                ..join("room", "Somebody else")
            },
        )
        .await;
        assert_eq!(welcome.name.as_deref(), Some("The real ada"));
        let expected = json!({
            "room": "room", "asked": "Somebody else", "brought": brought, "client": "127.0.0.1",
        });
        assert_eq!(json!(welcome.metadata), expected, "{path}");
        let mut other = Client::connect_asking(&url, &[]).await;
        let welcome = self::welcome(&mut other, join("room", "Other")).await;
        let seen = welcome.participants.last().expect("the first");
        assert_eq!(seen.name, "The real ada");
        assert_eq!(json!(seen.metadata), expected);
        for client in [ada, other] {
            drop(client);
        }
        server.empties().await;
    }
}

#[tokio::test]
async fn who_is_denied_is_told_why_and_may_try_again() {
    let server = Server::with_door().await;
    let mut client = server.connect().await;
    let refusal = client
        .refusal(ClientMessage::Join(join("room", "nobody")))
        .await;
    assert_eq!(
        (
            refusal.code.as_str(),
            refusal.message.as_str(),
            refusal.fatal
        ),
        ("not_allowed", "Log in first.", false)
    );
    assert_eq!(server.node.counts().rooms, 0, "no room is made for it");
    client.join("room", "Ada").await;
}

#[tokio::test]
async fn a_hook_that_does_not_decide_or_fails_refuses() {
    let server = Server::with_hooks(|builder| builder.authorize_timeout(SHORT)).await;
    let mut client = server.connect().await;
    for (name, code) in [
        ("pending", "authorize_timeout"),
        ("panic", "internal"),
        ("ill-named", "internal"),
    ] {
        let refusal = client
            .refusal(ClientMessage::Join(join("room", name)))
            .await;
        assert_eq!(refusal.code, code, "{name}");
        assert!(
            !refusal.fatal && refusal.message.ends_with('.'),
            "{refusal:?}"
        );
    }
    let counts = server.node.rooms().joins_refused();
    assert_eq!((counts["authorize_timeout"], counts["internal"]), (1, 2));
    client.join("room", "Ada").await;
}

/// Says that it was asked, and never decides.
struct Stuck(Arc<Notify>);

impl Hooks for Stuck {
    async fn authorize(&self, _: JoinRequest) -> Result<Admission, Denial> {
        self.0.notify_one();
        pending().await
    }
}

#[tokio::test]
async fn the_shutdown_waits_for_no_decision() {
    let asked = Arc::new(Notify::new());
    let stuck = Stuck(asked.clone());
    let server = Server::built(|_| {}, |builder| builder.hooks(stuck)).await;
    let mut client = server.connect().await;
    client.send(ClientMessage::Join(join("room", "Ada"))).await;
    asked.notified().await;
    server.node.shutdown().await;
    assert_eq!(client.closed().await, Some(CloseCode::Away));
}

#[tokio::test]
async fn everybody_may_do_everything_without_hooks_and_is_told_so() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let welcome = welcome(&mut client, join("room", " Zoe\u{308} ")).await;
    assert_eq!(welcome.name.as_deref(), Some("Zo\u{eb}"));
    let all = Permissions {
        microphone: true,
        camera: true,
        screen: true,
        subscribe: true,
        chat: true,
        data: true,
        update: true,
        // The first in the room.
        moderate: true,
    };
    assert_eq!(welcome.permissions, Some(all));
    client.offer("send 0 audio").await;
    let last = server.last_peer();
    let (may_send_data, hear_data) = {
        let books = server.media.books();
        (
            books.peers[&last].may_send_data,
            books.peers[&last].hear_data,
        )
    };
    assert_eq!((may_send_data, hear_data), (true, false));
}

#[tokio::test]
async fn a_listener_receives_and_does_nothing_else() {
    let server = Server::with_door().await;
    let mut ada = server.join("Ada").await;
    let tracks = ada.offer("send 0 audio").await.published;
    let mut listener = server.connect().await;
    let welcome = welcome(&mut listener, join("room", "Listener")).await;
    let permissions = welcome.permissions.expect("permissions");
    assert!(!permissions.microphone && !permissions.chat && !permissions.update);
    let answer = listener
        .offer("send 0 audio\nsend 1 video\nrecv 2 audio")
        .await;
    assert!(answer.published.is_empty());
    let refused: Vec<_> = answer
        .refused
        .iter()
        .map(|line| (line.mid.as_str(), line.code.as_str(), line.message.as_str()))
        .collect();
    assert_eq!(
        refused,
        [
            ("0", "not_allowed", "You may not send sound in this room."),
            (
                "1",
                "not_allowed",
                "You may not send a camera in this room."
            ),
        ]
    );
    let slots = listener.find(|message| match message {
        ServerMessage::Slots { slots } => Some(slots[0].track.clone()),
        _ => None,
    });
    assert_eq!(slots.await, Some(tracks[0].track.clone()));
    let update = ClientMessage::Update(Update {
        name: Some("Ada".into()),
        metadata: None,
    });
    for message in [chat("hello"), update] {
        let refusal = listener.refusal(message).await;
        assert_eq!(
            (refusal.code.as_str(), refusal.fatal),
            ("not_allowed", false)
        );
    }
    assert_eq!(ada.told().await.len(), 1, "only that somebody has come");
    let last = server.last_peer();
    assert!(!server.media.books().peers[&last].may_send_data);
}

#[tokio::test]
async fn a_screen_alone_may_be_published_by_its_name_and_kind() {
    let server = Server::with_door().await;
    let mut client = server.join("Screen").await;
    let sdp = "send 0 audio\nsend 1 video\nsend 2 audio\nsend 3 video\nsend 4 video";
    let sources = [
        ("0", Source::ScreenAudio),
        ("1", Source::Screen),
        ("2", Source::Screen),
        ("3", Source::ScreenAudio),
    ];
    let ServerMessage::Answer(answer) = client.request(carrying(sdp, &sources)).await else {
        panic!("no answer");
    };
    let mids: Vec<_> = answer.published.iter().map(|it| it.mid.as_str()).collect();
    assert_eq!(mids, ["0", "1"]);
    let refused: Vec<_> = answer.refused.iter().map(|it| it.mid.as_str()).collect();
    assert_eq!(refused, ["2", "3", "4"]);
    // A later offer that names nothing changes nothing; one that makes a camera of the screen ends it.
    let again = client
        .request(carrying("send 0 audio\nsend 1 video", &[]))
        .await;
    let ServerMessage::Answer(again) = again else {
        panic!("no answer");
    };
    assert_eq!(again.published, answer.published);
    let camera = [("1", Source::Camera)];
    let answer = client
        .request(carrying("send 0 audio\nsend 1 video", &camera))
        .await;
    let ServerMessage::Answer(answer) = answer else {
        panic!("no answer");
    };
    assert_eq!(answer.published, again.published[..1]);
    assert_eq!(answer.refused[0].code, "not_allowed");
}

#[tokio::test]
async fn rights_are_each_their_own() {
    let server = Server::with_door().await;
    let mut silent = server.join("Silent").await;
    let answer = silent.offer("send 0 audio\nsend 1 video").await;
    let mids: Vec<_> = answer.published.iter().map(|it| it.mid.as_str()).collect();
    assert_eq!(mids, ["1"]);
    silent.expect_ok(chat("I cannot speak")).await;
    let mut writer = server.join("Writer").await;
    writer.expect_ok(chat("nor can I")).await;
    assert_eq!(
        writer.request(offer("send 0 audio")).await.refused_lines(),
        1
    );
    let mut speaker = server.join("Speaker").await;
    assert_eq!(speaker.refusal(chat("x")).await.code, "not_allowed");
    assert_eq!(
        speaker.request(offer("send 0 audio")).await.refused_lines(),
        0
    );
}

trait RefusedLines {
    fn refused_lines(&self) -> usize;
}

impl RefusedLines for ServerMessage {
    fn refused_lines(&self) -> usize {
        match self {
            Self::Answer(answer) => answer.refused.len(),
            other => panic!("{other:?} instead of an answer"),
        }
    }
}
