//! Bots at a server that wants access tokens: what a token does not grant does not go through the real relay.

use std::time::Duration;

use tertulia_loadtest::bot::BotConfig;
use tertulia_loadtest::bot::publish::Video;
use tertulia_loadtest::bot::signaling::Signaling;
use tertulia_signaling::access::{Claims, Keys, Token, new_key_set};
use tertulia_signaling::hooks::Permissions;
use tertulia_signaling::protocol::native::{ClientMessage, Moderate, ServerMessage};

use crate::{Hall, eventually, observed};

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread")]
async fn bots_join_by_token_and_one_that_may_not_receive_is_sent_nothing() {
    let keys = Keys::from_json(&new_key_set("1")).unwrap();
    let token = |permissions| -> Token {
        let claims = Claims::join("*", permissions);
        keys.issue(&claims, HOUR, None).unwrap()
    };
    let mut hall = Hall::locked(keys.clone()).await;
    let url = hall.url.parse().unwrap();
    let refused = Signaling::join(&url, "hall", "nobody", None).await.err();
    let refused = refused.expect("a refusal").to_string();
    assert!(refused.contains("token_required"), "{refused}");
    let mut bots = Vec::new();
    for permissions in [
        Permissions::all(),
        Permissions::all(),
        Permissions::all().subscribe(false),
    ] {
        let config = BotConfig {
            token: Some(token(permissions)),
            ..hall.config(&hall.url, Video::None, true)
        };
        bots.push(hall.admit_with(config).await);
    }
    let deaf = bots.pop().expect("three bots");
    // The two hear each other and the third, who hears nobody.
    let hears_two = |seen: &_| packets(seen) > 500;
    hall.until("sound", hears_two, &bots).await;
    assert_eq!(packets(&observed(&deaf)), 0);
    assert!(deaf.call().announced.len() >= 2, "it knows of their tracks");
    hall.close().await;
}

/// A run without its sound must not look like one with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_may_not_send_fails_and_says_why() {
    let keys = Keys::from_json(&new_key_set("1")).unwrap();
    let claims = Claims::join("*", Permissions::all().microphone(false));
    let mut hall = Hall::locked(keys.clone()).await;
    let config = BotConfig {
        token: Some(keys.issue(&claims, HOUR, None).unwrap()),
        ..hall.config(&hall.url, Video::None, true)
    };
    let bot = hall.admit_with(config).await;
    let failure = bot.call().failure.take();
    let expected = "the server refused m-line 0: not_allowed: You may not send sound in this room.";
    assert_eq!(failure.as_deref(), Some(expected));
    hall.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_a_moderator_mutes_sends_on_and_is_not_heard() {
    let keys = Keys::from_json(&new_key_set("1")).unwrap();
    let token = |permissions| -> Token {
        let claims = Claims::join("*", permissions);
        keys.issue(&claims, HOUR, None).unwrap()
    };
    let mut hall = Hall::locked(keys.clone()).await;
    let mut bots = Vec::new();
    for _ in 0..2 {
        let config = BotConfig {
            token: Some(token(Permissions::all())),
            ..hall.config(&hall.url, Video::None, true)
        };
        bots.push(hall.admit_with(config).await);
    }
    let hears = |seen: &_| packets(seen) > 200;
    hall.until("sound", hears, &bots).await;
    let url = hall.url.parse().unwrap();
    let moderates = Some(token(Permissions::listener().moderate(true)));
    let joined = Signaling::join(&url, "hall", "Boss", moderates).await;
    let (mut boss, welcome) = joined.unwrap();
    let mut people = welcome.participants.iter();
    let muted = people.find(|person| person.name == "bot-0").unwrap();
    let track = muted.tracks[0].id.clone();
    let mute = ClientMessage::Moderate(Moderate::Mute { track });
    boss.send(mute).await.unwrap();
    while !matches!(boss.next_good().await.unwrap(), ServerMessage::Ok { .. }) {}
    let [sender, listener] = &bots[..] else {
        panic!("two bots");
    };
    // What is on its way still comes.
    let look = || (observed(sender).sent.packets, packets(&observed(listener)));
    let mut before = look();
    eventually("the muted bot is heard, or sends no more", || {
        let now = look();
        if now.1 != before.1 {
            before = now;
        }
        now.0 > before.0 + 100
    })
    .await;
    let heard = packets(&observed(sender));
    let hears_on = |seen: &_| packets(seen) > heard + 50;
    hall.until("sound of the other", hears_on, &bots[..1]).await;
    assert_eq!(look().1, before.1);
    drop(boss);
    hall.close().await;
}

fn packets(seen: &tertulia_loadtest::measure::Observed) -> u64 {
    seen.totals.packets
}
