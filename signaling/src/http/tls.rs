//! TLS on a listener: handshakes, with their bound of time, their counts and their lines in the log.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;
use tracing::info;

use super::patient::Patient;
use super::seldom::Seldom;
use crate::live::Live;
use crate::tls::Certificate;
use crate::tls::acme::{Acme, LOOK};

/// Bytes that wait encrypted for a client that does not read, at most, and one record of 16 KiB beside (RFC 8446 section
/// 5.1). The kernel's buffer holds more, so that this costs no speed.
const WAITING_BYTES: usize = 16 << 10;

/// The TLS of a listener. Cheap to clone; clones share certificate and counts.
#[derive(Clone)]
pub(crate) struct Tls(Arc<Shared>);

struct Shared {
    /// None: there is none yet.
    certificate: Live<Option<Certificate>>,
    /// Where certificates are ordered: it has the one in use, and those that the authority looks for.
    ordered: Option<Arc<ServerConfig>>,
    orders: Mutex<Orders>,
    done: AtomicU64,
    /// In the order of [`Failure::ALL`].
    failed: [AtomicU64; Failure::ALL.len()],
    seldom: Seldom,
}

/// The task that orders certificates.
enum Orders {
    /// There is nothing to order.
    None,
    /// It begins with the listener, which the authority connects to.
    Waiting(Box<Acme>),
    Running(AbortHandle),
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
    /// There is no certificate yet, or none that an authority would look for.
    NoCertificate,
    /// The client sent something other than TLS.
    Malformed,
    /// The client sent a request of plain HTTP. It is told where to ask.
    PlainHttp,
}

impl Failure {
    pub(crate) const ALL: [Self; 7] = [
        Self::Stalled,
        Self::Closed,
        Self::Refused,
        Self::Unsuitable,
        Self::NoCertificate,
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
            Self::NoCertificate => "no_certificate",
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
            // The word of rustls for a choice of no certificate.
            Some(Error::General(_)) => Self::NoCertificate,
            Some(_) => Self::Malformed,
            None if error.kind() == io::ErrorKind::TimedOut => Self::Stalled,
            None => Self::Closed,
        }
    }
}

impl Tls {
    /// With this certificate.
    pub(crate) fn new(certificate: Certificate) -> Self {
        Self::of(Live::new(Some(certificate)), None, Orders::None)
    }

    /// With certificates that are ordered from an authority.
    pub(crate) fn ordering(acme: Acme) -> Self {
        let (certificate, server) = (acme.certificate(), acme.server());
        Self::of(certificate, Some(server), Orders::Waiting(Box::new(acme)))
    }

    fn of(
        certificate: Live<Option<Certificate>>,
        ordered: Option<Arc<ServerConfig>>,
        orders: Orders,
    ) -> Self {
        Self(Arc::new(Shared {
            certificate,
            ordered,
            orders: Mutex::new(orders),
            done: AtomicU64::new(0),
            failed: Default::default(),
            seldom: Seldom::default(),
        }))
    }

    /// Further connections get another certificate.
    pub(crate) fn replace(&self, certificate: Certificate) {
        self.0.certificate.set(Some(certificate));
    }

    /// The certificate in use; none before the first is issued.
    pub(crate) fn certificate(&self) -> Option<Certificate> {
        self.0.certificate.get()
    }

    /// Orders certificates from now on, if they are ordered: a listener accepts connections.
    pub(super) fn begin(&self) {
        let mut orders = self.0.orders();
        *orders = match std::mem::replace(&mut *orders, Orders::None) {
            Orders::Waiting(acme) => {
                let task = tokio::spawn(async move { match acme.run().await {} });
                Orders::Running(task.abort_handle())
            }
            begun => begun,
        };
    }

    /// Orders nothing any more.
    pub(crate) fn end(&self) {
        self.0.end();
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
            Ok(Ok(Opened::Secure(mut stream))) => {
                self.0.done.fetch_add(1, Ordering::Relaxed);
                if stream.get_ref().1.alpn_protocol() == Some(LOOK) {
                    // The authority has seen what it looked for (RFC 8737 section 3), and waits for nothing more.
                    let _ = timeout_at(until, stream.shutdown()).await;
                    return None;
                }
                return Some(Opened::Secure(stream));
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
        let ordered = self.0.ordered.clone();
        let server = ordered.or_else(|| Some(self.certificate()?.server()));
        let server = server.ok_or_else(|| io::Error::other("no certificate"))?;
        let acceptor = TlsAcceptor::from(server);
        let limit = |session: &mut rustls::ServerConnection| {
            session.set_buffer_limit(Some(WAITING_BYTES));
        };
        let stream = acceptor.accept_with(stream, limit).await?;
        Ok(Opened::Secure(Box::new(stream)))
    }
}

impl Shared {
    fn orders(&self) -> std::sync::MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        if let Orders::Running(task) = std::mem::replace(&mut *self.orders(), Orders::None) {
            task.abort();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.end();
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
            (tls(Error::General("none".into())), Failure::NoCertificate),
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
