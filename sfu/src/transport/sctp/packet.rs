//! SCTP packets on the wire (RFC 9260 section 3): taken apart, and put together again.

use bytes::Bytes;

/// Chunk types (RFC 9260 section 3.2, RFC 3758, RFC 6525).
pub(super) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const INIT: u8 = 1;
    pub(crate) const INIT_ACK: u8 = 2;
    pub(crate) const SACK: u8 = 3;
    pub(crate) const HEARTBEAT: u8 = 4;
    pub(crate) const ABORT: u8 = 6;
    pub(crate) const SHUTDOWN: u8 = 7;
    pub(crate) const SHUTDOWN_ACK: u8 = 8;
    pub(crate) const COOKIE_ECHO: u8 = 10;
    pub(crate) const SHUTDOWN_COMPLETE: u8 = 14;
    pub(crate) const RECONFIG: u8 = 130;
    pub(crate) const FORWARD_TSN: u8 = 192;
}

/// Source port, destination port, verification tag, checksum.
const HEADER: usize = 12;
const CHUNK_HEADER: usize = 4;

/// A packet whose checksum is right and whose chunks lie within it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    bytes: &'a [u8],
}

/// One chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    /// The bytes behind the chunk's header.
    pub(super) value: &'a [u8],
    /// The whole chunk, without padding.
    pub(super) raw: &'a [u8],
}

impl<'a> Packet<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let checksum = u32::from_le_bytes(array(bytes, 8)?);
        if checksum != crc32c(bytes) {
            return None;
        }
        let mut rest = bytes.get(HEADER..).filter(|chunks| !chunks.is_empty())?;
        while !rest.is_empty() {
            (_, rest) = split_chunk(rest)?;
        }
        Some(Self { bytes })
    }

    /// Names the association at its receiver; 0 in an INIT.
    pub(super) fn tag(&self) -> u32 {
        array(self.bytes, 4).map_or(0, u32::from_be_bytes)
    }

    pub(super) fn chunks(&self) -> impl Iterator<Item = Chunk<'a>> + use<'a> {
        let mut rest = self.bytes.get(HEADER..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (chunk, after) = split_chunk(rest)?;
            rest = after;
            Some(chunk)
        })
    }
}

/// A packet under the header of another.
#[derive(Debug)]
pub(super) struct Rebuilt {
    bytes: Vec<u8>,
}

impl Rebuilt {
    pub(super) fn like(packet: &Packet<'_>) -> Self {
        let mut bytes = Vec::with_capacity(packet.bytes.len());
        bytes.extend_from_slice(packet.bytes.get(..HEADER).unwrap_or_default());
        Self { bytes }
    }

    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// The packet, unless it has no chunks.
    pub(super) fn finish(mut self) -> Option<Bytes> {
        if self.bytes.len() <= HEADER {
            return None;
        }
        let checksum = crc32c(&self.bytes).to_le_bytes();
        self.bytes.get_mut(8..HEADER)?.copy_from_slice(&checksum);
        Some(self.bytes.into())
    }
}

/// `N` bytes of `bytes` from `at`.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn split_chunk(bytes: &[u8]) -> Option<(Chunk<'_>, &[u8])> {
    let [kind, flags, len @ ..] = array::<CHUNK_HEADER>(bytes, 0)?;
    let len = usize::from(u16::from_be_bytes(len));
    let raw = bytes.get(..len)?;
    let chunk = Chunk {
        kind,
        flags,
        value: raw.get(CHUNK_HEADER..)?,
        raw,
    };
    // The last chunk's padding may be missing.
    let rest = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((chunk, rest))
}

/// The checksum of RFC 9260 appendix A over a packet whose checksum field counts as zero.
fn crc32c(packet: &[u8]) -> u32 {
    let mut crc = !0u32;
    for (at, byte) in packet.iter().enumerate() {
        let byte = if (8..HEADER).contains(&at) { 0 } else { *byte };
        crc = CRC32C[usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
    }
    !crc
}

const CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

/// A packet with these chunks, whatever they are.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn fuzz_packet(tag: u32, chunks: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x13, 0x88, 0x13, 0x88];
    packet.extend(tag.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend(chunks);
    let checksum = crc32c(&packet).to_le_bytes();
    packet[8..HEADER].copy_from_slice(&checksum);
    packet
}

/// A packet that shows a cookie.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn fuzz_cookie(tag: u32, cookie: &[u8]) -> Vec<u8> {
    let mut chunk = vec![kind::COOKIE_ECHO, 0];
    chunk.extend(((CHUNK_HEADER + cookie.len()) as u16).to_be_bytes());
    chunk.extend(cookie);
    fuzz_packet(tag, &chunk)
}

