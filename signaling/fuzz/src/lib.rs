//! The whole server in memory: bytes on a connection, through HTTP and WebSocket and the rooms, to the real worker.

mod relay;
mod session;

use std::sync::{Arc, Mutex};

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use relay::PAUSES;
pub use relay::Relay;
pub use session::session;
use tertulia_signaling::Node;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, WriteHalf, duplex, split};
use tokio::runtime;
use tokio::time::{sleep, timeout};

/// Offers of real browsers, by their numbers in a message.
const OFFERS: [&str; 4] = [
    include_str!("../../../sfu/src/transport/sdp/fixtures/chromium-call-1-simulcast.sdp"),
    include_str!("../../../sfu/src/transport/sdp/fixtures/chromium-call-2-slots.sdp"),
    include_str!("../../../sfu/src/transport/sdp/fixtures/chromium-call-3-stopped.sdp"),
    include_str!("../../../sfu/src/transport/sdp/fixtures/firefox-simulcast.sdp"),
];
const HANDSHAKE: &[u8] =
    b"GET /v1/ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// Longer than anything waits for, in virtual time.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(600);
/// Bytes on their way from a client or the server, at most.
const BUFFER: usize = 1 << 20;
const STEPS: usize = 64;
/// Prefix and length of the ids of tracks and of participants.
const KINDS: [(&str, usize); 2] = [("tr_", 15), ("pa_", 19)];

/// Handles any bytes on one connection.
///
/// # Panics
///
/// If the server panics, does not end, or keeps something.
pub fn connection(bytes: &[u8]) {
    run(async |server| {
        let mut client = server.connect();
        client.write(bytes).await;
        sleep(PAUSES[1]).await;
        drop(client);
    });
}

/// Handles messages of up to three clients in one room. Each step is a byte (the client by its lower two bits; time
/// that passes before by the next two; 16: the connection ends instead), a length in two bytes, and a message. In it
/// `tr_0` to `tr_9` are the tracks heard of, `pa_0` to `pa_9` the participants, and `sdp_0` to `sdp_3` offers of browsers.
///
/// # Panics
///
/// If one of the conditions of [`connection`] holds.
pub fn room(bytes: &[u8]) {
    run(async |server| {
        let mut clients: [Option<Client>; 3] = Default::default();
        for (flags, text) in steps(bytes).take(STEPS) {
            sleep(PAUSES[usize::from(flags >> 2 & 3)]).await;
            server.relay.pass();
            let client = &mut clients[usize::from(flags & 3) % 3];
            if flags & 16 != 0 {
                *client = None;
                continue;
            }
            if client.is_none() {
                let mut new = server.connect();
                new.write(HANDSHAKE).await;
                *client = Some(new);
            }
            let Ok(text) = std::str::from_utf8(text) else {
                continue;
            };
            if let Some(client) = client {
                client.write(&frame(&server.named(text))).await;
            }
            // Everything that can be done without time passing is.
            sleep(std::time::Duration::from_millis(1)).await;
        }
    });
}

struct Server {
    node: Node,
    relay: Arc<Relay>,
    /// Ids that anybody was told: of tracks, and of participants.
    ids: Arc<Mutex<[Vec<String>; 2]>>,
}

struct Client {
    writes: WriteHalf<DuplexStream>,
}

fn run(play: impl AsyncFnOnce(&Server)) {
    let mut runtime = runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let relay = Arc::new(Relay::new());
        let node = Node::builder()
            .media(relay.clone())
            .build()
            .expect("a node");
        let server = Server {
            node,
            relay,
            ids: Arc::default(),
        };
        play(&server).await;
        let ended = timeout(PATIENCE, server.node.shutdown()).await;
        ended.expect("it ends");
        assert_eq!(server.node.counts().participants, 0);
        server.relay.pass();
        assert_eq!(server.relay.holdings(), 0, "all have left");
    });
}

impl Server {
    /// A connection to the server.
    fn open(&self) -> DuplexStream {
        let (client, stream) = duplex(BUFFER);
        let service = TowerToHyperService::new(self.node.router());
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(PAUSES[2]);
        let connection = http.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        client
    }

    fn connect(&self) -> Client {
        let (mut reads, writes) = split(self.open());
        let ids = self.ids.clone();
        tokio::spawn(async move {
            let mut bytes = vec![0; 65_536];
            while let Ok(len @ 1..) = reads.read(&mut bytes).await {
                for (kind, ids) in KINDS.iter().zip(&mut *ids.lock().expect("ids")) {
                    note_ids(&bytes[..len], *kind, ids);
                }
            }
        });
        Client { writes }
    }

    fn named(&self, text: &str) -> String {
        let ids = self.ids.lock().expect("ids");
        let mut text = text.to_owned();
        for ((prefix, _), ids) in KINDS.iter().zip(&*ids) {
            for (number, id) in ids.iter().take(10).enumerate() {
                text = text.replace(&format!("\"{prefix}{number}\""), &format!("\"{id}\""));
            }
        }
        for (number, offer) in OFFERS.iter().enumerate() {
            let lines = offer.lines().flat_map(|line| [line, "\\r\\n"]);
            let offer = lines.collect::<String>().replace('"', "\\\"");
            text = text.replace(&format!("sdp_{number}"), &offer);
        }
        text
    }
}

impl Client {
    /// Writes bytes until the server does not take them.
    async fn write(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.writes.write_all(bytes)).await;
    }
}

/// Ids are cut where reading was, which is rare.
fn note_ids(bytes: &[u8], (prefix, len): (&str, usize), ids: &mut Vec<String>) {
    let named = bytes.windows(len);
    for id in named.filter(|id| id.starts_with(prefix.as_bytes())) {
        let id = String::from_utf8_lossy(id).into_owned();
        if id.bytes().skip(3).all(|byte| byte.is_ascii_alphanumeric()) && !ids.contains(&id) {
            ids.push(id);
        }
    }
}

/// A client's text frame (RFC 6455 section 5.2), under a mask of zeroes.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | 127];
    frame.extend((text.len() as u64).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

fn steps(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[flags, l0, l1], rest) = bytes.split_first_chunk()?;
        let len = usize::from(u16::from_be_bytes([l0, l1])).min(rest.len());
        let (step, after) = rest.split_at_checked(len)?;
        bytes = after;
        Some((flags, step))
    })
}
