//! The system calls of an I/O thread: batched UDP with kernel timestamps, epoll, an event
//! descriptor and the clock.

#![allow(unsafe_code)]

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, epoll, eventfd};

use super::outbox::{Cursor, Outbox};

/// A client's socket. It is connected when one of the server's candidates has answered.
#[derive(Debug)]
pub(super) struct Socket {
    udp: UdpSocket,
    segments: bool,
}

/// Messages of one receiving call. Each may hold dozens of coalesced datagrams.
const MESSAGES: usize = 16;
/// A coalesced message is at most an IP packet.
const MESSAGE_BYTES: usize = 65_536;
/// Buffers are not a power of two apart, or the headers of all of them would compete for the same
/// few cache lines.
const STRIDE: usize = MESSAGE_BYTES + 4_096 + 128;
/// Asked of the kernel, which may grant no more than `net.core.rmem_max`: a viewer of 1,000 packets a
/// second outlasts a stall of the thread of a second.
const BUFFER_BYTES: libc::c_int = 4 << 20;

impl Socket {
    /// Binds a port of the kernel's choice.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let udp = UdpSocket::bind(address)?;
        udp.set_nonblocking(true)?;
        let fd = udp.as_raw_fd();
        for (forced, plain) in [
            (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
            (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
        ] {
            // Over the limit, which takes CAP_NET_ADMIN; else up to it.
            set_option(fd, libc::SOL_SOCKET, forced, BUFFER_BYTES)
                .or_else(|_| set_option(fd, libc::SOL_SOCKET, plain, BUFFER_BYTES))?;
        }
        set_option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        set_option(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
        // Absent from old kernels: slower there, and nothing else.
        let segments = set_option(fd, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        Ok(Self { udp, segments })
    }

    /// Restricts the socket to one address from now on.
    pub(super) fn connect(&self, to: SocketAddr) -> io::Result<()> {
        // Old kernels lack it, as they lack segments.
        let _ = set_option(self.fd(), libc::SOL_UDP, libc::UDP_GRO, 1);
        self.udp.connect(to)
    }

    /// Sends a datagram, before it is connected.
    pub(super) fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        self.udp.send_to(datagram, to).map(drop)
    }

    /// Receives a datagram and where it is from, before it is connected.
    pub(super) fn receive_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.udp.recv_from(buffer)
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }

    /// Sends datagrams, runs of equal ones (the last may be shorter) as one message. Returns the number of messages
    /// that the kernel did not take: without room they are lost, as on a network.
    pub(super) fn send(&self, datagrams: &Outbox) -> u64 {
        let mut refused = 0;
        let mut at = Cursor::default();
        while let Some((bytes, segment)) = datagrams.run(&mut at, self.segments) {
            refused += u64::from(self.send_run(bytes, segment).is_err());
        }
        refused
    }

    fn send_run(&self, bytes: &[u8], segment: usize) -> io::Result<()> {
        if segment >= bytes.len() {
            return self.udp.send(bytes).map(drop);
        }
        let mut iovec = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let mut control = Control::default();
        // SAFETY: msghdr is integers and pointers, for which all zeroes is a value.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut iovec;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut control).cast();
        // SAFETY: arithmetic on its argument.
        header.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<u16>() as _) } as _;
        // SAFETY: the control buffer is aligned and holds at least one message header and a u16.
        unsafe {
            let message = libc::CMSG_FIRSTHDR(&raw const header);
            (*message).cmsg_level = libc::SOL_UDP;
            (*message).cmsg_type = libc::UDP_SEGMENT;
            (*message).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as _) as _;
            libc::CMSG_DATA(message)
                .cast::<u16>()
                .write_unaligned(segment as u16);
        }
        // SAFETY: every pointer is to a buffer of the length beside it that outlives the call; the
        // kernel only reads what `iovec` points at.
        let sent = unsafe { libc::sendmsg(self.fd(), &raw const header, libc::MSG_DONTWAIT) };
        match sent {
            0.. => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn fd(&self) -> RawFd {
        self.udp.as_raw_fd()
    }
}

/// The datagrams of one message.
#[derive(Debug)]
pub(super) struct Arrived<'a> {
    /// One or more datagrams.
    pub(super) bytes: &'a mut [u8],
    /// The size of each; the last may be shorter.
    pub(super) segment: usize,
    /// The time at which it reached the socket, since the Unix epoch; zero if the kernel does not say.
    pub(super) at: Duration,
    /// Datagrams this socket has dropped so far for want of room, if the kernel says.
    pub(super) dropped: Option<u32>,
}

