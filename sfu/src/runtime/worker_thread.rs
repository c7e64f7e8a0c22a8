//! The thread that drives a worker.

use std::any::Any;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::pace::Pace;
use super::poller::Poller;
use super::socket::MediaSocket;
use crate::transmit::{SendReport, Transmits};
use crate::transport::path::Path;

/// State that a worker thread drives. It does no I/O and reads no clock.
pub(crate) trait Driven {
    /// A datagram came. `datagram` may be decrypted in place; it is gone afterwards.
    fn handle_datagram(&mut self, now: Instant, from: Path, datagram: &mut [u8]);
    /// Called once in every turn: does work that may wait (commands, handshakes) while `time` returns true. Ask it
    /// between any two steps.
    fn handle_commands(&mut self, now: Instant, time: &mut dyn FnMut() -> bool);
    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    fn handle_timeout(&mut self, now: Instant);
    /// The time at which to call [`handle_timeout`](Self::handle_timeout); in the past: as soon as may be.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Whether work is left for the next turn, or has come, for which no waker was used: then the thread does not
    /// sleep.
    fn is_pending(&self) -> bool {
        false
    }
    /// The estimated number of datagrams that the next flush will make.
    fn backlog(&self) -> usize;
    /// Moves datagrams to send, or a part of them, into `out`, which is empty (its memory may be swapped for that of
    /// another batch). True if more are left. Called after a batch of datagrams, and after timeouts.
    fn flush(&mut self, now: Instant, out: &mut Transmits) -> bool;
    /// Sends the datagrams of a batch that go over streams, and adds their outcome to the report. Called only if there are
    /// any.
    fn send_over_streams(&mut self, _transmits: &Transmits, _report: &mut SendReport) {}
    /// Tells the outcome of the last flush.
    fn sent(&mut self, report: &SendReport);
    /// Asked in every turn, after flushing: true ends the thread.
    fn should_stop(&self) -> bool;
    /// Called when the thread ends without being asked to, perhaps in the middle of any other call: releases everything
    /// that others wait for. Only [`last_words`](Self::last_words) is called after it.
    fn fail(&mut self);
    /// Tells of the failure; true if it must be called again because the receivers had no room yet.
    fn last_words(&mut self) -> bool;
}

/// Datagrams taken at a time, before the work they cause is measured.
const BATCH: usize = 64;
/// Datagrams of one turn at most: they share one reading of the clock.
const MAX_TURN: usize = 256;
/// Datagrams to send after which no more are received in this turn: 4 ms at 1 us each, so that the
/// next timeout and the next keepalive are not late.
const MAX_BACKLOG: usize = 4_096;
/// Time of a turn for commands and handshakes while packets wait. The last step may exceed it: a handshake's takes 0.1
/// to 0.3 ms, an offer 0.02 ms and 0.02 more for each m-line. So a join storm and media take turns; without a storm the
/// turn is all media's.
const COMMANDS: Duration = Duration::from_millis(1);
/// The shortest sleep: a timeout that is always due makes 20,000 turns a second, not a busy loop.
/// Datagrams and commands end a sleep early.
const MIN_SLEEP: Duration = Duration::from_micros(50);
/// Failed system calls in a row after which the socket counts as broken.
const MAX_FAILURES: u32 = 100;
/// Interval of attempts to tell of a failure to a busy control plane.
const LAST_WORDS: Duration = Duration::from_millis(10);

/// Runs the value that `build` makes on a thread named `tertulia-media-<index>` until it asks to stop.
///
/// Datagrams are held back for `coalesce` at most, and only under load, so that runs grow.
///
/// A panic, or a socket that fails for good, ends the thread. The value tells of it ([`Driven::fail`]), one line is
/// logged, and the handle reports it.
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
            let mut driven = None;
            let run = catch_unwind(AssertUnwindSafe(|| {
                drive(socket, &poller, coalesce, driven.insert(build()))
            }));
            let cause = match &run {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => format!("its socket failed: {error}"),
                Err(panic) => format!("it panicked: {}", panic_message(&**panic)),
            };
            // Each step runs by itself: neither a broken state nor a failing log keeps the next from being done.
            let step = |step: &mut dyn FnMut()| drop(catch_unwind(AssertUnwindSafe(step)));
            step(&mut || {
                if let Some(driven) = &mut driven {
                    driven.fail();
                }
            });
            step(&mut || {
                tracing::error!(
                    worker = index,
                    cause,
                    "A MEDIA WORKER HAS FAILED: its clients are told to connect anew, to the workers that are left. \
                     Restart this server to have it back"
                );
            });
            step(&mut || {
                while driven.as_mut().is_some_and(Driven::last_words) {
                    let _ = poller.pause(LAST_WORDS);
                }
            });
            step(&mut || driven = None);
            run.unwrap_or_else(|panic| resume_unwind(panic))
        })
}

fn drive(
    mut socket: MediaSocket,
    poller: &Poller,
    coalesce: Duration,
    driven: &mut impl Driven,
) -> io::Result<()> {
    let mut transmits = Transmits::new();
    let mut pace = Pace::new(Instant::now(), coalesce);
    let mut window = Duration::ZERO;
    let mut drained = true;
    let mut failures = 0;
    loop {
        // A socket with more to read is not asked whether it is readable.
        if drained {
            poller.prepare();
            if driven.is_pending() {
                poller.stay_awake();
            } else {
                let timeout = driven
                    .poll_timeout()
                    .map(|at| at.saturating_duration_since(Instant::now()).max(MIN_SLEEP));
                let readable = poller.wait(socket.as_fd(), timeout)?;
                // The first datagrams wait for others to gather. A timeout is late by the window at most.
                if readable && !window.is_zero() {
                    poller.pause(window)?;
                }
            }
        }
        let now = Instant::now();
        window = pace.window(now);
        let end = now + COMMANDS;
        driven.handle_commands(now, &mut || Instant::now() < end);
        match receive(driven, now, &mut socket) {
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
        flush(driven, now, window, &mut socket, &mut transmits);

        let now = Instant::now();
        if driven.poll_timeout().is_some_and(|at| at <= now) {
            driven.handle_timeout(now);
            flush(driven, now, window, &mut socket, &mut transmits);
        }
        if driven.should_stop() {
            return Ok(());
        }
    }
}

/// Receives a turn's datagrams; true if none is left.
fn receive(driven: &mut impl Driven, now: Instant, socket: &mut MediaSocket) -> io::Result<bool> {
    let mut received = 0;
    while received < MAX_TURN && driven.backlog() < MAX_BACKLOG {
        let batch = socket.recv_batch(BATCH, |from, datagram| {
            driven.handle_datagram(now, Path::Udp(from), datagram);
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
            if transmits.has_stream_runs() {
                driven.send_over_streams(transmits, &mut report);
            }
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
