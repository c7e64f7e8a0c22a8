//! The exit of a viewer's packets: its path, its keys, its run in the batch.

use std::time::Instant;

use super::kept::{Again, Kept};
use super::link::Link;
use super::rewriter::Ids;
use crate::packet::Packet;
use crate::rtp::codec::dd;
use crate::rtp::codec::red::{self, Earlier};
use crate::rtp::extension::{ExtensionIds, ExtensionKind};
use crate::rtp::{HeaderLen, HeaderWriter, OutHeader, pad};
use crate::track::ladder::LayerId;
use crate::transmit::{RunKey, Transmits};
use crate::transport::{Path, Transport};

/// Room for the authentication tag of either profile (16 bytes for GCM, 10 for SHA1-80).
const TAG_ROOM: usize = 16;
/// The longest packet before it is sealed.
const MAX_PLAIN: usize = Transmits::MAX_DATAGRAM - TAG_ROOM;
/// Bytes of the original sequence number before the payload of a retransmission (RFC 4588 section 4).
const OSN: usize = 2;

/// A viewer's outlet, borrowed for its packets of a batch.
pub(crate) struct Outlet<'a> {
    pub(crate) path: Path,
    pub(crate) run: &'a mut RunKey,
    pub(crate) transport: &'a mut Transport,
    pub(crate) transmits: &'a mut Transmits,
    pub(crate) now: Instant,
    /// The present NTP time, for abs-send-time.
    pub(crate) ntp: u64,
    pub(crate) link: &'a mut Link,
    /// The transport-wide number of the viewer's next packet.
    pub(crate) transport_sequence: &'a mut u16,
}

/// A packet about to be written. Its numbers are known, except those that depend on the order in which a viewer's
/// packets leave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing {
    pub(super) header: OutHeader,
    pub(super) ids: Ids,
    /// The highest layer of the stream that the viewer is sent.
    pub(super) up_to: LayerId,
    /// The packet is sent without its payload, so that its number is not missing.
    pub(super) empty: bool,
    /// The packet carries the MID, until the viewer has shown that it knows the SSRC.
    pub(super) names_mid: bool,
    /// The original sequence number, for a retransmission.
    pub(super) osn: Option<u16>,
    /// The packet is kept as it is sent, for a NACK.
    pub(super) kept: bool,
    /// Bytes left out at the beginning of the payload.
    pub(super) skip: u16,
    /// The packet is wrapped into redundant audio.
    pub(super) wrapped: Option<Wrapped>,
    /// Bytes of the whole packet before it is sealed, without padding.
    pub(crate) len: u16,
}

/// The wrapping of an audio packet into redundant audio (RFC 2198).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wrapped {
    /// The viewer's payload type of the audio inside.
    pub(super) inside: u8,
    /// Bytes that it adds to the packet.
    pub(super) room: u16,
}

/// Facts that all packets of an m-line share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// The MID, while it is to be written.
    pub(super) mid: Option<&'a str>,
    /// The viewer's extension ids.
    pub(super) ids: &'a ExtensionIds,
}

impl Outgoing {
    /// A packet to write; none if it does not fit a datagram. `skip` bytes at the beginning of its payload are left
    /// out.
    //
    // Inlined, so that it is built in its final place: `Ids` explains the cost of a copy.
    #[inline(always)]
    pub(super) fn new(
        line: Line<'_>,
        packet: &Packet<'_>,
        header: OutHeader,
        ids: Ids,
        up_to: LayerId,
        osn: Option<u16>,
        skip: usize,
    ) -> Option<Self> {
        let len = plain_len(line, packet, ids, up_to) + if osn.is_some() { OSN } else { 0 };
        (len <= MAX_PLAIN).then_some(Self {
            header,
            ids,
            up_to,
            empty: false,
            names_mid: line.mid.is_some(),
            osn,
            kept: false,
            skip: skip as u16,
            wrapped: None,
            len: len.saturating_sub(skip) as u16,
        })
    }

    /// Wraps it into redundant audio of a payload type. Returns false, without any change, if that does not fit a
    /// datagram.
    pub(super) fn wrap(&mut self, payload_type: u8, wrapped: Wrapped) -> bool {
        let len = self.len + wrapped.room;
        let fits = usize::from(len) <= MAX_PLAIN;
        if fits {
            self.header.payload_type = payload_type;
            (self.wrapped, self.len) = (Some(wrapped), len);
        }
        fits
    }

    /// The viewer's SSRC that it is sent under.
    pub(crate) fn ssrc(&self) -> u32 {
        self.header.ssrc
    }

    /// An empty packet under the number of one that is not sent, but which a viewer would miss.
    pub(super) fn empty(line: Line<'_>, packet: &Packet<'_>, header: OutHeader) -> Option<Self> {
        let (ids, up_to) = (Ids::default(), LayerId::default());
        let mut empty = Self::new(line, packet, header, ids, up_to, None, 0)?;
        empty.empty = true;
        let mut len = HeaderLen::default();
        transport_extensions(line, [0; 3], 0, |id, value| {
            len.extension(id, value.len());
        });
        empty.len = len.finish() as u16;
        Some(empty)
    }
}

