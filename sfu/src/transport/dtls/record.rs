//! Records and handshake fragments (RFC 6347 sections 4.1 and 4.2.2), read only to judge them.

/// One record of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record<'a> {
    pub(super) content: Content,
    pub(super) epoch: u16,
    pub(super) body: &'a [u8],
}

/// RFC 6347 section 4.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content {
    ChangeCipherSpec,
    Alert,
    Handshake,
    ApplicationData,
}

const RECORD_HEADER: usize = 13;
const FRAGMENT_HEADER: usize = 12;
/// DTLS 1.0 and 1.2 count down from here: a ClientHello is in a record of either.
const VERSION_MAJOR: u8 = 0xfe;

/// The records of a datagram; an error item ends it where it is malformed.
pub(super) fn records(datagram: &[u8]) -> impl Iterator<Item = Option<Record<'_>>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = split_record(rest);
        rest = record.map_or(&[], |(_, after)| after);
        Some(record.map(|(record, _)| record))
    })
}

fn split_record(datagram: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let header = datagram.first_chunk::<RECORD_HEADER>()?;
    let content = match header[0] {
        20 => Content::ChangeCipherSpec,
        21 => Content::Alert,
        22 => Content::Handshake,
        23 => Content::ApplicationData,
        _ => return None,
    };
    if header[1] != VERSION_MAJOR {
        return None;
    }
    let len = usize::from(u16::from_be_bytes([header[11], header[12]]));
    let (body, rest) = datagram.get(RECORD_HEADER..)?.split_at_checked(len)?;
    let epoch = u16::from_be_bytes([header[3], header[4]]);
    Some((
        Record {
            content,
            epoch,
            body,
        },
        rest,
    ))
}

/// A piece of a plain handshake message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fragment<'a> {
    pub(super) message_type: u8,
    /// Length of the whole message.
    pub(super) length: usize,
    pub(super) sequence: u16,
    pub(super) offset: usize,
    pub(super) body: &'a [u8],
}

/// The fragments of a plain handshake record; an error item ends it where it is malformed.
pub(super) fn fragments(body: &[u8]) -> impl Iterator<Item = Option<Fragment<'_>>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let fragment = split_fragment(rest);
        rest = fragment.map_or(&[], |(_, after)| after);
        Some(fragment.map(|(fragment, _)| fragment))
    })
}

fn split_fragment(body: &[u8]) -> Option<(Fragment<'_>, &[u8])> {
    let header = body.first_chunk::<FRAGMENT_HEADER>()?;
    let number = |at: usize| {
        header.get(at..at + 3).map(|bytes| {
            bytes
                .iter()
                .fold(0, |n, byte| (n << 8) | usize::from(*byte))
        })
    };
    let (length, offset, fragment) = (number(1)?, number(6)?, number(9)?);
    let (piece, rest) = body.get(FRAGMENT_HEADER..)?.split_at_checked(fragment)?;
    let is_within = offset + fragment <= length && (fragment > 0 || length == 0);
    is_within.then_some((
        Fragment {
            message_type: header[0],
            length,
            sequence: u16::from_be_bytes([header[4], header[5]]),
            offset,
            body: piece,
        },
        rest,
    ))
}

/// Whether a datagram is of a handshake: one that is over ignores it.
pub(super) fn is_handshake(datagram: &[u8]) -> bool {
    records(datagram).flatten().any(|record| {
        record.epoch == 0
            || matches!(
                record.content,
                Content::Handshake | Content::ChangeCipherSpec
            )
    })
}
