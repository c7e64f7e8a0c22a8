//! A real server for one test.

use std::net::SocketAddr;
use std::sync::Arc;

use tertulia_signaling::{Config, Node, NodeBuilder};
use tokio::net::TcpListener;

use crate::client::{Client, DEADLINE};
use crate::fake_media::FakeMedia;

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) node: Node,
    pub(crate) media: Arc<FakeMedia>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::built(change, |builder| builder).await
    }

    /// A server that believes what is said of clients' addresses on loopback: see [`come_from`](Self::come_from).
    pub(crate) async fn behind_proxy(change: impl FnOnce(&mut Config)) -> Self {
        Self::with(|config| {
            config.trusted_proxies = vec!["127.0.0.1".parse().expect("a network")];
            change(config);
        })
        .await
    }

    /// A server with parts of an embedder's own.
    pub(crate) async fn built(
        change: impl FnOnce(&mut Config),
        build: impl FnOnce(NodeBuilder) -> NodeBuilder,
    ) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let media = FakeMedia::new();
        let media = Arc::new(media);
        let builder = Node::builder().config(config).media(media.clone());
        let node = build(builder).build().expect("node");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let addr = listener.local_addr().expect("address");
        let server = node.clone();
        tokio::spawn(async move { server.serve(listener).await });
        Self { addr, node, media }
    }

    /// Serves what operators read, too.
    pub(crate) async fn admin(&self) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let addr = listener.local_addr().expect("address");
        let node = self.node.clone();
        tokio::spawn(async move { node.serve_admin(listener).await });
        addr
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/v1/ws", self.addr)
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(&self.url()).await
    }

    /// Connects from an address, as the proxy before the server says.
    pub(crate) async fn come_from(&self, address: &str) -> Client {
        let connected = Client::connect_from(&self.url(), address).await;
        connected.expect("connected")
    }

    /// Joins the room `room`.
    pub(crate) async fn join(&self, name: &str) -> Client {
        let mut client = self.connect().await;
        client.join("room", name).await;
        client
    }

    /// Returns once nobody is left.
    pub(crate) async fn empties(&self) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while self.node.counts().participants > 0 {
            assert!(tokio::time::Instant::now() < deadline, "somebody stays");
            tokio::task::yield_now().await;
        }
    }

    /// The media plane's number of the peer made last.
    pub(crate) fn last_peer(&self) -> u64 {
        *self.media.books().peers.keys().last().expect("a peer")
    }
}
