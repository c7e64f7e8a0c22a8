//! A worker as the runtime drives it: its command queue, its events out, its load for placement.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

use crate::event::Event;
use crate::runtime::Driven;
use crate::transmit::{SendReport, Transmits};
use crate::worker::{Command, Worker, WorkerConfig};

/// Commands done between two receive batches: an offer takes some hundred microseconds, and
/// packets must not wait for a join storm's.
const COMMANDS_PER_TURN: usize = 4;

/// How much a worker has to do, as the control plane sees it.
#[derive(Debug, Default)]
pub(super) struct Load {
    rooms: AtomicUsize,
    coming: AtomicUsize,
    peers: AtomicUsize,
}

impl Load {
    /// Rooms on the worker.
    pub(super) fn rooms(&self) -> usize {
        self.rooms.load(Ordering::Relaxed) + self.coming.load(Ordering::Relaxed)
    }

    /// For comparing workers: peers cost, rooms will have some.
    pub(super) fn weight(&self) -> usize {
        self.peers.load(Ordering::Relaxed) + self.rooms()
    }

    /// A room was asked for.
    pub(super) fn room_coming(&self) {
        self.coming.fetch_add(1, Ordering::Relaxed);
    }
}

/// A worker with its queues.
pub(super) struct Driver {
    worker: Worker,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    load: Arc<Load>,
    stopping: Arc<AtomicBool>,
    /// The control plane's queue is full: its next commands wait until it takes events.
    held: Option<Event>,
    /// Commands were left over.
    more: bool,
    closed: bool,
    now: Instant,
}

impl Driver {
    pub(super) fn new(
        config: WorkerConfig,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
        load: Arc<Load>,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        let now = config.clock.epoch();
        let worker = Worker::new(config);
        Self {
            worker,
            commands,
            events,
            load,
            stopping,
            held: None,
            more: false,
            closed: false,
            now,
        }
    }

    fn deliver_events(&mut self) {
        while let Some(event) = self.held.take().or_else(|| self.worker.poll_event()) {
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

    fn handle_commands(&mut self, now: Instant) {
        self.now = now;
        self.deliver_events();
        self.more = self.held.is_some();
        if self.stopping.load(Ordering::Acquire) && !self.closed {
            self.worker.close_all(now);
            self.closed = true;
        }
        if self.held.is_some() || self.closed {
            return;
        }
        for _ in 0..COMMANDS_PER_TURN {
            let Ok(command) = self.commands.try_recv() else {
                return;
            };
            if matches!(command, Command::CreateRoom { .. }) {
                self.load.coming.fetch_sub(1, Ordering::Relaxed);
            }
            self.worker.handle_command(now, command);
        }
        self.more = !self.commands.is_empty();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.worker.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.more {
            Some(self.now)
        } else {
            self.worker.poll_timeout(self.now)
        }
    }

    fn flush(&mut self, now: Instant, out: &mut Transmits) -> bool {
        self.now = now;
        let more = self.worker.flush(now, out);
        self.deliver_events();
        self.load
            .peers
            .store(self.worker.peers(), Ordering::Relaxed);
        self.load
            .rooms
            .store(self.worker.rooms(), Ordering::Relaxed);
        more
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
}
