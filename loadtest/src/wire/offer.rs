//! Offers as a browser writes them (RFC 8829), and what a bot needs of the answers.

use std::fmt::Write;
use std::net::SocketAddr;

use tertulia_sfu::rtp::extension::{ExtensionKind, ExtensionMap};
use tertulia_signaling::protocol::native::MediaKind;

use super::candidates::Candidate;
use super::ice::Credentials;
use crate::bot::codecs;
pub use crate::bot::plan::Sending;
use crate::sdp::{Description, Section};

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
pub struct Line {
    pub kind: MediaKind,
    /// The streams that it sends; a line without receives.
    pub sending: Option<Sending>,
}

/// The offering bot.
#[derive(Clone, Debug)]
pub struct Offerer<'a> {
    pub session: u64,
    pub version: u64,
    pub ice: &'a Credentials,
    pub fingerprint: &'a str,
    pub address: SocketAddr,
    pub cname: &'a str,
}

impl Offerer<'_> {
    /// Writes an offer of all m-lines, whose mids are their places.
    pub fn write(&self, lines: &[Line]) -> String {
        let mut sdp = String::with_capacity(512 + lines.len() * 1_500);
        // Writing to a String does not fail.
        let _ = offer(&mut sdp, self, lines);
        sdp
    }
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
    let (codec, parameters) = codecs::known(format);
    let (name, rate) = (codec.name(), codec.clock_rate());
    let channels = if codec.is_audio() { "/2" } else { "" };
    write!(out, "a=rtpmap:{format} {name}/{rate}{channels}\r\n")?;
    write!(out, "a=rtcp-fb:{format} transport-cc\r\n")?;
    if !parameters.is_empty() {
        write!(out, "a=fmtp:{format} {parameters}\r\n")?;
    }
    if codec.is_audio() {
        return Ok(());
    }
    for feedback in ["ccm fir", "nack", "nack pli"] {
        write!(out, "a=rtcp-fb:{format} {feedback}\r\n")?;
    }
    let repair = codecs::repair_of(format);
    write!(
        out,
        "a=rtpmap:{repair} rtx/{rate}\r\na=fmtp:{repair} apt={format}\r\n"
    )
}

/// The parts of an answer that a bot needs.
#[derive(Clone, Debug)]
pub struct Answer {
    pub ice: Credentials,
    pub candidates: Vec<Candidate>,
    /// SHA-256 of the server's certificate, as the answer writes it.
    pub fingerprint: String,
    pub extensions: ExtensionMap,
    pub sections: Vec<Section>,
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    ///
    /// It lacks what a transport needs; in words.
    pub fn read(sdp: &str) -> Result<Self, String> {
        let read = Description::read(sdp);
        let missing = |what: &str| format!("the answer has no {what}");
        let mut extensions = ExtensionMap::default();
        for (id, kind) in read
            .sections
            .iter()
            .flat_map(|section| section.extensions.iter())
        {
            extensions.insert(id, kind);
        }
        let candidates = read.candidates.iter();
        Ok(Self {
            ice: Credentials {
                ufrag: read.ufrag.ok_or_else(|| missing("ice-ufrag"))?,
                pwd: read.pwd.ok_or_else(|| missing("ice-pwd"))?,
            },
            candidates: candidates
                .filter_map(|value| Candidate::read(value))
                .collect(),
            fingerprint: read
                .fingerprint
                .ok_or_else(|| missing("SHA-256 fingerprint"))?,
            extensions,
            sections: read.sections,
        })
    }
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
        let answer = Answer::read(ANSWER).unwrap();
        let addresses = answer.candidates.iter().map(|known| known.address);
        let addresses: Vec<String> = addresses.map(|known| known.to_string()).collect();
        assert_eq!(addresses, ["[::1]:10000", "127.0.0.1:10000"]);
        assert_eq!(
            (&*answer.ice.ufrag, &*answer.ice.pwd),
            ("serverufrag", "serverpwd")
        );
        let lines = answer.sections.iter();
        let lines: Vec<_> = lines
            .map(|line| (&*line.mid, line.accepted, &line.formats[..]))
            .collect();
        assert_eq!(lines, [("0", true, &[111, 63][..]), ("1", false, &[96])]);
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
            let error = Answer::read(&without.join("\r\n")).unwrap_err();
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
        let encoding = |rid, ssrc| crate::bot::plan::Encoding {
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
        let sdp = offerer.write(&[
            line(vec![encoding("", 5)]),
            line(vec![encoding("q", 10), encoding("f", 20)]),
            Line {
                kind: MediaKind::Audio,
                sending: None,
            },
        ]);
        let read = Description::read(&sdp).sections;
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
            let _ = Answer::read(&text);
            let _ = Answer::read(&ANSWER[..cut]);
            let _ = Answer::read(&format!("{}{junk}{}", &ANSWER[..cut], &ANSWER[cut..]));
        }
    }
}
