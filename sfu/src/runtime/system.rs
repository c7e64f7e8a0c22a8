//! What only the runtime may ask of the system: the wall clock, randomness, cores, threads.

use std::thread::JoinHandle;
use std::time::{Instant, SystemTime};

use rand::Rng;
use tokio::sync::oneshot;

use crate::clock::WallClock;

/// The wall clock from now on. It does not follow later corrections of the system's clock: media
/// timing must not jump.
pub(crate) fn wall_clock() -> WallClock {
    WallClock::new(Instant::now(), SystemTime::now())
}

/// Cores this process may use; 1 if the system does not say.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
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

/// Waits for a thread to end without holding up an executor.
pub(crate) fn join(thread: JoinHandle<std::io::Result<()>>, done: oneshot::Sender<()>) {
    let waiter = std::thread::Builder::new().name("tertulia-join".into());
    // Without a thread to wait on, the caller waits for no one: the workers stop all the same.
    let _ = waiter.spawn(move || {
        let _ = thread.join();
        let _ = done.send(());
    });
}
