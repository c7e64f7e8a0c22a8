//! Large rooms: changes that are told together, and viewers who are its audience.

use std::collections::BTreeSet;

use serde_json::Map;
use tertulia_signaling::protocol::native::{
    Audience, AudienceCounts, ClientMessage, Hand, Join, LeaveReason, Moderate, People,
    ServerMessage, Update, Welcome,
};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{Client, DEADLINE, chat, join};
use crate::server::Server;

/// A room in which everything that is meant for large ones holds from a few people on.
async fn large_room() -> Server {
    Server::with(|config| {
        config.limits.large_room = 3;
        config.limits.audience_from = 4;
    })
    .await
}

async fn enter(server: &Server, name: &str, audience: Option<Audience>) -> (Client, Welcome) {
    let mut client = server.connect().await;
    let wish = Join {
        batch: true,
        audience,
        ..join("room", name)
    };
    match client.request(ClientMessage::Join(wish)).await {
        ServerMessage::Welcome(welcome) => {
            client.id = welcome.participant.clone();
            (client, welcome)
        }
        other => panic!("{other:?} instead of welcome"),
    }
}

fn rename(name: &str) -> ClientMessage {
    ClientMessage::Update(Update {
        name: Some(name.to_owned()),
        metadata: None,
    })
}

/// The messages up to one that `is_last`, those of a batch one by one; and the number of frames that they came in.
async fn until(
    client: &mut Client,
    is_last: impl Fn(&ServerMessage) -> bool,
) -> (Vec<ServerMessage>, usize) {
    let (mut messages, mut frames) = (Vec::new(), 0);
    while !messages.iter().any(&is_last) {
        frames += 1;
        match client.next().await {
            ServerMessage::Batch { messages: more } => messages.extend(more),
            message => messages.push(message),
        }
    }
    (messages, frames)
}

fn is_named(message: &ServerMessage, wanted: &str) -> bool {
    match message {
        ServerMessage::ParticipantJoined { participant }
        | ServerMessage::ParticipantUpdated { participant } => participant.name == wanted,
        _ => false,
    }
}

#[tokio::test]
async fn a_large_room_tells_changes_together_and_leaves_out_what_is_void() {
    let server = large_room().await;
    let (mut ada, _) = enter(&server, "Ada", None).await;
    let mut old = server.join("Old").await;
    let (mut grace, _) = enter(&server, "Grace", None).await;
    for client in [&mut ada, &mut old] {
        until(client, |it| is_named(it, "Grace")).await;
    }
    for number in 0..50 {
        grace.expect_ok(rename(&format!("Grace {number}"))).await;
    }
    let (alan, _) = enter(&server, "Alan", None).await;
    let mut bob = server.connect().await;
    bob.join("room", "Bob").await;
    let gone = bob.id.clone();
    bob.expect_bye(ClientMessage::Leave).await;
    grace.expect_ok(rename("the last")).await;
    let (told, frames) = until(&mut ada, |it| is_named(it, "the last")).await;
    let updates = told
        .iter()
        .filter(|it| matches!(it, ServerMessage::ParticipantUpdated { .. }));
    let updates = updates.count();
    assert!(updates < 25 && frames < 25, "{updates} in {frames} frames");
    let joined = told.iter().any(|it| matches!(it, ServerMessage::ParticipantJoined { participant } if participant.id == alan.id));
    assert!(joined, "{told:?}");

    // A client of before is told each event by itself, and no less of what there is in the end.
    let (told, frames) = until(&mut old, |it| is_named(it, "the last")).await;
    assert_eq!(frames, told.len());
    let present = |told: &[ServerMessage]| {
        let mut present = BTreeSet::new();
        for message in told {
            match message {
                ServerMessage::ParticipantJoined { participant } => {
                    present.insert(participant.id.clone());
                }
                ServerMessage::ParticipantLeft { participant, .. } => {
                    assert!(present.remove(participant), "not announced: {participant}");
                }
                _ => {}
            }
        }
        present
    };
    let present = present(&told);
    assert!(
        present.contains(&alan.id) && !present.contains(&gone),
        "{present:?}"
    );
}

