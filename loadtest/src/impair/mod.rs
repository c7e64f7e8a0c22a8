//! An impairment proxy: UDP through the network model that the relay's simulations use, in real
//! time.
//!
//! ```text
//! client  ⇄  listen  [ up: loss, queue, delay → ]   its own socket  ⇄  server
//!                    [ ← down                   ]
//! ```
//!
//! Each client (a source address) has its own socket towards the server, and its own path in either direction: packets
//! of one do not queue behind another's. Threads block in the kernel for datagrams. One thread sleeps until the next is
//! due, which is exact to about 0.1 ms.

mod command;
mod session;

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use tertulia_sfu::testing::network::{Models, PathStats, Script};

pub use command::{Command, CommandError};
pub use session::{ClientStats, DirectionStats};

use session::{State, Woken};

/// The settings of a proxy.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address that clients send to; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// The server.
    pub to: SocketAddr,
    /// The paths at first.
    pub start: Models,
    /// The changes, from the first datagram of a client on. Its start is not looked at.
    pub script: Option<Script>,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Clients at a time; datagrams of more are dropped.
    pub clients: usize,
    /// Time without datagrams from and to a client after which it is forgotten.
    pub idle: Duration,
}

/// An event, for the code that runs the proxy.
#[derive(Clone, PartialEq, Debug)]
pub struct Notice {
    /// Since the proxy began.
    pub at: Duration,
    /// The change, such as `down rate=500k`.
    pub text: String,
}

/// A running proxy. It ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    addr: SocketAddr,
}

#[derive(Debug)]
struct Shared {
    front: UdpSocket,
    state: Mutex<State>,
    wake: Condvar,
    stopping: AtomicBool,
    began: Instant,
    notices: SyncSender<Notice>,
}

/// Events that wait to be printed, at most: changes are typed by people or come from a script.
const NOTICES: usize = 1_024;
/// The time between two looks of threads that wait for datagrams whether they are still wanted.
const LOOK: Duration = Duration::from_millis(200);
/// Socket buffer in bytes: a second of 30 Mbit/s, so that only the model loses packets; the kernel gives as much as it
/// allows.
const BUFFER: usize = 4 * 1024 * 1024;
/// The longest UDP payload.
const MAX_DATAGRAM: usize = 65_535;

impl Proxy {
    /// Binds and begins. The receiver yields what happens.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, or a thread not be started.
    pub fn start(settings: Settings) -> io::Result<(Self, Receiver<Notice>)> {
        let front = bind(settings.listen)?;
        let addr = front.local_addr()?;
        let (notices, receiver) = sync_channel(NOTICES);
        let shared = Arc::new(Shared {
            front,
            state: Mutex::new(State::new(settings)),
            wake: Condvar::new(),
            stopping: AtomicBool::new(false),
            began: now(),
            notices,
        });
        let mut proxy = Self {
            shared: Arc::clone(&shared),
            threads: Vec::new(),
            addr,
        };
        let receives = Arc::clone(&shared);
        proxy.spawn("impair-front", move || receive_from_clients(&receives))?;
        proxy.spawn("impair-timer", move || sleep_and_send(&shared))?;
        Ok((proxy, receiver))
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = thread::Builder::new().name(name.into()).spawn(run)?;
        self.threads.push(thread);
        Ok(())
    }

    /// The address that clients send to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Since it began.
    pub fn elapsed(&self) -> Duration {
        now() - self.shared.began
    }

    /// Applies a command to every client, present and future.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; nothing has changed then.
    pub fn command(&self, command: &Command) -> Result<(), CommandError> {
        let mut state = self.shared.state();
        let text = state.command(now(), command)?;
        drop(state);
        self.shared.notice(text);
        // Waiting datagrams are due at another time now.
        self.shared.wake.notify_all();
        Ok(())
    }

    /// The counters of each client's paths since the last call, and all in all.
    pub fn stats(&self) -> Vec<ClientStats> {
        self.shared.state().stats(now())
    }

    /// The counts of all paths of all clients, up and down, and the number of clients.
    pub fn totals(&self) -> (usize, PathStats, PathStats) {
        self.shared.state().totals(now())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // A panic there has been reported already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked has ended; it left the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn notice(&self, text: String) {
        let at = now() - self.began;
        // The receiver may be gone, or too slow: then the notice is lost, but no packets.
        let _ = self.notices.try_send(Notice { at, text });
    }
}

fn receive_from_clients(shared: &Arc<Shared>) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    while !shared.stopping() {
        let Ok((len, from)) = shared.front.recv_from(&mut buffer) else {
            continue;
        };
        let mut state = shared.state();
        let woken = match state.sent_up(now(), &shared.front, from, &buffer[..len]) {
            Ok(woken) => woken,
            Err(error) => {
                drop(state);
                shared.notice(format!("{from} has no socket: {error}"));
                continue;
            }
        };
        drop(state);
        if let Woken::Joined(socket) = &woken {
            let (shared, socket) = (Arc::clone(shared), Arc::clone(socket));
            shared.notice(format!("client {from}"));
            thread::spawn(move || receive_from_server(&shared, &socket, from));
        }
        if !matches!(woken, Woken::No) {
            shared.wake.notify_one();
        }
    }
}

fn receive_from_server(shared: &Shared, socket: &Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    while !shared.stopping() {
        let received = socket.recv(&mut buffer);
        let mut state = shared.state();
        if !state.owns(client, socket) {
            return;
        }
        let Ok(len) = received else { continue };
        let woken = state.sent_down(now(), &shared.front, client, &buffer[..len]);
        drop(state);
        if !matches!(woken, Woken::No) {
            shared.wake.notify_one();
        }
    }
}

fn sleep_and_send(shared: &Shared) {
    let mut state = shared.state();
    while !shared.stopping() {
        let at = now();
        let next = state.turn(at, &shared.front);
        for text in state.happened.drain(..) {
            let _ = shared.notices.try_send(Notice {
                at: at - shared.began,
                text,
            });
        }
        let wait = next.map_or(LOOK, |next| next.saturating_duration_since(now()).min(LOOK));
        state.sleeps_until = Some(now() + wait);
        let waited = shared.wake.wait_timeout(state, wait);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.sleeps_until = None;
    }
}

fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(addr)?;
    socket.set_read_timeout(Some(LOOK))?;
    // Less than asked for is given without an error.
    set_socket_recv_buffer_size(&socket, BUFFER)?;
    Ok(socket)
}

#[allow(clippy::disallowed_methods, reason = "real sockets, real time")]
fn now() -> Instant {
    Instant::now()
}
