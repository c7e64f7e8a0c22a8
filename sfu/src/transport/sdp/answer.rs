//! The server's answer, written (RFC 8829 section 5.3.1).

use std::fmt::Write;

use crate::rtp::parameters::{
    CodecFormat, CodecParameters, MediaRole, SectionKind, SectionParameters,
};
use crate::transport::{Candidate, Fingerprint, HashAlgorithm};

use super::media::{Direction, OfferedExtension, OfferedMedia};
use super::offer::Offer;
use super::session::LocalDescription;

/// Appends one line. Writing to a `String` cannot fail.
macro_rules! line {
    ($out:expr, $($format:tt)*) => {{
        let _ = write!($out, $($format)*);
        $out.push_str("\r\n");
    }};
}

/// Writes the answer to `offer`, whose m-lines became `media` one by one and keep these `extensions`.
/// `origin` is the session's id and the answer's version.
pub(super) fn write(
    origin: (u64, u64),
    offer: &Offer,
    ours: &LocalDescription<'_>,
    media: &[SectionParameters],
    extensions: &[Vec<OfferedExtension>],
) -> String {
    let mut out = String::with_capacity(512 + media.len() * 1024);
    line!(out, "v=0");
    line!(out, "o=- {} {} IN IP4 127.0.0.1", origin.0, origin.1);
    line!(out, "s=-");
    line!(out, "t=0 0");
    line!(out, "a=ice-lite");
    let accepted = |mid: &&String| {
        let mut media = media.iter().filter(|m| m.role != MediaRole::Rejected);
        media.any(|media| media.mid == **mid)
    };
    // The first speaks for the group (RFC 9143 section 7.3.1).
    let mut group = offer.bundle.iter().flatten().filter(accepted).peekable();
    if group.peek().is_some() {
        out.push_str("a=group:BUNDLE");
        for mid in group {
            let _ = write!(out, " {mid}");
        }
        out.push_str("\r\n");
    }
    if offer.extmap_allow_mixed {
        line!(out, "a=extmap-allow-mixed");
    }
    line!(out, "a=msid-semantic: WMS *");

    for ((offered, media), extensions) in offer.media.iter().zip(media).zip(extensions) {
        if media.role == MediaRole::Rejected {
            write_refusal(&mut out, offered);
            continue;
        }
        write_media_line(&mut out, offered, media);
        line!(out, "c=IN IP4 0.0.0.0");
        // The first m-line of the group speaks for it, yet some clients keep the last one's.
        write_candidates(&mut out, ours.candidates);
        line!(out, "a=ice-ufrag:{}", ours.ice.ufrag);
        line!(out, "a=ice-pwd:{}", ours.ice.pwd);
        write_fingerprint(&mut out, ours.fingerprint);
        line!(out, "a=setup:passive");
        if offered.named {
            line!(out, "a=mid:{}", media.mid);
        }
        if media.role == MediaRole::Data {
            if offered.has_sctpmap() {
                // Draft versions of RFC 8841, section 5: port, protocol, number of streams.
                let port = &offered.line.format;
                line!(out, "a=sctpmap:{port} webrtc-datachannel 65535");
            } else {
                line!(out, "a=sctp-port:5000");
            }
            line!(out, "a=max-message-size:{}", ours.max_message_size);
        } else {
            write_extensions(&mut out, offered, extensions);
            write_rtp(&mut out, offered, media, ours.cname);
        }
    }
    out
}

/// RFC 8829 section 5.3.1: a refused m-line repeats its protocol and at least one format.
fn write_refusal(out: &mut String, offered: &OfferedMedia) {
    let line = &offered.line;
    line!(out, "m={} 0 {} {}", line.media, line.protocol, line.format);
    line!(out, "c=IN IP4 0.0.0.0");
    if offered.named {
        line!(out, "a=mid:{}", offered.mid);
    }
    if offered.kind != SectionKind::Data {
        line!(out, "a=inactive");
    }
}

