//! The end of a server.

use tertulia_signaling::protocol::native::ServerMessage;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::server::Server;

#[tokio::test]
async fn everyone_is_told_and_everything_is_closed() {
    let server = Server::start().await;
    let mut ada = server.join("Ada").await;
    ada.offer("send 0 audio").await;
    let mut other = server.connect().await;
    other.join("other-room", "Grace").await;
    let not_joined = server.connect().await;

    let node = server.node.clone();
    let shutdown = tokio::spawn(async move { node.shutdown().await });
    for mut client in [ada, other, not_joined] {
        let reason = client.find(|message| match message {
            ServerMessage::Bye { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        assert_eq!(reason.await, "server_shutdown");
        assert_eq!(client.closed().await, Some(CloseCode::Away));
    }
    shutdown.await.expect("shutdown");
    let counts = server.node.counts();
    assert_eq!((counts.rooms, counts.participants), (0, 0));
    let (rooms, is_shut_down) = {
        let books = server.media.books();
        (books.rooms.len(), books.is_shut_down)
    };
    assert_eq!((rooms, is_shut_down), (0, true));

    assert!(
        tokio_tungstenite::connect_async(server.url())
            .await
            .is_err()
    );
    let health = crate::http::get(server.addr, "/healthz").await;
    assert_eq!(health.status, 503);
    assert!(health.body.contains("shutting_down"));
}

#[tokio::test]
async fn a_client_that_does_not_answer_does_not_hold_it_up() {
    let server = Server::start().await;
    let silent = server.join("Silent").await;
    let begun = std::time::Instant::now();
    server.node.shutdown().await;
    assert!(begun.elapsed().as_secs() < 4);
    drop(silent);
}
