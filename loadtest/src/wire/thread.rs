//! An I/O thread: many bots' sockets, their timers, and the seconds they measure.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::outbox::Outbox;
use super::session::{Desk, Session, Start};
use super::socket::{Events, Poller, Receiver, Socket, Waker};
use super::timer::Timers;
use crate::bot::native::MediaEvent;
use crate::measure::{Measure, wall_time};
use crate::server::cores::pin_thread;

/// Commands on their way to a thread; more make a bot wait.
const COMMANDS: usize = 1_024;
/// The name of the waker among the sockets.
const WAKER: u64 = u64::MAX;
/// Bots read before the timers are looked at: some hundred packets.
const BOTS_BETWEEN_TIMERS: usize = 16;

/// A message of the control plane to a thread. Bots are named by the fleet.
pub(super) enum Command {
    Connect(u64, Socket, Box<Start>),
    /// Something to be done with a bot's session.
    With(u64, Box<dyn FnOnce(&mut Session) + Send>),
    Leave(u64, Option<oneshot::Sender<()>>),
    Settle(oneshot::Sender<()>),
}

/// The control plane's end of a thread.
#[derive(Debug)]
pub(super) struct Handle {
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
    ended: Arc<AtomicBool>,
}

impl Handle {
    /// Tells the thread, when it has room.
    pub(super) async fn tell(&self, command: Command) {
        // A thread that is gone needs no telling.
        if self.commands.send(command).await.is_ok() {
            self.waker.wake();
        }
    }

