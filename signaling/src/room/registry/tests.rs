use tertulia_sfu::{Sfu, SfuConfig};

use super::*;
use crate::memory::Budget;
use crate::room::{Action, Change, Event, Heard};

fn entrant(name: &str) -> Entrant {
    Entrant {
        name: name.into(),
        metadata: Default::default(),
        auto_subscribe: true,
        request: None,
        client: None,
        socket: None,
        token: None,
        http: None,
        takes_batches: false,
        audience: None,
        session: None,
        views: Vec::new(),
    }
}

#[tokio::test]
async fn a_room_with_a_full_mailbox_forgets_its_chat_all_the_same() {
    let sfu = Sfu::start(SfuConfig::loopback()).expect("relay");
    let mut settings = RoomSettings::default();
    settings.memory.chat = Budget::new(10_000);
    let rooms = Rooms::start(Arc::new(sfu), settings);
    let joined = rooms.join("room", entrant("Ada")).await;
    let mut ada = joined.expect("joined");
    for _ in 0..6 {
        let action = Action::Chat("x".repeat(1_000));
        let request = None;
        assert!(ada.send(Command { request, action }).await);
    }
    let mut heard = 0;
    while heard < 6 {
        let event = ada.events.recv().await.expect("an event");
        heard += usize::from(matches!(*event, Event::Chat(_)));
    }
    // The mailbox is not read before this test waits for anything.
    while ada.mailbox.try_send(Message::Evict).is_ok() {}
    let mut other = rooms.shared.memory.chat.open(None, || {});
    assert!(other.set(5_000));
    let joined = rooms.join("room", entrant("Grace")).await;
    let mut grace = joined.expect("joined");
    let welcome = grace.events.recv().await.expect("an event");
    let Event::Welcome(snapshot) = &*welcome else {
        panic!("{welcome:?}");
    };
    assert_eq!(snapshot.chat.len(), 3);
}

/// However soon its actor ends: the join that makes a room does not look for another one.
#[tokio::test]
async fn whoever_makes_a_room_that_cannot_be_hears_why() {
    let sfu = Sfu::start(SfuConfig::loopback()).expect("relay");
    sfu.fail_worker(0);
    let rooms = Rooms::start(Arc::new(sfu), RoomSettings::default());
    rooms.media_ended().await;
    let guest = Box::new(Guest {
        entrant: entrant("Ada"),
        identity: None,
        permissions: Default::default(),
        invited: false,
        token: Default::default(),
    });
    let (reply, admission) = oneshot::channel();
    let message = Message::Enter { guest, reply };
    let (mailbox, left) = rooms
        .shared
        .mailbox("room", None, message)
        .ok()
        .expect("a mailbox");
    mailbox.closed().await;
    assert!(left.is_none(), "it comes too late");
    let refusal = admission.await.expect("an answer").err();
    assert_eq!(refusal.map(|refusal| refusal.code), Some("worker_failed"));
    assert_eq!(rooms.counts().rooms, 0);
}

/// Waits until so many participants are left.
async fn left(rooms: &Rooms, participants: usize) {
    let left = async {
        while rooms.counts().participants != participants {
            tokio::task::yield_now().await;
        }
    };
    let left = timeout(Duration::from_secs(20), left).await;
    left.expect("the room hears of it");
}

#[tokio::test]
async fn a_place_that_nobody_holds_is_free() {
    let sfu = Sfu::start(SfuConfig::loopback()).expect("relay");
    let rooms = Rooms::start(Arc::new(sfu), RoomSettings::default());
    let ada = rooms.join("room", entrant("Ada")).await.expect("joined");
    let mut grace = rooms.join("room", entrant("Grace")).await.expect("joined");
    assert!(grace.begin_anew(None, Vec::new()).await);
    drop(ada);
    left(&rooms, 1).await;
    // Her earlier stay has ended, and she is there.
    let action = Action::Chat("here".into());
    let request = None;
    assert!(grace.send(Command { request, action }).await);
    while !matches!(*grace.events.recv().await.expect("told"), Event::Chat(_)) {}
    drop(grace);
    left(&rooms, 0).await;
}

/// With the last moderator the waiting room ends, and whoever waited is let in at the same moment.
#[tokio::test]
async fn who_goes_away_while_they_are_let_in_leaves_nobody_behind() {
    let sfu = Sfu::start(SfuConfig::loopback()).expect("relay");
    let rooms = Rooms::start(Arc::new(sfu), RoomSettings::default());
    let ada = rooms.join("room", entrant("Ada")).await.expect("joined");
    let action = Action::Moderate(crate::room::Moderate::WaitingRoom(true));
    let request = None;
    assert!(ada.send(Command { request, action }).await);
    let entered = rooms.enter("room", entrant("Grace")).await;
    let Ok(Entry::Waits(waiting)) = entered else {
        panic!("no wait");
    };
    let mut told = rooms.events();
    ada.leave(LeaveReason::Left).await;
    let let_in = async {
        while let Some(heard) = told.next().await {
            if matches!(heard, Heard::Event(event) if matches!(event.change, Change::Joined(_))) {
                break;
            }
        }
    };
    let let_in = timeout(Duration::from_secs(20), let_in).await;
    let_in.expect("she is let in");
    drop(waiting);
    left(&rooms, 0).await;
}
