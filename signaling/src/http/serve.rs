//! The HTTP listener: `axum::serve` with bounds on connections that ask for nothing, on those that do not read what
//! they asked for, and on their number; and with TLS.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
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
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::patient::Patient;
use super::tls::{Opened, Tls};
use super::to_https;
use super::unread::UnreadWatch;
use crate::held_open::{Place, Visitors};
use crate::memory::{Memory, Unread};
use crate::watched::Watched;

/// Bounds of time and number for connections.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// The time for the TLS handshake, for the head of the first request, and of each after it.
    pub(crate) ask: Duration,
    /// The time until some of an answer is taken.
    pub(crate) take: Duration,
    /// Connections that are no WebSockets. Overflow: the oldest is closed.
    pub(crate) open: usize,
}

/// A connection is at least this old before it gives way to another: most have had their answer by then. Until
/// it is there may be more of them, which is what storms need.
const LEAST_AGE: Duration = Duration::from_secs(2);
/// The time between looks for old ones, while there are too many.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Longest head of a request, in bytes; a longer one is answered with 431. Proxies in front of servers take 32 KiB, and
/// hyper by itself 400 KiB, which unfinished heads would hold for as long as a client may take to ask.
const HEAD_BYTES: usize = 64 << 10;

/// Serves connections, over TLS if there is any. [`Unread`] gives each request the bytes that its connection has
/// received.
pub(crate) async fn serve(
    mut listener: TcpListener,
    router: Router,
    bounds: Bounds,
    memory: &Memory,
    tls: Option<Tls>,
) -> Infallible {
    let mut http = http1::Builder::new();
    http.max_buf_size(HEAD_BYTES)
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.ask);
    let open = Open::default();
    loop {
        let crowded = open.close_old(bounds.open);
        let (stream, peer) = tokio::select! {
            // axum's: what cannot be accepted for want of descriptors is accepted later.
            accepted = Listener::accept(&mut listener) => accepted,
            () = sleep(LOOK_EVERY), if crowded => continue,
        };
        // Messages are small, and a person waits for each.
        let _ = stream.set_nodelay(true);
        let (http, router) = (http.clone(), router.clone());
        let unread = Unread::new(&memory.messages);
        let tls = tls.clone();
        open.spawn(|place| async move {
            let talk = Talk {
                http,
                router,
                peer,
                unread,
                place,
            };
            let Some(tls) = tls else {
                return talk.run(Patient::new(stream, bounds.take)).await;
            };
            match tls.open(stream, peer, bounds.ask, bounds.take).await {
                Some(Opened::Secure(stream)) => talk.run(stream).await,
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

/// Connections that are served, those no longer that have become WebSockets.
#[derive(Clone, Default)]
struct Open {
    by_age: Arc<Mutex<ByAge>>,
}

#[derive(Default)]
struct ByAge {
    made: u64,
    /// The connections that may have to give way, by their age.
    tasks: BTreeMap<u64, (Instant, Option<AbortHandle>)>,
    /// Those that are held open on purpose, by their first numbers, with the requests that do. They hold other places.
    aside: BTreeMap<u64, (usize, Option<AbortHandle>)>,
    /// The numbers of those that were put back, by their first numbers.
    renumbered: BTreeMap<u64, u64>,
}

impl Open {
    fn spawn<C: Future<Output = ()> + Send + 'static>(&self, serve: impl FnOnce(Place) -> C) {
        let number = self.with(|open| {
            open.made += 1;
            open.tasks.insert(open.made, (Instant::now(), None));
            open.made
        });
        let listed = Listed {
            open: self.clone(),
            number,
        };
        let connection = serve(Place::new(Arc::new(self.clone()), number));
        let task = tokio::spawn(async move {
            connection.await;
            drop(listed);
        });
        self.with(|open| {
            let listed = open.tasks.get_mut(&number).map(|(_, handle)| handle);
            let aside = open.aside.get_mut(&number).map(|(_, handle)| handle);
            if let Some(handle) = listed.or(aside) {
                *handle = Some(task.abort_handle());
            }
        });
    }

    /// Returns whether there are too many still.
    fn close_old(&self, most: usize) -> bool {
        self.with(|open| {
            while open.tasks.len() >= most.max(1) {
                match open.tasks.first_key_value() {
                    Some((number, (since, Some(task)))) if since.elapsed() >= LEAST_AGE => {
                        let (number, task) = (*number, task.clone());
                        open.tasks.remove(&number);
                        task.abort();
                    }
                    _ => return true,
                }
            }
            false
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut ByAge) -> T) -> T {
        change(&mut self.by_age.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A connection in the list. Dropped, even when its task panics or is ended, it is out.
struct Listed {
    open: Open,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.open.with(|open| {
            open.aside.remove(&self.number);
            let number = open.renumbered.remove(&self.number);
            open.tasks.remove(&number.unwrap_or(self.number));
        });
    }
}

impl Visitors for Open {
    fn take_out(&self, number: u64) {
        self.with(|open| {
            if let Some((requests, _)) = open.aside.get_mut(&number) {
                *requests += 1;
                return;
            }
            let listed = open.renumbered.remove(&number).unwrap_or(number);
            if let Some((_, task)) = open.tasks.remove(&listed) {
                open.aside.insert(number, (1, task));
            }
        });
    }

    fn put_back(&self, number: u64) {
        self.with(|open| {
            let Some((requests, task)) = open.aside.get_mut(&number) else {
                return;
            };
            *requests -= 1;
            if *requests > 0 {
                return;
            }
            let task = task.take();
            open.aside.remove(&number);
            open.made += 1;
            open.renumbered.insert(number, open.made);
            open.tasks.insert(open.made, (Instant::now(), task));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_held_open_gives_way_to_nobody() {
        let open = Open::default();
        let (sender, places) = std::sync::mpsc::channel();
        for _ in 0..3 {
            open.spawn(|place| {
                let _ = sender.send(place);
                std::future::pending()
            });
        }
        let places: Vec<Place> = places.try_iter().collect();
        let asides = [places[0].set_aside(), places[0].set_aside()];
        tokio::time::advance(2 * LEAST_AGE).await;
        assert!(!open.close_old(1), "the two others are closed");
        let left = |open: &Open| open.with(|open| (open.tasks.len(), open.aside.len()));
        tokio::task::yield_now().await;
        assert_eq!(left(&open), (0, 1));
        drop(asides);
        assert_eq!(left(&open), (1, 0));
        // It is as young as one that has just come.
        assert!(open.close_old(1));
        tokio::time::advance(LEAST_AGE).await;
        assert!(!open.close_old(1));
        tokio::task::yield_now().await;
        assert_eq!(left(&open), (0, 0));
        assert_eq!(open.with(|open| open.renumbered.len()), 0);
    }
}