/// Buffers to receive into, one set for all sockets of a thread.
#[derive(Debug)]
pub(super) struct Receiver {
    buffers: Box<[u8]>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self {
            buffers: vec![0; MESSAGES * STRIDE].into_boxed_slice(),
        }
    }

    /// Receives one batch. True if there may be more.
    pub(super) fn receive(
        &mut self,
        socket: &Socket,
        mut deliver: impl FnMut(Arrived<'_>),
    ) -> io::Result<bool> {
        let mut controls = [Control::default(); MESSAGES];
        // SAFETY: iovec and mmsghdr are integers and pointers, for which all zeroes is a value.
        let mut iovecs: [libc::iovec; MESSAGES] = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; MESSAGES] = unsafe { std::mem::zeroed() };
        for (i, (message, buffer)) in messages
            .iter_mut()
            .zip(self.buffers.chunks_exact_mut(STRIDE))
            .enumerate()
        {
            iovecs[i] = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: MESSAGE_BYTES,
            };
            message.msg_hdr.msg_iov = &raw mut iovecs[i];
            message.msg_hdr.msg_iovlen = 1;
            message.msg_hdr.msg_control = (&raw mut controls[i]).cast();
            message.msg_hdr.msg_controllen = size_of::<Control>() as _;
        }
        // SAFETY: every pointer of `messages` is to a buffer of the length beside it, exclusively
        // borrowed here, and outlives the call; the timeout may be null.
        let received = unsafe {
            libc::recvmmsg(
                socket.fd(),
                messages.as_mut_ptr(),
                MESSAGES as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let Ok(received) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(false),
                _ => Err(error),
            };
        };
        for (message, buffer) in messages[..received]
            .iter()
            .zip(self.buffers.chunks_exact_mut(STRIDE))
        {
            let len = (message.msg_len as usize).min(MESSAGE_BYTES);
            let mut arrived = Arrived {
                bytes: &mut buffer[..len],
                segment: len.max(1),
                at: Duration::ZERO,
                dropped: None,
            };
            read_controls(&message.msg_hdr, &mut arrived);
            if len > 0 {
                deliver(arrived);
            }
        }
        Ok(received == MESSAGES)
    }
}

/// Room for a segment size, a timestamp and a drop count, aligned as a `cmsghdr`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 96]);

impl Default for Control {
    fn default() -> Self {
        Self([0; 96])
    }
}

const _: () = assert!(align_of::<Control>() >= align_of::<libc::cmsghdr>());
// SAFETY: arithmetic on its argument.
const _: () = assert!(
    unsafe {
        2 * libc::CMSG_SPACE(size_of::<libc::c_int>() as _)
            + libc::CMSG_SPACE(size_of::<libc::timespec>() as _)
    } <= size_of::<Control>() as _
);

fn read_controls(header: &libc::msghdr, arrived: &mut Arrived<'_>) {
    // SAFETY: the kernel wrote msg_controllen bytes of control messages into an aligned buffer that
    // is still alive; the macros walk it within that length.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: `at` is null or a whole control message.
    while let Some(control) = unsafe { at.as_ref() } {
        // SAFETY: each kind carries the type it is read as, perhaps unaligned.
        unsafe {
            let data = libc::CMSG_DATA(at);
            match (control.cmsg_level, control.cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let segment = data.cast::<libc::c_int>().read_unaligned();
                    arrived.segment = usize::try_from(segment).unwrap_or(0).max(1);
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let time = data.cast::<libc::timespec>().read_unaligned();
                    arrived.at = duration(time.tv_sec, time.tv_nsec);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    arrived.dropped = Some(data.cast::<u32>().read_unaligned());
                }
                _ => {}
            }
        }
        // SAFETY: as for CMSG_FIRSTHDR.
        at = unsafe { libc::CMSG_NXTHDR(header, at) };
    }
}

/// The sources that wake a thread up: its sockets, and [`Waker`].
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// Events taken from the kernel at a time.
const EVENTS: usize = 256;

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS],
        })
    }

    /// Waits for `socket` too, and calls it `name`. A closed socket leaves by itself.
    pub(super) fn add(&self, socket: &Socket, name: u64) -> io::Result<()> {
        let name = epoll::EventData::new_u64(name);
        Ok(epoll::add(
            &self.epoll,
            &socket.udp,
            name,
            epoll::EventFlags::IN,
        )?)
    }

    pub(super) fn add_waker(&self, waker: &Waker, name: u64) -> io::Result<()> {
        let name = epoll::EventData::new_u64(name);
        Ok(epoll::add(
            &self.epoll,
            &waker.fd,
            name,
            epoll::EventFlags::IN,
        )?)
    }

    /// Waits at most `timeout`, to the nanosecond: with milliseconds a pacer would be late. Returns the names of the
    /// ready sockets.
    pub(super) fn wait(&mut self, timeout: Duration) -> io::Result<impl Iterator<Item = u64>> {
        let timeout = libc::timespec {
            tv_sec: timeout.as_secs().min(3_600) as _,
            tv_nsec: timeout.subsec_nanos() as _,
        };
        // SAFETY: the buffer has room for EVENTS events; no signal mask is given.
        let ready = unsafe {
            libc::epoll_pwait2(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS as libc::c_int,
                &raw const timeout,
                std::ptr::null(),
            )
        };
        let ready = match usize::try_from(ready) {
            Ok(ready) => ready,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => 0,
                error => return Err(error),
            },
        };
        Ok(self.events[..ready].iter().map(|event| event.u64))
    }
}

/// Wakes a [`Poller`] from another thread.
#[derive(Debug)]
pub(super) struct Waker {
    fd: OwnedFd,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fd })
    }

    pub(super) fn wake(&self) {
        // It fails only if the count is at its limit, and then the thread is woken anyway.
        let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
    }

    /// Forgets being woken.
    pub(super) fn reset(&self) {
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
    }
}

/// The clock of the kernel's receive timestamps, since the Unix epoch.
pub(super) fn wall_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    duration(now.tv_sec, now.tv_nsec)
}

fn duration(seconds: i64, nanoseconds: i64) -> Duration {
    let nanoseconds = u32::try_from(nanoseconds).unwrap_or(0);
    Duration::new(u64::try_from(seconds).unwrap_or(0), nanoseconds)
}

fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` outlives the call and `len` is its size.
    checked(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), len) })
}

fn checked(result: i32) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests;