#[cfg(test)]
impl Outgoing {
    /// A packet of so many bytes, for tests that need only its length.
    pub(super) fn of_len(len: u16) -> Self {
        Self {
            header: OutHeader::default(),
            ids: Ids::default(),
            up_to: LayerId::default(),
            empty: false,
            names_mid: false,
            osn: None,
            kept: false,
            skip: 0,
            wrapped: None,
            len,
        }
    }
}

impl Outlet<'_> {
    /// Writes, seals and queues the viewer's next packet, with `padding` bytes of RTP padding. `kept` keeps a copy, and
    /// `earlier` is added if the packet is wrapped. False if it cannot be sealed.
    pub(super) fn send(
        &mut self,
        line: Line<'_>,
        out: &Outgoing,
        packet: &Packet<'_>,
        padding: u8,
        earlier: Option<Earlier<'_>>,
        kept: Option<&mut Kept>,
    ) -> bool {
        let now = self.now;
        let (transport, sequence, ntp) = (&mut *self.transport, *self.transport_sequence, self.ntp);
        let mut sealed = 0;
        self.transmits.push(self.path, self.run, |buf| {
            let written = write(buf, line, out, packet, earlier, (sequence, ntp));
            let Some((header_len, len)) = written else {
                return 0;
            };
            let len = pad(&mut buf[..MAX_PLAIN], len, padding).unwrap_or(len);
            sealed = transport.seal_rtp(buf, header_len, len);
            if let Some(kept) = kept
                && let Some(sealed) = buf.get(..sealed)
            {
                kept.keep(now, sealed, out.header.sequence, sequence);
            }
            sealed
        });
        self.left(line, (out.header.ssrc, out.header.sequence), sealed)
    }

    /// Seals and queues a packet of padding only, of `bytes` at most; false on failure.
    pub(super) fn send_padding(&mut self, line: Line<'_>, header: OutHeader, bytes: usize) -> bool {
        let (transport, sequence, ntp) = (&mut *self.transport, *self.transport_sequence, self.ntp);
        let padding = bytes.clamp(1, usize::from(u8::MAX)) as u8;
        let mut sealed = 0;
        self.transmits.push(self.path, self.run, |buf| {
            let mut writer = HeaderWriter::new(&mut buf[..MAX_PLAIN], &header);
            transport_extensions(line, send_time(ntp), sequence, |id, value| {
                writer.extension(id, value);
            });
            let header_len = writer.finish();
            let Some(len) = pad(&mut buf[..MAX_PLAIN], header_len, padding) else {
                return 0;
            };
            sealed = transport.seal_rtp(buf, header_len, len);
            sealed
        });
        self.left(line, (header.ssrc, header.sequence), sealed)
    }

    /// Queues a packet once more, identical to the bit.
    pub(super) fn send_again(&mut self, again: Again<'_>) {
        let sealed = again.sealed;
        self.transmits.push(self.path, self.run, |buf| {
            let Some(room) = buf.get_mut(..sealed.len()) else {
                return 0;
            };
            room.copy_from_slice(sealed);
            sealed.len()
        });
        self.link.sent_again(again.transport_sequence, sealed.len());
    }

    /// Counts a packet about to leave as audio; `repeat` is the bytes that a copy of it takes in the next packet.
    pub(super) fn sound(&mut self, out: &Outgoing, padding: u8, repeat: usize) {
        let copy = out.wrapped.map_or(0, |wrapped| wrapped.room);
        let bytes = usize::from(out.len - copy) + usize::from(padding) + TAG_ROOM;
        self.link.sound_sent(bytes, repeat);
    }

    /// Counts a packet of `sealed` bytes under a stream's number; false if `sealed` is 0.
    fn left(&mut self, line: Line<'_>, number: (u32, u16), sealed: usize) -> bool {
        if sealed == 0 {
            return false;
        }
        let sequence = *self.transport_sequence;
        *self.transport_sequence = sequence.wrapping_add(1);
        let numbered = line.ids.id(ExtensionKind::TransportCc).is_some();
        self.link
            .sent(self.now, number, numbered.then_some(sequence), sealed);
        true
    }
}

/// Send time as 6.18 fixed point seconds: the middle bits of the NTP time.
fn send_time(ntp: u64) -> [u8; 3] {
    let [_, a, b, c] = ((ntp >> 14) as u32).to_be_bytes();
    [a, b, c]
}

