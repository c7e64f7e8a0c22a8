//! The system calls of an I/O thread: UDP in batches with the kernel's timestamps, epoll, an event descriptor.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::net::sockopt;

use super::outbox::{Cursor, Outbox};

/// A client's socket. It is connected when one of the server's candidates has answered.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) udp: UdpSocket,
    state: UdpSocketState,
    /// The address that it is connected to.
    to: Option<SocketAddr>,
    /// A message was refused, and that was logged.
    refused: AtomicBool,
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
const BUFFER_BYTES: usize = 4 << 20;

impl Socket {
    /// Binds a port of the kernel's choice.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let udp = UdpSocket::bind(address)?;
        // Over the limit, which takes CAP_NET_ADMIN; else up to it.
        sockopt::set_socket_recv_buffer_size_force(&udp, BUFFER_BYTES)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&udp, BUFFER_BYTES))?;
        sockopt::set_socket_send_buffer_size_force(&udp, BUFFER_BYTES)
            .or_else(|_| sockopt::set_socket_send_buffer_size(&udp, BUFFER_BYTES))?;
        Ok(Self {
            state: UdpSocketState::new((&udp).into())?,
            udp,
            to: None,
            refused: AtomicBool::new(false),
        })
    }

    /// Restricts the socket to one address from now on.
    pub(super) fn connect(&mut self, to: SocketAddr) -> io::Result<()> {
        self.to = Some(to);
        self.udp.connect(to)
    }

    /// Sends datagrams, runs of equal ones (the last may be shorter) as one message. Messages that the kernel does not
    /// take are lost, as on a network. Before the socket is connected, all are. The first that is refused for another
    /// reason than a full buffer is logged, since it is this program's fault and no server's.
    pub(super) fn send(&self, datagrams: &Outbox) {
        let Some(destination) = self.to else { return };
        let mut at = Cursor::default();
        while let Some((contents, segment)) = datagrams.run(&mut at, self.state.max_gso_segments())
        {
            let transmit = Transmit {
                destination,
                ecn: None,
                contents,
                segment_size: Some(segment),
                src_ip: None,
            };
            if let Err(error) = self.state.try_send((&self.udp).into(), &transmit)
                && error.kind() != io::ErrorKind::WouldBlock
                && !self.refused.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(%error, bytes = contents.len(), "the kernel refuses to send");
            }
        }
    }
}

/// Buffers to receive into, one set for all sockets of a thread.
#[derive(Debug)]
pub(super) struct Receiver {
    buffers: Box<[[u8; STRIDE]; MESSAGES]>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self {
            buffers: vec![[0; STRIDE]; MESSAGES]
                .try_into()
                .expect("as many as asked for"),
        }
    }

    /// Receives one batch. Each message holds one or more datagrams, and its facts say of which size.
    pub(super) fn receive(
        &mut self,
        socket: &Socket,
        mut deliver: impl FnMut(&RecvMeta, &mut [u8]),
    ) -> io::Result<()> {
        let mut metas = [RecvMeta::default(); MESSAGES];
        let buffers = self.buffers.each_mut();
        let mut slices = buffers.map(|buffer| IoSliceMut::new(&mut buffer[..MESSAGE_BYTES]));
        let received = match socket
            .state
            .recv((&socket.udp).into(), &mut slices, &mut metas)
        {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            received => received?,
        };
        for (meta, buffer) in metas[..received].iter().zip(self.buffers.iter_mut()) {
            // An empty datagram has no size to cut by, and nothing to say.
            if meta.stride > 0 {
                deliver(meta, &mut buffer[..meta.len]);
            }
        }
        Ok(())
    }
}

/// The sources that wake a thread up: its sockets, and [`Waker`].
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
}

/// Events that [`Poller::wait`] fills. They stay in the thread that made them: an event of the kernel may hold a pointer.
pub(super) struct Events(Vec<epoll::Event>);

/// Events taken from the kernel at a time.
const EVENTS: usize = 256;

impl Default for Events {
    fn default() -> Self {
        Self(Vec::with_capacity(EVENTS))
    }
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        })
    }

    /// Waits for `source` too, and calls it `name`. A closed socket leaves by itself.
    pub(super) fn add(&self, source: impl AsFd, name: u64) -> io::Result<()> {
        let name = epoll::EventData::new_u64(name);
        let added = epoll::add(&self.epoll, source, name, epoll::EventFlags::IN);
        Ok(added?)
    }

    /// Waits at most `timeout`, to the nanosecond: with milliseconds a pacer would be late. Returns the names of the
    /// ready sockets.
    pub(super) fn wait(
        &self,
        events: &mut Events,
        timeout: Duration,
    ) -> io::Result<impl Iterator<Item = u64>> {
        let timeout = Timespec {
            tv_sec: timeout.as_secs().min(3_600) as _,
            tv_nsec: timeout.subsec_nanos() as _,
        };
        events.0.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events.0), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(events.0.iter().map(|event| event.data.u64()))
    }
}

/// Wakes a [`Poller`] from another thread.
#[derive(Debug)]
pub(super) struct Waker {
    pub(super) fd: OwnedFd,
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

#[cfg(test)]
mod tests;
