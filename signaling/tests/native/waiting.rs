//! Waits between rooms, the media plane, and the task that takes its events.

use std::sync::Arc;
use std::time::Duration;

use tertulia_signaling::media::{self, PeerId};
use tertulia_signaling::room::{Action, Command, Event, Membership, RoomSettings, Rooms};
use tokio::time::Instant;

use crate::fake_media::FakeMedia;
use crate::limits::entrant;

async fn ask(member: &Membership, action: Action) {
    let request = Some(1);
    assert!(member.send(Command { request, action }).await);
}

async fn hear(member: &mut Membership, mut is_it: impl FnMut(&Event) -> bool) {
    loop {
        let event = member.events.recv().await.expect("an event");
        assert!(!matches!(*event, Event::Refused { .. }), "{event:?}");
        if is_it(&event) {
            return;
        }
    }
}

/// A member in a room of its own, with a transport.
async fn alone(rooms: &Rooms, name: &str) -> Membership {
    let mut member = rooms.join(name, entrant(name)).await.expect("joined");
    let action = Action::Offer {
        sdp: "recv 0 audio".into(),
        carries: Vec::new(),
    };
    ask(&member, action).await;
    hear(&mut member, |event| matches!(event, Event::Answered { .. })).await;
    member
}

#[tokio::test(start_paused = true)]
async fn a_room_that_waits_for_an_answer_holds_up_no_events() {
    let media = FakeMedia::new();
    let media = Arc::new(media);
    let rooms = Rooms::start(media.clone(), RoomSettings::default());
    let mut ada = alone(&rooms, "Ada").await;
    let mut bob = alone(&rooms, "Bob").await;
    let (of_ada, of_bob) = {
        let books = media.books();
        let peers: Vec<u64> = books.peers.keys().copied().collect();
        (peers[0], peers[1])
    };
    let began = Instant::now();

    // The media plane acts like a worker that holds its events, and its answers with them.
    media.books().answer_when_heard = true;
    ask(&ada, Action::Stats).await;
    media.until(|books| books.asked == 1).await;
    let room = media.books().room_of(of_ada);
    for video in 1..=3_000 {
        let needs = media::Needs { audio: 0, video };
        let peer = PeerId::from_u64(of_ada);
        media.tell(media::Event::NeedsChanged {
            room,
            peer,
            needs,
            offers: 1,
        });
    }
    media.connect(of_bob);

    hear(&mut bob, |event| matches!(event, Event::MediaConnected)).await;
    hear(&mut ada, |event| matches!(event, Event::Stats { .. })).await;
    let needs = |event: &Event| matches!(event, Event::Needs(needs) if needs.video == 3_000);
    hear(&mut ada, needs).await;
    // In virtual time no wait ran into a time-out.
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_overtook_is_not_told_behind_it() {
    let media = FakeMedia::new();
    let media = Arc::new(media);
    let rooms = Rooms::start(media.clone(), RoomSettings::default());
    let mut ada = alone(&rooms, "Ada").await;
    let (number, room) = {
        let books = media.books();
        let number = *books.peers.keys().next().expect("a peer");
        (number, books.room_of(number))
    };
    let peer = PeerId::from_u64(number);
    let slots = |mid: &str| {
        vec![media::Slot {
            mid: mid.into(),
            kind: media::MediaKind::Audio,
            track: None,
        }]
    };
    // The events are from before the answer that Ada has, and from after it.
    for (offers, mid, audio) in [(0, "old", 7), (1, "new", 3)] {
        media.tell(media::Event::SlotsChanged {
            room,
            peer,
            slots: slots(mid),
            offers,
        });
        let needs = media::Needs { audio, video: 0 };
        media.tell(media::Event::NeedsChanged {
            room,
            peer,
            needs,
            offers,
        });
        media.tell(media::Event::RenegotiationWanted {
            room,
            peer,
            reason: media::RenegotiationReason::Codec,
            offers,
        });
        media.connect(number);
        let mut told = Vec::new();
        hear(&mut ada, |event| {
            match event {
                Event::Slots(slots) => told.extend(slots.iter().map(|slot| slot.mid.clone())),
                Event::Needs(needs) => told.push(needs.audio.to_string()),
                Event::Renegotiate(reason) => told.push(reason.code().to_owned()),
                _ => {}
            }
            matches!(event, Event::MediaConnected)
        })
        .await;
        match offers {
            0 => assert_eq!(told, [""; 0]),
            _ => assert!(
                told.contains(&"new".to_owned()) && told.contains(&"codec".to_owned()),
                "{told:?}"
            ),
        }
    }
    let needs = |event: &Event| matches!(event, Event::Needs(needs) if needs.audio == 3);
    hear(&mut ada, needs).await;
}