/// The tag and the cookie that an INIT ACK gives.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn fuzz_answer(bytes: &[u8]) -> Option<(u32, Vec<u8>)> {
    const STATE_COOKIE: u16 = 7;
    let packet = Packet::parse(bytes)?;
    let answer = packet.chunks().find(|chunk| chunk.kind == kind::INIT_ACK)?;
    let mut rest = answer.value.get(16..)?;
    loop {
        let (name, len) = (array(rest, 0)?, array(rest, 2)?);
        let len = usize::from(u16::from_be_bytes(len));
        if u16::from_be_bytes(name) == STATE_COOKIE {
            let cookie = rest.get(CHUNK_HEADER..len)?.to_vec();
            return Some((u32::from_be_bytes(array(answer.value, 0)?), cookie));
        }
        rest = rest.get(len.max(CHUNK_HEADER).next_multiple_of(4)..)?;
    }
}

/// A packet of these chunks, for tests.
#[cfg(test)]
pub(super) fn packet(tag: u32, chunks: &[(u8, u8, Vec<u8>)]) -> Vec<u8> {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&[0x13, 0x88, 0x13, 0x88]);
    header[4..8].copy_from_slice(&tag.to_be_bytes());
    let mut rebuilt = Rebuilt::like(&Packet { bytes: &header });
    for (kind, flags, value) in chunks {
        let len = (CHUNK_HEADER + value.len()) as u16;
        let mut chunk = vec![*kind, *flags];
        chunk.extend(len.to_be_bytes());
        chunk.extend(value);
        rebuilt.push(&chunk);
    }
    rebuilt.finish().map_or(header.to_vec(), Vec::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c_without_its_own_field() {
        // The check value of CRC-32C is 0xe3069283 over "123456789", 9 bytes: before the field's end.
        assert_eq!(crc32c(b"12345678"), 0x6087_809a);
        let mut zeroed = *b"12345678....9";
        let expected = crc32c(&zeroed);
        zeroed[8..12].fill(0);
        assert_eq!(crc32c(&zeroed), expected);
    }

    #[test]
    fn chunks_come_back_and_what_is_cut_or_corrupt_is_refused() {
        let bytes = packet(
            7,
            &[(3, 1, vec![1, 2, 3]), (0, 0, vec![]), (200, 9, vec![4; 8])],
        );
        let parsed = Packet::parse(&bytes).unwrap();
        assert_eq!(parsed.tag(), 7);
        let chunks: Vec<_> = parsed
            .chunks()
            .map(|chunk| (chunk.kind, chunk.flags, chunk.value.to_vec()))
            .collect();
        assert_eq!(
            chunks,
            vec![(3, 1, vec![1, 2, 3]), (0, 0, vec![]), (200, 9, vec![4; 8])]
        );
        for len in 0..bytes.len() {
            assert!(Packet::parse(&bytes[..len]).is_none(), "{len}");
        }
        for at in 0..bytes.len() {
            let mut corrupt = bytes.clone();
            corrupt[at] ^= 1;
            assert!(Packet::parse(&corrupt).is_none(), "{at}");
        }
    }

    #[test]
    fn chunks_that_lie_about_their_length_are_refused() {
        for (len, expected) in [(0u16, false), (3, false), (4, true), (8, true), (9, false)] {
            let mut chunk = vec![1, 0];
            chunk.extend(len.to_be_bytes());
            chunk.extend([0; 4]);
            let header = packet(1, &[]);
            let mut rebuilt = Rebuilt::like(&Packet { bytes: &header });
            rebuilt.push(&chunk);
            let bytes = rebuilt.finish().unwrap();
            // With length 4 the remaining zeroes would form a chunk of length 0.
            assert_eq!(
                Packet::parse(&bytes).is_some(),
                expected && len != 4,
                "{len}"
            );
        }
    }
}
