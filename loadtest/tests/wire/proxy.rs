//! An impaired network: a WebSocket proxy that puts its own address into the server's answers, and
//! a UDP proxy there that loses and delays media.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

/// The treatment of media on its way, both ways. The handshakes pass.
#[derive(Clone, Copy, Default)]
pub(crate) struct Impairment {
    /// Every so many packets; 0 is never.
    pub(crate) lose_one_in: u64,
    /// Delay of the server's packets.
    pub(crate) delay: Duration,
}

/// Starts a proxy in front of the server at `url` and returns its address.
pub(crate) async fn start(url: &str, impairment: Impairment) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = format!("http://{}", listener.local_addr().unwrap());
    let there = format!("{}/v1/ws", url.replace("http://", "ws://"));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(signaling(client, there.clone(), impairment));
        }
    });
    here
}

async fn signaling(client: tokio::net::TcpStream, there: String, impairment: Impairment) {
    let mut client = tokio_tungstenite::accept_async(client).await.unwrap();
    let (mut server, _) = tokio_tungstenite::connect_async(there).await.unwrap();
    let mut media = None;
    loop {
        tokio::select! {
            message = client.next() => {
                let Some(Ok(message)) = message else { return };
                if server.send(message).await.is_err() { return }
            }
            message = server.next() => {
                let Some(Ok(mut message)) = message else { return };
                if let Message::Text(text) = &message
                    && let Some(port) = announced_port(text)
                {
                    if media.is_none() {
                        let server: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
                        media = Some(relay(server, impairment).await);
                    }
                    let (theirs, ours) = (candidate(port), candidate(media.unwrap_or_default()));
                    message = Message::text(text.replace(&theirs, &ours));
                }
                if client.send(message).await.is_err() { return }
            }
        }
    }
}

/// The port of an answer's loopback candidate, which each of its m-lines repeats.
fn announced_port(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once(" 127.0.0.1 ")?;
    let (port, _) = rest.split_once(" typ host")?;
    port.parse().ok()
}

/// Address, port and type of a candidate.
fn candidate(port: u16) -> String {
    format!(" 127.0.0.1 {port} typ host")
}

/// Relays datagrams to `server` and back; the port to send to.
async fn relay(server: SocketAddr, impairment: Impairment) -> u16 {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let port = front.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut loss = Loss::new(impairment.lose_one_in);
        let mut buffer = vec![0; 65_536];
        while let Ok((len, from)) = front.recv_from(&mut buffer).await {
            let known = clients.get(&from).cloned();
            let back = match known {
                Some(back) => back,
                None => {
                    let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                    back.connect(server).await.unwrap();
                    tokio::spawn(downstream(
                        Arc::clone(&front),
                        Arc::clone(&back),
                        from,
                        impairment,
                    ));
                    clients.insert(from, Arc::clone(&back));
                    back
                }
            };
            if loss.passes(&buffer[..len]) {
                let _ = back.send(&buffer[..len]).await;
            }
        }
    });
    port
}

async fn downstream(
    front: Arc<UdpSocket>,
    back: Arc<UdpSocket>,
    to: SocketAddr,
    impairment: Impairment,
) {
    let (delayed, mut due) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((at, datagram)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            let _ = front.send_to(&datagram, to).await;
        }
    });
    let mut loss = Loss::new(impairment.lose_one_in);
    let mut buffer = vec![0; 65_536];
    while let Ok(len) = back.recv(&mut buffer).await {
        if loss.passes(&buffer[..len]) {
            let _ = delayed.send((Instant::now() + impairment.delay, buffer[..len].to_vec()));
        }
    }
}

struct Loss {
    one_in: u64,
    count: u64,
}

impl Loss {
    fn new(one_in: u64) -> Self {
        Self { one_in, count: 0 }
    }

    fn passes(&mut self, datagram: &[u8]) -> bool {
        // STUN and DTLS pass (RFC 7983), and feedback does.
        let media = matches!(datagram, [128..=191, second, ..] if !matches!(second, 192..=223));
        self.count += u64::from(media);
        !(media && self.one_in > 0 && self.count % self.one_in == self.one_in / 2)
    }
}