    /// Tells the thread, if it has room.
    pub(super) fn try_tell(&self, command: Command) {
        if self.commands.try_send(command).is_ok() {
            self.waker.wake();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// Starts a thread, pinned to a processor or not.
pub(super) fn start(
    index: usize,
    processor: Option<usize>,
    measure: Arc<Measure>,
) -> io::Result<Handle> {
    let (sender, commands) = mpsc::channel(COMMANDS);
    let waker = Arc::new(Waker::new()?);
    let poller = Poller::new()?;
    poller.add(&waker.fd, WAKER)?;
    let ended = Arc::new(AtomicBool::new(false));
    let (started, starts) = std::sync::mpsc::channel();
    let mut thread = Thread {
        commands,
        waker: Arc::clone(&waker),
        ended: Arc::clone(&ended),
        poller,
        receiver: Receiver::new(),
        bots: Vec::new(),
        timers: Timers::default(),
        desk: Desk::default(),
        current: measure.second_of(Instant::now()),
        measure,
    };
    std::thread::Builder::new()
        .name(format!("wire-{index}"))
        .spawn(move || {
            let pinned = processor.map_or(Ok(()), |processor| pin_thread(&[processor]));
            let failed = pinned.is_err();
            let _ = started.send(pinned);
            if failed {
                return;
            }
            if let Err(error) = thread.run() {
                tracing::error!(%error, "a thread of wire bots ended");
            }
        })?;
    starts
        .recv()
        .map_err(|_| io::Error::other("the thread ended as it began"))??;
    Ok(Handle {
        commands: sender,
        waker,
        ended,
    })
}

struct Thread {
    commands: mpsc::Receiver<Command>,
    waker: Arc<Waker>,
    ended: Arc<AtomicBool>,
    poller: Poller,
    receiver: Receiver,
    /// Places are used again.
    bots: Vec<Option<Bot>>,
    timers: Timers,
    desk: Desk,
    /// Index of the desk's second in the measure.
    current: usize,
    measure: Arc<Measure>,
}

struct Bot {
    name: u64,
    socket: Socket,
    session: Session,
}

impl Bot {
    /// Sends the checks that are due, until a candidate has answered.
    fn check(&mut self, now: Instant) {
        let mut checks = Vec::new();
        self.session.poll_checks(now, &mut checks);
        for (to, check) in checks {
            // One that the kernel does not take is repeated, like one that is lost.
            let _ = self.socket.udp.send_to(&check, to);
        }
    }
}

impl Thread {
    fn run(&mut self) -> io::Result<()> {
        let (mut events, mut ready) = (Events::default(), Vec::new());
        while !self.ended.load(Ordering::Acquire) {
            let now = Instant::now();
            let second_ends = self.measure.instant_of(self.current + 1);
            let next = self
                .timers
                .next()
                .map_or(second_ends, |next| next.min(second_ends));
            ready.clear();
            let timeout = next.saturating_duration_since(now);
            ready.extend(self.poller.wait(&mut events, timeout)?);
            for (count, name) in ready.iter().enumerate() {
                match name {
                    &WAKER => {
                        self.waker.reset();
                        self.obey();
                    }
                    name => self.receive(*name as usize),
                }
                if count % BOTS_BETWEEN_TIMERS == BOTS_BETWEEN_TIMERS - 1 {
                    self.run_timers();
                }
            }
            self.run_timers();
            let now = Instant::now();
            if now >= second_ends {
                self.add_up();
                self.current = self.measure.second_of(now);
                for bot in self.bots.iter_mut().flatten() {
                    bot.session.observe(now, false, &mut self.desk.second);
                }
            }
        }
        Ok(())
    }

    fn receive(&mut self, place: usize) {
        let Some(Some(bot)) = self.bots.get_mut(place) else {
            return;
        };
        let (now, wall_now) = (Instant::now(), wall_time());
        let desk = &mut self.desk;
        let (session, mut found) = (&mut bot.session, None);
        let received = self.receiver.receive(&bot.socket, |meta, bytes| {
            let wall = meta.timestamp.unwrap_or(wall_now);
            // Datagrams that came after the clocks were read are a little ahead of them.
            let at = match wall_now.checked_sub(wall) {
                Some(age) => now.checked_sub(age).unwrap_or(now),
                None => now + (wall - wall_now),
            };
            for datagram in bytes.chunks_mut(meta.stride) {
                if session.is_searching() {
                    found = session.search(now, meta.addr, datagram, &mut desk.out);
                } else if found.is_none_or(|to| to == meta.addr) {
                    session.handle(now, datagram, at, wall, desk);
                }
            }
        });
        if let Err(error) = received {
            // The server's port is closed, or was for a moment; ICE and the WebSocket will tell.
            tracing::debug!(%error, "receive");
        }
        if let Some(to) = found
            && let Err(error) = bot.socket.connect(to)
        {
            bot.session.fail(format!("socket: {error}"));
        }
        self.attend(place);
    }

    /// Does everything due for a bot, sends its datagrams, and plans its next turn.
    fn attend(&mut self, place: usize) {
        let Some(Some(bot)) = self.bots.get_mut(place) else {
            return;
        };
        let now = Instant::now();
        if bot.session.poll_timeout().is_some_and(|at| at <= now) {
            bot.session.handle_timeout(now, &mut self.desk);
            bot.check(now);
        }
        flush(&bot.socket, &mut self.desk.out);
        self.timers.set(place, bot.session.poll_timeout());
    }

    fn run_timers(&mut self) {
        while let Some(place) = self.timers.pop(Instant::now()) {
            self.attend(place);
        }
    }

    fn obey(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            let now = Instant::now();
            match command {
                Command::Connect(name, socket, start) => {
                    let events = start.events.clone();
                    if let Err(error) = self.connect(name, socket, *start) {
                        let _ = events.try_send(MediaEvent::Failed(format!("socket: {error}")));
                    }
                }
                Command::With(name, act) => self.with(name, act),
                Command::Leave(name, done) => {
                    self.leave(name, now);
                    if let Some(done) = done {
                        let _ = done.send(());
                    }
                }
                Command::Settle(done) => {
                    for bot in self.bots.iter_mut().flatten() {
                        bot.session.observe(now, true, &mut self.desk.second);
                    }
                    self.add_up();
                    let _ = done.send(());
                }
            }
        }
    }

    fn connect(&mut self, name: u64, socket: Socket, start: Start) -> io::Result<()> {
        let free = self.bots.iter().position(Option::is_none);
        let place = free.unwrap_or(self.bots.len());
        self.poller.add(&socket.udp, place as u64)?;
        let bot = Bot {
            name,
            socket,
            session: Session::new(Instant::now(), start),
        };
        match free {
            Some(place) => self.bots[place] = Some(bot),
            None => self.bots.push(Some(bot)),
        }
        self.attend(place);
        Ok(())
    }

    fn place(&self, name: u64) -> Option<usize> {
        let named = |bot: &Option<Bot>| bot.as_ref().is_some_and(|bot| bot.name == name);
        self.bots.iter().position(named)
    }

    fn with(&mut self, name: u64, act: impl FnOnce(&mut Session)) {
        if let Some(place) = self.place(name)
            && let Some(bot) = &mut self.bots[place]
        {
            act(&mut bot.session);
            self.attend(place);
        }
    }

    fn leave(&mut self, name: u64, now: Instant) {
        if let Some(place) = self.place(name)
            && let Some(mut bot) = self.bots[place].take()
        {
            self.timers.set(place, None);
            bot.session.observe(now, true, &mut self.desk.second);
            bot.session.leave(now, &mut self.desk.out);
            flush(&bot.socket, &mut self.desk.out);
        }
    }

    fn add_up(&mut self) {
        let began = self.measure.instant_of(self.current);
        self.measure.add(began, &self.desk.second);
        self.desk.second.clear();
    }
}

fn flush(socket: &Socket, out: &mut Outbox) {
    socket.send(out);
    out.clear();
}
