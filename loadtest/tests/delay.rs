//! The measured delay against a known one: a proxy between bots and relay that holds every datagram
//! back for a while.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tertulia_loadtest::bot::publish::Video;
use tertulia_loadtest::scenario::{self, BotKind, Scenario};
use tertulia_signaling::{Config, Node};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Delay of the proxy each way; a packet goes through it twice, to the relay and on to the viewer.
const HELD: Duration = Duration::from_millis(10);

/// Datagrams of one bot held at a time, each way: ten times the number on their way in [`HELD`].
const QUEUE: usize = 1_024;

async fn loopback() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

/// Sends what comes through the channel, each datagram when it is due.
fn hold(socket: Arc<UdpSocket>, to: SocketAddr, held: Duration) -> mpsc::Sender<Vec<u8>> {
    let (sender, mut queue) = mpsc::channel::<(Instant, Vec<u8>)>(QUEUE);
    let (entry, mut arriving) = mpsc::channel::<Vec<u8>>(QUEUE);
    tokio::spawn(async move {
        while let Some(datagram) = arriving.recv().await {
            if sender
                .send((Instant::now() + held, datagram))
                .await
                .is_err()
            {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((due, datagram)) = queue.recv().await {
            if !held.is_zero() {
                tokio::time::sleep_until(due).await;
            }
            let _ = socket.send_to(&datagram, to).await;
        }
    });
    entry
}

/// Stands in front of `relay`, one socket towards it for each bot.
async fn proxy(front: UdpSocket, relay: SocketAddr, held: Duration) {
    let front = Arc::new(front);
    let mut bots = HashMap::<SocketAddr, mpsc::Sender<Vec<u8>>>::new();
    let mut buffer = vec![0; 2_048];
    while let Ok((length, bot)) = front.recv_from(&mut buffer).await {
        if let Entry::Vacant(unknown) = bots.entry(bot) {
            let back = Arc::new(loopback().await);
            unknown.insert(hold(Arc::clone(&back), relay, held));
            let answers = hold(Arc::clone(&front), bot, held);
            tokio::spawn(async move {
                let mut buffer = vec![0; 2_048];
                while let Ok((length, _)) = back.recv_from(&mut buffer).await {
                    let _ = answers.send(buffer[..length].to_vec()).await;
                }
            });
        }
        let _ = bots[&bot].send(buffer[..length].to_vec()).await;
    }
}

/// The median delay of a call whose datagrams are held back, in milliseconds.
async fn median(bot: BotKind, held: Duration) -> f64 {
    let front = loopback().await;
    // The port was free a moment ago; no other test in this file binds a port by number.
    let relay = loopback().await.local_addr().unwrap();
    let node = Node::start(Config {
        media_ip: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        media_port: relay.port(),
        media_announce: vec![front.local_addr().unwrap()],
        workers: 1,
        ..Config::default()
    });
    let node = node.unwrap();
    let proxy = tokio::spawn(proxy(front, relay, held));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scenario = Scenario {
        bot,
        url: format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap(),
        publishers: 1,
        subscribers: 2,
        video: Video::None,
        audio: true,
        duration: Duration::from_secs(3),
        ..Scenario::default()
    };
    let router = node.router();
    let http = tokio::spawn(async move { axum::serve(listener, router).await });
    let report = scenario::run(&scenario, std::future::pending(), |_| {}).await;
    node.shutdown().await;
    proxy.abort();
    http.abort();
    let report = report.unwrap();
    assert!(report.passed, "{report:#?}");
    assert_eq!(report.window.packets_backwards, 0);
    report.forward_delay_ms.p50.unwrap()
}

async fn check(bot: BotKind) {
    let direct = median(bot, Duration::ZERO).await;
    let held = median(bot, HELD).await;
    let grown = held - direct;
    // Tokio's timers are late by up to a millisecond each way, and more on a busy machine.
    assert!((19.5..28.0).contains(&grown), "{direct} ms, then {held} ms");
    assert!(direct < 15.0, "{direct} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_milliseconds_are_measured_as_such() {
    check(BotKind::Webrtc).await;
    check(BotKind::Wire).await;
}
