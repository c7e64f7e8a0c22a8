//! Events that an embedder hears of rooms, and its operations on them.

use std::sync::Arc;

use tertulia_signaling::media::{self, MediaKind, PeerId, ServerData};
use tertulia_signaling::protocol::native::{ClientMessage, LeaveReason, ServerMessage};
use tertulia_signaling::room::LeaveReason as LeftBy;
use tertulia_signaling::room::{Change, OperateError, Recipient, ServerSays, Source};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{Client, chat};
use crate::embedder::{change, heard};
use crate::server::Server;

/// The reason and the sentence of the goodbye.
async fn bye(client: &mut Client) -> (String, String) {
    client
        .find(|message| match message {
            ServerMessage::Bye {
                reason, message, ..
            } => Some((reason.clone(), message.clone())),
            _ => None,
        })
        .await
}

fn says(text: &str) -> ServerSays {
    ServerSays::Chat {
        name: "Reception".into(),
        text: text.into(),
    }
}

fn data(text: &str) -> ServerSays {
    ServerSays::Data {
        reliable: true,
        binary: false,
        payload: text.into(),
    }
}

#[tokio::test]
async fn an_embedder_hears_of_everything_in_order() {
    let server = Server::with_hooks(|builder| builder.hear_data(true)).await;
    let mut events = server.node.events();
    let mut ada = server.join("Ada").await;
    let opened = heard(&mut events).await;
    assert_eq!(
        (&*opened.room, &opened.change),
        ("room", &Change::RoomOpened)
    );
    assert!(opened.at_ms > 1_700_000_000_000);
    let Change::Joined(person) = change(&mut events).await else {
        panic!("no join");
    };
    assert_eq!(person.participant.as_str(), ada.id);
    assert_eq!(person.identity.as_deref(), Some("id of Ada"));
    assert_eq!(person.name, "Ada");

    let track = ada.offer("send 0 video").await.published[0].track.clone();
    let Change::Published { track: told, .. } = change(&mut events).await else {
        panic!("no track");
    };
    assert_eq!(
        (told.track.as_str(), told.kind),
        (track.as_str(), MediaKind::Video)
    );
    assert_eq!((told.source, told.muted), (Source::Camera, false));

    ada.expect_ok(chat("hello")).await;
    let Change::Chat(entry) = change(&mut events).await else {
        panic!("no chat");
    };
    assert_eq!(
        (&*entry.text, entry.participant.as_str()),
        ("hello", ada.id.as_str())
    );

    let number = server.last_peer();
    assert!(server.media.books().peers[&number].hear_data);
    let (peer, room) = (
        PeerId::from_u64(number),
        server.media.books().room_of(number),
    );
    let payload: Arc<[u8]> = Arc::from(&b"pointer"[..]);
    server.media.tell(media::Event::DataReceived {
        room,
        peer,
        reliable: false,
        binary: true,
        payload: payload.clone(),
    });
    let expected = Change::Data {
        person: person.clone(),
        reliable: false,
        binary: true,
        payload,
    };
    assert_eq!(change(&mut events).await, expected);

    ada.send(ClientMessage::Leave).await;
    let Change::Unpublished { track: ended, .. } = change(&mut events).await else {
        panic!("the track did not end");
    };
    assert_eq!(ended.as_str(), track);
    let left = Change::Left {
        person,
        reason: LeftBy::Left,
    };
    assert_eq!(change(&mut events).await, left);
    server.node.rooms().close("room", "").await.expect("closed");
    let closed = Change::RoomClosed { reason: "closed" };
    assert_eq!(change(&mut events).await, closed);
}

#[tokio::test]
async fn rooms_are_listed_and_looked_into() {
    let server = Server::with_door().await;
    let rooms = server.node.rooms();
    assert!(rooms.names().is_empty() && rooms.snapshot("room").await.is_none());
    let mut ada = server.join("Ada").await;
    ada.offer("send 0 audio").await;
    ada.expect_ok(chat("hello")).await;
    let grace = server.join("Listener").await;
    let names = rooms.names();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    assert_eq!(names, ["room"]);
    let snapshot = rooms.snapshot("room").await.expect("a room");
    assert_eq!((&*snapshot.room, snapshot.chat), ("room", 1));
    let [first, second] = snapshot.participants.as_slice() else {
        panic!("{snapshot:?}");
    };
    assert_eq!(first.person.participant.as_str(), ada.id);
    assert_eq!((first.tracks.len(), first.has_transport), (1, true));
    assert_eq!(second.person.participant.as_str(), grace.id);
    assert_eq!(second.person.identity.as_deref(), Some("id of Listener"));
    assert!(!second.permissions.chat && !second.has_transport);
}