#[tokio::test]
async fn who_joins_meanwhile_is_told_only_of_what_the_welcome_does_not_say() {
    let server = large_room().await;
    let (mut first, _) = enter(&server, "first", None).await;
    let mut known = BTreeSet::new();
    let mut clients = Vec::new();
    // The news of the ones before may wait still when the next is welcomed.
    for number in 0..12 {
        let (client, welcome) = enter(&server, &format!("person {number}"), None).await;
        assert_eq!(welcome.participants.len(), number + 1);
        known.insert(client.id.clone());
        clients.push(client);
    }
    let (mut last, _) = enter(&server, "last", None).await;
    first.expect_ok(rename("done")).await;
    for (number, client) in clients.iter_mut().enumerate() {
        let (told, _) = until(client, |it| is_named(it, "done")).await;
        let joined = told.iter().filter_map(|message| match message {
            ServerMessage::ParticipantJoined { participant } => Some(participant.id.as_str()),
            _ => None,
        });
        let joined: Vec<_> = joined.collect();
        assert_eq!(joined.len(), 12 - number, "{joined:?}");
        assert!(!joined.contains(&client.id.as_str()), "told of itself");
    }
    let (told, _) = until(&mut last, |it| is_named(it, "done")).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let (told, _) = until(&mut first, |it| is_named(it, "last")).await;
    assert_eq!(told.len(), 13, "{told:?}");
}

/// Its name, its track and its chat would mean nothing before it is announced.
#[tokio::test]
async fn who_speaks_or_publishes_at_once_is_announced_before() {
    let server = large_room().await;
    let (mut ada, _) = enter(&server, "Ada", None).await;
    ada.offer("recv 0 audio").await;
    for name in ["Grace", "Alan"] {
        enter(&server, name, None).await;
    }
    for number in 0..5 {
        let name = format!("person {number}");
        let (mut client, _) = enter(&server, &name, None).await;
        match number % 2 {
            0 => client.expect_ok(chat(&name)).await,
            _ => {
                client.offer("send 0 audio").await;
            }
        }
        let id = client.id.clone();
        let (told, _) = until(&mut ada, |message| match message {
            ServerMessage::Chat { message } => message.text == name,
            ServerMessage::Slots { .. } => number % 2 == 1,
            _ => false,
        })
        .await;
        let at = |pick: &dyn Fn(&ServerMessage) -> bool| told.iter().position(pick);
        let joined = at(&|it| is_named(it, &name)).expect("announced");
        let published = at(
            &|it| matches!(it, ServerMessage::TrackPublished { participant, .. } if *participant == id),
        );
        assert_eq!(published.is_some(), number % 2 == 1, "{told:?}");
        assert!(joined < published.unwrap_or(told.len() - 1), "{told:?}");
        client.expect_bye(ClientMessage::Leave).await;
    }
}

fn counts(participants: usize, publishers: usize, hands: usize) -> AudienceCounts {
    AudienceCounts {
        participants,
        publishers,
        hands,
    }
}

#[tokio::test]
async fn the_audience_is_told_of_those_on_stage_and_how_many_others_there_are() {
    let server = large_room().await;
    let (mut speaker, _) = enter(&server, "speaker", Some(Audience::Large)).await;
    speaker.offer("send 0 audio").await;
    let (mut grace, welcome) = enter(&server, "Grace", Some(Audience::Large)).await;
    assert_eq!((welcome.audience, welcome.participants.len()), (None, 1));
    let (_alan, _) = enter(&server, "Alan", None).await;
    let (_bob, _) = enter(&server, "Bob", None).await;
    // The fifth, who can be audience, is; an older client is not.
    let (mut eve, welcome) = enter(&server, "Eve", Some(Audience::Large)).await;
    assert_eq!(welcome.audience, Some(counts(5, 1, 0)));
    let [seen] = welcome.participants.as_slice() else {
        panic!("{welcome:?}");
    };
    assert_eq!(
        (seen.id.as_str(), seen.tracks.len()),
        (speaker.id.as_str(), 1)
    );
    let mut old = server.connect().await;
    assert_eq!(old.join("room", "Old").await.participants.len(), 5);

    // Nobody on stage has changed: only the number has.
    let (told, _) = until(&mut eve, |it| {
        *it == ServerMessage::Audience(counts(6, 1, 0))
    })
    .await;
    assert!(
        told.iter()
            .all(|it| matches!(it, ServerMessage::Audience(_))),
        "{told:?}"
    );

    // A raised hand brings Grace on stage; lowered, it takes her off again.
    let hand = |raised| ClientMessage::Hand(Hand { raised });
    grace.expect_ok(rename("Grace H.")).await;
    grace.expect_ok(hand(true)).await;
    let is_hand = |it: &ServerMessage| matches!(it, ServerMessage::Hand { .. });
    let (told, _) = until(&mut eve, is_hand).await;
    assert!(is_named(&told[0], "Grace H."), "{told:?}");
    grace.expect_ok(hand(false)).await;
    let id = grace.id.clone();
    let off = ServerMessage::ParticipantLeft {
        participant: id.clone(),
        reason: LeaveReason::Audience,
    };
    until(&mut eve, |it| *it == off).await;
    // The members are told that she joined, and of her hands, and not that she left.
    let (told, _) = until(&mut speaker, |it| {
        matches!(it, ServerMessage::Hand { raised: false, .. })
    })
    .await;
    assert!(
        !told
            .iter()
            .any(|it| matches!(it, ServerMessage::ParticipantLeft { .. }))
    );

    // Who begins to publish is announced with the track, and stays until it has none.
    grace.offer("send 0 audio").await;
    let (told, _) = until(&mut eve, |it| is_named(it, "Grace H.")).await;
    let announced = told.iter().find_map(|message| match message {
        ServerMessage::ParticipantJoined { participant } => Some(participant.tracks.len()),
        _ => None,
    });
    assert_eq!(announced, Some(1), "{told:?}");
    grace.offer("").await;
    until(&mut eve, |it| *it == off).await;

    // A real end is told as one, with its reason.
    speaker.expect_bye(ClientMessage::Leave).await;
    let left = ServerMessage::ParticipantLeft {
        participant: speaker.id.clone(),
        reason: LeaveReason::Left,
    };
    let (told, _) = until(&mut eve, |it| *it == left).await;
    assert!(!told.contains(&off), "told twice: {told:?}");
}

