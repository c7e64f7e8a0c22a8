//! TLS on a listener: handshakes, with their bound of time, their counts and their lines in the log.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tokio_rustls::server::TlsStream;
use tracing::info;

use super::patient::Patient;
use super::seldom::Seldom;
use crate::live::Live;
use crate::tls::Certificate;

/// Bytes that wait encrypted for a client that does not read, at most, and one record of 16 KiB beside (RFC 8446 section
/// 5.1). The kernel's buffer holds more, so that this costs no speed.
const WAITING_BYTES: usize = 16 << 10;

/// The TLS of a listener. Cheap to clone; clones share certificate and counts.
#[derive(Clone)]
pub(crate) struct Tls(Arc<Shared>);

struct Shared {
    certificate: Live<Certificate>,
    done: AtomicU64,
    /// In the order of [`Failure::ALL`].
    failed: [AtomicU64; Failure::ALL.len()],
    seldom: Seldom,
}

/// Counts of handshakes since the process began, for `/stats`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub(crate) struct Handshakes {
    done: u64,
    failed: BTreeMap<&'static str, u64>,
}

/// A connection that may ask.
pub(super) enum Opened {
    /// Over TLS.
    Secure(Box<TlsStream<Patient<TcpStream>>>),
    /// Plain HTTP, which has its answer, too: where to ask.
    Plain(Patient<TcpStream>),
}

/// The reason that a handshake failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// It took too long.
    Stalled,
    /// The client closed the connection.
    Closed,
    /// The client ended it by an alert (RFC 8446 section 6), as browsers do that do not know the certificate.
    Refused,
    /// The client has no version, cipher suite or protocol of the server.
    Unsuitable,
    /// The client sent something other than TLS.
    Malformed,
    /// The client sent a request of plain HTTP. It is told where to ask.
    PlainHttp,
}

impl Failure {
    pub(crate) const ALL: [Self; 6] = [
        Self::Stalled,
        Self::Closed,
        Self::Refused,
        Self::Unsuitable,
        Self::Malformed,
        Self::PlainHttp,
    ];

    /// Its name in `/stats` and in the log.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Stalled => "stalled",
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::Unsuitable => "unsuitable",
            Self::Malformed => "malformed",
            Self::PlainHttp => "plain_http",
        }
    }

    fn of(error: &io::Error) -> Self {
        use rustls::Error;
        let cause = error.get_ref();
        match cause.and_then(|cause| cause.downcast_ref::<Error>()) {
            Some(Error::AlertReceived(_)) => Self::Refused,
            Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => Self::Unsuitable,
            Some(_) => Self::Malformed,
            None if error.kind() == io::ErrorKind::TimedOut => Self::Stalled,
            None => Self::Closed,
        }
    }
}

impl Tls {
    pub(crate) fn new(certificate: Certificate) -> Self {
        Self(Arc::new(Shared {
            certificate: Live::new(certificate),
            done: AtomicU64::new(0),
            failed: Default::default(),
            seldom: Seldom::default(),
        }))
    }

    /// Further connections get another certificate.
    pub(crate) fn replace(&self, certificate: Certificate) {
        self.0.certificate.set(certificate);
    }

    pub(crate) fn certificate(&self) -> Certificate {
        self.0.certificate.get()
    }

    pub(crate) fn handshakes(&self) -> Handshakes {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let codes = Failure::ALL.map(Failure::code).into_iter();
        Handshakes {
            done: count(&self.0.done),
            failed: codes.zip(self.0.failed.iter().map(count)).collect(),
        }
    }

    /// Begins a connection. `is_plain`: the client asks in the clear. The whole handshake may take until `until`, and writes in
    /// it `patience`. A failure is counted, and none of its connection is left.
    pub(super) async fn open(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        is_plain: bool,
        until: Instant,
        patience: Duration,
    ) -> Option<Opened> {
        let stream = Patient::new(stream, patience);
        let opened = match is_plain {
            true => Ok(Ok(Opened::Plain(stream))),
            false => timeout_at(until, self.handshake(stream)).await,
        };
        let (failure, opened) = match opened {
            Ok(Ok(opened @ Opened::Secure(_))) => {
                self.0.done.fetch_add(1, Ordering::Relaxed);
                return Some(opened);
            }
            Ok(Ok(opened @ Opened::Plain(_))) => (Failure::PlainHttp, Some(opened)),
            Ok(Err(error)) => (Failure::of(&error), None),
            Err(_elapsed) => (Failure::Stalled, None),
        };
        self.0.failed[failure as usize].fetch_add(1, Ordering::Relaxed);
        if let Some(passed_over) = self.0.seldom.admit() {
            let code = failure.code();
            info!(%address, code, passed_over, "a TLS handshake failed");
        }
        opened
    }

    async fn handshake(&self, stream: Patient<TcpStream>) -> io::Result<Opened> {
        let acceptor = TlsAcceptor::from(self.certificate().server());
        let limit = |session: &mut rustls::ServerConnection| {
            session.set_buffer_limit(Some(WAITING_BYTES));
        };
        let stream = acceptor.accept_with(stream, limit).await?;
        Ok(Opened::Secure(Box::new(stream)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_place_and_code() {
        for (at, failure) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, at);
        }
        let codes: std::collections::BTreeSet<_> = Failure::ALL.map(Failure::code).into();
        assert_eq!(codes.len(), Failure::ALL.len());
    }

    #[test]
    fn the_error_of_a_handshake_tells_its_failure() {
        use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible};
        let tls = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        for (error, expected) in [
            (
                tls(Error::AlertReceived(AlertDescription::UnknownCA)),
                Failure::Refused,
            ),
            (
                tls(Error::PeerIncompatible(
                    PeerIncompatible::NoCipherSuitesInCommon,
                )),
                Failure::Unsuitable,
            ),
            (tls(Error::NoApplicationProtocol), Failure::Unsuitable),
            (
                tls(InvalidMessage::InvalidContentType.into()),
                Failure::Malformed,
            ),
            (io::ErrorKind::UnexpectedEof.into(), Failure::Closed),
            (io::ErrorKind::ConnectionReset.into(), Failure::Closed),
            (io::ErrorKind::TimedOut.into(), Failure::Stalled),
        ] {
            assert_eq!(Failure::of(&error), expected, "{error}");
        }
    }
}
