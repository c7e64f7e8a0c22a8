//! Bots in a call through the real server, in one process.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tertulia_loadtest::bot::publish::Video;
use tertulia_loadtest::report::Report;
use tertulia_loadtest::scenario::{self, Churn, Phases, Scenario, Storm};
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
    run(Scenario {
        publishers,
        subscribers,
        video,
        audio,
        duration: Duration::from_secs(5),
        ..Scenario::default()
    })
    .await
}

async fn run(scenario: Scenario) -> Report {
    let (node, url) = server().await;
    let scenario = Scenario {
        url: url.parse().unwrap(),
        ..scenario
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
    assert!(report.phases.ice_ms.p50 > report.phases.signaling_ms.p50);
    assert!(report.phases.dtls_ms.p50 >= report.phases.ice_ms.p50);
    assert!(report.phases.first_packet_ms.p50.is_some());
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_and_a_churn_are_told_apart_and_the_server_is_accounted_for() {
    let report = run(Scenario {
        publishers: 2,
        subscribers: 0,
        talkers: Some(1),
        video: Video::None,
        audio: true,
        duration: Duration::from_secs(2),
        // The server is part of this very process.
        server_pid: Some(std::process::id()),
        phases: Phases {
            storm: Some(Storm {
                participants: 3,
                rate: f64::INFINITY,
                after: Duration::from_secs(2),
            }),
            churn: Some(Churn {
                joins: 5,
                alive: 2,
                rate: 20.0,
                idle: Duration::from_millis(500),
            }),
        },
        ..Scenario::default()
    })
    .await;
    // One bot talks: the other publisher and the three of the storm hear it.
    check(&report, 2 + 3 + 5, 1 + 3);
    let stages: Vec<_> = report
        .stages
        .iter()
        .map(|stage| (&*stage.name, stage.joined))
        .collect();
    assert_eq!(
        stages,
        [
            ("before", 2),
            ("during", 3),
            ("after", 0),
            ("churn", 5),
            ("call", 0)
        ]
    );
    for stage in report.stages.iter().filter(|stage| stage.seconds > 0.0) {
        assert!(stage.forward_delay_ms.p50.is_some(), "{stage:?}");
    }
    assert_eq!(report.stages[0].seconds, 2.0);
    assert_eq!(report.churn.as_ref().unwrap().joins, 5);
    assert!(report.churn.as_ref().unwrap().ratio.is_some());
    let server = &report.server;
    assert_eq!(server.pid, Some(std::process::id()));
    assert!(server.cpu_seconds > Some(0.0) && server.cpu_ns_per_packet > Some(0.0));
    assert!(server.rss_bytes_per_participant.is_some());
    assert!(report.timeline.len() >= 5, "{:?}", report.timeline);
    assert!(
        report
            .timeline
            .iter()
            .any(|moment| moment.participants == 5)
    );
    let happened = |what: &str| report.events.iter().any(|event| event.what.contains(what));
    assert!(happened("the join storm begins") && happened("all have gone"));
}