/// Writes a packet unsealed. Returns the lengths of its header and of the whole; none if it does not fit.
pub(super) fn write(
    buf: &mut [u8],
    line: Line<'_>,
    out: &Outgoing,
    packet: &Packet<'_>,
    earlier: Option<Earlier<'_>>,
    (sequence, ntp): (u16, u64),
) -> Option<(usize, usize)> {
    let payload = match out.empty {
        true => &[],
        false => packet
            .payload()
            .get(usize::from(out.skip)..)
            .unwrap_or_default(),
    };
    let header_len = write_header(buf.get_mut(..MAX_PLAIN)?, line, out, packet, sequence, ntp);
    let osn_len = if out.osn.is_some() { OSN } else { 0 };
    let mut body_at = header_len + osn_len;
    if header_len == 0 || body_at + payload.len() > MAX_PLAIN {
        return None;
    }
    if let Some(osn) = out.osn {
        buf[header_len..header_len + OSN].copy_from_slice(&osn.to_be_bytes());
    }
    if let Some(wrapped) = out.wrapped {
        body_at += red::write(buf.get_mut(body_at..MAX_PLAIN)?, wrapped.inside, earlier)?;
    }
    let len = body_at + payload.len();
    let body = buf.get_mut(body_at..len.min(MAX_PLAIN))?;
    if body.len() < payload.len() {
        return None;
    }
    body.copy_from_slice(payload);
    if !out.empty {
        packet.described.payload.rewrite(
            body,
            out.ids.picture_id().unwrap_or(0),
            out.ids.tl0_pic_idx().unwrap_or(0),
        );
    }
    Some((header_len, len))
}

/// Bytes of a packet with its whole payload.
fn plain_len(line: Line<'_>, packet: &Packet<'_>, ids: Ids, up_to: LayerId) -> usize {
    let mut len = HeaderLen::default();
    let media = Some((packet, ids, up_to));
    for_each_extension(line, media, [0; 3], 0, |id, value| {
        len.extension(id, value.len());
    });
    len.finish() + packet.payload().len()
}

fn write_header(
    buf: &mut [u8],
    line: Line<'_>,
    out: &Outgoing,
    packet: &Packet<'_>,
    sequence: u16,
    ntp: u64,
) -> usize {
    let mut writer = HeaderWriter::new(buf, &out.header);
    let element = |id, value: &[u8]| {
        writer.extension(id, value);
    };
    for_each_extension(
        line,
        (!out.empty).then_some((packet, out.ids, out.up_to)),
        send_time(ntp),
        sequence,
        element,
    );
    writer.finish()
}

/// Calls `element` for each header extension of a packet: one list for both its length and its bytes.
fn for_each_extension(
    line: Line<'_>,
    media: Option<(&Packet<'_>, Ids, LayerId)>,
    send_time: [u8; 3],
    sequence: u16,
    mut element: impl FnMut(u8, &[u8]),
) {
    transport_extensions(line, send_time, sequence, &mut element);
    let Some((packet, ids, up_to)) = media else {
        return;
    };
    for (kind, value) in packet.passed_on.values(packet.datagram) {
        let Some(id) = line.ids.id(kind) else {
            continue;
        };
        match (kind, ids.frame_number()) {
            (ExtensionKind::DependencyDescriptor, Some(number)) => {
                let structured = packet.described.dependencies;
                let structured = structured.is_some_and(|read| read.has_structure);
                dependencies(value, number, structured.then_some(up_to), |value| {
                    element(id, value);
                });
            }
            _ => element(id, value),
        }
    }
}

/// Writes a dependency descriptor with a viewer's frame number. One with a structure also gets the decode targets that
/// the viewer is sent.
fn dependencies(value: &[u8], number: u16, up_to: Option<LayerId>, mut element: impl FnMut(&[u8])) {
    let mut write = |value: &mut [u8]| {
        dd::DependencyDescriptor::rewrite_frame_number(value, number);
        element(value);
    };
    if let Some(up_to) = up_to
        && let Some((mut value, len)) = dd::restrict(value, up_to.spatial, up_to.temporal)
    {
        return write(value.get_mut(..len).unwrap_or_default());
    }
    // A descriptor without a structure has a few bytes.
    let mut short = [0; 16];
    if let Some(copy) = short.get_mut(..value.len()) {
        copy.copy_from_slice(value);
        return write(copy);
    }
    let mut long = [0; dd::MAX_VALUE];
    if let Some(copy) = long.get_mut(..value.len()) {
        copy.copy_from_slice(value);
        write(copy);
    }
}

/// Header extensions about the transport, not the media.
fn transport_extensions(
    line: Line<'_>,
    send_time: [u8; 3],
    sequence: u16,
    mut element: impl FnMut(u8, &[u8]),
) {
    if let Some(mid) = line.mid
        && let Some(id) = line.ids.id(ExtensionKind::Mid)
    {
        element(id, mid.as_bytes());
    }
    if let Some(id) = line.ids.id(ExtensionKind::AbsSendTime) {
        element(id, &send_time);
    }
    if let Some(id) = line.ids.id(ExtensionKind::TransportCc) {
        element(id, &sequence.to_be_bytes());
    }
}
