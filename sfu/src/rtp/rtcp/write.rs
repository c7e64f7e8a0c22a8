//! Appends packets to a compound. Values beyond a field's range are split over several packets or
//! truncated, as each function says; none can fail.

use super::*;

/// The count field has 5 bits.
const MAX_COUNT: usize = 31;

/// A sender report with up to 31 report blocks; further blocks follow in receiver reports.
pub fn sender_report(
    out: &mut Vec<u8>,
    ssrc: u32,
    ntp: u64,
    rtp: u32,
    packets: u32,
    octets: u32,
    reports: &[ReportBlock],
) {
    let (reports, more) = reports.split_at(reports.len().min(MAX_COUNT));
    packet(out, SENDER_REPORT, reports.len() as u8, |out| {
        put(out, ssrc);
        out.extend_from_slice(&ntp.to_be_bytes());
        put(out, rtp);
        put(out, packets);
        put(out, octets);
        report_blocks(out, reports);
    });
    if !more.is_empty() {
        receiver_report(out, ssrc, more);
    }
}

/// Receiver reports, one for each 31 blocks and at least one.
pub fn receiver_report(out: &mut Vec<u8>, ssrc: u32, reports: &[ReportBlock]) {
    let mut rest = reports;
    loop {
        let (reports, more) = rest.split_at(rest.len().min(MAX_COUNT));
        packet(out, RECEIVER_REPORT, reports.len() as u8, |out| {
            put(out, ssrc);
            report_blocks(out, reports);
        });
        if more.is_empty() {
            return;
        }
        rest = more;
    }
}

/// A source description with nothing but a CNAME, cut at 255 bytes.
pub fn sdes_cname(out: &mut Vec<u8>, ssrc: u32, cname: &str) {
    let mut len = cname.len().min(255);
    while !cname.is_char_boundary(len) {
        len -= 1;
    }
    let cname = &cname[..len];
    packet(out, SOURCE_DESCRIPTION, 1, |out| {
        put(out, ssrc);
        out.extend_from_slice(&[CNAME, cname.len() as u8]);
        out.extend_from_slice(cname.as_bytes());
        // A zero, at least one, ends the items.
        out.push(0);
    });
}

/// Goodbyes, one for each 31 sources; nothing for none.
pub fn bye(out: &mut Vec<u8>, ssrcs: &[u32]) {
    for ssrcs in ssrcs.chunks(MAX_COUNT) {
        packet(out, GOODBYE, ssrcs.len() as u8, |out| {
            ssrcs.iter().for_each(|ssrc| put(out, *ssrc));
        });
    }
}

/// A generic NACK for `lost`, which is best in ascending order (wrapping): numbers within 16 of
/// one another share a word. Nothing for none; more than [`MAX_LOST`] are cut.
pub fn nack(out: &mut Vec<u8>, sender: u32, media: u32, lost: &[u16]) {
    let mut lost = lost.iter().copied().take(MAX_LOST).peekable();
    if lost.peek().is_none() {
        return;
    }
    packet(out, TRANSPORT_FEEDBACK, GENERIC_NACK, |out| {
        put(out, sender);
        put(out, media);
        while let Some(first) = lost.next() {
            let mut following = 0u16;
            while let Some(distance) = lost.peek().map(|next| next.wrapping_sub(first))
                && distance <= 16
            {
                // A repeated number sets no bit.
                following |= (1u32 << distance >> 1) as u16;
                lost.next();
            }
            put(out, u32::from(first) << 16 | u32::from(following));
        }
    });
}

/// A picture loss indication.
pub fn pli(out: &mut Vec<u8>, sender: u32, media: u32) {
    packet(out, PAYLOAD_FEEDBACK, PICTURE_LOSS, |out| {
        put(out, sender);
        put(out, media);
    });
}

/// A full intra request for each `(ssrc, sequence number)`; a new request has a new number. At
/// most 255, which is more streams than a peer has.
pub fn fir(out: &mut Vec<u8>, sender: u32, entries: &[(u32, u8)]) {
    let entries = &entries[..entries.len().min(255)];
    packet(out, PAYLOAD_FEEDBACK, FULL_INTRA, |out| {
        put(out, sender);
        // RFC 5104 section 4.3.1.2: the media source is in the entries, not here.
        put(out, 0);
        for (ssrc, sequence) in entries {
            put(out, *ssrc);
            put(out, u32::from(*sequence) << 24);
        }
    });
}

/// A receiver estimated maximum bitrate, rounded down to 18 significant bits. At most 255 SSRCs.
pub fn remb(out: &mut Vec<u8>, sender: u32, bitrate: u64, ssrcs: &[u32]) {
    let ssrcs = &ssrcs[..ssrcs.len().min(255)];
    let exponent = (u64::BITS - bitrate.leading_zeros()).saturating_sub(18);
    packet(out, PAYLOAD_FEEDBACK, APPLICATION_LAYER, |out| {
        put(out, sender);
        put(out, 0);
        out.extend_from_slice(REMB_NAME);
        let mantissa = (bitrate >> exponent) as u32;
        put(out, (ssrcs.len() as u32) << 24 | exponent << 18 | mantissa);
        ssrcs.iter().for_each(|ssrc| put(out, *ssrc));
    });
}

/// An extended report with a receiver reference time, for a receiver that wants round trips
/// without sending media (RFC 3611 section 4.4).
pub fn xr_rrtr(out: &mut Vec<u8>, ssrc: u32, ntp: u64) {
    packet(out, EXTENDED_REPORT, 0, |out| {
        put(out, ssrc);
        out.extend_from_slice(&[REFERENCE_TIME_BLOCK, 0, 0, 2]);
        out.extend_from_slice(&ntp.to_be_bytes());
    });
}

/// An extended report that answers reference times (RFC 3611 section 4.5); at most 255, which is
/// more streams than a peer has.
pub fn xr_dlrr(out: &mut Vec<u8>, ssrc: u32, delays: &[DelayBlock]) {
    let delays = &delays[..delays.len().min(255)];
    packet(out, EXTENDED_REPORT, 0, |out| {
        put(out, ssrc);
        out.extend_from_slice(&[DELAY_BLOCK, 0]);
        out.extend_from_slice(&(3 * delays.len() as u16).to_be_bytes());
        for block in delays {
            put(out, block.ssrc);
            put(out, block.last_reference);
            put(out, block.delay);
        }
    });
}

/// A header around what `body` appends, zero-filled to a word.
pub(super) fn packet(
    out: &mut Vec<u8>,
    packet_type: u8,
    format: u8,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0x80 | format, packet_type, 0, 0]);
    body(out);
    let len = (out.len() - start).next_multiple_of(4);
    out.resize(start + len, 0);
    let words = (len / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

pub(super) fn put(out: &mut Vec<u8>, word: u32) {
    out.extend_from_slice(&word.to_be_bytes());
}

fn report_blocks(out: &mut Vec<u8>, reports: &[ReportBlock]) {
    for block in reports {
        put(out, block.ssrc);
        // RFC 3550 appendix A.3: the count is clamped to 24 bits with sign.
        let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        put(out, u32::from(block.fraction_lost) << 24 | lost);
        put(out, block.highest_sequence);
        put(out, block.jitter);
        put(out, block.last_sender_report);
        put(out, block.delay);
    }
}
