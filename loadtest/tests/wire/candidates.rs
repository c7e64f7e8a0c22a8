//! A server that announces several addresses, some of no use to a bot.

use std::net::IpAddr;
use std::time::Duration;

use tertulia_loadtest::bot::publish::Video;

use crate::Hall;

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// An address for documentation (RFC 5737): no route from loopback leads there, and nobody has it.
const NOWHERE: &str = "192.0.2.1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bots_find_the_address_that_answers_wherever_it_stands() {
    for announced in [
        &[NOWHERE, "127.0.0.1"][..],
        // Answers come from the address that faces the bot, which is the other one.
        &["127.0.0.2", "127.0.0.1"],
        &["127.0.0.1", "127.0.0.2", NOWHERE, "::1"],
    ] {
        let mut hall = Hall::announcing(addresses(announced)).await;
        let publisher = hall.admit(Video::P180, true).await;
        let viewer = hall.admit(Video::None, false).await;
        let webrtc = hall.admit_webrtc(Video::P180, true).await;
        for bot in [&publisher, &viewer, &webrtc] {
            let failure = bot.call().failure.clone();
            assert_eq!(failure, None, "{announced:?}");
        }
        let bots = [publisher, viewer];
        hall.until("media", |seen| seen.totals.packets > 50, &bots[1..])
            .await;
        hall.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_that_no_address_fits_says_so_at_once() {
    let mut hall = Hall::announcing(addresses(&[NOWHERE, "::1"])).await;
    let bot = hall.admit(Video::None, false).await;
    let failure = bot.call().failure.clone().unwrap();
    for part in [
        "from 127.0.0.1",
        "192.0.2.1:",
        "[::1]:",
        "--media-ip",
        "--bind",
    ] {
        assert!(failure.contains(part), "{part} is not in: {failure}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_that_nobody_answers_names_who_was_asked() {
    // A check sent there is answered from 127.0.0.1, which is no answer.
    let mut hall = Hall::announcing(addresses(&["127.0.0.3"])).await;
    let mut config = hall.config(&hall.url, Video::None, false);
    config.join_timeout = Duration::from_millis(500);
    let bot = hall.admit_with(config).await;
    let failure = bot.call().failure.clone().unwrap();
    for part in ["no transport", "127.0.0.3:", "answers 127.0.0.1:"] {
        assert!(failure.contains(part), "{part} is not in: {failure}");
    }
}
