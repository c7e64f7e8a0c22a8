//! As much of SCTP (RFC 9260) as it takes to misuse it.

use std::io;

use crate::hostile::Media;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::http::PATIENCE;

const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
/// The parameter of an INIT ACK that comes back in the COOKIE ECHO (RFC 9260 section 3.3.3).
const STATE_COOKIE: u16 = 7;
/// Payload protocol of the messages that open channels (RFC 8832 section 8.1), and of text.
const DCEP: u32 = 50;
const TEXT: u32 = 51;
/// A chunk fits into a datagram with all headers.
const CHUNK: usize = 1_100;

/// A packet that begins an association.
pub(crate) fn init(tag: u32, window: u32) -> Vec<u8> {
    let mut value = tag.to_be_bytes().to_vec();
    value.extend(window.to_be_bytes());
    value.extend([0xff, 0xff, 0xff, 0xff]);
    value.extend(1_u32.to_be_bytes());
    packet(0, &[chunk(INIT, 0, &value)])
}

/// An association of which only the sending half works: it acknowledges nothing.
pub(crate) struct Association {
    tag: u32,
    tsn: u32,
    sequences: std::collections::BTreeMap<u16, u16>,
}

impl Association {
    /// Begins one, with room for `window` bytes.
    pub(crate) async fn begin(media: &mut Media, window: u32) -> Self {
        media.write_data(&init(7, window));
        let ack = wait(media, INIT_ACK).await;
        let tag = u32::from_be_bytes(*ack.first_chunk().expect("a tag"));
        let mut rest = &ack[16..];
        let cookie = loop {
            let head = rest.first_chunk::<4>().expect("a cookie");
            let kind = u16::from_be_bytes([head[0], head[1]]);
            let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
            if kind == STATE_COOKIE {
                break &rest[4..len];
            }
            rest = &rest[len.next_multiple_of(4)..];
        };
        media.write_data(&packet(tag, &[chunk(COOKIE_ECHO, 0, cookie)]));
        wait(media, COOKIE_ACK).await;
        Self {
            tag,
            tsn: 1,
            sequences: Default::default(),
        }
    }

    /// Opens a channel that delivers reliably and in order (RFC 8832 section 5.1).
    pub(crate) fn open(&mut self, media: &mut Media, stream: u16, label: &str) {
        let mut open = vec![3, 0, 0, 0, 0, 0, 0, 0];
        open.extend((label.len() as u16).to_be_bytes());
        open.extend([0, 0]);
        open.extend(label.as_bytes());
        self.message(media, stream, DCEP, &open);
    }

    /// Sends a text.
    pub(crate) fn text(&mut self, media: &mut Media, stream: u16, text: &[u8]) {
        self.message(media, stream, TEXT, text);
    }

    fn message(&mut self, media: &mut Media, stream: u16, protocol: u32, payload: &[u8]) {
        let sequence = self.sequences.entry(stream).or_default();
        let pieces: Vec<_> = payload.chunks(CHUNK).collect();
        for (index, piece) in pieces.iter().enumerate() {
            let first = if index == 0 { 2 } else { 0 };
            let last = u8::from(index + 1 == pieces.len());
            let mut value = self.tsn.to_be_bytes().to_vec();
            value.extend(stream.to_be_bytes());
            value.extend(sequence.to_be_bytes());
            value.extend(protocol.to_be_bytes());
            value.extend(*piece);
            self.tsn = self.tsn.wrapping_add(1);
            media.write_data(&packet(self.tag, &[chunk(DATA, first | last, &value)]));
        }
        *sequence = sequence.wrapping_add(1);
    }
}

/// The value of the first chunk of a kind that comes.
async fn wait(media: &mut Media, kind: u8) -> Vec<u8> {
    if let Some(value) = next(media, kind) {
        return value;
    }
    let socket = media.socket.try_clone().expect("a socket");
    let socket = UdpSocket::from_std(socket).expect("within a runtime");
    let looks = socket.async_io(Interest::READABLE, || {
        next(media, kind).ok_or(io::ErrorKind::WouldBlock.into())
    });
    let value = timeout(PATIENCE, looks).await;
    value
        .unwrap_or_else(|_| panic!("no chunk of kind {kind}"))
        .expect("a socket")
}

/// The value of the first chunk of a kind, of what has come.
fn next(media: &mut Media, kind: u8) -> Option<Vec<u8>> {
    media.pump();
    media.take_data().into_iter().find_map(|packet| {
        let chunk = packet.get(12..)?;
        let len = usize::from(u16::from_be_bytes([*chunk.get(2)?, *chunk.get(3)?]));
        (chunk[0] == kind).then(|| chunk[4..len].to_vec())
    })
}

fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, flags];
    out.extend((value.len() as u16 + 4).to_be_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn packet(tag: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut out = [5_000_u16.to_be_bytes(); 2].concat();
    out.extend(tag.to_be_bytes());
    out.extend([0; 4]);
    out.extend(chunks.concat());
    let checksum = crc32c(&out).to_le_bytes();
    out[8..12].copy_from_slice(&checksum);
    out
}

/// Appendix A; bit by bit, for there are few.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}
