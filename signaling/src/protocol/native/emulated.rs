//! A socket over requests of HTTP: its messages up come in bodies, those down leave in a stream of events or as answers to
//! polls. To its owner it is like a WebSocket: it may die at any time, and only the session goes on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::unwritten::Unwritten;
use super::wire::{FAREWELL_TIME, Farewell, PAUSE, PER_BYTE, Received, Unsent};
use crate::clients::ClientAddress;
use crate::held_open::Aside;
use crate::memory::{Account, Budget, UNCOUNTED};

/// The longest time between two polls: the client is gone then.
const POLL_GAP: Duration = Duration::from_secs(15);
/// Messages on their way up that the owner has not looked at. Overflow: backpressure, to the request that brings them. Its
/// body counts as memory until the last of them has found its place, and there each counts by itself.
const UP: usize = 1;
/// Bytes that may wait to be taken, beside one message. Overflow: backpressure, to the room's events, which wait in their
/// own queue. A poll takes all of them at once.
const DOWN: usize = 64 << 10;
/// Time for a client to poll for the last message. Longer than [`FAREWELL_TIME`], since it may be between two polls, and
/// shorter than the server's shutdown.
const LAST_POLL_TIME: Duration = Duration::from_secs(2);

/// The name of an emulated socket: 128 bits, in bodies alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SocketId([u8; 16]);

/// The way in which messages leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Stream,
    Poll,
}

/// All emulated sockets. There are as many as connections at most, for each holds the place of one. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Sockets(Arc<Mutex<HashMap<SocketId, Arc<Line>>>>);

/// The owner's end.
pub(super) struct Emulated {
    line: Arc<Line>,
    up: mpsc::Receiver<Brought>,
    kind: Kind,
    /// Longest time in which nothing is taken.
    patience: Duration,
    /// Bytes of a message that waits until there is memory for it.
    waiting: Account,
    sockets: Sockets,
}

/// The end of the requests.
pub(super) struct Line {
    pub(super) id: SocketId,
    up: mpsc::Sender<Brought>,
    /// Requests bring their messages in turn.
    pub(super) turn: Arc<tokio::sync::Mutex<Turn>>,
    down: Mutex<Down>,
    /// Wakes whoever takes messages.
    filled: Notify,
    /// Wakes the owner: something was taken or asked for, or the client is gone.
    drained: Notify,
    accounts: Accounts,
}

/// Opens accounts of one client, whose socket ends when it holds most.
pub(super) struct Accounts {
    pub(super) client: Option<ClientAddress>,
    /// For messages on their way up.
    pub(super) messages: Budget,
    /// For those on their way down.
    pub(super) outboxes: Budget,
    /// Wakes the owner when it has to let go.
    pub(super) evicted: Arc<Notify>,
}

/// A message that the owner has not looked at. The request that brought it may be gone.
struct Brought {
    text: Utf8Bytes,
    /// None: too small to count.
    _account: Option<Account>,
}

/// The batch of messages that came last: one that comes again, since its answer was lost, is not taken twice.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) batch: u64,
    pub(super) taken: usize,
}

struct Down {
    texts: Vec<Utf8Bytes>,
    bytes: usize,
    unwritten: Option<Unwritten>,
    /// Messages that were taken before.
    delivered: u64,
    /// A sign of life is to be sent.
    beats: bool,
    /// Requests that take messages, so far. The last one may; none before it.
    takers: u64,
    is_taken: bool,
    /// Holds the last request's connection open: until the request or the socket ends, whatever ends first.
    aside: Option<Aside>,
    /// The time at which the last request ended.
    idle_since: Instant,
    /// The owner has not heard yet that the client asked.
    asked: bool,
    is_finished: bool,
    is_gone: bool,
}

/// The messages that a request takes. They count as memory until they are dropped.
pub(super) struct Taken {
    pub(super) texts: Vec<Utf8Bytes>,
    /// Messages that were taken before.
    pub(super) after: u64,
    /// Nothing follows.
    pub(super) is_last: bool,
    /// Nothing is there, but the client should hear that the server is.
    pub(super) beats: bool,
    pub(super) unwritten: Vec<Unwritten>,
}

/// A request that takes messages. Dropped, the client asks no more.
pub(super) struct Taker {
    line: Arc<Line>,
    number: u64,
    kind: Kind,
}

impl SocketId {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let read = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes);
        (read == Ok(16)).then_some(Self(bytes))
    }
}

