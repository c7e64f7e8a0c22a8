//! A worker as the runtime drives it: with its command queue, pipes, event queue, and load for placement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::pipes::Pipes;
use super::room_events::{ALL_WAITING, RoomEvents};
use crate::error::{Limit, SfuError};
use crate::event::Event;
use crate::id::RoomId;
use crate::index::WorkerIx;
use crate::pipe::RingEnd;
use crate::runtime::{Driven, Waker};
use crate::stream::{Opening, STREAMS, Stream, Streams};
use crate::transmit::{SendReport, Transmits};
use crate::transport::Path;
use crate::worker::{Command, Held, Reply, Worker, WorkerConfig};

/// Interval of attempts to send control through a full pipe, whose reader takes it within a turn.
const RETRY: Duration = Duration::from_millis(1);
/// Attempts to tell of a worker's failure after which it counts as ended, though a room has not listened: one second
/// of them, which is long for a control plane that reads.
const LAST_WORDS: u32 = 100;

/// A request of the control plane to a worker's thread.
#[derive(Debug)]
pub(super) enum Request {
    /// A command for the worker.
    Command(Command),
    /// Create a room, whose events go to this queue.
    CreateRoom(mpsc::Sender<Event>, Reply<RoomId>),
    /// Open a part of a room that has grown to this worker, and has these parts already. Its events go to this queue.
    OpenPart {
        room: RoomId,
        parts: Vec<WorkerIx>,
        events: mpsc::Sender<Event>,
        reply: Reply<()>,
    },
    /// Open a stream for a connection, if its first datagram authenticates.
    OpenStream {
        opening: Opening,
        reply: Reply<Stream>,
    },
    /// Take the end of a pipe to another worker.
    TakePipe {
        other: WorkerIx,
        end: Box<RingEnd>,
        reply: Reply<()>,
    },
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
    /// Commands are answered whatever waits here: whoever takes events may first wait for an answer.
    events: RoomEvents,
    load: Arc<Load>,
    stopping: Arc<AtomicBool>,
    /// Dropped when this worker has ended.
    alive: Option<watch::Receiver<()>>,
    pipes: Pipes<RingEnd>,
    streams: Streams,
    /// Wakers of all workers, in order.
    wakers: Arc<[Waker]>,
    /// An answer held until the control messages it depends on are sent.
    answer: Option<Held>,
    /// Commands are left for the next turn.
    more: bool,
    closed: bool,
    /// The worker's failure, told after all other events.
    failed: Option<Event>,
    /// Attempts to tell that.
    last_words: u32,
    now: Instant,
}

impl Driver {
    pub(super) fn new(
        config: WorkerConfig,
        commands: mpsc::Receiver<Request>,
        alive: watch::Receiver<()>,
        load: Arc<Load>,
        stopping: Arc<AtomicBool>,
        wakers: Arc<[Waker]>,
    ) -> Self {
        let now = config.clock.epoch();
        let worker = Worker::new(config);
        Self {
            commands,
            events: RoomEvents::new(now, ALL_WAITING),
            load,
            stopping,
            alive: Some(alive),
            pipes: Pipes::default(),
            streams: Streams::new(wakers.get(usize::from(worker.index())).cloned()),
            worker,
            wakers,
            answer: None,
            more: false,
            closed: false,
            failed: None,
            last_words: 0,
            now,
        }
    }

    /// Sends control and packets for other workers.
    fn post(&mut self) {
        let wakers = &self.wakers;
        self.pipes.post(&mut self.worker, |other| {
            if let Some(waker) = wakers.get(usize::from(other)) {
                waker.wake_sleeper();
            }
        });
    }

    /// Opens a stream, unless nobody is at its other end.
    fn open_stream(&mut self, now: Instant, opening: Opening) -> Result<Stream, SfuError> {
        let Opening { origin, mut first } = opening;
        // Several may be opened in one turn.
        self.sweep_streams(now);
        let opened = self.streams.open(origin);
        let (path, stream) = opened.ok_or(SfuError::Limit {
            what: Limit::Streams,
            limit: STREAMS,
        })?;
        self.worker.handle_datagram(now, path, &mut first);
        if !self.worker.holds_path(path) {
            self.streams.close(path);
            return Err(SfuError::NoSuchPeer);
        }
        Ok(stream)
    }

    fn sweep_streams(&mut self, now: Instant) {
        let worker = &self.worker;
        let closed = self.streams.sweep(now, |path| worker.keeps_path(now, path));
        for path in closed {
            self.worker.path_closed(now, path);
        }
    }

