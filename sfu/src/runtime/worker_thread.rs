//! The thread that drives a worker.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::pace::Pace;
use super::poller::Poller;
use super::socket::MediaSocket;
use crate::transmit::{SendReport, Transmits};

/// What a worker thread drives. It does no I/O and reads no clock.
pub(crate) trait Driven {
    /// A datagram came. `datagram` may be decrypted in place; it is gone afterwards.
    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, datagram: &mut [u8]);
    /// Once in every turn: do what may wait (commands, handshakes) while there is `time` for more of
    /// it, which is asked between any two steps.
    fn handle_commands(&mut self, now: Instant, time: &mut dyn FnMut() -> bool);
    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    fn handle_timeout(&mut self, now: Instant);
    /// When to call [`handle_timeout`](Self::handle_timeout); in the past: as soon as may be.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Datagrams that the next flush will make of what came, as far as it can tell.
    fn backlog(&self) -> usize;
    /// Moves what is to be sent, or a part of it, into `out`, which is empty (its memory may be
    /// swapped for that of a batch of one's own); true if there is more. Called at the end of a
    /// batch of datagrams, and after timeouts.
    fn flush(&mut self, now: Instant, out: &mut Transmits) -> bool;
    /// What became of the last flush.
    fn sent(&mut self, report: &SendReport);
    /// Asked in every turn, after flushing: true ends the thread.
    fn should_stop(&self) -> bool;
}

/// Datagrams taken at a time, before the work they make is looked at.
const BATCH: usize = 64;
/// Datagrams of one turn at most: they share one reading of the clock.
const MAX_TURN: usize = 256;
/// Datagrams to send after which no more are received in this turn: 4 ms at 1 us each, so that the
/// next timeout and the next keepalive are not late.
const MAX_BACKLOG: usize = 4_096;
/// What a turn spends on commands and handshakes while packets wait, and by how much one such step
/// may exceed it is up to the step: a handshake's takes 0.1 to 0.3 ms, an offer 0.02 ms and 0.02 more
/// for each m-line. A join storm so takes turns with media; when there is none, turns are all its own.
const COMMANDS: Duration = Duration::from_millis(1);
/// The shortest sleep: a timeout that is always due makes 20,000 turns a second, not a busy loop.
/// Datagrams and commands end a sleep early.
const MIN_SLEEP: Duration = Duration::from_micros(50);
/// Failed system calls in a row after which nothing better can be expected.
const MAX_FAILURES: u32 = 100;

/// Runs what `build` makes on a thread named `tertulia-media-<index>` until it asks to stop.
///
/// Datagrams are held back for `coalesce` at most, and only under load, so that runs grow.
///
/// A panic is logged and then reported by the handle; a socket that fails for good is too.
pub(crate) fn spawn_worker<D: Driven>(
    index: usize,
    socket: MediaSocket,
    poller: Poller,
    coalesce: Duration,
    build: impl FnOnce() -> D + Send + 'static,
) -> io::Result<JoinHandle<io::Result<()>>> {
    Builder::new()
        .name(format!("tertulia-media-{index}"))
        .spawn(move || {
            let run = AssertUnwindSafe(|| drive(socket, &poller, coalesce, build()));
            match catch_unwind(run) {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => {
                    tracing::error!(worker = index, %error, "a media worker's socket failed, its peers are lost");
                    Err(error)
                }
                Err(panic) => {
                    let message = panic_message(&*panic);
                    tracing::error!(worker = index, message, "a media worker panicked, its peers are lost");
                    resume_unwind(panic)
                }
            }
        })
}

fn drive(
    mut socket: MediaSocket,
    poller: &Poller,
    coalesce: Duration,
    mut driven: impl Driven,
) -> io::Result<()> {
    let mut transmits = Transmits::new();
    let mut pace = Pace::new(Instant::now(), coalesce);
    let mut window = Duration::ZERO;
    let mut drained = true;
    let mut failures = 0;
    loop {
        // A socket with more to read is not asked whether it is readable.
        if drained {
            let timeout = driven
                .poll_timeout()
                .map(|at| at.saturating_duration_since(Instant::now()).max(MIN_SLEEP));
            let readable = poller.wait(socket.as_fd(), timeout)?;
            // What came first waits for what comes with it. No timeout is later by more than that.
            if readable && !window.is_zero() {
                poller.pause(window)?;
            }
        }
        let now = Instant::now();
        window = pace.window(now);
        let end = now + COMMANDS;
        driven.handle_commands(now, &mut || Instant::now() < end);
        match receive(&mut driven, now, &mut socket) {
            Ok(all) => {
                drained = all;
                failures = 0;
            }
            Err(error) if failures < MAX_FAILURES => {
                tracing::debug!(%error, "receiving failed");
                drained = true;
                failures += 1;
            }
            Err(error) => return Err(error),
        }
        flush(&mut driven, now, window, &mut socket, &mut transmits);

        let now = Instant::now();
        if driven.poll_timeout().is_some_and(|at| at <= now) {
            driven.handle_timeout(now);
            flush(&mut driven, now, window, &mut socket, &mut transmits);
        }
        if driven.should_stop() {
            return Ok(());
        }
    }
}

/// Receives a turn's datagrams; whether those were all.
fn receive(driven: &mut impl Driven, now: Instant, socket: &mut MediaSocket) -> io::Result<bool> {
    let mut received = 0;
    while received < MAX_TURN && driven.backlog() < MAX_BACKLOG {
        let batch = socket.recv_batch(BATCH, |from, datagram| {
            driven.handle_datagram(now, from, datagram);
        })?;
        if batch < BATCH {
            return Ok(true);
        }
        received += batch;
    }
    Ok(false)
}

fn flush(
    driven: &mut impl Driven,
    now: Instant,
    window: Duration,
    socket: &mut MediaSocket,
    transmits: &mut Transmits,
) {
    loop {
        let more = driven.flush(now, transmits);
        if !transmits.is_empty() {
            let mut report = socket.send(transmits);
            report.window = window;
            transmits.clear();
            driven.sent(&report);
        }
        if !more {
            return;
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
