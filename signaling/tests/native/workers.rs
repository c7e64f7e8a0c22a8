//! Media workers that fail under a running server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tertulia_sfu::{Sfu, SfuConfig};
use tertulia_signaling::Node;
use tertulia_signaling::protocol::native::{ClientMessage, MediaState, Mute, ServerMessage};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::client::{Client, offer};
use crate::http::get;

const CHROMIUM: &str = include_str!("../../../sfu/src/transport/sdp/fixtures/chromium-publish.sdp");
const PATIENCE: Duration = Duration::from_secs(30);

struct Server {
    public: SocketAddr,
    admin: SocketAddr,
    node: Node,
    sfu: Sfu,
}

impl Server {
    async fn with_workers(workers: usize) -> Self {
        let mut config = SfuConfig::loopback();
        config.workers = workers;
        let sfu = Sfu::start(config).expect("relay");
        let media = Arc::new(sfu.clone());
        let node = Node::builder().media(media).build().expect("node");
        let public = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let admin = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let server = Self {
            public: public.local_addr().expect("address"),
            admin: admin.local_addr().expect("address"),
            node: node.clone(),
            sfu,
        };
        let operator = node.clone();
        tokio::spawn(async move { node.serve(public).await });
        tokio::spawn(async move { operator.serve_admin(admin).await });
        server
    }

    async fn connect(&self) -> Client {
        Client::connect(&format!("ws://{}/v1/ws", self.public)).await
    }

    async fn join(&self, room: &str, name: &str) -> Client {
        let mut client = self.connect().await;
        client.join(room, name).await;
        client
    }

    /// The number of peers of each worker.
    async fn peers(&self) -> Vec<usize> {
        let totals = self.sfu.totals().await.expect("totals");
        totals.workers.iter().map(|w| w.peer_count).collect()
    }

    async fn health(&self) -> (u16, Value) {
        let reply = get(self.public, "/healthz").await;
        let health = serde_json::from_str(&reply.body).expect("JSON");
        (reply.status, health)
    }
}

async fn failed(client: &mut Client) -> Option<String> {
    let state = client.find(|message| match message {
        ServerMessage::Media { state, reason } => Some((*state, reason.clone())),
        _ => None,
    });
    let (state, reason) = state.await;
    assert_eq!(state, MediaState::Failed);
    reason
}

#[tokio::test]
async fn who_was_on_a_failed_worker_is_told_and_goes_on_at_another() {
    let server = Server::with_workers(2).await;
    assert_eq!(server.health().await.0, 200);
    let mut ada = server.join("lost", "Ada").await;
    let mut grace = server.join("lost", "Grace").await;
    ada.offer(CHROMIUM).await;
    grace.offer(CHROMIUM).await;
    let home = server.peers().await.iter().position(|peers| *peers > 0);
    let (home, other) = home.map(|home| (home, 1 - home)).expect("a worker");
    // He is on the other worker, which has less to do.
    let mut edsger = server.join("safe", "Edsger").await;
    edsger.offer(CHROMIUM).await;
    assert_eq!(server.peers().await[other], 1);

    server.sfu.fail_worker(home);
    for client in [&mut ada, &mut grace] {
        assert_eq!(failed(client).await.as_deref(), Some("worker_failed"));
        let stats = client.request(ClientMessage::Stats).await;
        assert!(
            matches!(stats, ServerMessage::Stats { peer: None, .. }),
            "{stats:?}"
        );
    }
    // They have seen each other's tracks end, and offer again.
    for client in [&mut ada, &mut grace] {
        let answer = client.offer(CHROMIUM).await;
        assert_eq!(answer.published.len(), 2);
        for track in answer.published {
            let mute = ClientMessage::Mute(Mute {
                track: track.track,
                muted: true,
            });
            client.expect_ok(mute).await;
        }
    }
    assert_eq!(server.peers().await[other], 3);
    for room in ["new-1", "new-2", "new-3"] {
        let mut client = server.join(room, "Barbara").await;
        client.offer(CHROMIUM).await;
    }
    let told = edsger.told().await;
    assert!(
        !told
            .iter()
            .any(|m| matches!(m, ServerMessage::Media { .. })),
        "{told:?}"
    );

    let (status, health) = server.health().await;
    assert_eq!((status, &health["status"]), (503, &"worker_failed".into()));
    let reason = health["reason"].as_str().expect("a reason");
    assert!(
        reason.contains(&format!("number {home}")) && reason.contains("Restart"),
        "{reason}"
    );
    let stats = get(server.admin, "/stats").await;
    let stats: Value = serde_json::from_str(&stats.body).expect("JSON");
    assert_eq!(stats["failed_workers"], 1);
    assert_eq!(stats["workers"][home]["failed"], true);
    assert_eq!(stats["workers"][other]["failed"], false);
    for path in ["/stats?room=lost", "/timeline?room=lost"] {
        assert_eq!(get(server.admin, path).await.status, 200, "{path}");
    }
    server.node.shutdown().await;
}

/// The offer reaches the room before the failure does: its refusal is explained first.
#[tokio::test]
async fn an_offer_to_a_failed_worker_is_refused_by_its_code() {
    let server = Server::with_workers(2).await;
    let mut ada = server.join("room", "Ada").await;
    ada.offer(CHROMIUM).await;
    let home = server.peers().await.iter().position(|peers| *peers > 0);
    server.sfu.fail_worker(home.expect("a worker"));
    ada.send(offer(CHROMIUM)).await;
    assert_eq!(failed(&mut ada).await.as_deref(), Some("worker_failed"));
    let reply = ada.find(|message| match message {
        ServerMessage::Error(refusal) => Some(Some(refusal.code.clone())),
        ServerMessage::Answer(_) => Some(None),
        _ => None,
    });
    let reply = reply.await;
    // The event may have come already, and then the offer is a first one.
    assert!(
        matches!(reply.as_deref(), None | Some("worker_failed")),
        "{reply:?}"
    );
    assert_eq!(ada.offer(CHROMIUM).await.published.len(), 2);
    server.node.shutdown().await;
}

/// The test runs on several threads, like the server: a room may have closed before the join is in its mailbox.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_any_worker_joins_are_refused_at_once_and_the_node_says_that_it_is_over() {
    let server = Server::with_workers(2).await;
    let mut ada = server.join("room", "Ada").await;
    ada.offer(CHROMIUM).await;
    server.sfu.fail_worker(0);
    server.sfu.fail_worker(1);
    let ended = timeout(PATIENCE, server.node.media_ended()).await;
    assert!(ended.is_ok(), "nobody is told");
    assert_eq!(failed(&mut ada).await.as_deref(), Some("worker_failed"));
    assert_eq!(ada.refusal(offer(CHROMIUM)).await.code, "worker_failed");
    // Joins come one after the other and many at once, to one room and to several.
    let joins = (0..60).map(|i| {
        let room = format!("room-{}", i % 4);
        let client = server.connect();
        async move {
            let mut client = client.await;
            for _ in 0..5 {
                match client.join_answer(&room, "Late").await {
                    ServerMessage::Error(refusal) => assert_eq!(refusal.code, "worker_failed"),
                    other => panic!("{other:?} instead of a refusal"),
                }
            }
        }
    });
    let joins = futures_util::future::join_all(joins);
    assert!(timeout(PATIENCE, joins).await.is_ok(), "no reply");
    assert_eq!(server.node.counts().rooms, 1);
    let (status, health) = server.health().await;
    assert_eq!((status, &health["status"]), (503, &"worker_failed".into()));
    assert_eq!(get(server.admin, "/stats").await.status, 200);
    server.node.shutdown().await;
}
