//! A simulated relay's turns over a real socket, for benches: the worker's work and the runtime's,
//! as a media thread does them, but on the calling thread and when asked to.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::SimRelay;
use super::network::Datagram;
use crate::runtime::MediaSocket;
use crate::transmit::SendReport;
use crate::transport::Path;

/// A worker's socket.
#[derive(Debug)]
pub struct TurnSocket(MediaSocket);

/// The datagrams that a turn sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// Datagrams the kernel took.
    pub packets: u64,
    /// The number of messages that carried them.
    pub messages: u64,
    /// Datagrams that the kernel did not take.
    pub lost: u64,
}

impl TurnSocket {
    /// Binds a port that the kernel chooses.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn bind() -> io::Result<Self> {
        MediaSocket::bind(0).map(Self)
    }

    /// Its address, on loopback.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.0.port()))
    }
}

impl SimRelay {
    /// Runs one turn of a media thread: handles datagrams, and sends the results through a real
    /// socket.
    pub fn turn(
        &mut self,
        now: Instant,
        socket: &mut TurnSocket,
        datagrams: &mut [Datagram],
    ) -> Sent {
        let (worker, _) = self.first();
        for datagram in datagrams {
            worker.handle_datagram(now, Path::Udp(datagram.from), &mut datagram.payload);
        }
        self.flush_to(now, socket)
    }

    /// Runs the other part of a turn: does everything due, and sends the results.
    pub fn timers(&mut self, now: Instant, socket: &mut TurnSocket) -> Sent {
        let (worker, _) = self.first();
        if worker.poll_timeout(now).is_none_or(|at| at > now) {
            return Sent::default();
        }
        worker.handle_timeout(now);
        self.flush_to(now, socket)
    }

    fn flush_to(&mut self, now: Instant, socket: &mut TurnSocket) -> Sent {
        let mut sent = Sent::default();
        let (worker, transmits) = self.first();
        loop {
            let more = worker.flush(now, transmits);
            let report: SendReport = socket.0.send(transmits);
            transmits.clear();
            worker.sent(&report);
            sent.packets += report.packets;
            sent.messages += report.messages;
            sent.lost += report.dropped + report.refused;
            if !more {
                return sent;
            }
        }
    }
}
