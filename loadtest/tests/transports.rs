//! The transports side by side, against a real server: each message once and in order, and the order of what they cost.
#![allow(clippy::disallowed_methods, reason = "real sockets, real time")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tertulia_loadtest::bot::signaling::ServerUrl;
use tertulia_loadtest::transports::{
    Comparison, Measured, Transport, TransportName, TransportsReport,
};
use tertulia_signaling::{Config, Node};

/// Time for the server to hear that everybody has left, on a machine that is busy.
const DEADLINE: Duration = Duration::from_secs(20);
const INTERVAL: Duration = Duration::from_millis(200);

/// Compares all transports on a server of the test's own.
async fn compare(change: impl FnOnce(&mut Config, &mut Comparison)) -> TransportsReport {
    let mut config = Config {
        media_ip: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        media_port: 0,
        workers: 1,
        ..Config::default()
    };
    config.limits.ping_interval_ms = 500;
    let mut comparison = Comparison {
        clients: vec![5],
        transports: Transport::of(&TransportName::ALL, &[INTERVAL]),
        per_room: 2,
        rate: 10.0,
        talk: Duration::from_secs(2),
        idle: Duration::from_secs(2),
        url: ServerUrl::default(),
        spawn: None,
        server_pid: Some(std::process::id()),
        cores: Vec::new(),
    };
    change(&mut config, &mut comparison);
    let node = Node::start(config).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    comparison.url = url.parse().unwrap();
    let server = node.clone();
    let serving = tokio::spawn(async move { server.serve(listener).await });
    let report = comparison.run(|_| {}).await.unwrap();
    // Everybody has left, by whatever way they came.
    let left = async {
        while node.counts().participants > 0 {
            tokio::task::yield_now().await;
        }
    };
    let left = tokio::time::timeout(DEADLINE, left).await;
    left.expect("everybody leaves in time");
    node.shutdown().await;
    serving.abort();
    report
}

fn by<'a>(report: &'a TransportsReport, transport: &str) -> &'a Measured {
    let mut all = report.measured.iter();
    all.find(|it| it.transport == transport).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_transport_brings_each_message_once() {
    let report = compare(|_, _| {}).await;
    assert!(report.passed, "{report}");
    assert_eq!(report.measured.len(), 4);
    for it in &report.measured {
        // Three rooms of two, two and one, with a speaker in each who says twenty lines.
        assert_eq!((it.clients, it.rooms, it.joined), (5, 3, 8), "{it:?}");
        assert_eq!((it.said, it.heard, it.echoed), (60, 100, 60), "{it:?}");
        let payload = it.heard as f64 * it.line_bytes;
        let talk = it.talk.listeners;
        assert!(talk.bytes_down as f64 > payload && payload > 0.0, "{it:?}");
        assert!(it.talk.speakers.bytes_up > 0, "{it:?}");
        let figures = &it.figures;
        assert!(figures.bytes_per_message_said > Some(0.0), "{it:?}");
        assert!(figures.cpu_us_per_message > Some(0.0), "{it:?}");
        assert!(it.delay_ms.p99.is_some(), "{it:?}");
        // Two seconds of silence say nothing about a minute.
        assert!(
            !it.valid && it.invalid_reasons[0].contains("too short"),
            "{it:?}"
        );
    }
    let websocket = by(&report, "websocket");
    let sse = by(&report, "sse");
    let long = by(&report, "long_polling");
    let polling = by(&report, "polling");
    // A WebSocket is one request, and pings go on.
    assert_eq!(websocket.joining.requests, 5);
    for phase in [&websocket.talk, &websocket.idle] {
        assert_eq!(phase.listeners.requests, 0);
        assert!(phase.listeners.bytes_up > 0 && phase.listeners.bytes_down > 0);
    }
    // Two seconds have one ping of each at most, and no end of a long poll.
    assert!(sse.idle.listeners.requests <= 5, "{sse:?}");
    assert!(sse.idle.listeners.bytes_down > 0, "comments: {sse:?}");
    assert_eq!(long.idle.listeners.bytes(), 0, "{long:?}");
    // A long poll brings one message or more, and the last one waits already.
    let requests = long.talk.listeners.requests;
    assert!((5..=100).contains(&requests), "{long:?}");
    // Five clients, two seconds, five polls a second; at both ends one may fall out or in.
    let polls = polling.idle.listeners.requests;
    assert!((40..=60).contains(&polls), "{polling:?}");
    let bytes = |it: &Measured| it.figures.bytes_per_message.unwrap();
    assert!(
        bytes(websocket) < bytes(sse) && bytes(sse) < bytes(long),
        "{report}"
    );
    let idle = |it: &Measured| it.idle.listeners.bytes();
    assert!(
        idle(polling) > 5 * idle(websocket) && idle(polling) > idle(sse),
        "{report}"
    );
    let text = report.to_string();
    assert!(text.contains(
        "| 5 clients in 3 rooms | WebSocket | SSE + POST | long polling | polling every 0.2 s |"
    ));
    assert!(text.ends_with("passed, but not valid"), "{text}");
    assert_eq!(report.exit_status(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_are_not_let_in_fail_the_comparison() {
    let report = compare(|config, comparison| {
        config.limits.participants_per_room = 4;
        comparison.transports = vec![Transport::Sse, Transport::LongPolling];
        // One room for all of them.
        comparison.per_room = 5;
    })
    .await;
    assert!(!report.passed);
    assert_eq!(report.exit_status(), 1);
    for it in &report.measured {
        assert_eq!((it.joined, it.faults), (4, 2), "{it:?}");
        let fault = it.first_fault.as_deref().unwrap();
        assert!(
            fault.contains("could not join") && fault.contains("room_full"),
            "{fault}"
        );
    }
}