fn write_media_line(out: &mut String, offered: &OfferedMedia, media: &SectionParameters) {
    let line = &offered.line;
    let _ = write!(out, "m={} 9 {}", line.media, line.protocol);
    if media.role == MediaRole::Data {
        let _ = write!(out, " {}", line.format);
    }
    for codec in &media.codecs {
        let _ = write!(out, " {}", codec.payload_type);
        if let Some(rtx) = codec.rtx {
            let _ = write!(out, " {rtx}");
        }
    }
    out.push_str("\r\n");
}

/// Host candidates (RFC 8839 section 5.1), all there will be.
fn write_candidates(out: &mut String, candidates: &[Candidate]) {
    for (index, candidate) in candidates.iter().enumerate() {
        let number = index + 1;
        // RFC 8445 section 5.1.2.1: type preference, local preference, component 1.
        let priority = |kind: u32, local: u32| kind << 24 | local << 8 | 255;
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        match candidate {
            Candidate::Udp(addr) => {
                let (ip, port) = (addr.ip().to_canonical(), addr.port());
                let priority = priority(126, u32::from(u16::MAX).saturating_sub(index));
                line!(
                    out,
                    "a=candidate:{number} 1 udp {priority} {ip} {port} typ host"
                );
            }
            // RFC 6544 section 4.2: below all of UDP; the direction preference of `passive` host candidates is 4.
            Candidate::Tcp(addr) => {
                let (ip, port) = (addr.ip().to_canonical(), addr.port());
                let priority = priority(90, 4 << 13 | (0x1fff_u32).saturating_sub(index));
                line!(
                    out,
                    "a=candidate:{number} 1 tcp {priority} {ip} {port} typ host tcptype passive"
                );
            }
        }
    }
    line!(out, "a=end-of-candidates");
}

fn write_fingerprint(out: &mut String, fingerprint: &Fingerprint) {
    let name = match fingerprint.algorithm {
        HashAlgorithm::Sha256 => "sha-256",
        HashAlgorithm::Sha384 => "sha-384",
        HashAlgorithm::Sha512 => "sha-512",
    };
    let _ = write!(out, "a=fingerprint:{name} ");
    for (index, byte) in fingerprint.bytes.iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        let _ = write!(out, "{colon}{byte:02X}");
    }
    out.push_str("\r\n");
}

/// RFC 8285 section 7: the offer's ids, each direction seen from here.
fn write_extensions(out: &mut String, offered: &OfferedMedia, extensions: &[OfferedExtension]) {
    if offered.extmap_allow_mixed {
        line!(out, "a=extmap-allow-mixed");
    }
    let mut by_id: Vec<&OfferedExtension> = extensions.iter().collect();
    by_id.sort_by_key(|extension| extension.id);
    for OfferedExtension {
        id,
        kind,
        direction,
    } in by_id
    {
        match direction.mirrored() {
            Direction::SendRecv => line!(out, "a=extmap:{id} {}", kind.uri()),
            limited => line!(out, "a=extmap:{id}/{} {}", limited.name(), kind.uri()),
        }
    }
}

fn write_rtp(out: &mut String, offered: &OfferedMedia, media: &SectionParameters, cname: &str) {
    out.push_str(match media.role {
        MediaRole::Publish => "a=recvonly\r\n",
        MediaRole::Slot => "a=sendonly\r\n",
        _ => "a=inactive\r\n",
    });
    if let Some(slot) = &media.slot {
        line!(out, "a=msid:{} {}", slot.stream_id, slot.track_id);
    }
    line!(out, "a=rtcp-mux");
    if offered.rtcp_rsize {
        line!(out, "a=rtcp-rsize");
    }
    for codec in &media.codecs {
        write_codec(out, codec, media.role);
    }
    if let Some(slot) = &media.slot {
        let retransmits = media.codecs.iter().any(|codec| codec.rtx.is_some());
        let rtx_ssrc = slot.rtx_ssrc.filter(|_| retransmits);
        if let Some(rtx) = rtx_ssrc {
            line!(out, "a=ssrc-group:FID {} {rtx}", slot.ssrc);
        }
        for ssrc in [Some(slot.ssrc), rtx_ssrc].into_iter().flatten() {
            line!(out, "a=ssrc:{ssrc} cname:{cname}");
        }
    }
    if !media.rids.is_empty() {
        for rid in &media.rids {
            line!(out, "a=rid:{rid} recv");
        }
        line!(out, "a=simulcast:recv {}", media.rids.join(";"));
    }
}

