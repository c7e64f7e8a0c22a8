//! A worker as the runtime drives it: with its command queue, rings, event queue, and load for placement.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::links::{LinkEnd, Links};
use crate::backlog::EventBacklog;
use crate::error::SfuError;
use crate::event::Event;
use crate::runtime::{Driven, Waker};
use crate::transmit::{SendReport, Transmits};
use crate::worker::{Command, Held, Worker, WorkerConfig};

/// Interval of attempts to put control into a full ring, whose reader takes it within a turn, or events into a full
/// queue.
const RETRY: Duration = Duration::from_millis(1);
/// Weight of waiting events from which on no peer is created and no offer answered. Only these make new subjects; a
/// later event of a known subject replaces the earlier one. It is some 5 MB, ten seconds of a worker's joins. A control
/// plane that takes no event for so long does not keep up.
const EVENTS_WAITING: usize = 65_536;

/// A request of the control plane to a worker's thread.
#[derive(Debug)]
pub(super) enum Request {
    /// A command for the worker.
    Command(Command),
    /// Take the ends of the rings to and from another worker.
    Link(Box<LinkEnd>, oneshot::Sender<Result<(), SfuError>>),
    /// Panic.
    #[cfg(any(test, feature = "testing"))]
    Fail,
}

/// A worker's load, as the control plane sees it.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Rooms with a part there.
    pub(super) rooms: AtomicUsize,
    pub(super) peers: AtomicUsize,
    /// Rooms and peers asked for and not yet counted above.
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
    /// Wakers of all workers, in order.
    wakers: Arc<[Waker]>,
    /// An answer held until the control messages it depends on are in their rings.
    answer: Option<Held>,
    /// Events that find no room in the control plane's queue. Commands are answered meanwhile: the task that takes
    /// events may first wait for an answer.
    backlog: EventBacklog,
    /// Commands are left for the next turn.
    more: bool,
    closed: bool,
    /// The worker's failure, told after all other events.
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
            backlog: EventBacklog::default(),
            more: false,
            closed: false,
            failed: None,
            now,
        }
    }

    /// Puts control and packets for other workers into the rings.
    fn post(&mut self) {
        let wakers = &self.wakers;
        self.links.post(&mut self.worker, |other| {
            if let Some(waker) = wakers.get(other) {
                waker.wake_sleeper();
            }
        });
    }

    /// Reports rooms and peers, for placement.
    fn report_load(&self) {
        let peers = self.worker.peers();
        self.load.peers.store(peers, Ordering::Relaxed);
        let rooms = self.worker.rooms();
        self.load.rooms.store(rooms, Ordering::Relaxed);
    }

    /// Handles a request; false if its answer has to wait.
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
        let Some(command) = self.unless_behind(command) else {
            return true;
        };
        // The requester may know of changes that other workers have posted by now.
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

    /// The command, unless it would add events while too many wait for the control plane.
    fn unless_behind(&self, command: Command) -> Option<Command> {
        if self.backlog.weight() < EVENTS_WAITING {
            return Some(command);
        }
        match command {
            Command::Join { reply, .. } => drop(reply.send(Err(SfuError::Overloaded))),
            Command::Offer { reply, .. } => drop(reply.send(Err(SfuError::Overloaded))),
            command => return Some(command),
        }
        None
    }

    fn deliver_events(&mut self) {
        let next = |driver: &mut Self| {
            let event = driver.worker.poll_event();
            event.or_else(|| driver.failed.take())
        };
        while let Some(event) = next(self) {
            self.backlog.push(event);
        }
        while !self.backlog.is_empty() {
            match self.events.try_reserve() {
                Ok(room) => {
                    if let Some(event) = self.backlog.pop() {
                        room.send(event);
                    }
                }
                Err(mpsc::error::TrySendError::Full(())) => return,
                // The receiver was dropped: an embedder may do without events.
                Err(mpsc::error::TrySendError::Closed(())) => {
                    self.backlog = EventBacklog::default()
                }
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
        self.more = false;
        self.links.take(now, &mut self.worker);
        self.post();
        if self.stopping.load(Ordering::Acquire) && !self.closed {
            self.worker.close_all(now);
            self.closed = true;
        }
        if self.closed || self.links.is_held_up() {
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
        let is_waiting = self.links.is_held_up() || !self.backlog.is_empty();
        let retry = is_waiting.then(|| self.now + RETRY);
        let due = self.worker.poll_timeout(self.now);
        retry.into_iter().chain(due).min()
    }

    fn flush(&mut self, now: Instant, out: &mut Transmits) -> bool {
        self.now = now;
        let more = self.worker.flush(now, out);
        // The rings are filled before the caller sends, so that other workers go on meanwhile.
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
        // The control plane knows of the failure from here on. A waiting requester gets no answer, and so knows too.
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        self.answer = None;
        self.failed = Some(Event::WorkerFailed {
            worker: self.worker.index().into(),
        });
        // Dropping the rings tells the other workers to end this worker's tracks: nobody else does.
        self.links = Links::default();
        for waker in &*self.wakers {
            waker.wake();
        }
        self.worker.abandon();
    }

    fn last_words(&mut self) -> bool {
        self.deliver_events();
        !self.backlog.is_empty() && !self.stopping.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::clock::WallClock;
    use crate::config::Limits;
    use crate::id::{PeerId, RoomId};
    use crate::router::Seat;
    use crate::testing::epoch;
    use crate::transport::{Backend, Certificate};
    use crate::view::Cap;
    use crate::worker::read_offer;

    const OFFER: &str = include_str!("../transport/sdp/fixtures/chromium-call-1-simulcast.sdp");

    /// A worker with its control plane: one task, which both asks and takes events.
    struct Call {
        driver: Driver,
        commands: mpsc::Sender<Request>,
        events: mpsc::Receiver<Event>,
        room: RoomId,
    }

    impl Call {
        /// The event queue has room for one event.
        fn new() -> Self {
            let certificate = Certificate::generate(Backend::default()).expect("a certificate");
            let config = WorkerConfig {
                index: 0,
                certificate,
                candidates: vec![SocketAddr::from(([192, 0, 2, 9], 9))],
                limits: Limits::default(),
                viewer_cap: Cap::default(),
                last_n: None,
                loudest_n: None,
                clock: WallClock::new(epoch(), SystemTime::UNIX_EPOCH),
                seed: [7; 32],
                caches: crate::cache::CacheBudget::new(1 << 30),
            };
            let (commands, queue) = mpsc::channel(8);
            let (sender, events) = mpsc::channel(1);
            let (load, stopping) = (Arc::default(), Arc::default());
            let driver = Driver::new(config, queue, sender, load, stopping, Arc::new([]));
            let room = RoomId::from_u64(0);
            let mut call = Self {
                driver,
                commands,
                events,
                room,
            };
            call.room = call
                .ask(|reply| Command::CreateRoom { reply })
                .expect("a room");
            call
        }

        /// Runs one turn of the worker, in which an answer must come.
        fn ask<T>(
            &mut self,
            command: impl FnOnce(oneshot::Sender<Result<T, SfuError>>) -> Command,
        ) -> Result<T, SfuError> {
            let (reply, mut answer) = oneshot::channel();
            let sent = self.commands.try_send(Request::Command(command(reply)));
            sent.expect("room for a command");
            self.driver.handle_commands(epoch(), &mut || true);
            self.driver.deliver_events();
            answer.try_recv().expect("an answer, whatever else waits")
        }

        fn join(&mut self) -> Result<(PeerId, crate::event::Answer), SfuError> {
            let offer = Box::new(read_offer(OFFER, &Limits::default()).expect("an offer"));
            let room = self.room;
            self.ask(|reply| Command::Join {
                room,
                offer,
                auto_subscribe: false,
                announce: None,
                sender: String::new(),
                seat: Seat::take(&Arc::default()),
                reply,
            })
        }
    }

    #[test]
    fn commands_are_answered_while_nobody_takes_events() {
        let mut call = Call::new();
        let (_, published) = call.join().expect("a publisher");
        let (viewer, _) = call.join().expect("a viewer");
        let tracks: Vec<_> = published
            .published
            .iter()
            .map(|track| track.track)
            .collect();
        for _ in 0..100 {
            for &track in &tracks {
                let subscribed = call.ask(|reply| Command::Subscribe {
                    peer: viewer,
                    track,
                    reply,
                });
                subscribed.expect("subscribed");
            }
            for &track in &tracks {
                let unsubscribed = call.ask(|reply| Command::Unsubscribe {
                    peer: viewer,
                    track,
                    reply,
                });
                unsubscribed.expect("unsubscribed");
            }
        }
        let waiting = call.driver.backlog.weight();
        assert!((1..20).contains(&waiting), "{waiting} of 400 changes");
        // The next attempt is soon, but not at once.
        assert_eq!(call.driver.poll_timeout(), Some(epoch() + RETRY));
    }

    /// An answer overtakes older events of its peer, which their number shows.
    #[test]
    fn an_answer_that_overtakes_events_is_known_to_be_newer() {
        let mut call = Call::new();
        let (_, published) = call.join().expect("a publisher");
        let (viewer, joined) = call.join().expect("a viewer");
        assert_eq!(joined.offers, 1);
        for track in &published.published {
            let track = track.track;
            let subscribed = call.ask(|reply| Command::Subscribe {
                peer: viewer,
                track,
                reply,
            });
            subscribed.expect("subscribed");
        }
        let offer = || Box::new(read_offer(OFFER, &Limits::default()).expect("an offer"));
        let again = call.ask(|reply| Command::Offer {
            peer: viewer,
            offer: offer(),
            reply,
        });
        let answer = again.expect("an answer");
        assert_eq!(answer.offers, 2);
        let mut older = 0;
        while let Ok(event) = call.events.try_recv() {
            call.driver.deliver_events();
            if let Event::SlotsChanged { offers, .. } | Event::NeedsChanged { offers, .. } = event {
                older += usize::from(offers < answer.offers);
            }
        }
        assert!(older > 0, "events that the answer overtook");
    }

    #[test]
    fn whoever_hears_of_nothing_for_long_gets_no_more_peers() {
        let mut call = Call::new();
        let mut ended = 0;
        let refused = loop {
            match call.join() {
                Ok((peer, answer)) => {
                    ended += answer.published.len();
                    call.ask(|reply| Command::ClosePeer { peer, reply })
                        .expect("closed");
                }
                Err(error) => break error,
            }
            assert!(call.driver.backlog.weight() <= ended);
        };
        assert_eq!(refused, SfuError::Overloaded);
        assert!(ended <= EVENTS_WAITING + 16, "{ended}");
        // Joins are accepted again once the events have been taken, and none of those was lost.
        let mut heard = 0;
        while let Ok(event) = call.events.try_recv() {
            heard += usize::from(matches!(event, Event::TrackEnded { .. }));
            call.driver.deliver_events();
        }
        assert_eq!(heard, ended);
        call.join().expect("a peer");
    }
}