    /// Takes the datagrams that came over streams.
    fn take_streams(&mut self, now: Instant) {
        let (streams, worker) = (&mut self.streams, &mut self.worker);
        let mut gone = Vec::new();
        streams.take(
            |path, datagram| worker.handle_datagram(now, path, datagram),
            |path| gone.push(path),
        );
        for path in gone {
            self.worker.path_closed(now, path);
        }
        self.sweep_streams(now);
        while let Some((path, crowding)) = self.streams.poll_crowding() {
            self.worker.path_crowded(now, path, crowding);
        }
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
        let mut queue = None;
        let command = match request {
            Request::Command(command) => command,
            Request::CreateRoom(events, reply) => {
                queue = Some(events);
                Command::CreateRoom { reply }
            }
            Request::OpenPart {
                room,
                parts,
                events,
                reply,
            } => {
                self.events.open(room, events);
                Command::OpenPart { room, parts, reply }
            }
            Request::OpenStream { opening, reply } => {
                let _ = reply.send(self.open_stream(now, opening));
                return true;
            }
            Request::TakePipe { other, end, reply } => {
                self.pipes.add(other, *end);
                let _ = reply.send(Ok(()));
                return true;
            }
            #[cfg(any(test, feature = "testing"))]
            Request::Fail => panic!("a test makes this worker fail"),
        };
        let Some(command) = self.unless_behind(command) else {
            return true;
        };
        let closed = match &command {
            Command::CloseRoom { room, .. } => Some(*room),
            _ => None,
        };
        // The requester may know of changes that other workers have posted by now.
        self.pipes.take_control(now, &mut self.worker);
        let held = self.worker.handle_command(now, command);
        if let (Some(Held::Room(_, room)), Some(queue)) = (&held, queue) {
            self.events.open(*room, queue);
        }
        if let Some(room) = closed {
            self.close_events(now, room);
        }
        self.post();
        if let Some(held) = held {
            if self.pipes.is_held_up() {
                self.answer = Some(held);
                return false;
            }
            self.report_load();
            self.give_answer(now, held);
        }
        true
    }

    fn give_answer(&mut self, now: Instant, held: Held) {
        let created = match &held {
            Held::Room(_, room) => Some(*room),
            _ => None,
        };
        self.worker.answer(now, held);
        // Whoever asked for it may have gone: it was closed then.
        if let Some(room) = created
            && !self.worker.has_room(room)
        {
            self.close_events(now, room);
        }
    }

    /// The last events of a room that is closed.
    fn close_events(&mut self, now: Instant, room: RoomId) {
        self.take_events(now);
        let dropped = self.events.close(room);
        self.worker.count_untaken(dropped as u64);
    }

    /// The command, unless it would add to what the control plane of its room has not heard of, and that is too much.
    fn unless_behind(&self, command: Command) -> Option<Command> {
        match command {
            Command::Join { room, reply, .. } if self.events.is_behind(room) => {
                drop(reply.send(Err(SfuError::Overloaded)));
            }
            Command::Offer { peer, reply, .. }
                if self
                    .worker
                    .peer_room(peer)
                    .is_some_and(|room| self.events.is_behind(room)) =>
            {
                drop(reply.send(Err(SfuError::Overloaded)));
            }
            command => return Some(command),
        }
        None
    }

    /// Hands events over, to rooms that have places for them. Waits for none.
    fn deliver_events(&mut self, now: Instant) {
        self.take_events(now);
        self.worker.count_unheard(self.events.take_unheard());
        self.events.deliver(now);
        while let Some((room, dropped)) = self.events.fail_largest(now) {
            self.worker.count_untaken(dropped as u64);
            tracing::error!(
                %room, worker = usize::from(self.worker.index()), dropped,
                "room closed: its events are not taken, and all that wait for rooms are too many"
            );
            self.worker.close_room(now, room);
            self.take_events(now);
        }
    }

    fn take_events(&mut self, now: Instant) {
        while let Some(event) = self.worker.poll_event() {
            self.events.push(now, event);
        }
        if let Some(failed) = self.failed.take() {
            self.events.push_to_all(now, &failed);
        }
    }
}

impl Driven for Driver {
    fn handle_datagram(&mut self, now: Instant, from: Path, datagram: &mut [u8]) {
        self.worker.handle_datagram(now, from, datagram);
    }

