//! The HTTP listener. As `axum::serve`, with a bound on connections that ask for nothing.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tracing::debug;

/// A connection may take `patience` to send the head of its first request, and of each after it.
pub(crate) async fn serve(
    mut listener: TcpListener,
    router: Router,
    patience: Duration,
) -> Infallible {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience);
    loop {
        // axum's: what cannot be accepted for want of descriptors is accepted later.
        let (stream, _) = Listener::accept(&mut listener).await;
        // Messages are small, and a person waits for each.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                debug!(%error, "HTTP connection ended");
            }
        });
    }
}