/// The own hand is the page's to show, on stage or not.
#[tokio::test]
async fn beyond_the_first_hands_the_others_are_counted() {
    let server = Server::with(|config| config.limits.audience_from = 0).await;
    let mut boss = server.join("boss").await;
    let mut people = Vec::new();
    for number in 0..34 {
        let (client, welcome) =
            enter(&server, &format!("person {number}"), Some(Audience::Large)).await;
        assert!(welcome.audience.is_some() && welcome.participants.is_empty());
        people.push(client);
    }
    for client in &mut people {
        client
            .expect_ok(ClientMessage::Hand(Hand { raised: true }))
            .await;
    }
    let last = people.pop().expect("somebody");
    let (mut late, welcome) = enter(&server, "late", Some(Audience::Large)).await;
    assert_eq!(welcome.audience, Some(counts(36, 0, 34)));
    assert_eq!((welcome.participants.len(), welcome.hands.len()), (32, 32));
    drop(last);
    let action = Moderate::LowerHand {
        participant: people[32].id.clone(),
    };
    boss.expect_ok(ClientMessage::Moderate(action)).await;
    let id = people[32].id.clone();
    let lowered = |it: &ServerMessage| matches!(it, ServerMessage::Hand { participant, raised: false, .. } if *participant == id);
    until(&mut people[32], lowered).await;
    let (told, _) = until(&mut late, |it| {
        *it == ServerMessage::Audience(counts(35, 0, 32))
    })
    .await;
    assert!(
        !told
            .iter()
            .any(|it| matches!(it, ServerMessage::Hand { .. })),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_page_of_people_with_much_metadata_ends_before_its_limit() {
    let server = large_room().await;
    let metadata = serde_json::Map::from_iter([("k".to_owned(), "v".repeat(4_000).into())]);
    let mut clients = Vec::new();
    for number in 0..20 {
        let (mut client, _) = enter(&server, &format!("person {number}"), None).await;
        let update = ClientMessage::Update(Update {
            name: None,
            metadata: Some(metadata.clone().into()),
        });
        client.expect_ok(update).await;
        clients.push(client);
    }
    let (mut eve, _) = enter(&server, "Eve", Some(Audience::Always)).await;
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let people = People {
            after,
            limit: Some(100),
        };
        let ServerMessage::People {
            participants, next, ..
        } = eve.request(ClientMessage::People(people)).await
        else {
            panic!("no page");
        };
        pages.push(participants.len());
        after = next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(pages.iter().sum::<usize>(), 20, "{pages:?}");
    assert!(pages.len() == 2 && pages[0] <= 17, "{pages:?}");
}

#[tokio::test]
async fn people_are_read_page_by_page() {
    let server = large_room().await;
    let mut clients = Vec::new();
    for number in 0..7 {
        clients.push(enter(&server, &format!("person {number}"), None).await.0);
    }
    let (mut eve, _) = enter(&server, "Eve", Some(Audience::Always)).await;
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let people = People {
            after,
            limit: Some(3),
        };
        let ServerMessage::People {
            participants,
            total,
            next,
            ..
        } = eve.request(ClientMessage::People(people)).await
        else {
            panic!("no page");
        };
        assert_eq!(total, 8 - usize::from(after.is_some()));
        names.extend(participants.into_iter().map(|it| it.name));
        if after.is_none() {
            // Somebody of a page that was read leaves: nobody is missed by that.
            clients.remove(2).expect_bye(ClientMessage::Leave).await;
            server.node.rooms().snapshot("room").await.expect("a room");
        }
        after = next;
        if next.is_none() {
            break;
        }
    }
    let expected: Vec<_> = (0..7).map(|number| format!("person {number}")).collect();
    assert_eq!(names, expected);
    let people = People {
        after: None,
        limit: Some(101),
    };
    let refusal = eve.refusal(ClientMessage::People(people)).await;
    assert_eq!(refusal.code, "bad_field");
}

/// Two hundred people, some of whom change something all the time, and one who reads nothing. It costs no more than the
/// latest states and the messages that may wait, and is let go with `too_slow`; the others miss nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_costs_a_bounded_amount_and_is_let_go() {
    const READERS: usize = 196;
    const WRITERS: usize = 4;
    const QUEUE: usize = 256;
    let server = Server::with(|config| {
        // Each change is told at once.
        config.limits.large_room = 1_000;
        config.limits.outgoing_queue = QUEUE;
        // Who reads nothing answers no ping: on a slow machine it would be silent for too long before it is too slow.
        config.limits.silence_ms = 600_000;
        config.limits.messages_per_second = 1_000_000;
        config.limits.message_burst = 1_000_000;
        config.limits.write_timeout_ms = 600_000;
    })
    .await;
    let (lines_read, mut read) = mpsc::unbounded_channel();
    for number in 0..READERS {
        let mut reader = server.join(&format!("reader {number}")).await;
        let lines_read = lines_read.clone();
        tokio::spawn(async move {
            loop {
                if let ServerMessage::Chat { message } = reader.next().await
                    && lines_read.send(message.id).is_err()
                {
                    return;
                }
            }
        });
    }
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        writers.push(server.join(&format!("writer {number}")).await);
    }
    let narrow = |socket: &TcpSocket| socket.set_recv_buffer_size(4_096).expect("buffer size");
    let mut slow = Client::connect_with(&server.url(), narrow).await;
    slow.join("room", "Slow").await;

    // Of states only the latest wait: far more of them than may wait do not matter.
    for round in 0..3 * QUEUE {
        let filler = Map::from_iter([("filler".into(), "x".repeat(1_000).into())]);
        let update = ClientMessage::Update(Update {
            name: Some(format!("round {round}")),
            metadata: Some(filler.into()),
        });
        writers[round % WRITERS].expect_ok(update).await;
    }
    let people = async || {
        let room = server.node.rooms().snapshot("room").await;
        room.expect("a room").participants.len()
    };
    assert_eq!(people().await, READERS + WRITERS + 1, "all have stayed");

    // Every line of a chat waits, up to the bound: what waits, what is being written, and what the kernel takes.
    let text = "x".repeat(2_000);
    let most = 2 * QUEUE + (8 << 20) / text.len();
    let mut lines = 0;
    let is_gone = |message: &ServerMessage| {
        let left = ServerMessage::ParticipantLeft {
            participant: slow.id.clone(),
            reason: LeaveReason::Disconnected,
        };
        *message == left
    };
    loop {
        writers[0].expect_ok(chat(&text)).await;
        lines += 1;
        for _ in 0..READERS {
            let line = timeout(DEADLINE, read.recv())
                .await
                .expect("every reader has it");
            assert_eq!(line, Some(lines), "in its order, by everybody");
        }
        let mut told = Vec::new();
        for writer in &mut writers {
            told = writer.told().await;
        }
        if told.iter().any(is_gone) {
            break;
        }
        assert!(lines < most as u64, "it is never let go");
    }
    assert_eq!(people().await, READERS + WRITERS, "nobody else");
    // It is told why, with that code, if it reads within a second.
    let close = slow.closed().await;
    assert!(matches!(close, Some(CloseCode::Policy) | None), "{close:?}");
}