fn write_codec(out: &mut String, codec: &CodecFormat, role: MediaRole) {
    let pt = codec.payload_type;
    let clock_rate = codec.codec.clock_rate();
    let channels = if codec.codec.is_audio() { "/2" } else { "" };
    line!(
        out,
        "a=rtpmap:{pt} {}/{clock_rate}{channels}",
        codec.codec.name()
    );
    for (wanted, name) in [
        (codec.feedback.remb, "goog-remb"),
        (codec.feedback.twcc, "transport-cc"),
        (codec.feedback.fir, "ccm fir"),
        (codec.feedback.nack, "nack"),
        (codec.feedback.pli, "nack pli"),
    ] {
        if wanted {
            line!(out, "a=rtcp-fb:{pt} {name}");
        }
    }
    write_parameters(out, codec, role);
    if let Some(rtx) = codec.rtx {
        line!(out, "a=rtpmap:{rtx} rtx/{clock_rate}");
        line!(out, "a=fmtp:{rtx} apt={pt}");
    }
}

fn write_parameters(out: &mut String, codec: &CodecFormat, role: MediaRole) {
    let pt = codec.payload_type;
    match codec.parameters {
        CodecParameters::Vp8 => {}
        // A receiver's parameters are wishes of the sender (RFC 7587 section 7): FEC and DTX asked of
        // publishers; towards a viewer the answer only says what will come.
        CodecParameters::Opus { stereo } => {
            let wishes = match role {
                MediaRole::Publish => ";usedtx=1",
                _ => "",
            };
            let stereo = match (stereo, role) {
                (false, _) => "",
                (true, MediaRole::Publish) => ";stereo=1",
                (true, _) => ";sprop-stereo=1",
            };
            line!(
                out,
                "a=fmtp:{pt} minptime=10;useinbandfec=1{wishes}{stereo}"
            );
        }
        CodecParameters::Red { primary } => line!(out, "a=fmtp:{pt} {primary}/{primary}"),
        CodecParameters::Vp9 { profile } => line!(out, "a=fmtp:{pt} profile-id={profile}"),
        CodecParameters::H264 {
            profile_level_id: [idc, iop, level],
            packetization_mode,
        } => line!(
            out,
            "a=fmtp:{pt} level-asymmetry-allowed=1;packetization-mode={packetization_mode};\
             profile-level-id={idc:02x}{iop:02x}{level:02x}"
        ),
        CodecParameters::Av1 {
            profile,
            level_idx,
            tier,
        } => line!(
            out,
            "a=fmtp:{pt} level-idx={level_idx};profile={profile};tier={tier}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_differ_and_fall_in_the_order_of_candidates() {
        let addr = |text: &str| text.parse().unwrap();
        let candidates = [
            Candidate::Udp(addr("192.0.2.1:7")),
            Candidate::Udp(addr("[2001:db8::1]:7")),
            Candidate::Udp(addr("10.0.0.1:7")),
            Candidate::Tcp(addr("192.0.2.1:443")),
            Candidate::Tcp(addr("[2001:db8::1]:443")),
        ];
        let mut out = String::new();
        write_candidates(&mut out, &candidates);
        let fields = out.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let fields: Vec<_> = fields.filter(|fields| fields.len() > 3).collect();
        let foundations: Vec<&str> = fields.iter().map(|fields| fields[0]).collect();
        let priorities = fields.iter().map(|fields| fields[3].parse().unwrap());
        let priorities: Vec<u32> = priorities.collect();
        assert_eq!(priorities.len(), candidates.len());
        assert!(priorities.is_sorted_by(|a, b| a > b), "{out}");
        // RFC 8445 section 5.1.2.1: 126 for host candidates, the highest local preference, component 1.
        assert_eq!(priorities[0], 126 << 24 | 65_535 << 8 | 255);
        // Another address or transport, another foundation (section 5.1.1.3).
        let mut distinct = foundations.clone();
        distinct.dedup();
        assert_eq!(distinct, foundations);
    }
}
