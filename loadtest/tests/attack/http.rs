//! Connections and requests below any library of ours, from an address of the attacker's choice.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// For a machine busy with an attack.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An answer, as far as it is looked at.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Asks from 127.0.0.1, and waits until the server has closed.
pub(crate) async fn get(server: SocketAddr, path: &str) -> io::Result<Answer> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    ask(Ipv4Addr::LOCALHOST, server, &request).await
}

/// Sends `request` and reads until the server has closed.
pub(crate) async fn ask(from: Ipv4Addr, server: SocketAddr, request: &str) -> io::Result<Answer> {
    let asking = async {
        let mut stream = connect(from, server, |_| {}).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok(Answer {
            status: status.unwrap_or_default(),
            body: body.to_owned(),
        })
    };
    timeout(PATIENCE, asking).await?
}

/// A connection from `from`, whose socket `change` prepares.
pub(crate) async fn connect(
    from: Ipv4Addr,
    server: SocketAddr,
    change: impl FnOnce(&TcpSocket),
) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    change(&socket);
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(server).await
}
