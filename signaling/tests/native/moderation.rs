//! Moderation from hand-made clients: every action by a moderator, and by one who is not.

use std::time::Duration;

use tertulia_signaling::access::{Claims, Keys, new_key_set};
use tertulia_signaling::hooks::Permissions;
use tertulia_signaling::protocol::native::{
    ClientMessage, Hand, Join, LeaveReason, Moderate, Mute, Rules, ServerMessage, Welcome,
};
use tertulia_signaling::room::Change;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::client::{Client, chat, join, offer};
use crate::embedder::change;
use crate::server::Server;

const HOUR: Duration = Duration::from_secs(3_600);

/// A server that wants tokens, and who issues them.
pub(crate) struct House {
    pub(crate) server: Server,
    keys: Keys,
}

impl House {
    pub(crate) async fn open() -> Self {
        let keys = Keys::from_json(&new_key_set("1")).expect("keys");
        let of_server = keys.clone();
        Self {
            server: Server::with(|config| config.keys = Some(of_server)).await,
            keys,
        }
    }

    /// A join whose identity is the name in lower case.
    pub(crate) fn ticket(&self, name: &str, moderates: bool) -> ClientMessage {
        let mut claims = Claims::join("room", Permissions::all().moderate(moderates));
        claims.identity = Some(name.to_lowercase());
        let token = self.keys.issue(&claims, HOUR, None).expect("a token");
        ClientMessage::Join(Join {
            token: Some(token),
            ..join("room", name)
        })
    }

    pub(crate) async fn welcomed(&self, name: &str, moderates: bool) -> (Client, Welcome) {
        let mut client = self.server.connect().await;
        let answer = client.request(self.ticket(name, moderates)).await;
        let ServerMessage::Welcome(welcome) = answer else {
            panic!("{answer:?} instead of welcome");
        };
        client.id = welcome.participant.clone();
        (client, welcome)
    }

    pub(crate) async fn moderator(&self, name: &str) -> Client {
        self.welcomed(name, true).await.0
    }

    pub(crate) async fn guest(&self, name: &str) -> Client {
        self.welcomed(name, false).await.0
    }

    /// The code of the refusal of a guest's join.
    pub(crate) async fn refused(&self, name: &str) -> String {
        let mut client = self.server.connect().await;
        client.refusal(self.ticket(name, false)).await.code
    }

    /// Somebody who waits, and the id under which moderators know them.
    pub(crate) async fn waiter(&self, name: &str, moderator: &mut Client) -> (Client, String) {
        let mut client = self.server.connect().await;
        client.send(self.ticket(name, false)).await;
        assert_eq!(client.next().await, ServerMessage::Wait);
        let id = waits(moderator).await;
        (client, id)
    }
}

/// The id of the next one who waits.
pub(crate) async fn waits(moderator: &mut Client) -> String {
    moderator
        .find(|message| match message {
            ServerMessage::Waiting { waiting } => {
                assert_eq!(waiting.len(), 1);
                Some(waiting[0].id.clone())
            }
            _ => None,
        })
        .await
}

pub(crate) fn moderate(wish: Moderate) -> ClientMessage {
    ClientMessage::Moderate(wish)
}

pub(crate) fn remove(participant: &str) -> ClientMessage {
    moderate(Moderate::Remove {
        participant: participant.into(),
    })
}

pub(crate) fn ban(participant: &str) -> ClientMessage {
    moderate(Moderate::Ban {
        participant: participant.into(),
    })
}

pub(crate) fn mute_other(track: &str) -> ClientMessage {
    moderate(Moderate::Mute {
        track: track.into(),
    })
}

pub(crate) fn mute(track: &str, muted: bool) -> ClientMessage {
    ClientMessage::Mute(Mute {
        track: track.into(),
        muted,
    })
}

pub(crate) fn admit(participant: &str) -> ClientMessage {
    moderate(Moderate::Admit {
        participant: participant.into(),
    })
}

pub(crate) fn deny(participant: &str) -> ClientMessage {
    moderate(Moderate::Deny {
        participant: participant.into(),
    })
}

fn lower(participant: &str) -> ClientMessage {
    moderate(Moderate::LowerHand {
        participant: participant.into(),
    })
}

fn hand(raised: bool) -> ClientMessage {
    ClientMessage::Hand(Hand { raised })
}

async fn publish(client: &mut Client) -> String {
    client.offer("send 0 audio").await.published[0]
        .track
        .clone()
}

