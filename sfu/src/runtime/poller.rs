//! Waits for datagrams, commands or a time, whichever comes first.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

/// The sleep of a worker thread. It waits for two descriptors, for which `ppoll` costs as much as `epoll` and takes
/// nanoseconds; with epoll's milliseconds a pacer would be late.
#[derive(Debug)]
pub(crate) struct Poller {
    wake: Arc<Wake>,
}

/// Ends a [`Poller`]'s wait from another thread.
#[derive(Clone, Debug)]
pub(crate) struct Waker {
    wake: Arc<Wake>,
}

#[derive(Debug)]
struct Wake {
    event: File,
    /// Written and not yet read: spares the system call when many commands come at once.
    pending: AtomicBool,
    /// A wait has begun, or is about to.
    sleeping: AtomicBool,
}

impl Poller {
    /// One with nothing pending.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor just made, owned by no one else.
        let event = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Self {
            wake: Arc::new(Wake {
                event,
                pending: AtomicBool::new(false),
                sleeping: AtomicBool::new(false),
            }),
        })
    }

    /// A handle that wakes it.
    pub(crate) fn waker(&self) -> Waker {
        Waker {
            wake: Arc::clone(&self.wake),
        }
    }

    /// Announces a wait. From here on [`wake_sleeper`](Waker::wake_sleeper) has an effect. Data handed over before must
    /// be looked for after this call, and before [`wait`](Self::wait).
    pub(crate) fn prepare(&self) {
        self.wake.sleeping.store(true, Ordering::Relaxed);
        // Pairs with the fence in `wake_sleeper`: either that sees the flag, or the caller sees the data handed over.
        fence(Ordering::SeqCst);
    }

    /// Takes the announcement back.
    pub(crate) fn stay_awake(&self) {
        self.wake.sleeping.store(false, Ordering::Relaxed);
    }

    /// Sleeps until `socket` is readable, a waker was used or `timeout` has passed. True if the
    /// socket is readable.
    pub(crate) fn wait(
        &self,
        socket: BorrowedFd<'_>,
        timeout: Option<Duration>,
    ) -> io::Result<bool> {
        self.sleep(socket.as_raw_fd(), timeout)
    }

    /// Sleeps until a waker was used or `timeout` has passed, whatever the socket does.
    pub(crate) fn pause(&self, timeout: Duration) -> io::Result<()> {
        // The kernel leaves out descriptors below zero.
        self.sleep(-1, Some(timeout)).map(drop)
    }

    fn sleep(&self, socket: RawFd, timeout: Option<Duration>) -> io::Result<bool> {
        let interest = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut fds = [interest(socket), interest(self.wake.event.as_raw_fd())];
        let timeout = timeout.map(|timeout| libc::timespec {
            // Nothing waits for 68 years. `libc` has no name for the type that it will keep for musl.
            tv_sec: i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX).into(),
            tv_nsec: timeout.subsec_nanos() as _,
        });
        let timeout = timeout
            .as_ref()
            .map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: both descriptors are open, `fds` and what `timeout` points to outlive the call.
        let ready = unsafe {
            libc::ppoll(
                fds.as_mut_ptr(),
                fds.len() as libc::nfds_t,
                timeout,
                std::ptr::null(),
            )
        };
        self.stay_awake();
        if ready < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::Interrupted => Ok(false),
                _ => Err(error),
            };
        }
        if fds[1].revents != 0 {
            let mut count = [0; 8];
            let _ = (&self.wake.event).read(&mut count);
            // Cleared before the caller looks at its queue: a command queued after that look writes again.
            self.wake.pending.swap(false, Ordering::AcqRel);
        }
        Ok(fds[0].revents != 0)
    }
}

impl Waker {
    /// Wakes only if a wait was announced: for data that the other side looks for in every turn. While that is busy
    /// this costs no system call.
    pub(crate) fn wake_sleeper(&self) {
        fence(Ordering::SeqCst);
        if self.wake.sleeping.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    /// Ends the current wait, or the next if there is none.
    pub(crate) fn wake(&self) {
        if !self.wake.pending.swap(true, Ordering::AcqRel) {
            // Fails only if the counter is full, and then the poller is awake already.
            let _ = (&self.wake.event).write(&1u64.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_waker_ends_this_wait_or_the_next_and_only_one() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let poller = Poller::new().unwrap();
        let waker = poller.waker();
        let began = Instant::now();
        waker.wake();
        waker.wake();
        poller.wait(socket.as_fd(), Some(LONG)).unwrap();
        let thread = std::thread::spawn(move || waker.wake());
        poller.wait(socket.as_fd(), Some(LONG)).unwrap();
        thread.join().unwrap();
        assert!(began.elapsed() < LONG);

        let began = Instant::now();
        let short = Duration::from_micros(300);
        poller.wait(socket.as_fd(), Some(short)).unwrap();
        assert!(began.elapsed() >= short, "nothing was pending any more");
    }

    #[test]
    fn who_is_awake_is_not_woken() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let poller = Poller::new().unwrap();
        let waker = poller.waker();
        let short = Duration::from_millis(1);
        waker.wake_sleeper();
        let began = Instant::now();
        poller.prepare();
        poller.wait(socket.as_fd(), Some(short)).unwrap();
        assert!(began.elapsed() >= short, "it was awake");
        waker.wake_sleeper();
        poller.prepare();
        waker.wake_sleeper();
        let began = Instant::now();
        poller.wait(socket.as_fd(), Some(LONG)).unwrap();
        assert!(began.elapsed() < LONG, "it had announced its wait");
        poller.prepare();
        poller.stay_awake();
        waker.wake_sleeper();
        assert!(!poller.wake.pending.load(Ordering::Relaxed));
    }

    /// One thread hands numbers over and wakes only a sleeper, the other sleeps as soon as it has them all: neither
    /// waits for ever.
    #[test]
    fn nothing_handed_over_is_slept_through() {
        const TURNS: u64 = 20_000;
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let poller = Poller::new().unwrap();
        let (mut hand, mut take) = rtrb::RingBuffer::new(1);
        let waker = poller.waker();
        let began = Instant::now();
        let writer = std::thread::spawn(move || {
            for turn in 0..TURNS {
                while hand.push(turn).is_err() {
                    std::thread::yield_now();
                }
                waker.wake_sleeper();
            }
        });
        let mut next = 0;
        while next < TURNS {
            poller.prepare();
            if take.is_empty() {
                poller.wait(socket.as_fd(), Some(LONG)).unwrap();
            } else {
                poller.stay_awake();
            }
            while let Ok(turn) = take.pop() {
                assert_eq!(turn, next);
                next += 1;
            }
        }
        writer.join().unwrap();
        assert!(began.elapsed() < LONG);
    }

    #[test]
    fn a_datagram_ends_the_wait_and_no_pause() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        let began = Instant::now();
        let poller = Poller::new().unwrap();
        assert!(poller.wait(socket.as_fd(), Some(LONG)).unwrap());
        assert!(began.elapsed() < LONG);

        let (began, short) = (Instant::now(), Duration::from_micros(300));
        poller.pause(short).unwrap();
        assert!(began.elapsed() >= short);
    }
}
