//! Offers as a browser writes them (RFC 8829), and what a bot needs of the answers.

use std::fmt::Write;
use std::net::SocketAddr;

use tertulia_sfu::rtp::codec::Codec;
use tertulia_sfu::rtp::extension::{ExtensionKind, ExtensionMap};
use tertulia_signaling::protocol::native::MediaKind;

use super::candidates::Candidate;
use super::ice::Credentials;
use crate::bot::codecs;
use crate::bot::sdp::{Section, sections};

/// Header extensions offered, the same ids in every m-line of the bundle (RFC 9143 section 9.2).
const EXTENSIONS: [(u8, ExtensionKind); 7] = [
    (1, ExtensionKind::AudioLevel),
    (2, ExtensionKind::AbsSendTime),
    (3, ExtensionKind::TransportCc),
    (4, ExtensionKind::Mid),
    (6, ExtensionKind::AbsCaptureTime),
    (10, ExtensionKind::Rid),
    (11, ExtensionKind::RepairedRid),
];

/// The codecs that a bot receives, most wanted first: with video, each with its repair stream.
const RECEIVED: [u8; 5] = [
    codecs::OPUS,
    codecs::VP8,
    codecs::H264,
    codecs::VP9,
    codecs::AV1,
];

/// One m-line of the bot's offers.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) kind: MediaKind,
    /// The stream that it sends; a line without receives.
    pub(super) sending: Option<Sending>,
}

/// The source that a sending m-line carries.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    pub(super) payload_type: u8,
    pub(super) encodings: Vec<Encoding>,
}

/// One encoding of a track.
#[derive(Clone, Debug)]
pub(super) struct Encoding {
    /// Empty without simulcast.
    pub(super) rid: &'static str,
    pub(super) ssrc: u32,
    /// The SSRC of its retransmissions.
    pub(super) repair: Option<u32>,
}

/// The offering bot.
#[derive(Clone, Debug)]
pub(super) struct Offerer<'a> {
    pub(super) session: u64,
    pub(super) version: u64,
    pub(super) ice: &'a Credentials,
    pub(super) fingerprint: &'a str,
    pub(super) address: SocketAddr,
    pub(super) cname: &'a str,
}

/// Writes an offer of all m-lines, whose mids are their places.
pub(super) fn write_offer(offerer: &Offerer<'_>, lines: &[Line]) -> String {
    let mut sdp = String::with_capacity(512 + lines.len() * 1_500);
    // Writing to a String does not fail.
    let _ = offer(&mut sdp, offerer, lines);
    sdp
}

fn offer(out: &mut String, offerer: &Offerer<'_>, lines: &[Line]) -> std::fmt::Result {
    let Offerer {
        session, version, ..
    } = offerer;
    write!(out, "v=0\r\no=- {session} {version} IN IP4 127.0.0.1\r\n")?;
    write!(out, "s=-\r\nt=0 0\r\na=group:BUNDLE")?;
    for mid in 0..lines.len() {
        write!(out, " {mid}")?;
    }
    write!(out, "\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n")?;
    for (mid, line) in lines.iter().enumerate() {
        media(out, offerer, mid, line)?;
    }
    Ok(())
}

