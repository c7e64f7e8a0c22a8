//! The bots' runtime: tokio's, with UDP sockets whose buffers hold a burst and whose ports are
//! remembered, so that datagrams that the kernel drops on them are not blamed on the server.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit, UdpSockRef, UdpSocketState,
};

use super::tap::lock;

/// A second of four 720p streams is 600 KB; the kernel counts a small packet as 2 KB or more. The
/// kernel caps this at `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Keyframes of three layers leave at once; loopback is never slow for long.
const SEND_BUFFER: usize = 1 << 20;

/// Tokio, with our sockets.
#[derive(Debug)]
pub(crate) struct BotRuntime {
    inner: TokioRuntime,
    ports: Arc<Mutex<Vec<u16>>>,
}

impl BotRuntime {
    /// Every UDP port bound is added to `ports`.
    pub(crate) fn new(ports: Arc<Mutex<Vec<u16>>>) -> Self {
        Self {
            inner: TokioRuntime,
            ports,
        }
    }
}

/// A socket that has nothing to read right after DTLS.
///
/// The crate's driver reads up to 64 messages in a row and handles the results afterwards. SRTP
/// packets that follow the last DTLS flight in the same burst meet a connection whose keys are not
/// installed yet, and are dropped. A server that sends at once would be blamed for losing the
/// beginning of a stream. Ending the burst makes the driver install the keys first.
#[derive(Debug)]
struct Unhurried {
    inner: Arc<dyn AsyncUdpSocket>,
    breathe: AtomicBool,
}

/// RFC 7983: the first byte of a DTLS datagram.
const DTLS: RangeInclusive<u8> = 20..=63;

impl AsyncUdpSocket for Unhurried {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.inner.poll_send(cx, transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if self.breathe.swap(false, Ordering::Relaxed) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let received = self.inner.poll_recv(cx, buffers, meta);
        if let Poll::Ready(Ok(count)) = received {
            let dtls = |buffer: &IoSliceMut<'_>| buffer.first().is_some_and(|b| DTLS.contains(b));
            let dtls = buffers.iter().take(count).any(dtls);
            self.breathe.store(dtls, Ordering::Relaxed);
        }
        received
    }

    fn max_gso_segments(&self) -> usize {
        self.inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments()
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Runtime for BotRuntime {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        self.inner.spawn(future)
    }

    fn spawn_reactor(&self, pool: usize, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        self.inner.spawn_reactor(pool, future)
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // The kernel caps rather than refuses; a smaller buffer shows up as counted drops.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), RECEIVE_BUFFER);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), SEND_BUFFER);
        lock(&self.ports).push(socket.local_addr()?.port());
        Ok(Arc::new(Unhurried {
            inner: self.inner.wrap_udp_socket(socket)?,
            breathe: AtomicBool::new(false),
        }))
    }

    fn wrap_tcp_listener(&self, listener: TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.inner.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        address: SocketAddr,
    ) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        self.inner.connect_tcp(address)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        self.inner.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        self.inner.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.inner.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.inner.block_on(future);
    }

    fn yield_now(&self) -> Boxed<'static, ()> {
        self.inner.yield_now()
    }

    fn name(&self) -> &'static str {
        "tokio, bots' sockets"
    }
}