impl std::fmt::Display for SocketId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl Sockets {
    /// Makes a socket.
    pub(super) fn make(
        &self,
        kind: Kind,
        patience: Duration,
        waiting: Account,
        accounts: Accounts,
    ) -> (Emulated, Arc<Line>) {
        let (sender, up) = mpsc::channel(UP);
        let line = Arc::new(Line {
            id: SocketId(rand::random()),
            up: sender,
            turn: Default::default(),
            down: Mutex::new(Down {
                texts: Vec::new(),
                bytes: 0,
                unwritten: None,
                delivered: 0,
                beats: false,
                takers: 0,
                is_taken: false,
                aside: None,
                idle_since: Instant::now(),
                asked: false,
                is_finished: false,
                is_gone: false,
            }),
            filled: Notify::new(),
            drained: Notify::new(),
            accounts,
        });
        self.lock().insert(line.id, Arc::clone(&line));
        let wire = Emulated {
            line: Arc::clone(&line),
            up,
            kind,
            patience,
            waiting,
            sockets: self.clone(),
        };
        (wire, line)
    }

    pub(super) fn find(&self, id: &SocketId) -> Option<Arc<Line>> {
        self.lock().get(id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketId, Arc<Line>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Emulated {
    /// Cancel-safe.
    pub(super) async fn receive(&mut self) -> Received {
        loop {
            let until = {
                // A goodbye comes with the cut, and counts.
                if let Ok(brought) = self.up.try_recv() {
                    return Received::Text(brought.text);
                }
                let mut down = self.line.lock();
                if down.is_gone {
                    return Received::Gone { is_page: false };
                }
                if std::mem::take(&mut down.asked) {
                    return Received::Asked;
                }
                let may_wait = self.kind == Kind::Stream || down.is_taken;
                (!may_wait).then(|| down.idle_since + POLL_GAP)
            };
            tokio::select! {
                // The line has a sender: there is always a next one.
                Some(brought) = self.up.recv() => return Received::Text(brought.text),
                () = self.line.drained.notified() => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    return Received::Gone { is_page: false };
                }
            }
        }
    }

    pub(super) async fn send(
        &mut self,
        messages: impl IntoIterator<Item: Into<Utf8Bytes>>,
    ) -> Result<(), Unsent> {
        let written = self.write(messages).await;
        self.line.filled.notify_waiters();
        self.waiting.set(0);
        written
    }

    async fn write(
        &mut self,
        messages: impl IntoIterator<Item: Into<Utf8Bytes>>,
    ) -> Result<(), Unsent> {
        let until = Instant::now() + self.patience;
        for message in messages {
            let mut text: Utf8Bytes = message.into();
            let mut has_memory = true;
            loop {
                text = match self.line.push(text) {
                    Ok(()) => break,
                    Err(Unpushed::Gone) => return Err(Unsent::Gone),
                    Err(Unpushed::Full(text)) => text,
                    Err(Unpushed::NoMemory(text)) => {
                        has_memory = false;
                        if !self.waiting.set(text.len()) {
                            return Err(Unsent::NoMemory);
                        }
                        text
                    }
                };
                self.line.filled.notify_waiters();
                let (memory, room) = (sleep(PAUSE), self.line.drained.notified());
                tokio::select! {
                    () = memory, if !has_memory => {}
                    () = room => {}
                    () = sleep_until(until) => return Err(match has_memory {
                        true => Unsent::Gone,
                        false => Unsent::NoMemory,
                    }),
                }
            }
        }
        Ok(())
    }

    /// Sends a sign of life. Returns whether the client waits for messages by a poll, which is one of its own.
    pub(super) fn ping(&mut self) -> bool {
        let mut down = self.line.lock();
        match self.kind {
            Kind::Poll => down.is_taken,
            Kind::Stream => {
                down.beats = true;
                drop(down);
                self.line.filled.notify_waiters();
                false
            }
        }
    }

    pub(super) async fn finish(self, farewell: Farewell) {
        {
            let mut down = self.line.lock();
            // Its messages are to be let go of. The goodbye is not.
            if down.unwritten.as_ref().is_some_and(Unwritten::is_evicted) {
                (down.texts, down.bytes, down.unwritten) = Default::default();
            }
            let text = Utf8Bytes::from(farewell.message);
            down.bytes += text.len();
            down.texts.push(text);
            down.is_finished = true;
        }
        self.line.filled.notify_waiters();
        let patience = match self.kind {
            Kind::Stream => FAREWELL_TIME,
            Kind::Poll => LAST_POLL_TIME,
        };
        // A client that does not take it has had the time to.
        let _ = timeout(patience, async {
            while !self.line.is_over() {
                self.line.drained.notified().await;
            }
        })
        .await;
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        self.sockets.lock().remove(&self.line.id);
        let aside = {
            let mut down = self.line.lock();
            down.is_finished = true;
            down.aside.take()
        };
        // A client that takes its last messages slowly gives way to others, like any that reads an answer.
        drop(aside);
        self.line.filled.notify_waiters();
    }
}

impl Accounts {
    fn unwritten(&self) -> Unwritten {
        Unwritten::open(&self.outboxes, self.client, self.evicted.clone())
    }

    /// Counts a message on its way up. An error: there is no memory for it.
    fn message(&self, bytes: usize) -> Result<Option<Account>, ()> {
        if bytes <= UNCOUNTED {
            return Ok(None);
        }
        let evicted = self.evicted.clone();
        let mut account = self
            .messages
            .open(self.client, move || evicted.notify_one());
        account.set(bytes).then_some(Some(account)).ok_or(())
    }
}

/// The reason that a text does not wait to be taken.
enum Unpushed {
    Full(Utf8Bytes),
    NoMemory(Utf8Bytes),
    Gone,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Down> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, text: Utf8Bytes) -> Result<(), Unpushed> {
        let mut down = self.lock();
        if down.is_gone {
            return Err(Unpushed::Gone);
        }
        if !down.texts.is_empty() && down.bytes + text.len() > DOWN {
            return Err(Unpushed::Full(text));
        }
        let bytes = down.bytes + text.len();
        if bytes > UNCOUNTED {
            let unwritten = down
                .unwritten
                .get_or_insert_with(|| self.accounts.unwritten());
            if !unwritten.set(PER_BYTE * bytes) {
                return Err(Unpushed::NoMemory(text));
            }
        }
        down.bytes = bytes;
        down.texts.push(text);
        Ok(())
    }

    /// All was taken, or nobody is there to take it.
    fn is_over(&self) -> bool {
        let down = self.lock();
        down.texts.is_empty() || down.is_gone
    }

    /// Brings a message up. False if the socket has ended: if nothing else has, a lack of memory for the message ends it.
    pub(super) async fn bring(&self, text: Utf8Bytes) -> bool {
        let Ok(place) = self.up.reserve().await else {
            return false;
        };
        let account = self.accounts.message(text.len());
        let Ok(account) = account else {
            self.cut();
            return false;
        };
        place.send(Brought {
            text,
            _account: account,
        });
        true
    }

    /// The client ends the socket, or has cut its stream.
    pub(super) fn cut(&self) {
        self.lock().is_gone = true;
        self.drained.notify_one();
        self.filled.notify_waiters();
    }

    /// Begins to take messages, in the place of a request that did. `aside` holds the request's connection open.
    pub(super) fn taker(self: &Arc<Self>, kind: Kind, aside: Option<Aside>) -> Taker {
        let mut down = self.lock();
        down.takers += 1;
        down.is_taken = true;
        down.asked = true;
        let aside = aside.filter(|_| !down.is_finished);
        let before = std::mem::replace(&mut down.aside, aside);
        let number = down.takers;
        drop(down);
        drop(before);
        self.drained.notify_one();
        self.filled.notify_waiters();
        Taker {
            line: Arc::clone(self),
            number,
            kind,
        }
    }
}

impl Taker {
    /// The next messages, or a sign of life. None: another request takes them. Cancel-safe.
    pub(super) async fn take(&self) -> Option<Taken> {
        loop {
            let filled = self.line.filled.notified();
            if let Some(taken) = self.take_now()? {
                return Some(taken);
            }
            filled.await;
        }
    }

