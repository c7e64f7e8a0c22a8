//! Tests of whole offers: those that Chromium 156 and Firefox ESR 153 wrote (`fixtures/`, addresses of a test network),
//! with the answers they accepted; small ones written for each refusal; and random changes to both.

/// An offer and the answer to it.
macro_rules! fixture {
    ($name:literal) => {
        (
            include_str!(concat!("../fixtures/", $name, ".sdp")),
            include_str!(concat!("../fixtures/", $name, ".answer.sdp")),
        )
    };
}

mod answerer;
mod chromium;
mod firefox;
mod properties;
mod refusals;
mod renegotiation;
mod str0m;

use super::*;
use crate::event::MediaKind;
use crate::rtp::parameters::{MediaRole, SectionKind, SlotIdentity, SsrcPair};
use crate::transport::{Candidate, Fingerprint, HashAlgorithm, IceCredentials};

const LIMITS: SdpLimits = SdpLimits::new(64);

/// Deterministic, so that answers can be compared as text.
fn answer(session: &mut Session, offer: &str) -> Result<Negotiated, SdpError> {
    answer_to(session, &parse_offer(offer, &LIMITS)?)
}

fn answer_to(session: &mut Session, offer: &Offer) -> Result<Negotiated, SdpError> {
    let ice = IceCredentials {
        ufrag: "serverufragserve".into(),
        pwd: "serverpwdserverpwdserverpwdserve".into(),
    };
    let fingerprint = Fingerprint {
        algorithm: HashAlgorithm::Sha256,
        bytes: (0..32).collect(),
    };
    let candidates =
        [([127, 0, 0, 1], 10_000).into(), (LOOPBACK_6, 10_000).into()].map(Candidate::Udp);
    let ours = LocalDescription {
        ice: &ice,
        fingerprint: &fingerprint,
        candidates: &candidates,
        cname: "tertulia",
        max_message_size: 16_384,
    };
    session.negotiate(offer, &ours, &mut name_slot)
}

const LOOPBACK_6: [u16; 8] = [0, 0, 0, 0, 0, 0, 0, 1];

fn name_slot(mid: &str, kind: MediaKind) -> SlotIdentity {
    let ssrc = mid
        .bytes()
        .fold(7, |hash: u32, byte| hash.wrapping_mul(31) + u32::from(byte))
        .wrapping_mul(2);
    SlotIdentity {
        ssrc,
        rtx_ssrc: (kind == MediaKind::Video).then_some(ssrc + 1),
        stream_id: format!("slot-{mid}"),
        track_id: format!("track-{mid}"),
    }
}

fn session() -> Session {
    Session::new(77)
}

fn assert_answers(offers: &[(&str, &str)]) -> Vec<Negotiated> {
    let mut session = session();
    let negotiate = |(offer, expected): &(&str, &str)| {
        // Fixtures are stored with the line ends of the repository.
        let negotiated = answer(&mut session, &offer.replace('\n', "\r\n")).expect("negotiates");
        assert_eq!(negotiated.sdp.replace("\r\n", "\n"), *expected);
        assert_eq!(
            negotiated.sdp.matches('\n').count(),
            expected.lines().count()
        );
        negotiated
    };
    offers.iter().map(negotiate).collect()
}

fn roles(negotiated: &Negotiated) -> Vec<(&str, MediaRole)> {
    negotiated
        .media
        .iter()
        .map(|media| (media.mid.as_str(), media.role))
        .collect()
}

fn answer_once(offer: &str) -> Result<Negotiated, SdpError> {
    answer(&mut session(), offer)
}

/// A small offer: each part is a whole m-line's text after the transport's.
fn offer(parts: &[&str]) -> String {
    let mids: Vec<&str> = parts
        .iter()
        .filter(|part| !part.contains(" 0 UDP"))
        .filter_map(|part| part.split("a=mid:").nth(1)?.lines().next())
        .collect();
    let mut text = format!(
        "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE {}\n{TRANSPORT}",
        mids.join(" ")
    );
    text.extend(parts.iter().copied());
    text
}

const TRANSPORT: &str = "a=ice-ufrag:Wj1g
a=ice-pwd:YIeTuvxYyPudqoT4P6vMAjRk
a=fingerprint:sha-256 05:5E:B5:FD:A2:A4:2F:6C:59:02:BE:36:5E:68:81:72:34:7F:E8:34:4F:15:3F:CC:90:C7:BA:64:2B:46:D8:A9
a=setup:actpass
";
const AUDIO: &str = "m=audio 9 UDP/TLS/RTP/SAVPF 111
a=mid:0
a=sendonly
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=ssrc:11 cname:c
";
const VIDEO: &str = "m=video 9 UDP/TLS/RTP/SAVPF 96 97
a=mid:1
a=recvonly
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=rtcp-fb:* nack
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
";
const DATA: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel
a=mid:2
a=sctp-port:5000
";
