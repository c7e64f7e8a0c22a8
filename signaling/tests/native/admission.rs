//! Admission by moderators: people who wait before a room, and who moderates an open one.

use std::sync::Arc;

use tertulia_signaling::ClientAddress;
use tertulia_signaling::protocol::native::{ClientMessage, Moderate, ServerMessage, Welcome};
use tertulia_signaling::room::{
    Action, Command, Entrant, Entry, Event, Membership, Outcome, RoomSettings, Rooms,
};
use tokio::time::Instant;

use crate::client::{chat, join, offer};
use crate::fake_media::FakeMedia;
use crate::limits::entrant;
use crate::moderation::{House, admit, bye, deny, moderate, remove};
use crate::server::Server;

#[tokio::test]
async fn newcomers_wait_and_hear_of_nobody_until_a_moderator_decides() {
    let house = House::open().await;
    let mut boss = house.moderator("Boss").await;
    let mut ada = house.guest("Ada").await;
    let on = moderate(Moderate::WaitingRoom { on: true });
    boss.expect_ok(on).await;
    let (mut bob, waits) = house.waiter("Bob", &mut boss).await;
    // The connection is alive, and the room closed.
    bob.expect_pong().await;
    assert_eq!(bob.refusal(chat("hello")).await.code, "not_joined");
    let request = bob.refusal(offer("recv 0 audio")).await;
    assert_eq!(request.code, "not_joined");
    boss.expect_ok(chat("behind his back")).await;
    bob.expect_pong().await;
    // A second moderator hears who waits; others do not.
    let (mut second, _) = house.welcomed("Second", true).await;
    let waiting = second
        .find(|message| match message {
            ServerMessage::Waiting { waiting } => Some(waiting.clone()),
            _ => None,
        })
        .await;
    assert_eq!((waiting.len(), waiting[0].name.as_str()), (1, "Bob"));
    boss.expect_ok(admit(&waits)).await;
    let ServerMessage::Welcome(welcome) = bob.next().await else {
        panic!("no welcome");
    };
    assert_eq!((welcome.participant, welcome.id), (waits.clone(), Some(1)));
    let left = ServerMessage::WaitingLeft {
        participant: waits,
        outcome: "admitted".into(),
        by: Some(boss.id.clone()),
    };
    assert!(second.told().await.contains(&left));
    let told = ada.told().await;
    let is_of_waiting = |it: &ServerMessage| {
        matches!(
            it,
            ServerMessage::Waiting { .. } | ServerMessage::WaitingLeft { .. }
        )
    };
    assert!(!told.iter().any(is_of_waiting), "{told:?}");
    // Who was in comes back at once.
    house.guest("Bob").await;
    // Another is sent away, and may knock again.
    let (mut eve, waits) = house.waiter("Eve", &mut boss).await;
    boss.expect_ok(deny(&waits)).await;
    let refusal = eve.next_refusal().await;
    assert_eq!((refusal.code.as_str(), refusal.id), ("denied", Some(1)));
    eve.send(house.ticket("Eve", false)).await;
    assert_eq!(eve.next().await, ServerMessage::Wait);
    // Who goes away waits no more.
    drop(eve);
    boss.find(|message| match message {
        ServerMessage::WaitingLeft { outcome, .. } if outcome == "left" => Some(()),
        _ => None,
    })
    .await;
    // Without a waiting room, nobody waits.
    let (mut carl, _) = house.waiter("Carl", &mut boss).await;
    boss.expect_ok(moderate(Moderate::WaitingRoom { on: false }))
        .await;
    assert!(matches!(carl.next().await, ServerMessage::Welcome(_)));
}

#[tokio::test]
async fn who_waits_is_told_when_the_server_or_the_room_ends() {
    let house = House::open().await;
    let mut boss = house.moderator("Boss").await;
    boss.expect_ok(moderate(Moderate::WaitingRoom { on: true }))
        .await;
    let (mut ada, _) = house.waiter("Ada", &mut boss).await;
    boss.send(moderate(Moderate::End)).await;
    assert_eq!(bye(&mut boss).await.0, "room_closed");
    assert_eq!(ada.next_refusal().await.code, "room_closed");
    let mut boss = house.moderator("Boss").await;
    boss.expect_ok(moderate(Moderate::WaitingRoom { on: true }))
        .await;
    let (mut bob, _) = house.waiter("Bob", &mut boss).await;
    house.server.node.shutdown().await;
    assert_eq!(bye(&mut bob).await.0, "server_shutdown");
}