    fn handle_commands(&mut self, now: Instant, time: &mut dyn FnMut() -> bool) {
        self.now = now;
        self.take_streams(now);
        self.worker.run_handshakes(now, time);
        self.deliver_events(now);
        self.more = false;
        self.pipes.take(now, &mut self.worker);
        self.post();
        if self.stopping.load(Ordering::Acquire) && !self.closed {
            self.worker.close_all(now);
            self.closed = true;
        }
        if self.closed || self.pipes.is_held_up() {
            return;
        }
        if let Some(held) = self.answer.take() {
            self.report_load();
            self.give_answer(now, held);
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
        let retry = self.pipes.is_held_up().then(|| self.now + RETRY);
        let due = [
            retry,
            self.events.poll_timeout(),
            self.worker.poll_timeout(self.now),
            self.streams.poll_timeout(),
        ];
        due.into_iter().flatten().min()
    }

    fn flush(&mut self, now: Instant, out: &mut Transmits) -> bool {
        self.now = now;
        let more = self.worker.flush(now, out);
        // The pipes are filled before the caller sends, so that other workers go on meanwhile.
        self.post();
        self.deliver_events(now);
        self.report_load();
        more
    }

    fn is_pending(&self) -> bool {
        self.pipes.has_incoming() || self.streams.is_pending()
    }

    fn backlog(&self) -> usize {
        self.worker.backlog()
    }

    fn send_over_streams(&mut self, transmits: &Transmits, report: &mut SendReport) {
        self.streams.send(self.now, transmits, report);
        while let Some((path, crowding)) = self.streams.poll_crowding() {
            self.worker.path_crowded(self.now, path, crowding);
        }
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
        // Dropping the pipes tells the other workers to end this worker's tracks: nobody else does.
        self.pipes = Pipes::default();
        self.streams = Streams::new(None);
        for waker in &*self.wakers {
            waker.wake();
        }
        self.worker.abandon();
    }

    fn last_words(&mut self) -> bool {
        self.take_events(self.now);
        self.events.deliver_all();
        self.last_words += 1;
        if self.last_words >= LAST_WORDS {
            self.alive = None;
        }
        !self.events.is_empty() && !self.stopping.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tokio::sync::oneshot;

    use super::super::room_events::ROOM_WAITING;
    use super::*;
    use crate::clock::WallClock;
    use crate::config::Limits;
    use crate::drops::DropReason;
    use crate::id::{PeerId, RoomId};
    use crate::runtime::Poller;
    use crate::seat::Seat;
    use crate::testing::epoch;
    use crate::transport::Candidate;
    use crate::transport::ice_testing::Check;
    use crate::transport::{Backend, Certificate};
    use crate::transport::{StreamKind, StreamOrigin};
    use crate::view::Cap;
    use crate::worker::{Named, read_offer};

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
                index: 0.into(),
                certificate,
                candidates: vec![Candidate::Udp(([192, 0, 2, 9], 9).into())],
                stun_answers: true,
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
            let (_, alive) = watch::channel(());
            let wakers = Arc::new([Poller::new().expect("a poller").waker()]);
            let driver = Driver::new(config, queue, alive, load, stopping, wakers);
            let room = RoomId::from_u64(0);
            let mut call = Self {
                driver,
                commands,
                events,
                room,
            };
            call.room = call
                .request(|reply| Request::CreateRoom(sender, reply))
                .expect("a room");
            call
        }

        /// Another room, whose receiver is read.
        fn another_room(&mut self) -> (RoomId, mpsc::Receiver<Event>) {
            let (sender, events) = mpsc::channel(64);
            let room = self.request(|reply| Request::CreateRoom(sender, reply));
            (room.expect("another room"), events)
        }

        fn ask<T>(&mut self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, SfuError> {
            self.request(|reply| Request::Command(command(reply)))
        }

        /// One turn of the worker, in which an answer must come.
        fn request<T>(&mut self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, SfuError> {
            let (reply, mut answer) = oneshot::channel();
            let sent = self.commands.try_send(request(reply));
            sent.expect("room for a command");
            self.driver.handle_commands(epoch(), &mut || true);
            self.driver.deliver_events(epoch());
            answer.try_recv().expect("an answer, whatever else waits")
        }

        /// The next event, if there is one. Others that wait take its place.
        fn hear(&mut self) -> Option<Event> {
            let event = self.events.try_recv().ok();
            self.driver.events.deliver_all();
            event
        }

        fn join(&mut self) -> Result<(PeerId, crate::event::Answer), SfuError> {
            self.join_room(self.room)
        }

        fn join_room(&mut self, room: RoomId) -> Result<(PeerId, crate::event::Answer), SfuError> {
            let offer = Box::new(read_offer(OFFER, &Limits::default()).expect("an offer"));
            self.ask(|reply| Command::Join {
                room,
                offer,
                auto_subscribe: false,
                announce: None,
                named: Named {
                    sender: String::new(),
                    may_send_data: true,
                    hear_data: false,
                },
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
        let waiting = call.driver.events.weight();
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
        while let Some(event) = call.hear() {
            if let Event::SlotsChanged { offers, .. } | Event::NeedsChanged { offers, .. } = event {
                older += usize::from(offers < answer.offers);
            }
        }
        assert!(older > 0, "events that the answer overtook");
    }

    #[test]
    fn a_room_that_hears_of_nothing_for_long_gets_no_more_peers_and_others_do() {
        let mut call = Call::new();
        let (other, mut events) = call.another_room();
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
            assert!(call.driver.events.weight() <= ended);
        };
        assert_eq!(refused, SfuError::Overloaded);
        assert!(ended <= ROOM_WAITING + 16, "{ended}");
        let (peer, published) = call.join_room(other).expect("a peer of the other room");
        call.ask(|reply| Command::ClosePeer { peer, reply })
            .expect("closed");
        let heard: Vec<Event> = std::iter::from_fn(|| events.try_recv().ok()).collect();
        for track in published.published {
            let ended = Event::TrackEnded {
                room: other,
                peer,
                track: track.track,
            };
            assert!(heard.contains(&ended), "{heard:?}");
        }
        // Joins are accepted again once the events have been taken, and none of those was lost.
        let mut heard = 0;
        while let Some(event) = call.hear() {
            heard += usize::from(matches!(event, Event::TrackEnded { .. }));
        }
        assert_eq!(heard, ended);
        call.join().expect("a peer");
    }

    #[test]
    fn a_room_whose_events_are_too_many_is_closed_and_says_so_last() {
        let mut call = Call::new();
        let (other, _events) = call.another_room();
        call.driver.events = RoomEvents::new(epoch(), 20);
        let (sender, events) = mpsc::channel(1);
        call.driver.events.open(call.room, sender);
        call.events = events;
        while call.driver.worker.has_room(call.room) {
            let (peer, _) = call.join().expect("a peer");
            call.ask(|reply| Command::ClosePeer { peer, reply })
                .expect("closed");
        }
        assert!(call.driver.worker.has_room(other));
        assert_eq!(call.join().err(), Some(SfuError::NoSuchRoom));
        let told: Vec<Event> = std::iter::from_fn(|| call.hear()).collect();
        let Some(Event::RoomFailed { room, dropped }) = told.last() else {
            panic!("{told:?}");
        };
        assert_eq!((*room, told.len()), (call.room, 2));
        let stats = call.ask(|reply| Command::Totals { reply }).expect("stats");
        assert_eq!(stats.drops.get(DropReason::EventsNotTaken), *dropped);
        assert!(call.events.is_closed());
    }

    /// Opens a stream from one of a peer's many connections.
    fn open_stream(
        call: &mut Call,
        at: Instant,
        check: &Check,
        port: u16,
    ) -> Result<Stream, SfuError> {
        let origin = StreamOrigin {
            from: ([192, 0, 2, 1], port).into(),
            kind: StreamKind::IceTcp,
        };
        let first = check.bytes();
        call.driver.open_stream(at, Opening { origin, first })
    }

    #[test]
    fn one_peer_leaves_room_for_the_streams_of_others_however_many_it_opens() {
        let mut call = Call::new();
        let check_of = |answer: &crate::event::Answer| {
            let value = |name| answer.sdp.lines().find_map(|line| line.strip_prefix(name));
            Check {
                username: format!("{}:mKtC", value("a=ice-ufrag:").expect("a fragment")),
                password: value("a=ice-pwd:").map(str::to_owned),
                nominate: true,
                controlled: false,
                extra: None,
            }
        };
        let (_, answer) = call.join().expect("one that opens many");
        let greedy = check_of(&answer);
        let (_, answer) = call.join().expect("one that opens one");
        let modest = check_of(&answer);
        let now = epoch() + Duration::from_millis(100);
        call.driver.take_streams(now);
        let opened = (0..).map(|port| open_stream(&mut call, now, &greedy, port));
        let held: Vec<Stream> = opened.map_while(Result::ok).collect();
        assert_eq!(held.len(), STREAMS);
        // Long before the next sweep of a table that has room.
        let soon = now + Duration::from_millis(20);
        let other = open_stream(&mut call, soon, &modest, 1);
        assert!(other.is_ok(), "{:?}", other.err());
        let left = held.iter().filter(|stream| !stream.is_closed());
        assert_eq!(left.count(), 8, "as many streams as a peer may have");

        // Without a check over them they are given up, the one in use too, and those that are checked are not.
        let other = other.expect("a stream");
        let later = soon + Duration::from_secs(59);
        let mut again = open_stream(&mut call, later, &modest, 2).expect("another");
        call.driver.take_streams(later + Duration::from_secs(2));
        assert!(held.iter().all(Stream::is_closed) && other.is_closed());
        let later = later + Duration::from_secs(58);
        again.push(&modest.bytes()).expect("taken");
        call.driver.take_streams(later);
        call.driver.take_streams(later + Duration::from_secs(50));
        assert!(!again.is_closed());
    }
}
