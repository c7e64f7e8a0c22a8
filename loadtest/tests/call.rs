//! Bots in a call through the real server, in one process.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tertulia_loadtest::bot::publish::Video;
use tertulia_loadtest::protocol::Protocol;
use tertulia_loadtest::report::Report;
use tertulia_loadtest::scenario::{self, Scenario};
use tertulia_signaling::{Config, Node};

/// A server on ports of the kernel's choice.
async fn server() -> (Node, String) {
    let node = Node::start(Config {
        media_ip: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        media_port: 0,
        workers: 1,
        ..Config::default()
    });
    let node = node.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = node.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (node, url)
}

async fn call(video: Video, audio: bool, publishers: usize, subscribers: usize) -> Report {
    let (node, url) = server().await;
    let scenario = Scenario {
        url: url.parse().unwrap(),
        protocol: Protocol::Native,
        rooms: 1,
        publishers,
        subscribers,
        video,
        audio,
        duration: Duration::from_secs(5),
        ramp: 50.0,
        join_timeout: Duration::from_secs(15),
        room: "call".into(),
        ..Scenario::default()
    };
    let report = scenario::run(&scenario, std::future::pending(), |_| {}).await;
    node.shutdown().await;
    report.unwrap()
}

fn check(report: &Report, bots: usize, tracks: usize) {
    assert!(report.passed, "{report:#?}");
    assert_eq!(report.joined, bots);
    assert_eq!(
        (report.tracks_expected, report.tracks_receiving),
        (tracks, tracks)
    );
    assert_eq!(report.oracle_violations, 0);
    assert_eq!(report.packets_unknown, 0);
    if report.generator.socket_drops == Some(0) {
        assert_eq!(report.packets_lost, 0, "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_publishers_and_a_subscriber_receive_each_other() {
    let report = call(Video::P180, true, 2, 1).await;
    // Two tracks each: every publisher has the other's, the subscriber has both.
    check(&report, 3, 2 + 2 + 4);
    assert!(report.frames_decodable > 4 * 100, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simulcast_is_accepted_and_one_layer_at_a_time_arrives() {
    let report = call(Video::P720Simulcast, false, 1, 2).await;
    check(&report, 3, 2);
    // Three layers went in; each subscriber was sent the highest alone, some 1.2 Mbit/s.
    assert!(report.receive_mbit_s < 2.0 * 1.5, "{report:#?}");
}
