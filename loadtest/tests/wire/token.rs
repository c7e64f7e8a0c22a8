//! Bots at a server that wants access tokens: what a token does not grant does not go through the real relay.

use std::time::Duration;

use tertulia_loadtest::bot::BotConfig;
use tertulia_loadtest::bot::publish::Video;
use tertulia_loadtest::bot::signaling::Signaling;
use tertulia_signaling::access::{Claims, Keys, Token, new_key_set};
use tertulia_signaling::hooks::Permissions;

use crate::{Hall, observed};

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

fn packets(seen: &tertulia_loadtest::measure::Observed) -> u64 {
    seen.totals.packets
}