/// Whether the media plane was told that the only track is muted.
pub(crate) fn is_muted_in_the_relay(server: &Server) -> bool {
    let books = server.media.books();
    let mut settings = books.peers.values().flat_map(|peer| peer.settings.values());
    settings.next().is_some_and(|settings| settings.muted)
}

/// The reason and the moderator of the goodbye.
pub(crate) async fn bye(client: &mut Client) -> (String, Option<String>) {
    client
        .find(|message| match message {
            ServerMessage::Bye { reason, by, .. } => Some((reason.clone(), by.clone())),
            _ => None,
        })
        .await
}

/// The action, moderator, participant and track of the next `moderated`.
pub(crate) async fn moderated(client: &mut Client) -> (String, String, String, Option<String>) {
    client
        .find(|message| match message {
            ServerMessage::Moderated {
                action,
                by,
                participant,
                track,
            } => Some((
                action.clone(),
                by.clone(),
                participant.clone(),
                track.clone(),
            )),
            _ => None,
        })
        .await
}

async fn rules(client: &mut Client) -> (Rules, Option<String>) {
    client
        .find(|message| match message {
            ServerMessage::Rules { rules, by } => Some((*rules, by.clone())),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn who_may_not_moderate_is_refused_every_action_and_changes_nothing() {
    let house = House::open().await;
    let mut boss = house.moderator("Boss").await;
    boss.expect_ok(moderate(Moderate::WaitingRoom { on: true }))
        .await;
    let (mut waiting, waits) = house.waiter("Waiting", &mut boss).await;
    let (mut ada, ada_waits) = house.waiter("Ada", &mut boss).await;
    boss.expect_ok(admit(&ada_waits)).await;
    ada.find(|message| matches!(message, ServerMessage::Welcome(_)).then_some(()))
        .await;
    let (mut eve, eve_waits) = house.waiter("Eve", &mut boss).await;
    boss.expect_ok(admit(&eve_waits)).await;
    eve.find(|message| matches!(message, ServerMessage::Welcome(_)).then_some(()))
        .await;
    let track = publish(&mut ada).await;
    ada.expect_ok(hand(true)).await;
    boss.told().await;
    ada.told().await;
    eve.told().await;
    let target = ada_waits.clone();
    for wish in [
        Moderate::Mute { track },
        Moderate::AskUnmute {
            participant: target.clone(),
        },
        Moderate::Remove {
            participant: target.clone(),
        },
        Moderate::Ban {
            participant: target.clone(),
        },
        Moderate::Lock { on: true },
        Moderate::WaitingRoom { on: false },
        Moderate::Chat { on: false },
        Moderate::Admit {
            participant: waits.clone(),
        },
        Moderate::Deny { participant: waits },
        Moderate::LowerHand {
            participant: target,
        },
        Moderate::End,
    ] {
        let refusal = eve.refusal(moderate(wish.clone())).await;
        assert_eq!(refusal.code, "not_allowed", "{wish:?}");
        assert!(!refusal.fatal && refusal.message.ends_with('.'));
    }
    for client in [&mut ada, &mut boss] {
        let told = client.told().await;
        assert!(told.is_empty(), "{told:?}");
    }
    assert!(!is_muted_in_the_relay(&house.server));
    waiting.expect_pong().await;
    let rooms = house.server.node.rooms();
    assert_eq!(rooms.moderation_refused()["not_allowed"], 11);
    let people = rooms.snapshot("room").await.expect("the room").participants;
    assert_eq!(people.len(), 3);
    let (_, welcome) = house.welcomed("Second", true).await;
    assert_eq!(
        welcome.rules,
        Some(Rules {
            locked: false,
            waiting_room: true,
            chat: true
        })
    );
    assert_eq!(welcome.hands, [ada_waits]);
}

#[tokio::test]
async fn a_muted_track_is_muted_in_the_relay_until_its_owner_unmutes_it() {
    let house = House::open().await;
    let mut boss = house.moderator("Boss").await;
    let mut ada = house.guest("Ada").await;
    let mut bob = house.guest("Bob").await;
    let track = publish(&mut ada).await;
    boss.expect_ok(mute_other(&track)).await;
    assert!(is_muted_in_the_relay(&house.server));
    let expected = (
        "mute".to_owned(),
        boss.id.clone(),
        ada.id.clone(),
        Some(track.clone()),
    );
    assert_eq!(moderated(&mut ada).await, expected);
    assert_eq!(moderated(&mut boss).await, expected);
    let told = bob.told().await;
    let is_update = |message: &&ServerMessage| matches!(message, ServerMessage::TrackUpdated { track, .. } if track.muted);
    assert_eq!(told.iter().filter(is_update).count(), 1);
    let is_moderated = |message: &ServerMessage| matches!(message, ServerMessage::Moderated { .. });
    assert!(!told.iter().any(is_moderated), "it does not concern Bob");
    // Twice is once.
    boss.expect_ok(mute_other(&track)).await;
    assert!(!ada.told().await.iter().any(is_moderated));
    // An offer that was made before does not unmute it, and neither does one of a hand-made client.
    let sdp = "send 0 audio\nrecv 1 audio";
    assert!(matches!(
        ada.request(offer(sdp)).await,
        ServerMessage::Answer(_)
    ));
    assert!(is_muted_in_the_relay(&house.server));
    assert!(bob.told().await.is_empty(), "it stays muted for the others");
    ada.expect_ok(mute(&track, false)).await;
    assert!(!is_muted_in_the_relay(&house.server));
    assert_eq!(
        bob.told()
            .await
            .iter()
            .filter(|it| matches!(it, ServerMessage::TrackUpdated { track, .. } if !track.muted))
            .count(),
        1
    );
    // From then on an offer decides again.
    assert!(matches!(
        ada.request(offer("send 0 audio")).await,
        ServerMessage::Answer(_)
    ));
    assert!(!is_muted_in_the_relay(&house.server));
}

#[tokio::test]
async fn a_mute_that_the_busy_relay_does_not_take_is_refused_and_tried_again() {
    let house = House::open().await;
    let mut boss = house.moderator("Boss").await;
    let mut ada = house.guest("Ada").await;
    let track = publish(&mut ada).await;
    house.server.media.books().overloaded_choices = 1;
    assert_eq!(boss.refusal(mute_other(&track)).await.code, "overloaded");
    boss.expect_ok(mute_other(&track)).await;
    assert!(is_muted_in_the_relay(&house.server));
}

#[tokio::test]
async fn somebody_is_asked_to_unmute_and_nothing_else_happens() {
    let house = House::open().await;
    let mut boss = house.moderator("Boss").await;
    let mut ada = house.guest("Ada").await;
    let track = publish(&mut ada).await;
    ada.expect_ok(mute(&track, true)).await;
    let ask = moderate(Moderate::AskUnmute {
        participant: ada.id.clone(),
    });
    boss.expect_ok(ask).await;
    let expected = (
        "ask_unmute".to_owned(),
        boss.id.clone(),
        ada.id.clone(),
        None,
    );
    assert_eq!(moderated(&mut ada).await, expected);
    assert!(is_muted_in_the_relay(&house.server));
}

#[tokio::test]
async fn actions_upon_nobody_nothing_and_oneself_are_refused() {
    let house = House::open().await;
    let mut boss = house.moderator("Boss").await;
    let own = publish(&mut boss).await;
    let me = boss.id.clone();
    for (wish, code) in [
        (mute_other("tr_none"), "no_such_track"),
        (mute_other(&own), "bad_field"),
        (remove("pa_none"), "no_such_participant"),
        (remove(&me), "bad_field"),
        (ban("pa_none"), "no_such_participant"),
        (ban(&me), "bad_field"),
        (admit("pa_none"), "no_such_participant"),
        (deny(&me), "no_such_participant"),
        (lower("pa_none"), "no_such_participant"),
    ] {
        let refusal = boss.refusal(wish.clone()).await;
        assert_eq!(refusal.code, code, "{wish:?}");
    }
    let refused = house.server.node.rooms().moderation_refused();
    assert_eq!(
        (refused["no_such_participant"], refused["bad_field"]),
        (5, 3)
    );
}

#[tokio::test]
async fn who_is_removed_hears_by_whom_and_may_come_back() {
    let house = House::open().await;
    let mut boss = house.moderator("Boss").await;
    let mut bob = house.guest("Bob").await;
    let mut ada = house.guest("Ada").await;
    publish(&mut ada).await;
    boss.expect_ok(remove(&ada.id)).await;
    assert_eq!(
        bye(&mut ada).await,
        ("kicked".to_owned(), Some(boss.id.clone()))
    );
    let gone = ada.id.clone();
    assert_eq!(ada.closed().await, Some(CloseCode::Normal));
    let left = bob
        .find(|message| match message {
            ServerMessage::ParticipantLeft {
                participant,
                reason,
            } => Some((participant.clone(), *reason)),
            _ => None,
        })
        .await;
    assert_eq!(left, (gone.clone(), LeaveReason::Kicked));
    let expected = ("remove".to_owned(), boss.id.clone(), gone, None);
    assert_eq!(moderated(&mut boss).await, expected);
    let media = &house.server.media;
    media.until(|books| books.peers.is_empty()).await;
    house.guest("Ada").await;
    // Who was removed is a newcomer for the lock.
    boss.expect_ok(moderate(Moderate::Lock { on: true })).await;
    house.guest("Bob").await;
    let again = house.guest("Ada").await;
    boss.expect_ok(remove(&again.id)).await;
    assert_eq!(house.refused("Ada").await, "room_locked");
}

#[tokio::test]
async fn a_banned_user_is_out_until_the_room_is_gone() {
    let house = House::open().await;
    let mut boss = house.moderator("Boss").await;
    let mut ada = house.guest("Ada").await;
    let mut phone = house.guest("Ada").await;
    boss.expect_ok(moderate(Moderate::WaitingRoom { on: true }))
        .await;
    // The user has moved to another device.
    assert_eq!(bye(&mut ada).await, ("replaced".to_owned(), None));
    boss.expect_ok(ban(&phone.id)).await;
    let expected = ("banned".to_owned(), Some(boss.id.clone()));
    assert_eq!(bye(&mut phone).await, expected);
    assert_eq!(house.refused("Ada").await, "banned");
    // A ban holds a moderator as well.
    let mut client = house.server.connect().await;
    let refusal = client.refusal(house.ticket("Ada", true)).await;
    assert_eq!(refusal.code, "banned");
    assert_eq!(house.server.node.rooms().joins_refused()["banned"], 2);
    // Somebody who waits can be banned, too.
    let (mut eve, waits) = house.waiter("Eve", &mut boss).await;
    boss.expect_ok(ban(&waits)).await;
    assert_eq!(eve.next_refusal().await.code, "banned");
    // Others of the same address come in.
    boss.expect_ok(moderate(Moderate::WaitingRoom { on: false }))
        .await;
    house.guest("Grace").await;
    boss.send(moderate(Moderate::End)).await;
    bye(&mut boss).await;
    house.server.empties().await;
    while house.server.node.counts().rooms > 0 {
        tokio::task::yield_now().await;
    }
    house.guest("Ada").await;
}

#[tokio::test]
async fn without_an_identity_a_ban_holds_the_address_or_with_others_there_the_name_too() {
    let server = Server::behind_proxy(|_| {}).await;
    let from = async |address: &str| server.come_from(address).await;
    let mut boss = from("192.0.2.1").await;
    boss.join("room", "Boss").await;
    let mut eve = from("192.0.2.2").await;
    eve.join("room", "Eve").await;
    boss.expect_ok(ban(&eve.id)).await;
    let refused = async |address: &str, name: &str| {
        let answer = from(address).await.join_answer("room", name).await;
        matches!(answer, ServerMessage::Error(refusal) if refusal.code == "banned")
    };
    assert!(refused("192.0.2.2", "Another").await);
    assert!(!refused("192.0.2.3", "Eve").await);
    // Mallory has the address of somebody who is to stay.
    let mut mallory = from("192.0.2.1").await;
    mallory.join("room", "Mallory").await;
    boss.expect_ok(ban(&mallory.id)).await;
    assert!(refused("192.0.2.1", "Mallory").await);
    assert!(!refused("192.0.2.1", "Boss").await);
}

#[tokio::test]
async fn a_locked_room_takes_moderators_and_who_was_there_before() {
    let house = House::open().await;
    let mut boss = house.moderator("Boss").await;
    let mut ada = house.guest("Ada").await;
    boss.expect_ok(moderate(Moderate::Lock { on: true })).await;
    let locked = Rules {
        locked: true,
        waiting_room: false,
        chat: true,
    };
    assert_eq!(rules(&mut ada).await, (locked, Some(boss.id.clone())));
    assert_eq!(rules(&mut boss).await, (locked, Some(boss.id.clone())));
    boss.expect_ok(moderate(Moderate::Lock { on: true })).await;
    assert!(ada.told().await.is_empty(), "nothing has changed");
    assert_eq!(house.refused("Eve").await, "room_locked");
    assert_eq!(house.server.node.rooms().joins_refused()["room_locked"], 1);
    let (_, welcome) = house.welcomed("Ada", false).await;
    assert_eq!(welcome.rules, Some(locked));
    house.moderator("Second").await;
    boss.expect_ok(moderate(Moderate::Lock { on: false })).await;
    house.guest("Eve").await;
}

#[tokio::test]
async fn the_chat_is_off_for_all_but_moderators() {
    let house = House::open().await;
    let mut boss = house.moderator("Boss").await;
    let mut ada = house.guest("Ada").await;
    boss.expect_ok(moderate(Moderate::Chat { on: false })).await;
    assert!(!rules(&mut ada).await.0.chat);
    assert_eq!(ada.refusal(chat("hello")).await.code, "chat_off");
    boss.expect_ok(chat("only I")).await;
    assert_eq!(
        house.server.node.rooms().moderation_refused()["chat_off"],
        1
    );
    boss.expect_ok(moderate(Moderate::Chat { on: true })).await;
    ada.expect_ok(chat("me again")).await;
}

#[tokio::test]
async fn hands_are_in_the_order_of_raising_and_lowered_by_oneself_or_a_moderator() {
    let house = House::open().await;
    let mut boss = house.moderator("Boss").await;
    let mut ada = house.guest("Ada").await;
    let mut bob = house.guest("Bob").await;
    let mut eve = house.guest("Eve").await;
    bob.expect_ok(hand(true)).await;
    ada.expect_ok(hand(true)).await;
    bob.expect_ok(hand(true)).await;
    eve.expect_ok(hand(true)).await;
    let order = async |house: &House| house.welcomed("Late", false).await.1.hands;
    assert_eq!(
        order(&house).await,
        [bob.id.clone(), ada.id.clone(), eve.id.clone()]
    );
    bob.expect_ok(hand(false)).await;
    boss.expect_ok(lower(&ada.id)).await;
    let told = eve.told().await;
    let hands = told.into_iter().filter_map(|message| match message {
        ServerMessage::Hand {
            participant,
            raised,
            by,
        } => Some((participant, raised, by)),
        _ => None,
    });
    let expected = [
        (bob.id.clone(), true, None),
        (ada.id.clone(), true, None),
        (eve.id.clone(), true, None),
        (bob.id.clone(), false, None),
        (ada.id.clone(), false, Some(boss.id.clone())),
    ];
    assert_eq!(hands.collect::<Vec<_>>(), expected);
    eve.expect_bye(ClientMessage::Leave).await;
    assert_eq!(order(&house).await, [] as [String; 0]);
}

#[tokio::test]
async fn the_call_ends_for_everybody() {
    let house = House::open().await;
    let mut boss = house.moderator("Boss").await;
    let mut ada = house.guest("Ada").await;
    boss.send(moderate(Moderate::End)).await;
    let by = Some(boss.id.clone());
    for client in [&mut boss, &mut ada] {
        assert_eq!(bye(client).await, ("room_closed".to_owned(), by.clone()));
    }
    house.server.empties().await;
}

#[tokio::test]
async fn an_embedder_hears_who_did_what_to_whom() {
    let house = House::open().await;
    let mut boss = house.moderator("Boss").await;
    let mut ada = house.guest("Ada").await;
    let track = publish(&mut ada).await;
    let mut events = house.server.node.events();
    boss.expect_ok(mute_other(&track)).await;
    boss.expect_ok(moderate(Moderate::Lock { on: true })).await;
    for (expected, whom, what, rule) in [
        ("mute", Some(ada.id.as_str()), Some(track.as_str()), None),
        ("lock", None, None, Some(true)),
    ] {
        let Change::Moderated {
            by,
            action,
            participant,
            track,
            invitation: None,
            on,
        } = change(&mut events).await
        else {
            panic!("no action");
        };
        assert_eq!((action, on), (expected, rule));
        assert_eq!(by.identity.as_deref(), Some("boss"));
        assert_eq!(participant.as_ref().map(|it| it.as_str()), whom);
        assert_eq!(track.as_ref().map(|it| it.as_str()), what);
    }
    let done = house.server.node.rooms().moderated();
    assert_eq!((done["mute"], done["lock"], done["ban"]), (1, 1, 0));
}
