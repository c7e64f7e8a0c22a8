//! A media plane that stops answering for one room: the other rooms do not notice, and the people of that room go on
//! talking.

use std::sync::Arc;
use std::time::Duration;

use tertulia_signaling::media::{self, PeerId, RoomId};
use tertulia_signaling::protocol::native::{ClientMessage, ServerMessage};
use tertulia_signaling::room::{
    Action, Carried, Command, Ending, Event, LeaveReason, Membership, RoomSettings, Rooms, Source,
};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{Client, chat, offer};
use crate::fake_media::FakeMedia;
use crate::limits::entrant;
use crate::memory::talk;
use crate::server::Server;

/// The time until a room gives an answer up.
const MEDIA_TIMEOUT: Duration = Duration::from_secs(5);

async fn join(server: &Server, room: &str, name: &str) -> Client {
    let mut client = server.connect().await;
    client.join(room, name).await;
    client
}

/// Has far more to tell the room than it has places for, before it takes anything.
fn flood(media: &FakeMedia, room: RoomId, peer: u64) {
    let peer = PeerId::from_u64(peer);
    for number in 1..=10_000 {
        media.tell(media::Event::TrackLive {
            room,
            peer,
            track: media::TrackId::from_u64(1_000_000 + number),
        });
        media.tell(media::Event::SpeakersChanged {
            room,
            recent: Vec::new(),
            speaking: 0,
        });
    }
    assert!(media.waiting(room) > 9_000);
}

#[tokio::test]
async fn other_rooms_join_publish_and_chat_meanwhile() {
    let server = Server::start().await;
    let media = &server.media;
    let mut ada = join(&server, "stopped", "Ada").await;
    ada.offer("send 0 audio").await;
    let peer = server.last_peer();
    let stopped = media.books().room_of(peer);
    let mut bob = join(&server, "stopped", "Bob").await;
    let mut grace = join(&server, "running", "Grace").await;
    let mut edsger = join(&server, "running", "Edsger").await;

    media.stop(stopped);
    ada.send(ClientMessage::Stats).await;
    bob.send(offer("recv 0 audio")).await;
    media.until(|books| books.unanswered == 2).await;

    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        flood(media, stopped, peer);
        let began = Instant::now();
        // In a room there was.
        talk(&mut grace, &mut edsger, "running").await;
        // And in a new one.
        let room = format!("room-{number}");
        let mut barbara = join(&server, &room, "Barbara").await;
        let published = barbara.offer("send 0 audio").await.published;
        let mut donald = server.connect().await;
        let welcome = donald.join(&room, "Donald").await;
        assert_eq!(welcome.participants[0].tracks[0].id, published[0].track);
        let before = donald.offer("recv 0 audio").await;
        assert_eq!(before.slots[0].track, None);
        let told = donald.told().await;
        assert!(
            matches!(told.as_slice(), [ServerMessage::Slots { slots }]
                if slots[0].track.as_ref() == Some(&published[0].track)),
            "{told:?}"
        );
        talk(&mut barbara, &mut donald, "hello").await;
        slowest = slowest.max(began.elapsed());
    }
    println!(
        "others join, publish and chat within {} ms",
        slowest.as_millis()
    );

    // In the stopped room itself people come, talk and leave.
    let mut carol = join(&server, "stopped", "Carol").await;
    talk(&mut carol, &mut bob, "is anybody here?").await;
    carol.send(ClientMessage::Leave).await;
    let left = bob.find(|message| match message {
        ServerMessage::ParticipantLeft { participant, .. } => Some(participant.clone()),
        _ => None,
    });
    assert_eq!(left.await, carol.id);

    // And it is all there again when the media plane is.
    media.resume(stopped);
    assert_eq!(bob.offer("recv 0 audio").await.slots.len(), 1);
    let stats = ada.request(ClientMessage::Stats).await;
    assert!(
        matches!(stats, ServerMessage::Stats { peer: Some(_), .. }),
        "{stats:?}"
    );
}

fn start() -> (Rooms, Arc<FakeMedia>) {
    let media = Arc::new(FakeMedia::new());
    let rooms = Rooms::start(media.clone(), RoomSettings::default());
    (rooms, media)
}

async fn ask(member: &Membership, request: u32, action: Action) {
    let request = Some(request);
    assert!(member.send(Command { request, action }).await);
}

/// The first event that `pick` takes.
async fn hear<T>(member: &mut Membership, pick: impl Fn(&Event) -> Option<T>) -> T {
    loop {
        let event = member.events.recv().await.expect("an event");
        if let Some(found) = pick(&event) {
            return found;
        }
    }
}