#[tokio::test]
async fn in_an_open_room_the_one_who_is_there_for_longest_moderates() {
    let server = Server::start().await;
    let mut ada = server.connect().await;
    let may = |welcome: &Welcome| welcome.permissions.expect("permissions").moderate;
    assert!(may(&ada.join("room", "Ada").await));
    let mut bob = server.connect().await;
    assert!(!may(&bob.join("room", "Bob").await));
    let mut carl = server.connect().await;
    assert!(!may(&carl.join("room", "Carl").await));
    assert_eq!(bob.refusal(remove(&ada.id)).await.code, "not_allowed");
    ada.expect_ok(moderate(Moderate::WaitingRoom { on: true }))
        .await;
    let mut dora = server.connect().await;
    dora.send(ClientMessage::Join(join("room", "Dora"))).await;
    assert_eq!(dora.next().await, ServerMessage::Wait);
    ada.expect_bye(ClientMessage::Leave).await;
    let mut told = bob.told().await;
    told.retain(|message| {
        matches!(
            message,
            ServerMessage::Permissions { .. } | ServerMessage::Waiting { .. }
        )
    });
    let [
        ServerMessage::Permissions { permissions },
        ServerMessage::Waiting { waiting },
    ] = told.as_slice()
    else {
        panic!("{told:?}");
    };
    assert!(permissions.moderate);
    assert_eq!(waiting[0].name, "Dora");
    assert!(
        !carl
            .told()
            .await
            .iter()
            .any(|it| matches!(it, ServerMessage::Permissions { .. }))
    );
    bob.expect_ok(moderate(Moderate::Lock { on: true })).await;
    // The last of them leaves: who waits finds an open room, and is the first in it.
    bob.expect_ok(moderate(Moderate::Lock { on: false })).await;
    carl.expect_bye(ClientMessage::Leave).await;
    bob.expect_bye(ClientMessage::Leave).await;
    let ServerMessage::Welcome(welcome) = dora.next().await else {
        panic!("no welcome");
    };
    assert!(may(&welcome));
    assert_eq!(welcome.rules.map(|rules| rules.waiting_room), Some(false));
}

async fn ask(member: &mut Membership, action: Action) {
    let request = Some(1);
    assert!(member.send(Command { request, action }).await);
    loop {
        match &*member.events.recv().await.expect("an event") {
            Event::Done { .. } => return,
            Event::Refused { refusal, .. } => panic!("{refusal:?}"),
            _ => {}
        }
    }
}

async fn outcome(member: &mut Membership) -> Outcome {
    loop {
        if let Event::WaitingLeft { outcome, .. } = &*member.events.recv().await.expect("an event")
        {
            return *outcome;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_after_ten_minutes_and_places_are_bounded() {
    use tertulia_signaling::room::Moderate;
    let rooms = Rooms::start(Arc::new(FakeMedia::new()), RoomSettings::default());
    let joined = rooms.join("room", entrant("Boss")).await;
    let mut boss = joined.expect("joined");
    ask(&mut boss, Action::Moderate(Moderate::WaitingRoom(true))).await;
    let knock = async |name: &str| match rooms.enter("room", entrant(name)).await {
        Ok(Entry::Waits(waiting)) => Ok(waiting),
        Ok(Entry::In(_)) => panic!("let in"),
        Err(refusal) => Err(refusal.code),
    };
    let began = Instant::now();
    let mut waiting = Vec::new();
    for number in 0..100 {
        waiting.push(knock(&format!("W{number}")).await.expect("a place"));
    }
    assert_eq!(knock("Late").await.err(), Some("waiting_room_full"));
    // One goes, and another has the place.
    drop(waiting.pop());
    assert_eq!(outcome(&mut boss).await, Outcome::Left);
    let mut last = knock("Late").await.expect("a place");
    for mut earlier in waiting {
        let refusal = earlier.admitted().await.err().expect("a refusal");
        assert_eq!(refusal.code, "waiting_timeout");
        assert_eq!(outcome(&mut boss).await, Outcome::Timeout);
    }
    let waited = began.elapsed().as_secs();
    assert!((600..605).contains(&waited), "{waited}");
    let refusal = last.admitted().await.err().expect("a refusal");
    assert_eq!(refusal.code, "waiting_timeout");
    let refused = rooms.joins_refused();
    assert_eq!(
        (refused["waiting_timeout"], refused["waiting_room_full"]),
        (100, 1)
    );
}

/// The address `192.0.2.last`.
fn address(last: u8) -> Option<ClientAddress> {
    Some(std::net::IpAddr::from([192, 0, 2, last]).into())
}

#[tokio::test(start_paused = true)]
async fn in_a_full_waiting_room_the_address_with_most_gives_way() {
    use tertulia_signaling::room::Moderate;
    let rooms = Rooms::start(Arc::new(FakeMedia::new()), RoomSettings::default());
    let joined = rooms.join("room", entrant("Boss")).await;
    let mut boss = joined.expect("joined");
    ask(&mut boss, Action::Moderate(Moderate::WaitingRoom(true))).await;
    let knock = async |last: u8| {
        let guest = Entrant {
            client: address(last),
            ..entrant("Guest")
        };
        match rooms.enter("room", guest).await {
            Ok(Entry::Waits(waiting)) => Ok(waiting),
            Ok(Entry::In(_)) => panic!("let in"),
            Err(refusal) => Err(refusal.code),
        }
    };
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(knock(1).await.expect("a place"));
    }
    assert_eq!(knock(1).await.err(), Some("waiting_room_full"));
    let mut others = Vec::new();
    for last in 2..=50 {
        others.push(knock(last).await.expect("a place"));
        // Who came last of the crowd goes first.
        let mut gone = crowd.pop().expect("one of the crowd");
        let refusal = gone.admitted().await.err().expect("a refusal");
        assert_eq!(refusal.code, "waiting_room_full");
    }
    assert_eq!(knock(1).await.err(), Some("waiting_room_full"));
}
