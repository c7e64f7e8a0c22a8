//! One client of a server, without media, by one of the transports.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tertulia_signaling::protocol::native::{ClientFrame, ClientMessage, Join, VERSION};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::books::{Books, Ear, Part};
use super::browser::Page;
use super::traffic::Traffic;
use super::transport::Transport;
use events::Events;
use polls::Polls;
use websocket::WebSocket;

mod events;
mod polls;
mod posts;
mod websocket;

pub(super) use events::PING_EVERY;
pub(super) use polls::LONGEST_WAIT;

/// Messages of one client that are not sent. Overflow: backpressure, to the speaker. One follows the other after a second
/// or so, and a transport takes milliseconds.
const UNSENT: usize = 16;
/// The time in which a client has to be in. A server answers within milliseconds, also in a storm of them.
const JOIN_TIME: Duration = Duration::from_secs(30);

/// A place for somebody.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) page: Arc<Page>,
    pub(super) transport: Transport,
    pub(super) books: Arc<Books>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) part: Part,
}

/// Somebody in a room. Dropped, it leaves by itself.
pub(super) struct Client {
    says: mpsc::Sender<String>,
    leaves: Arc<AtomicBool>,
    staying: JoinHandle<()>,
}

/// A client that is leaving. Dropped, it is gone.
pub(super) struct Leaving(JoinHandle<()>);

enum Way {
    WebSocket(WebSocket),
    Events(Events),
    Polls(Polls),
}

impl Seat {
    /// Joins; none if that fails, and the books have the reason.
    pub(super) async fn join(&self, room: &str, name: &str) -> Option<Client> {
        let entered = timeout(JOIN_TIME, self.enter(room, name)).await;
        let way = match entered {
            Ok(Ok(way)) => way,
            Ok(Err(error)) => {
                self.books.fault(format!("{name} could not join: {error}"));
                return None;
            }
            Err(_) => {
                self.books
                    .fault(format!("{name} was not in after {JOIN_TIME:?}"));
                return None;
            }
        };
        let (says, said) = mpsc::channel(UNSENT);
        let leaves = Arc::new(AtomicBool::new(false));
        let (books, is_leaving) = (Arc::clone(&self.books), Arc::clone(&leaves));
        let name = name.to_owned();
        let staying = tokio::spawn(async move {
            if let Err(error) = way.stay(said).await
                && !is_leaving.load(Ordering::Relaxed)
            {
                books.fault(format!("{name} was dropped: {error}"));
            }
        });
        Some(Client {
            says,
            leaves,
            staying,
        })
    }

    async fn enter(&self, room: &str, name: &str) -> Result<Way, String> {
        let (page, traffic) = (&self.page, &self.traffic);
        let join = join(room, name);
        let ear = Ear::new(&self.books, self.part);
        Ok(match self.transport {
            Transport::WebSocket => {
                Way::WebSocket(WebSocket::enter(page, traffic, join, ear).await?)
            }
            Transport::Sse => Way::Events(Events::enter(page, traffic, join, ear).await?),
            Transport::LongPolling => {
                Way::Polls(Polls::enter(page, traffic, join, ear, None).await?)
            }
            Transport::Polling(interval) => {
                Way::Polls(Polls::enter(page, traffic, join, ear, Some(interval)).await?)
            }
        })
    }
}

impl Way {
    async fn stay(self, said: mpsc::Receiver<String>) -> Result<(), String> {
        match self {
            Self::WebSocket(way) => way.stay(said).await,
            Self::Events(way) => way.stay(said).await,
            Self::Polls(way) => way.stay(said).await,
        }
    }
}

impl Client {
    /// The way to let it say something.
    pub(super) fn voice(&self) -> mpsc::Sender<String> {
        self.says.clone()
    }

    /// Ends its connections, and tells the server. All voices have to be dropped.
    pub(super) fn leave(self) -> Leaving {
        self.leaves.store(true, Ordering::Relaxed);
        Leaving(self.staying)
    }
}

impl Leaving {
    /// Returns once it is gone.
    pub(super) async fn gone(&mut self) {
        // It may have been dropped before.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn join(room: &str, name: &str) -> String {
    let message = ClientMessage::Join(Join {
        version: VERSION,
        room: room.to_owned(),
        name: name.to_owned(),
        metadata: None,
        auto_subscribe: true,
        token: None,
        batch: false,
        audience: None,
        resumable: false,
        session: None,
        offer: None,
        views: Vec::new(),
    });
    let id = Some(0);
    ClientFrame { id, message }.write()
}
