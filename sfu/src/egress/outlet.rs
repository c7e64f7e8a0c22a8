//! Where a viewer's packets leave: its address, its keys, its run in the batch.

use std::net::SocketAddr;
use std::time::Instant;

use crate::rtp::extension::{ExtensionKind, ExtensionMap};
use crate::rtp::{HeaderWriter, OutHeader, RtpHeader};
use crate::transmit::{RunKey, Transmits};
use crate::transport::Transport;

/// The authentication tag of either profile fits (16 bytes for GCM, 10 for SHA1-80).
const TAG_ROOM: usize = 16;

/// A viewer's way out, borrowed for a packet.
pub(crate) struct Outlet<'a> {
    pub(crate) now: Instant,
    pub(crate) to: SocketAddr,
    pub(crate) run: &'a mut RunKey,
    pub(crate) transport: &'a mut Transport,
    pub(crate) transmits: &'a mut Transmits,
    /// The viewer's transport-wide sequence number.
    pub(crate) transport_sequence: &'a mut u16,
    /// NTP time of now, for abs-send-time.
    pub(crate) ntp: u64,
}

/// What of a publisher's header extensions concerns its viewers: properties of the media. The rest
/// concerns the publisher's own transport and ends here.
const PASSED_ON: [ExtensionKind; 5] = [
    ExtensionKind::AudioLevel,
    ExtensionKind::VideoOrientation,
    ExtensionKind::PlayoutDelay,
    ExtensionKind::AbsCaptureTime,
    ExtensionKind::DependencyDescriptor,
];

/// A packet about to be written.
pub(crate) struct Outgoing<'a> {
    pub(crate) header: OutHeader,
    /// The viewer's ids.
    pub(crate) ids: &'a ExtensionMap,
    /// Written until the viewer has shown that it knows the SSRC.
    pub(crate) mid: Option<&'a str>,
    /// The publisher's ids and extensions.
    pub(crate) source_ids: &'a ExtensionMap,
    pub(crate) source: &'a [u8],
    pub(crate) source_header: RtpHeader,
    /// The original sequence number, for a retransmission.
    pub(crate) osn: Option<u16>,
}

impl Outlet<'_> {
    /// Writes, seals and queues a packet. `edit` changes its payload in place. False if it does not
    /// fit a datagram.
    pub(crate) fn send(&mut self, out: &Outgoing<'_>, edit: impl FnOnce(&mut [u8])) -> bool {
        let payload = out.source_header.payload(out.source);
        let (transport, sequence, ntp) = (&mut *self.transport, *self.transport_sequence, self.ntp);
        let mut sealed = 0;
        self.transmits.push(self.to, self.run, |buf| {
            let room = buf.len() - TAG_ROOM;
            let header_len = write_header(&mut buf[..room], out, sequence, ntp);
            let osn_len = if out.osn.is_some() { 2 } else { 0 };
            let len = header_len + osn_len + payload.len();
            if header_len == 0 || len > room {
                return 0;
            }
            if let Some(osn) = out.osn {
                buf[header_len..header_len + 2].copy_from_slice(&osn.to_be_bytes());
            }
            let body = &mut buf[header_len + osn_len..len];
            body.copy_from_slice(payload);
            edit(body);
            sealed = transport.seal_rtp(buf, header_len, len);
            sealed
        });
        if sealed > 0 {
            *self.transport_sequence = sequence.wrapping_add(1);
        }
        sealed > 0
    }
}

fn write_header(buf: &mut [u8], out: &Outgoing<'_>, sequence: u16, ntp: u64) -> usize {
    let mut writer = HeaderWriter::new(buf, &out.header);
    if let Some(mid) = out.mid
        && let Some(id) = out.ids.id(ExtensionKind::Mid)
    {
        writer.extension(id, mid.as_bytes());
    }
    if let Some(id) = out.ids.id(ExtensionKind::AbsSendTime) {
        // 6.18 fixed point seconds: the middle of the NTP time.
        let [_, time @ ..] = ((ntp >> 14) as u32).to_be_bytes();
        writer.extension(id, &time);
    }
    if let Some(id) = out.ids.id(ExtensionKind::TransportCc) {
        writer.extension(id, &sequence.to_be_bytes());
    }
    for (id, value) in out.source_header.extensions(out.source) {
        if let Some(kind) = out.source_ids.kind(id)
            && PASSED_ON.contains(&kind)
            && let Some(id) = out.ids.id(kind)
        {
            writer.extension(id, value);
        }
    }
    writer.finish()
}
