//! A worker as the runtime drives it: its command queue, its rings, its events out, its load for placement.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::links::{LinkEnd, Links};
use crate::error::SfuError;
use crate::event::Event;
use crate::runtime::{Driven, Waker};
use crate::transmit::{SendReport, Transmits};
use crate::worker::{Command, Held, Worker, WorkerConfig};

/// Between attempts to put control into a ring that was full. Its reader takes a turn in less.
const RETRY: Duration = Duration::from_millis(1);

/// A request of the control plane to a worker's thread.
#[derive(Debug)]
pub(super) enum Request {
    /// A command for the worker.
    Command(Command),
    /// To take its ends of the rings to and from another.
    Link(Box<LinkEnd>, oneshot::Sender<Result<(), SfuError>>),
    /// To panic.
    #[cfg(any(test, feature = "testing"))]
    Fail,
}

/// A worker's load, as the control plane sees it.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Rooms with a part there.
    pub(super) rooms: AtomicUsize,
    pub(super) peers: AtomicUsize,
    /// Rooms and peers asked for.
    pub(super) coming: Arc<AtomicUsize>,
}

/// A worker with its queues.
pub(super) struct Driver {
    worker: Worker,
    commands: mpsc::Receiver<Request>,
    events: mpsc::Sender<Event>,
    load: Arc<Load>,
    stopping: Arc<AtomicBool>,
    links: Links,
    /// Of every worker, in order.
    wakers: Arc<[Waker]>,
    /// Waits for room in a ring for what it speaks of.
    answer: Option<Held>,
    /// The control plane's queue is full: its next commands wait until it takes events.
    held: Option<Event>,
    /// Commands were left over.
    more: bool,
    closed: bool,
    /// The worker has failed; told last.
    failed: Option<Event>,
    now: Instant,
}

impl Driver {
    pub(super) fn new(
        config: WorkerConfig,
        commands: mpsc::Receiver<Request>,
        events: mpsc::Sender<Event>,
        load: Arc<Load>,
        stopping: Arc<AtomicBool>,
        wakers: Arc<[Waker]>,
    ) -> Self {
        let now = config.clock.epoch();
        let worker = Worker::new(config);
        Self {
            worker,
            commands,
            events,
            load,
            stopping,
            links: Links::default(),
            wakers,
            answer: None,
            held: None,
            more: false,
            closed: false,
            failed: None,
            now,
        }
    }

    /// Hands over what is for other workers.
    fn post(&mut self) {
        let wakers = &self.wakers;
        self.links.post(&mut self.worker, |other| {
            if let Some(waker) = wakers.get(other) {
                waker.wake_sleeper();
            }
        });
    }

    /// Says how much there is to do, for placement.
    fn report_load(&self) {
        let peers = self.worker.peers();
        self.load.peers.store(peers, Ordering::Relaxed);
        let rooms = self.worker.rooms();
        self.load.rooms.store(rooms, Ordering::Relaxed);
    }

    /// Does what is asked; false if its answer has to wait.
    fn request(&mut self, now: Instant, request: Request) -> bool {
        let command = match request {
            Request::Command(command) => command,
            Request::Link(end, reply) => {
                self.links.connect(*end);
                let _ = reply.send(Ok(()));
                return true;
            }
            #[cfg(any(test, feature = "testing"))]
            Request::Fail => panic!("a test makes this worker fail"),
        };
        // Whoever asks may know of what other workers have posted by now.
        self.links.take_control(now, &mut self.worker);
        let held = self.worker.handle_command(now, command);
        self.post();
        if let Some(held) = held {
            if self.links.is_held_up() {
                self.answer = Some(held);
                return false;
            }
            self.report_load();
            self.worker.answer(now, held);
        }
        true
    }

    fn deliver_events(&mut self) {
        let next = |driver: &mut Self| {
            let event = driver.held.take().or_else(|| driver.worker.poll_event());
            event.or_else(|| driver.failed.take())
        };
        while let Some(event) = next(self) {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.held = Some(event);
                    return;
                }
                // Nobody listens: an embedder may do without events.
                Err(mpsc::error::TrySendError::Closed(_)) => {}
            }
        }
    }
}

impl Driven for Driver {
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]) {
        self.worker.handle_datagram(now, from, datagram);
    }

    fn handle_commands(&mut self, now: Instant, time: &mut dyn FnMut() -> bool) {
        self.now = now;
        self.worker.run_handshakes(now, time);
        self.deliver_events();
        self.more = self.held.is_some();
        self.links.take(now, &mut self.worker);
        self.post();
        if self.stopping.load(Ordering::Acquire) && !self.closed {
            self.worker.close_all(now);
            self.closed = true;
        }
        if self.held.is_some() || self.closed || self.links.is_held_up() {
            return;
        }
        if let Some(held) = self.answer.take() {
            self.report_load();
            self.worker.answer(now, held);
        }
        while let Ok(request) = self.commands.try_recv() {
            if !self.request(now, request) {
                return;
            }
            if !time() {
                break;
            }
        }
        self.more = !self.commands.is_empty();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.worker.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.more {
            return Some(self.now);
        }
        let retry = self.links.is_held_up().then(|| self.now + RETRY);
        let due = self.worker.poll_timeout(self.now);
        retry.into_iter().chain(due).min()
    }

    fn flush(&mut self, now: Instant, out: &mut Transmits) -> bool {
        self.now = now;
        let more = self.worker.flush(now, out);
        // Before the caller sends: the others' share of the work goes on meanwhile.
        self.post();
        self.deliver_events();
        self.report_load();
        more
    }

    fn is_pending(&self) -> bool {
        self.links.has_incoming()
    }

    fn backlog(&self) -> usize {
        self.worker.backlog()
    }

    fn sent(&mut self, report: &SendReport) {
        self.worker.sent(report);
    }

    fn should_stop(&self) -> bool {
        self.closed
    }

    fn fail(&mut self) {
        // From here on the control plane knows. Whoever waits for an answer gets none, and knows too.
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        self.answer = None;
        self.failed = Some(Event::WorkerFailed {
            worker: self.worker.index().into(),
        });
        // Nobody else will: what the others have of this worker's tracks ends when its rings do.
        self.links = Links::default();
        for waker in &*self.wakers {
            waker.wake();
        }
        self.worker.abandon();
    }

    fn last_words(&mut self) -> bool {
        self.deliver_events();
        self.held.is_some() && !self.stopping.load(Ordering::Acquire)
    }
}
