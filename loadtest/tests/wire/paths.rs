//! Wire bots whose media goes over TCP, and through the server's TURN.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use tertulia_loadtest::bot::BotConfig;
use tertulia_loadtest::bot::media_path::MediaPath;
use tertulia_loadtest::bot::publish::Video;
use tertulia_signaling::Config;

use super::{Hall, check_clean};

fn config() -> Config {
    Config {
        media_ip: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        ice_tcp: true,
        turn: true,
        ..Config::default()
    }
}

/// A publisher and a viewer whose media takes a path: everything arrives, once and in order.
async fn is_seen_over(path: MediaPath, config: Config, trusted: Option<&Path>) {
    let mut hall = Hall::with(config, 1.0, 1.0).await;
    let bot = |hall: &Hall, video, audio| {
        let config = hall.config(&hall.url, video, audio);
        BotConfig {
            url: config.url.trusting(trusted).unwrap(),
            path,
            ..config
        }
    };
    let bots = [
        hall.admit_with(bot(&hall, Video::P720, true)).await,
        hall.admit_with(bot(&hall, Video::None, false)).await,
    ];
    hall.until("media", |seen| seen.totals.packets > 1_000, &bots[1..])
        .await;
    let closed = hall.close().await;
    check_clean(&closed.seen[1], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_over_ice_tcp() {
    is_seen_over(MediaPath::Tcp, config(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_through_turn_over_tcp() {
    is_seen_over(MediaPath::TurnTcp, config(), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_through_turn_over_tls() {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let files = std::env::temp_dir().join(format!("tertulia-paths-{}", std::process::id()));
    std::fs::create_dir(&files).unwrap();
    let (certificate, key) = (files.join("cert.pem"), files.join("key.pem"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let config = Config {
        tls_cert: Some(certificate.clone()),
        tls_key: Some(key),
        ..config()
    };
    is_seen_over(MediaPath::TurnTls, config, Some(&certificate)).await;
    std::fs::remove_dir_all(&files).unwrap();
}

/// A server that offers no such path is named as the cause, with the setting to change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_is_not_offered_is_named() {
    for (path, named) in [
        (MediaPath::Tcp, "--ice-tcp"),
        (MediaPath::TurnTcp, "--turn"),
        (MediaPath::TurnTls, "a certificate"),
    ] {
        let config = Config {
            ice_tcp: false,
            turn: false,
            ..config()
        };
        let mut hall = Hall::with(config, 1.0, 1.0).await;
        let config = BotConfig {
            path,
            ..hall.config(&hall.url, Video::None, true)
        };
        let bot = hall.admit_with(config).await;
        let failure = bot.call().failure.take().unwrap();
        assert!(failure.contains(named), "{failure}");
        hall.close().await;
    }
}
