//! The queue between logging threads and stderr. A reader that stops reading, or a terminal that is held, makes a write
//! wait for any time; so one thread writes, and no other waits for it.
//!
//! `tracing-appender` has such a queue. Its bound is a number of lines of any length, it does not say in the log that
//! lines are missing, and at the end it prints on stdout when the queue is full, which `--log json` promises not to do
//! and which panics where stdout is closed.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Bytes that may wait, some 7,000 lines: a join storm while a log collector is busy. The writing thread may hold as
/// much again. A line beyond this is dropped and counted.
const BYTES: usize = 1024 * 1024;
/// Pause before another write to a descriptor that others made non-blocking.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// Cheap to clone. Takes whole lines.
#[derive(Clone)]
pub(crate) struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Told when there is something to write.
    filled: Condvar,
    /// Told when all has been written.
    drained: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    writing: bool,
    lost: u64,
}

impl Log {
    /// `notice` makes the line that says how many are missing.
    pub(crate) fn to(
        writer: impl Write + Send + 'static,
        notice: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            drained: Condvar::new(),
        });
        let reader = shared.clone();
        thread::Builder::new()
            .name("log".into())
            .spawn(move || write(&reader, writer, notice))?;
        Ok(Self { shared })
    }

    pub(crate) fn line(&self, line: &[u8]) {
        let mut queue = self.shared.lock();
        if queue.lines.len() + line.len() > BYTES {
            queue.lost += 1;
            return;
        }
        queue.lines.extend_from_slice(line);
        drop(queue);
        self.shared.filled.notify_one();
    }

    /// Lines lost: the queue was full, or they could not be written.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.lock().lost
    }

    /// Returns when all is written, or after `patience`.
    pub(crate) fn flush(&self, patience: Duration) {
        let queue = self.shared.lock();
        let busy = |queue: &mut Queue| queue.writing || !queue.lines.is_empty();
        let _ = self
            .shared
            .drained
            .wait_timeout_while(queue, patience, busy);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Runs for as long as the process lives.
fn write(shared: &Shared, mut writer: impl Write, notice: impl Fn(u64) -> String) {
    let mut told = 0;
    let mut lines = Vec::new();
    loop {
        lines.clear();
        let lost = {
            let mut queue = shared.lock();
            queue.writing = false;
            if queue.lines.is_empty() {
                shared.drained.notify_all();
            }
            while queue.lines.is_empty() {
                let woken = shared.filled.wait(queue);
                queue = woken.unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut lines, &mut queue.lines);
            queue.writing = true;
            queue.lost
        };
        let unwritten = put(&mut writer, &lines);
        if unwritten > 0 {
            shared.lock().lost += unwritten;
            continue;
        }
        // These lines were dropped while the queue was full of the lines just written.
        if lost > told && put(&mut writer, notice(lost - told).as_bytes()) == 0 {
            told = lost;
        }
    }
}

/// Writes lines, and returns the number that could not be written.
fn put(writer: &mut impl Write, mut lines: &[u8]) -> u64 {
    while !lines.is_empty() {
        match writer.write(lines) {
            Ok(0) => break,
            Ok(written) => lines = &lines[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => pause(),
            Err(_) => break,
        }
    }
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[expect(
    clippy::disallowed_methods,
    reason = "the thread has nothing else to do, and such a descriptor is somebody else's to watch"
)]
fn pause() {
    thread::sleep(TRY_AGAIN);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// A writer that accepts as many bytes as it is told to, or fails.
    struct Reader {
        takes: mpsc::Receiver<io::Result<usize>>,
        taken: mpsc::SyncSender<String>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let takes = self.takes.recv().unwrap_or(Ok(usize::MAX))?;
            let bytes = &bytes[..takes.min(bytes.len())];
            let _ = self.taken.send(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log() -> (
        Log,
        mpsc::SyncSender<io::Result<usize>>,
        mpsc::Receiver<String>,
    ) {
        let (allow, takes) = mpsc::sync_channel(64);
        let (sender, taken) = mpsc::sync_channel(64);
        let reader = Reader {
            takes,
            taken: sender,
        };
        let log = Log::to(reader, |lost| format!("{lost} missing\n")).expect("a thread");
        (log, allow, taken)
    }

    #[test]
    fn who_logs_never_waits_and_what_is_lost_is_told_where_it_is_missing() {
        let (log, allow, taken) = log();
        let long = format!("{}\n", "x".repeat(BYTES - 1));
        log.line(b"first\n");
        // The thread is then in its write, which is not accepted.
        allow.send(Ok(2)).expect("listens");
        assert_eq!(taken.recv_timeout(DEADLINE).as_deref(), Ok("fi"));
        log.line(long.as_bytes());
        log.line(b"too much\n");
        log.line(b"again\n");
        assert_eq!(log.lost(), 2);
        let before = std::time::Instant::now();
        log.flush(Duration::from_millis(10));
        assert!(before.elapsed() < DEADLINE);
        for _ in 0..3 {
            allow.send(Ok(usize::MAX)).expect("listens");
        }
        let next = || taken.recv_timeout(DEADLINE).expect("a line");
        assert_eq!((next().as_str(), next() == long), ("rst\n", true));
        assert_eq!(next(), "2 missing\n");
        log.line(b"last\n");
        allow.send(Ok(usize::MAX)).expect("listens");
        log.flush(DEADLINE);
        assert_eq!(taken.try_recv().as_deref(), Ok("last\n"));
        assert_eq!(log.lost(), 2);
    }

    #[test]
    fn a_disk_that_is_full_for_a_while_costs_the_lines_of_that_while() {
        let (log, allow, taken) = log();
        let full = || Err(io::ErrorKind::StorageFull.into());
        for line in ["one\n", "two\n"] {
            allow.send(full()).expect("listens");
            log.line(line.as_bytes());
            log.flush(DEADLINE);
        }
        assert_eq!(log.lost(), 2);
        allow
            .send(Err(io::ErrorKind::Interrupted.into()))
            .expect("listens");
        allow
            .send(Err(io::ErrorKind::WouldBlock.into()))
            .expect("listens");
        drop(allow);
        log.line(b"three\n");
        log.flush(DEADLINE);
        let said: Vec<String> = taken.try_iter().collect();
        assert_eq!(said, ["three\n", "2 missing\n"]);
    }
}
