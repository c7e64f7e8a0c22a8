//! Connections to the server that is checked, over TLS or not.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::rustls::pki_types::ServerName;

use super::reach;
use super::target::Target;
use super::tls::{Tls, Unshaken};

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) type Boxed = Box<dyn Stream>;

/// The way to a server.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) target: Target,
    /// The address that took a connection.
    pub(super) to: SocketAddr,
    /// None: plain HTTP.
    pub(super) tls: Option<Tls>,
}

impl Way {
    /// None if nothing takes the connection in time.
    pub(super) async fn open(&self, within: Duration) -> Option<Boxed> {
        let opening = async {
            let tcp = reach::connect(self.to, within).await.ok()?;
            match &self.tls {
                None => Some(Box::new(tcp) as Boxed),
                Some(tls) => handshake(tls, &self.target, tcp)
                    .await
                    .ok()
                    .map(|(stream, _)| stream),
            }
        };
        timeout(within, opening).await.ok().flatten()
    }
}

/// The stream, and the version of TLS.
pub(super) async fn handshake(
    tls: &Tls,
    target: &Target,
    tcp: TcpStream,
) -> Result<(Boxed, &'static str), Unshaken> {
    let name = ServerName::try_from(target.host().to_owned());
    let name = name.map_err(|error| Unshaken::Refused(error.to_string()))?;
    let shaken = tls.connector().connect(name, tcp).await;
    let stream = shaken.map_err(|error| Unshaken::of(&error))?;
    let version = match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        _ => "TLS 1.2",
    };
    Ok((Box::new(stream), version))
}