fn media(out: &mut String, offerer: &Offerer<'_>, mid: usize, line: &Line) -> std::fmt::Result {
    let audio = line.kind == MediaKind::Audio;
    let formats: Vec<u8> = match &line.sending {
        Some(sending) => vec![sending.payload_type],
        None => RECEIVED
            .into_iter()
            .filter(|format| codecs::codec(*format).is_some_and(|codec| codec.is_audio() == audio))
            .collect(),
    };
    let name = if audio { "audio" } else { "video" };
    write!(out, "m={name} {} UDP/TLS/RTP/SAVPF", offerer.address.port())?;
    for format in &formats {
        write!(out, " {format}")?;
        if !audio {
            write!(out, " {}", format + 1)?;
        }
    }
    let ip = offerer.address.ip();
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let port = offerer.address.port();
    write!(out, "\r\nc=IN {family} {ip}\r\na=rtcp:9 IN IP4 0.0.0.0\r\n")?;
    write!(
        out,
        "a=candidate:1 1 udp 2122260223 {ip} {port} typ host generation 0\r\n"
    )?;
    let Credentials { ufrag, pwd } = offerer.ice;
    write!(
        out,
        "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=ice-options:trickle\r\n"
    )?;
    write!(out, "a=fingerprint:sha-256 {}\r\n", offerer.fingerprint)?;
    write!(out, "a=setup:active\r\na=mid:{mid}\r\n")?;
    for (id, kind) in EXTENSIONS {
        let fits = match kind {
            ExtensionKind::AudioLevel => audio,
            ExtensionKind::Rid | ExtensionKind::RepairedRid => !audio,
            _ => true,
        };
        if fits {
            write!(out, "a=extmap:{id} {}\r\n", kind.uri())?;
        }
    }
    let direction = if line.sending.is_some() {
        "sendonly"
    } else {
        "recvonly"
    };
    write!(out, "a={direction}\r\n")?;
    let cname = offerer.cname;
    if line.sending.is_some() {
        write!(out, "a=msid:{cname} {cname}-{mid}\r\n")?;
    }
    write!(out, "a=rtcp-mux\r\na=rtcp-rsize\r\n")?;
    for format in formats {
        write_format(out, format)?;
    }
    let Some(sending) = &line.sending else {
        return Ok(());
    };
    if let [encoding] = &sending.encodings[..] {
        let ssrc = encoding.ssrc;
        if let Some(repair) = encoding.repair {
            write!(out, "a=ssrc-group:FID {ssrc} {repair}\r\n")?;
            write!(out, "a=ssrc:{repair} cname:{cname}\r\n")?;
        }
        return write!(out, "a=ssrc:{ssrc} cname:{cname}\r\n");
    }
    for encoding in &sending.encodings {
        write!(out, "a=rid:{} send\r\n", encoding.rid)?;
    }
    let rids: Vec<_> = sending
        .encodings
        .iter()
        .map(|encoding| encoding.rid)
        .collect();
    write!(out, "a=simulcast:send {}\r\n", rids.join(";"))
}

fn write_format(out: &mut String, format: u8) -> std::fmt::Result {
    let Some(codec) = codecs::codec(format) else {
        return Ok(());
    };
    let (name, rate) = (codec.name(), codec.clock_rate());
    let channels = if codec.is_audio() { "/2" } else { "" };
    write!(out, "a=rtpmap:{format} {name}/{rate}{channels}\r\n")?;
    write!(out, "a=rtcp-fb:{format} transport-cc\r\n")?;
    if !codec.is_audio() {
        for feedback in ["ccm fir", "nack", "nack pli"] {
            write!(out, "a=rtcp-fb:{format} {feedback}\r\n")?;
        }
    }
    let parameters = match codec {
        Codec::Opus => "minptime=10;useinbandfec=1;usedtx=1",
        // Constrained Baseline, which every browser has and our clip is.
        Codec::H264 => "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
        Codec::Vp9 => "profile-id=0",
        _ => "",
    };
    if !parameters.is_empty() {
        write!(out, "a=fmtp:{format} {parameters}\r\n")?;
    }
    if !codec.is_audio() {
        let repair = format + 1;
        write!(
            out,
            "a=rtpmap:{repair} rtx/{rate}\r\na=fmtp:{repair} apt={format}\r\n"
        )?;
    }
    Ok(())
}

/// The parts of an answer that a bot needs.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) ice: Credentials,
    /// The candidates of all m-lines, which are the same ones in a bundle.
    pub(super) candidates: Vec<Candidate>,
    /// SHA-256 of the server's certificate, as the answer writes it.
    pub(super) fingerprint: String,
    pub(super) extensions: ExtensionMap,
    pub(super) sections: Vec<Section>,
    /// Mid and payload types of each m-line that was not rejected.
    pub(super) accepted: Vec<(String, Vec<u8>)>,
}

/// Reads an answer.
pub(super) fn read_answer(sdp: &str) -> Result<Answer, String> {
    let sections = sections(sdp);
    let (mut ufrag, mut pwd, mut fingerprint) = (None, None, None);
    let mut candidates = Vec::new();
    let mut accepted: Vec<(String, Vec<u8>)> = Vec::new();
    for line in sdp.lines().map(str::trim_end) {
        if let Some(media) = line.strip_prefix("m=") {
            let mut words = media.split(' ').skip(1);
            let live = words.next().is_some_and(|port| port != "0");
            let formats = words.skip(1).filter_map(|word| word.parse().ok());
            accepted.push((
                String::new(),
                if live { formats.collect() } else { Vec::new() },
            ));
        }
        let Some((key, value)) = line
            .strip_prefix("a=")
            .and_then(|rest| rest.split_once(':'))
        else {
            continue;
        };
        match key {
            "ice-ufrag" => _ = ufrag.get_or_insert(value),
            "ice-pwd" => _ = pwd.get_or_insert(value),
            "fingerprint" => {
                let hash = value
                    .split_once(' ')
                    .filter(|(hash, _)| hash.eq_ignore_ascii_case("sha-256"));
                fingerprint = fingerprint.or(hash.map(|(_, hash)| hash.trim()));
            }
            "candidate" => candidates.extend(Candidate::read(value)),
            "mid" => {
                if let Some((mid, _)) = accepted.last_mut() {
                    *mid = value.to_owned();
                }
            }
            _ => {}
        }
    }
    accepted.retain(|(_, formats)| !formats.is_empty());
    let missing = |what: &str| format!("the answer has no {what}");
    Ok(Answer {
        ice: Credentials {
            ufrag: ufrag.ok_or_else(|| missing("ice-ufrag"))?.to_owned(),
            pwd: pwd.ok_or_else(|| missing("ice-pwd"))?.to_owned(),
        },
        candidates,
        fingerprint: fingerprint
            .ok_or_else(|| missing("SHA-256 fingerprint"))?
            .to_owned(),
        extensions: extensions(&sections),
        sections,
        accepted,
    })
}

