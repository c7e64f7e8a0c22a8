//! A client of TURN (RFC 8656) that need not follow the protocol. It makes its messages by hand, so that nothing of them is
//! put right.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use md5::{Digest, Md5};
use ring::hmac;
use tertulia_signaling::protocol::native::IceServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use crate::http::PATIENCE;
use crate::server::{Server, Stream};

pub(crate) const ALLOCATE: u16 = 0x003;
pub(crate) const CREATE_PERMISSION: u16 = 0x008;
pub(crate) const CHANNEL_BIND: u16 = 0x009;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const HEADER: usize = 20;
const REALM: &str = "tertulia";
/// The channel to the media.
const CHANNEL: u16 = 0x4000;

/// A name, and the key of its password.
#[derive(Clone)]
pub(crate) struct User {
    name: String,
    key: hmac::Key,
}

impl User {
    pub(crate) fn new(name: &str, password: &str) -> Self {
        let key = Md5::digest(format!("{name}:{REALM}:{password}"));
        Self {
            name: name.to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key),
        }
    }

    /// The one that a participant was told to be.
    pub(crate) fn of(turn: &IceServer) -> Self {
        let (name, password) = (turn.username.as_deref(), turn.credential.as_deref());
        Self::new(name.expect("a name"), password.expect("a password"))
    }

    /// A signed request.
    pub(crate) fn request(
        &self,
        method: u16,
        nonce: &[u8],
        attributes: &[(u16, Vec<u8>)],
    ) -> Vec<u8> {
        let mut all = attributes.to_vec();
        all.push((0x0006, self.name.clone().into_bytes()));
        all.push((0x0014, REALM.as_bytes().to_vec()));
        all.push((0x0015, nonce.to_vec()));
        let mut out = message(method, &all);
        let length = (out.len() - HEADER + 24) as u16;
        out[2..4].copy_from_slice(&length.to_be_bytes());
        let signature = hmac::sign(&self.key, &out);
        out.extend([0, 8, 0, 20]);
        out.extend(signature.as_ref());
        out
    }

    pub(crate) fn allocate(&self, nonce: &[u8]) -> Vec<u8> {
        self.request(ALLOCATE, nonce, &[(0x0019, vec![17, 0, 0, 0])])
    }
}

/// A message without a signature.
pub(crate) fn message(kind: u16, attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut out = kind.to_be_bytes().to_vec();
    out.extend([0, 0]);
    out.extend(COOKIE);
    out.extend([7; 12]);
    for (kind, value) in attributes {
        out.extend(kind.to_be_bytes());
        out.extend((value.len() as u16).to_be_bytes());
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    let length = (out.len() - HEADER) as u16;
    out[2..4].copy_from_slice(&length.to_be_bytes());
    out
}

/// A datagram over the channel to the media.
pub(crate) fn channel_data(datagram: &[u8]) -> Vec<u8> {
    let len = (datagram.len() as u16).to_be_bytes();
    let mut out = [&CHANNEL.to_be_bytes()[..], &len, datagram].concat();
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// XOR-PEER-ADDRESS.
fn peer(address: SocketAddr) -> (u16, Vec<u8>) {
    let IpAddr::V4(ip) = address.ip() else {
        panic!("{address} is not of IPv4");
    };
    let mut value = vec![0, 1];
    value.extend((address.port() ^ 0x2112).to_be_bytes());
    value.extend(
        ip.octets()
            .iter()
            .zip(COOKIE)
            .map(|(byte, mask)| byte ^ mask),
    );
    (0x0012, value)
}

/// A connection.
pub(crate) struct Turn {
    pub(crate) stream: Box<dyn Stream>,
    read: Vec<u8>,
    pub(crate) nonce: Vec<u8>,
}

impl Turn {
    pub(crate) async fn connect(
        server: &Server,
        from: Ipv4Addr,
        change: impl FnOnce(&TcpSocket),
    ) -> io::Result<Self> {
        let connecting = timeout(PATIENCE, server.connect(from, change));
        Ok(Self {
            stream: connecting.await??,
            read: Vec::new(),
            nonce: Vec::new(),
        })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes)).await?
    }

    /// The next message or datagram, whole and without padding.
    pub(crate) async fn next(&mut self) -> io::Result<Vec<u8>> {
        self.next_within(PATIENCE).await
    }

    pub(crate) async fn next_within(&mut self, patience: Duration) -> io::Result<Vec<u8>> {
        timeout(patience, async {
            loop {
                if let Some(frame) = self.take() {
                    return Ok(frame);
                }
                if self.stream.read_buf(&mut self.read).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        })
        .await?
    }

    fn take(&mut self) -> Option<Vec<u8>> {
        let head = self.read.first_chunk::<4>()?;
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (len, padded) = match head[0] & 0xc0 {
            0 => (HEADER + len, HEADER + len),
            _ => (4 + len, 4 + len.next_multiple_of(4)),
        };
        let frame = self.read.get(..padded)?[..len].to_vec();
        self.read.drain(..padded);
        Some(frame)
    }

    /// Sends a request; 0 if it is done, else the code of the refusal. Media that comes meanwhile is passed over.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> io::Result<u16> {
        self.send(request).await?;
        loop {
            let answer = self.next().await?;
            if answer[0] & 0xc0 != 0 || answer[..2] == [0, 0x17] {
                continue;
            }
            if let Some(nonce) = value_of(&answer, 0x0015) {
                self.nonce = nonce.to_vec();
            }
            return Ok(match value_of(&answer, 0x0009) {
                Some(code) => u16::from(code[2]) * 100 + u16::from(code[3]),
                None => 0,
            });
        }
    }

    /// Hears a nonce.
    pub(crate) async fn challenge(&mut self) -> io::Result<()> {
        let code = self.ask(&message(ALLOCATE, &[])).await?;
        assert_eq!(code, 401);
        Ok(())
    }

    /// Allocates, and binds a channel to the media; 0, or the code of the refusal.
    pub(crate) async fn allocate(&mut self, user: &User, media: SocketAddr) -> io::Result<u16> {
        self.challenge().await?;
        let code = self.ask(&user.allocate(&self.nonce)).await?;
        if code != 0 {
            return Ok(code);
        }
        let permission = user.request(CREATE_PERMISSION, &self.nonce, &[peer(media)]);
        assert_eq!(self.ask(&permission).await?, 0);
        let [high, low] = CHANNEL.to_be_bytes();
        let number = (0x000c, vec![high, low, 0, 0]);
        let bind = user.request(CHANNEL_BIND, &self.nonce, &[number, peer(media)]);
        self.ask(&bind).await
    }
}

/// The value of an attribute.
fn value_of(message: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut at = HEADER;
    loop {
        let head = message.get(at..at + 4)?;
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if u16::from_be_bytes([head[0], head[1]]) == wanted {
            return message.get(at + 4..at + 4 + len);
        }
        at += 4 + len.next_multiple_of(4);
    }
}