    /// Outer none: another request takes them. Inner none: there is nothing.
    fn take_now(&self) -> Option<Option<Taken>> {
        let mut down = self.line.lock();
        if down.takers != self.number {
            return None;
        }
        let beats = std::mem::take(&mut down.beats);
        if down.texts.is_empty() && !beats && !down.is_finished && !down.is_gone {
            return Some(None);
        }
        let texts = std::mem::take(&mut down.texts);
        let after = down.delivered;
        down.delivered += texts.len() as u64;
        down.bytes = 0;
        let taken = Taken {
            texts,
            after,
            is_last: down.is_finished || down.is_gone,
            beats,
            unwritten: down.unwritten.take().into_iter().collect(),
        };
        drop(down);
        self.line.drained.notify_one();
        Some(Some(taken))
    }

    /// An answer without messages.
    pub(super) fn nothing(&self) -> Taken {
        let down = self.line.lock();
        Taken {
            texts: Vec::new(),
            after: down.delivered,
            is_last: false,
            beats: false,
            unwritten: Vec::new(),
        }
    }
}

impl Taken {
    /// Appends what was taken after it.
    pub(super) fn append(&mut self, mut next: Self) {
        self.texts.append(&mut next.texts);
        self.unwritten.append(&mut next.unwritten);
        self.is_last |= next.is_last;
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        let mut down = self.line.lock();
        if down.takers != self.number {
            return;
        }
        down.is_taken = false;
        down.idle_since = Instant::now();
        down.is_gone |= self.kind == Kind::Stream;
        let aside = down.aside.take();
        drop(down);
        drop(aside);
        self.line.drained.notify_one();
    }
}
