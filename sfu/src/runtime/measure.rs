//! For benches: sockets used as directly as the kernel allows, and the cost of a thread and of its allocations.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::MediaSocket;
use super::address::{self, Family, RawAddr};
use super::system::thread_cpu;

/// CPU time of this thread and time on the wall, spent between starting and stopping.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    cpu: Duration,
    wall: Instant,
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: thread_cpu(),
        }
    }

    /// Time since the start: CPU time, and wall-clock time.
    pub fn stop(self) -> (Duration, Duration) {
        let cpu = thread_cpu().saturating_sub(self.cpu);
        (cpu, self.wall.elapsed())
    }
}

/// The system's allocator, counting.
#[derive(Debug)]
pub struct CountingAllocator;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// Bytes held. The value wraps below zero for a moment when one thread frees memory that another has yet to count.
static HELD: AtomicU64 = AtomicU64::new(0);

impl CountingAllocator {
    /// Allocations and reallocations of the whole process so far.
    pub fn allocations() -> u64 {
        ALLOCATIONS.load(Ordering::Relaxed)
    }

    /// Bytes the whole process has allocated and not freed.
    pub fn held() -> u64 {
        HELD.load(Ordering::Relaxed)
    }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        HELD.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        HELD.fetch_add(size as u64, Ordering::Relaxed);
        HELD.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// A receiver: a bound socket with `UDP_GRO`, whose queue is emptied when the sender is done.
#[derive(Debug)]
pub struct Sink {
    socket: UdpSocket,
    addr: SocketAddr,
}

/// Receive buffer asked for each receiver: between two drains well under a megabyte waits in one.
const SINK_BYTES: libc::c_int = 2 << 20;

/// Bytes of a datagram that [`Sink::read`] copies: a STUN check has about a hundred, and to copy media would drive what is
/// measured out of the processor's cache.
const SHORT_BYTES: usize = 512;

impl Sink {
    /// Binds on loopback.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn bind() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let set =
            |level, name, value| super::socket::set_option(socket.as_fd(), level, name, value);
        set(libc::SOL_UDP, libc::UDP_GRO, 1)?;
        set(libc::SOL_SOCKET, libc::SO_RCVBUF, SINK_BYTES)?;
        let addr = socket.local_addr()?;
        Ok(Self { socket, addr })
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Empties its queue, and hands over the datagrams of less than 512 bytes.
    pub fn read(&self, mut each: impl FnMut(&[u8])) {
        let mut start = [0; SHORT_BYTES];
        while let Ok(len) = self.socket.recv(&mut start) {
            if len < start.len() {
                each(&start[..len]);
            }
        }
    }

    /// Empties its queue, and returns the number of bytes that were in it.
    pub fn drain(&self) -> u64 {
        let mut bytes = 0;
        loop {
            // SAFETY: no buffer is given, and of length 0; MSG_TRUNC asks for the length all the same.
            let received = unsafe {
                libc::recv(
                    self.socket.as_raw_fd(),
                    std::ptr::null_mut(),
                    0,
                    libc::MSG_DONTWAIT | libc::MSG_TRUNC,
                )
            };
            match u64::try_from(received) {
                Ok(received) => bytes += received,
                Err(_) => return bytes,
            }
        }
    }
}

/// Sends data that is laid out in memory already, and does nothing else.
#[derive(Debug)]
pub(crate) struct Direct {
    socket: MediaSocket,
    headers: Vec<libc::mmsghdr>,
    iovecs: Vec<libc::iovec>,
    names: Vec<(RawAddr, libc::socklen_t)>,
    controls: Vec<Segment>,
}

/// One control message: the length to cut at.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
struct Segment([u8; 24]);

// SAFETY: arithmetic on its argument.
const _: () =
    assert!(unsafe { libc::CMSG_SPACE(size_of::<u16>() as _) } as usize == size_of::<Segment>());

impl Segment {
    fn new(len: u16) -> Self {
        let mut segment = Self([0; 24]);
        let control = segment.0.as_mut_ptr().cast::<libc::cmsghdr>();
        // SAFETY: `segment` is aligned as a header and has room for one with a u16 (asserted above).
        unsafe {
            (*control).cmsg_level = libc::SOL_UDP;
            (*control).cmsg_type = libc::UDP_SEGMENT;
            (*control).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as _) as _;
            libc::CMSG_DATA(control).cast::<u16>().write_unaligned(len);
        }
        segment
    }
}

impl Direct {
    /// A socket like a worker's.
    pub(crate) fn bind() -> io::Result<Self> {
        Ok(Self {
            socket: MediaSocket::bind(0)?,
            headers: Vec::new(),
            iovecs: Vec::new(),
            names: Vec::new(),
            controls: Vec::new(),
        })
    }

    /// One datagram, by `sendto`.
    pub(crate) fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        let (name, len) = encode(to)?;
        // SAFETY: the buffer and the name are of the lengths beside them and outlive the call.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_fd().as_raw_fd(),
                datagram.as_ptr().cast(),
                datagram.len(),
                libc::MSG_DONTWAIT,
                (&raw const name).cast(),
                len,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Sends one message of `message_len` bytes to each of `to`, by one `sendmmsg`. The messages stand one behind the
    /// other in `messages`. The kernel cuts them into datagrams of `segment` bytes where that is shorter.
    pub(crate) fn send_all(
        &mut self,
        messages: &[u8],
        message_len: usize,
        segment: u16,
        to: &[SocketAddr],
    ) -> io::Result<()> {
        self.headers.clear();
        self.iovecs.clear();
        self.names.clear();
        self.controls.clear();
        let count = messages.len() / message_len.max(1);
        for to in to.iter().take(count) {
            self.names.push(encode(*to)?);
            self.controls.push(Segment::new(segment));
        }
        for message in messages.chunks_exact(message_len).take(to.len()) {
            self.iovecs.push(libc::iovec {
                iov_base: message.as_ptr().cast_mut().cast(),
                iov_len: message.len(),
            });
        }
        // Pointers only now: the vectors do not grow any more.
        for at in 0..self.iovecs.len() {
            // SAFETY: mmsghdr is integers and pointers, for which all zeroes is a value.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            let header = &mut message.msg_hdr;
            header.msg_name = (&raw mut self.names[at].0).cast();
            header.msg_namelen = self.names[at].1;
            header.msg_iov = &raw mut self.iovecs[at];
            header.msg_iovlen = 1;
            if message_len > usize::from(segment) {
                header.msg_control = (&raw mut self.controls[at]).cast();
                header.msg_controllen = size_of::<Segment>() as _;
            }
            self.headers.push(message);
        }
        let mut done = 0;
        while done < self.headers.len() {
            // SAFETY: the headers point at names, controls and buffers that outlive the call.
            let sent = unsafe {
                libc::sendmmsg(
                    self.socket.as_fd().as_raw_fd(),
                    self.headers[done..].as_mut_ptr(),
                    (self.headers.len() - done) as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                )
            };
            match usize::try_from(sent) {
                Ok(sent @ 1..) => done += sent,
                _ => return Err(io::Error::last_os_error()),
            }
        }
        Ok(())
    }
}

fn encode(to: SocketAddr) -> io::Result<(RawAddr, libc::socklen_t)> {
    address::encode(Family::Dual, to).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
