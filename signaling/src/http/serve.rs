//! The HTTP listener: `axum::serve` with bounds on connections that ask for nothing, on those that do not read what
//! they asked for, and on their number; and with TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::serve::Listener;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::front::{Front, Protocol};
use super::open::Open;
use super::patient::Patient;
use super::tls::Opened;
use super::to_https;
use super::unread::UnreadWatch;
use crate::held_open::Place;
use crate::memory::{Memory, Unread};
use crate::watched::Watched;

/// Bounds of time and number for connections.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// The time for a proxy's header and the TLS handshake together, for the head of the first request, and of each after it.
    pub(crate) ask: Duration,
    /// The time until some of an answer is taken.
    pub(crate) take: Duration,
    /// Connections that are no WebSockets. Overflow: of the address that has most of them, the oldest is closed.
    pub(crate) open: usize,
}

/// The time between looks for old ones, while there are too many.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Longest head of a request, in bytes; a longer one is answered with 431. Proxies in front of servers take 32 KiB, and
/// hyper by itself 400 KiB, which unfinished heads would hold for as long as a client may take to ask.
const HEAD_BYTES: usize = 64 << 10;

/// Serves connections by the protocols of a listener. [`Unread`] gives each request the bytes that its connection has
/// received.
pub(crate) async fn serve(
    mut listener: TcpListener,
    router: Router,
    bounds: Bounds,
    memory: &Memory,
    front: Front,
) -> Infallible {
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD_BYTES)
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.ask);
    let open = Open::default();
    if let Some(tls) = &front.tls {
        tls.begin();
    }
    loop {
        let crowded = open.close_old(bounds.open);
        let (mut stream, peer) = tokio::select! {
            // axum's: what cannot be accepted for want of descriptors is accepted later.
            accepted = Listener::accept(&mut listener) => accepted,
            () = sleep(LOOK_EVERY), if crowded => continue,
        };
        // Messages are small, and a person waits for each.
        let _ = stream.set_nodelay(true);
        let (http, router) = (http.clone(), router.clone());
        let unread = Unread::new(&memory.messages);
        let front = front.clone();
        open.spawn(peer.ip().into(), |place| async move {
            let until = Instant::now() + bounds.ask;
            let mut peer = peer;
            if let Some(proxy_protocol) = &front.proxy_protocol {
                let Some(client) = proxy_protocol.client_of(&mut stream, peer, until).await else {
                    return;
                };
                if client != peer {
                    place.is_of(client.ip().into());
                    peer = client;
                }
            }
            let protocol = front.protocol(&stream, until).await;
            if protocol == Some(Protocol::Media) && front.over_tcp.is_any() {
                return front.over_tcp.carry(stream, peer, place).await;
            }
            let talk = Talk {
                http,
                router,
                peer,
                unread,
                place,
            };
            let Some(tls) = front.tls else {
                return talk.run(Patient::new(stream, bounds.take)).await;
            };
            let is_plain = protocol == Some(Protocol::Http);
            let opened = tls.open(stream, peer, is_plain, until, bounds.take);
            match opened.await {
                Some(Opened::Secure(stream)) => {
                    let place = &talk.place;
                    let carried = front.over_tcp.carry_secure(stream, peer, place, bounds.ask);
                    if let Some(stream) = carried.await {
                        talk.run(stream).await;
                    }
                }
                Some(Opened::Plain(stream)) => {
                    let router = to_https::router();
                    Talk { router, ..talk }.run(stream).await;
                }
                None => {}
            }
        });
    }
}

/// The requests of one connection.
struct Talk {
    http: http1::Builder,
    router: Router,
    peer: SocketAddr,
    unread: Unread,
    place: Place,
}

impl Talk {
    /// Returns with an upgrade, too.
    async fn run(self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let Self {
            http,
            router,
            peer,
            unread,
            place,
        } = self;
        let stream = TokioIo::new(Watched::new(stream, UnreadWatch::new(unread.clone())));
        let router = TowerToHyperService::new(router);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(unread.clone());
            request.extensions_mut().insert(place.clone());
            router.call(request)
        });
        let connection = http.serve_connection(stream, service);
        if let Err(error) = connection.with_upgrades().await {
            debug!(%error, "HTTP connection ended");
        }
    }
}