/// The answers to requests and the chat, in the order in which they come.
fn said(event: &Event) -> Option<String> {
    match event {
        Event::Chat(entry) => Some(entry.text.to_string()),
        Event::Done { request } => Some(format!("done {}", request.unwrap_or_default())),
        Event::Answered { request, .. } => Some(format!("answer {}", request.unwrap_or_default())),
        Event::Refused { request, refusal } => {
            Some(format!("{} {}", refusal.code, request.unwrap_or_default()))
        }
        _ => None,
    }
}

fn offers(sdp: &str) -> Action {
    Action::Offer {
        sdp: sdp.into(),
        carries: Vec::new(),
    }
}

/// Ada and Bob in a room; she has a transport.
async fn two(rooms: &Rooms, media: &FakeMedia) -> (Membership, Membership, RoomId) {
    let mut ada = rooms.join("room", entrant("Ada")).await.expect("joined");
    ask(&ada, 1, offers("send 0 audio")).await;
    assert_eq!(hear(&mut ada, said).await, "answer 1");
    let bob = rooms.join("room", entrant("Bob")).await.expect("joined");
    let room = {
        let books = media.books();
        let peer = *books.peers.keys().next().expect("a peer");
        books.room_of(peer)
    };
    (ada, bob, room)
}

/// In virtual time, so that whatever waits is seen.
#[tokio::test(start_paused = true)]
async fn in_the_room_itself_only_who_asked_waits_and_not_for_ever() {
    let (rooms, media) = start();
    let (mut ada, mut bob, room) = two(&rooms, &media).await;
    media.stop(room);
    let began = Instant::now();
    ask(&ada, 2, Action::Stats).await;
    ask(&ada, 3, Action::Chat("from Ada".into())).await;
    media.until(|books| books.unanswered == 1).await;
    ask(&bob, 4, Action::Chat("from Bob".into())).await;
    assert_eq!(hear(&mut bob, said).await, "from Bob");
    assert_eq!(hear(&mut bob, said).await, "done 4");
    assert_eq!(hear(&mut ada, said).await, "from Bob");
    assert_eq!(began.elapsed(), Duration::ZERO);
    // The answers to her come in the order of her requests.
    assert_eq!(hear(&mut ada, said).await, "overloaded 2");
    assert_eq!(hear(&mut ada, said).await, "from Ada");
    assert_eq!(hear(&mut ada, said).await, "done 3");
    assert_eq!(began.elapsed().as_secs(), MEDIA_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_more_and_more_waits_alone() {
    let (rooms, media) = start();
    let (mut ada, mut bob, room) = two(&rooms, &media).await;
    media.stop(room);
    let began = Instant::now();
    let flood = async {
        for number in 2..100 {
            ask(&ada, number, Action::Stats).await;
        }
    };
    let flood = timeout(Duration::from_secs(1), flood).await;
    assert!(flood.is_err(), "some are never read");
    for number in 0..300 {
        ask(&bob, number, Action::Chat(number.to_string())).await;
        assert_eq!(hear(&mut bob, said).await, number.to_string());
        assert_eq!(hear(&mut bob, said).await, format!("done {number}"));
    }
    assert_eq!(began.elapsed().as_secs(), 1);
    media.resume(room);
    // All that were read are answered.
    let stats = |event: &Event| matches!(event, Event::Stats { .. }).then_some(());
    for _ in 0..8 {
        hear(&mut ada, stats).await;
    }
    assert_eq!(began.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_comes_too_late_is_closed() {
    let (rooms, media) = start();
    let (mut ada, bob, room) = two(&rooms, &media).await;
    media.stop(room);
    ask(&bob, 2, offers("recv 0 audio")).await;
    media.until(|books| books.unanswered == 1).await;
    bob.leave(LeaveReason::Left).await;
    let left = |event: &Event| matches!(event, Event::ParticipantLeft { .. }).then_some(());
    hear(&mut ada, left).await;
    media.resume(room);
    media.until(|books| books.closed_peers == 1).await;
    assert_eq!(media.books().peers.len(), 1);
    // Its command has given its place back.
    ask(&ada, 3, Action::Chat("still here".into())).await;
    assert_eq!(hear(&mut ada, said).await, "still here");
}

#[tokio::test(start_paused = true)]
async fn events_wait_for_the_answer_that_they_are_newer_than() {
    let (rooms, media) = start();
    let mut ada = rooms.join("room", entrant("Ada")).await.expect("joined");
    media.books().hold_settings = true;
    let microphone = Carried {
        mid: "0".into(),
        source: Source::Microphone,
        muted: true,
    };
    let action = Action::Offer {
        sdp: "send 0 audio\nrecv 1 audio".into(),
        carries: vec![microphone],
    };
    ask(&ada, 1, action).await;
    media.until(|books| books.unanswered == 1).await;
    let (number, room) = {
        let books = media.books();
        let number = *books.peers.keys().next().expect("a peer");
        (number, books.room_of(number))
    };
    media.tell(media::Event::SlotsChanged {
        room,
        peer: PeerId::from_u64(number),
        slots: Vec::new(),
        offers: 1,
    });
    media.connect(number);
    // Others are not held up meanwhile.
    let mut bob = rooms.join("room", entrant("Bob")).await.expect("joined");
    ask(&bob, 2, Action::Chat("hello".into())).await;
    assert_eq!(hear(&mut bob, said).await, "hello");
    media.change(|books| books.hold_settings = false);
    let told = |event: &Event| match event {
        Event::Answered { .. } => Some("answer"),
        Event::Slots(_) => Some("slots"),
        Event::MediaConnected => Some("connected"),
        _ => None,
    };
    for expected in ["answer", "slots", "connected"] {
        assert_eq!(hear(&mut ada, told).await, expected);
    }
}

/// More of a room's people ask than it asks for at a time; once answered, all are.
#[tokio::test(start_paused = true)]
async fn everybody_is_answered_in_the_end() {
    let (rooms, media) = start();
    let (ada, _bob, room) = two(&rooms, &media).await;
    let mut people = vec![ada];
    for number in 0..100 {
        let joined = rooms.join("room", entrant(&format!("P{number}"))).await;
        people.push(joined.expect("joined"));
    }
    media.stop(room);
    for person in &people {
        ask(person, 2, offers("recv 0 audio")).await;
        ask(person, 3, Action::Chat("hello".into())).await;
    }
    media.until(|books| books.unanswered == 64).await;
    media.resume(room);
    for person in &mut people {
        let heard = |event: &Event| said(event).filter(|said| said != "hello");
        assert_eq!(hear(person, heard).await, "answer 2");
        assert_eq!(hear(person, heard).await, "done 3");
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_that_is_left_is_closed_however_often_that_must_be_asked_for() {
    let (rooms, media) = start();
    let ada = rooms.join("room", entrant("Ada")).await.expect("joined");
    media.books().overloaded_closings = 20;
    ada.leave(LeaveReason::Left).await;
    media.until(|books| books.rooms.is_empty()).await;
    assert_eq!(media.books().overloaded_closings, 0);
}

#[tokio::test]
async fn a_room_whose_events_were_not_taken_is_closed_and_its_people_told() {
    let server = Server::start().await;
    let mut ada = join(&server, "room", "Ada").await;
    ada.offer("send 0 audio").await;
    let peer = server.last_peer();
    let room = server.media.books().room_of(peer);
    let mut other = join(&server, "other", "Grace").await;
    server
        .media
        .tell(media::Event::RoomFailed { room, dropped: 9 });
    assert!(ada.is_refused("overloaded", CloseCode::Again).await);
    server
        .media
        .until(|books| !books.rooms.contains(&room.as_u64()))
        .await;
    other.expect_ok(chat("still here")).await;
    let mut again = server.connect().await;
    let welcome = again.join("room", "Ada").await;
    assert!(welcome.participants.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failed_room_says_why_to_every_protocol() {
    let (rooms, media) = start();
    let (ada, bob, room) = two(&rooms, &media).await;
    media.tell(media::Event::RoomFailed { room, dropped: 9 });
    for member in [ada, bob] {
        assert_eq!(member.ending.await, Ok(Ending::RoomFailed));
    }
}

/// One whose media is never connected is counted as she leaves, unless she left at once; one who was connected is not.
#[tokio::test(start_paused = true)]
async fn a_transport_that_is_never_connected_is_counted() {
    for (stays, connects, counted) in [(6, false, 1), (4, false, 0), (6, true, 0)] {
        let (rooms, media) = start();
        let (mut ada, mut bob, _) = two(&rooms, &media).await;
        if connects {
            let peer = *media.books().peers.keys().next().expect("a peer");
            media.connect(peer);
            hear(&mut ada, |event| {
                matches!(event, Event::MediaConnected).then_some(())
            })
            .await;
        }
        tokio::time::advance(Duration::from_secs(stays)).await;
        ada.leave(LeaveReason::Left).await;
        hear(&mut bob, |event| {
            matches!(event, Event::ParticipantLeft { .. }).then_some(())
        })
        .await;
        let found = rooms.counts().media_never_connected;
        assert_eq!(found, counted, "{stays} s, connected {connects}");
    }
}
