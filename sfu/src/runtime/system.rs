//! Services of the system that only the runtime may ask for: the wall clock, randomness, cores, threads.

#![allow(unsafe_code)]

use std::sync::PoisonError;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rand::Rng;
use tokio::sync::oneshot;

use crate::clock::WallClock;

/// A wall clock that starts at the system's time and does not follow later corrections of it: media timing must not
/// jump.
pub(crate) fn wall_clock() -> WallClock {
    WallClock::new(Instant::now(), SystemTime::now())
}

/// Cores this process may use; 1 if the system does not say.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// CPU time of this thread, in user space and in the kernel. For a datagram sent over loopback that includes the
/// kernel's work up to the receiver's queue.
pub(super) fn thread_cpu() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` outlives the call.
    if unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) } != 0 {
        return Duration::ZERO;
    }
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Seeds for the workers' generators.
#[derive(Debug)]
pub(crate) struct Seeds(rand::rngs::ThreadRng);

impl Seeds {
    /// From the system's randomness.
    pub(crate) fn new() -> Self {
        Self(rand::rng())
    }

    /// One more.
    pub(crate) fn next(&mut self) -> [u8; 32] {
        self.0.random()
    }
}

/// The media threads, kept by the value that stops them.
#[derive(Debug)]
pub(crate) struct Threads(
    #[expect(
        clippy::disallowed_types,
        reason = "taken once, at the end; no packet meets it"
    )]
    std::sync::Mutex<Vec<JoinHandle<std::io::Result<()>>>>,
);

impl Threads {
    /// Running ones.
    pub(crate) fn new(threads: Vec<JoinHandle<std::io::Result<()>>>) -> Self {
        Self(threads.into())
    }

    /// Waits for all to end without holding up an executor; at once if that was done before.
    pub(crate) async fn join(&self) {
        let threads = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let (done, joined) = oneshot::channel();
        let waiter = std::thread::Builder::new().name("tertulia-join".into());
        // If no thread can be started to wait on, the call returns at once: the workers stop all the same.
        let _ = waiter.spawn(move || {
            for thread in threads {
                let _ = thread.join();
            }
            let _ = done.send(());
        });
        let _ = joined.await;
    }
}