#[tokio::test]
async fn a_participant_is_put_out_and_the_others_are_told() {
    let server = Server::with_door().await;
    let mut ada = server.join("Ada").await;
    let mut grace = server.join("Grace").await;
    grace.offer("send 0 audio").await;
    let rooms = server.node.rooms();
    for (room, participant, error) in [
        ("nowhere", grace.id.as_str(), OperateError::NoSuchRoom),
        ("room", "pa_none", OperateError::NoSuchParticipant),
        ("not a name", "pa_none", OperateError::NoSuchRoom),
    ] {
        assert_eq!(rooms.kick(room, participant, "").await, Err(error));
    }
    rooms
        .kick("room", &grace.id, "Be kind.")
        .await
        .expect("kicked");
    assert_eq!(bye(&mut grace).await, ("kicked".into(), "Be kind.".into()));
    let left = ada.find(|message| match message {
        ServerMessage::ParticipantLeft {
            participant,
            reason,
        } => Some((participant.clone(), *reason)),
        _ => None,
    });
    assert_eq!(left.await, (grace.id.clone(), LeaveReason::Kicked));
    server.media.until(|books| books.peers.is_empty()).await;
    assert_eq!(grace.closed().await, Some(CloseCode::Normal));
    let counts = server.node.counts();
    assert_eq!((counts.rooms, counts.participants), (1, 1));
}

#[tokio::test]
async fn a_room_is_closed_and_may_be_made_anew() {
    let server = Server::start().await;
    let mut clients = [server.join("Ada").await, server.join("Grace").await];
    clients[0].expect_ok(chat("hello")).await;
    let rooms = server.node.rooms();
    rooms.close("room", "").await.expect("closed");
    for client in &mut clients {
        let (reason, sentence) = bye(client).await;
        assert_eq!(reason, "room_closed");
        assert!(sentence.ends_with('.'), "{sentence}");
    }
    for client in clients {
        assert_eq!(client.closed().await, Some(CloseCode::Normal));
    }
    server.media.until(|books| books.rooms.is_empty()).await;
    assert_eq!(rooms.close("room", "").await, Err(OperateError::NoSuchRoom));
    let welcome = server.connect().await.join("room", "Ada").await;
    assert!(welcome.chat.is_empty() && welcome.participants.is_empty());
}

#[tokio::test]
async fn the_server_says_something_to_all_or_to_one() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    let mut grace = server.join("Grace").await;
    let rooms = server.node.rooms();
    let id = grace.id.clone();
    let one = || Recipient::One(id.clone());
    rooms.tell("room", one(), says("psst")).await.expect("told");
    let all = Recipient::Everyone;
    rooms
        .tell("room", all.clone(), says("hello"))
        .await
        .expect("told");

    let said = |message: &ServerMessage| match message {
        ServerMessage::Chat { message } => Some(message.clone()),
        _ => None,
    };
    let heard = ada.find(said).await;
    assert_eq!(heard.text, "hello", "the other was not for her");
    assert_eq!(
        (heard.participant.as_str(), heard.name.as_str()),
        ("server", "Reception")
    );
    assert_eq!(grace.find(said).await.text, "psst");
    let second = grace.find(said).await;
    assert_eq!((second.text.as_str(), second.id), ("hello", heard.id));
    let late = server.connect().await.join("room", "Late").await;
    let kept: Vec<_> = late.chat.iter().map(|it| it.text.as_str()).collect();
    assert_eq!(kept, ["hello"], "what is for one is not kept");

    let no_one = Recipient::One("pa_none".into());
    for (to, says, error) in [
        (no_one.clone(), says("x"), OperateError::NoSuchParticipant),
        (no_one, data("x"), OperateError::NoSuchParticipant),
        (one(), data("x"), OperateError::NoTransport),
    ] {
        assert_eq!(rooms.tell("room", to, says).await, Err(error));
    }
    for wrong in [says(""), says(&"x".repeat(2_001))] {
        let told = rooms.tell("room", all.clone(), wrong).await;
        assert!(matches!(told, Err(OperateError::BadValue(_))), "{told:?}");
    }

    grace.offer("recv 0 audio").await;
    let peer = server.last_peer();
    rooms
        .tell("room", one(), data("to one"))
        .await
        .expect("told");
    rooms.tell("room", all, data("to all")).await.expect("told");
    let message = |text: &str| ServerData {
        sender: "server".into(),
        reliable: true,
        binary: false,
        payload: text.into(),
    };
    let expected = [(Some(peer), message("to one")), (None, message("to all"))];
    assert_eq!(server.media.books().said, expected);
}