fn extensions(sections: &[Section]) -> ExtensionMap {
    let mut map = ExtensionMap::default();
    for (id, uri) in sections.iter().flat_map(|section| &section.extensions) {
        if let Some(kind) = ExtensionKind::from_uri(uri) {
            map.insert(*id, kind);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANSWER: &str = "v=0\r\na=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\n\
        a=candidate:2 1 udp 2130706175 ::1 10000 typ host\r\n\
        a=candidate:1 1 udp 2130706431 127.0.0.1 10000 typ host\r\n\
        a=ice-ufrag:serverufrag\r\na=ice-pwd:serverpwd\r\na=fingerprint:sha-256 00:01\r\n\
        a=mid:0\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=ssrc:7 cname:c\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n";

    #[test]
    fn an_answer_is_read() {
        let answer = read_answer(ANSWER).unwrap();
        let addresses = answer.candidates.iter().map(|known| known.address);
        let addresses: Vec<String> = addresses.map(|known| known.to_string()).collect();
        assert_eq!(addresses, ["[::1]:10000", "127.0.0.1:10000"]);
        assert_eq!(
            (&*answer.ice.ufrag, &*answer.ice.pwd),
            ("serverufrag", "serverpwd")
        );
        assert_eq!(answer.accepted, [("0".to_owned(), vec![111, 63])]);
        assert_eq!(answer.extensions.id(ExtensionKind::Mid), Some(4));
        assert_eq!(answer.sections[0].ssrcs, [7]);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (line, named) in [
            ("a=ice-ufrag", "ice-ufrag"),
            ("a=ice-pwd", "ice-pwd"),
            ("a=fingerprint", "fingerprint"),
        ] {
            let without: Vec<_> = ANSWER.lines().filter(|l| !l.starts_with(line)).collect();
            let error = read_answer(&without.join("\r\n")).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn offers_say_what_is_sent() {
        let ice = Credentials::random();
        let offerer = Offerer {
            session: 1,
            version: 2,
            ice: &ice,
            fingerprint: "AB:CD",
            address: "127.0.0.1:4000".parse().unwrap(),
            cname: "bot",
        };
        let encoding = |rid, ssrc| Encoding {
            rid,
            ssrc,
            repair: Some(ssrc + 1),
        };
        let line = |encodings| Line {
            kind: MediaKind::Video,
            sending: Some(Sending {
                payload_type: codecs::VP8,
                encodings,
            }),
        };
        let sdp = write_offer(
            &offerer,
            &[
                line(vec![encoding("", 5)]),
                line(vec![encoding("q", 10), encoding("f", 20)]),
                Line {
                    kind: MediaKind::Audio,
                    sending: None,
                },
            ],
        );
        let read = sections(&sdp);
        assert_eq!(read.len(), 3);
        assert_eq!(
            (&read[0].ssrcs[..], &read[0].repairs[..]),
            (&[5][..], &[(5, 6)][..])
        );
        assert!(read[1].ssrcs.is_empty() && sdp.contains("a=simulcast:send q;f\r\n"));
        assert!(sdp.contains("m=audio 4000 UDP/TLS/RTP/SAVPF 111\r\n"));
        assert_eq!(sdp.matches("a=setup:active").count(), 3);
    }

    proptest! {
        #[test]
        fn nonsense_is_refused_without_a_panic(text: String, cut in 0..ANSWER.len(), junk in "[a-z0-9 :=\r\n]{0,40}") {
            let _ = read_answer(&text);
            let _ = read_answer(&ANSWER[..cut]);
            let _ = read_answer(&format!("{}{junk}{}", &ANSWER[..cut], &ANSWER[cut..]));
        }
    }
}
