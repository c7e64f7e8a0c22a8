//! Two kinds of bot, two stacks that share nothing above the socket: what they say of the same small
//! call is the same.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tertulia_loadtest::report::Report;
use tertulia_loadtest::scenario::{self, BotKind, Scenario, catalog};
use tertulia_signaling::{Config, Node};

async fn small(bot: BotKind) -> Report {
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
    let http = tokio::spawn(async move { axum::serve(listener, router).await });
    let (name, settings) = catalog::load("small").unwrap();
    let scenario = Scenario {
        bot,
        url: url.parse().unwrap(),
        duration: Duration::from_secs(6),
        ..settings.scenario(&name).unwrap()
    };
    let report = scenario::run(&scenario, std::future::pending(), |_| {}).await;
    node.shutdown().await;
    http.abort();
    report.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_kinds_tell_the_same() {
    let webrtc = small(BotKind::Webrtc).await;
    let wire = small(BotKind::Wire).await;
    for report in [&webrtc, &wire] {
        assert!(report.passed, "{report:#?}");
        assert_eq!(report.window.seconds, 6.0);
        if report.generator.socket_drops == Some(0) {
            assert_eq!(report.packets_lost, 0, "{report:#?}");
            assert!(report.delivered_ratio > Some(0.99), "{report:#?}");
        }
        assert_eq!(report.window.packets_backwards, 0);
    }
    let received = |report: &Report| report.window.packets_received as f64;
    let ratio = received(&webrtc) / received(&wire);
    assert!((0.97..1.03).contains(&ratio), "{ratio}");
    let delay = |report: &Report| report.forward_delay_ms.p50.unwrap();
    // The one's time includes its own sealing, queues and task switches; the other's ends at the
    // kernel. On a machine with nothing else to do they are a fraction of a millisecond apart.
    let apart = delay(&webrtc) - delay(&wire);
    assert!(apart.abs() < 10.0, "{apart}");
}
