//! Tables of an answerer's duties in RFC 8829 section 5.3.1 (JSEP), RFC 9143 (BUNDLE) and related RFCs: each
//! row is an offer and the answer it must get.

use super::*;
use crate::rtp::extension::ExtensionKind::{Mid, Rid};

/// Each m-line of an answer: `media port profile formats`.
fn m_lines(negotiated: &Negotiated) -> Vec<&str> {
    let lines = negotiated.sdp.lines();
    lines.filter_map(|line| line.strip_prefix("m=")).collect()
}

fn answered(parts: &[&str]) -> Negotiated {
    answer_once(&offer(parts)).unwrap_or_else(|error| panic!("{parts:?}: {error}"))
}

fn refused(negotiated: &Negotiated) -> Vec<(&str, &'static str)> {
    let refused = negotiated.refused.iter();
    refused
        .map(|(mid, reason)| (mid.as_str(), reason.code()))
        .collect()
}

/// RFC 8829 section 5.1.2: these must be accepted, and the answer must repeat the profile.
#[test]
fn profiles_are_accepted_and_repeated() {
    for profile in [
        "UDP/TLS/RTP/SAVPF",
        "UDP/TLS/RTP/SAVP",
        "TCP/DTLS/RTP/SAVPF",
        "TCP/DTLS/RTP/SAVP",
        "RTP/SAVPF",
        "RTP/SAVP",
        "RTP/AVPF",
        "RTP/AVP",
        "TCP/TLS/RTP/SAVPF",
        "TCP/TLS/RTP/SAVP",
    ] {
        let negotiated = answered(&[&AUDIO.replace("UDP/TLS/RTP/SAVPF", profile)]);
        assert_eq!(negotiated.media[0].role, MediaRole::Publish, "{profile}");
        assert_eq!(m_lines(&negotiated), [format!("audio 9 {profile} 111")]);
    }
    for profile in ["UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"] {
        let negotiated = answered(&[&DATA.replace("UDP/DTLS/SCTP", profile)]);
        let line = format!("application 9 {profile} webrtc-datachannel");
        assert_eq!(m_lines(&negotiated), [line]);
        assert!(negotiated.sdp.contains("a=sctp-port:5000\r\n"));
    }
    // The syntax before RFC 8841.
    let sctpmap =
        "m=application 9 DTLS/SCTP 5000\na=mid:2\na=sctpmap:5000 webrtc-datachannel 1024\n";
    let negotiated = answered(&[sctpmap]);
    assert_eq!(m_lines(&negotiated), ["application 9 DTLS/SCTP 5000"]);
    let line = "a=sctpmap:5000 webrtc-datachannel 65535\r\n";
    assert!(negotiated.sdp.contains(line) && !negotiated.sdp.contains("sctp-port"));
}

/// RFC 8829 section 5.3.1: what cannot be used costs its m-line, and the client is told why.
#[test]
fn an_m_line_that_cannot_be_used_is_refused_alone() {
    let h265 = VIDEO.replace("VP8", "H265");
    let opus = AUDIO
        .replace("opus/48000/2", "OPUS/48000")
        .replace("mid:0", "mid:1");
    let pcmu = "m=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:1\na=recvonly\na=rtcp-mux\n";
    let idle = h265.replace("recvonly", "inactive");
    let text = "m=text 9 UDP/TLS/RTP/SAVPF 98\na=mid:1\na=rtpmap:98 t140/1000\n";
    let chat = "m=chat 9 TCP/MSRP *\na=mid:1\n";
    let vnd = AUDIO
        .replace("UDP/TLS/RTP/SAVPF", "UDP/X")
        .replace("mid:0", "mid:1");
    let sctp = "m=application 9 UDP/DTLS/SCTP 5000\na=mid:1\n";
    let bfcp = "m=application 9 TCP/DTLS/BFCP *\na=mid:1\n";
    let split = VIDEO
        .replace("a=rtcp-mux\n", "")
        .replace("a=mid:1\n", "a=mid:1\na=rtcp:5001\n");
    for (part, code, says) in [
        (
            h265.as_str(),
            "sdp_no_common_codec",
            "m-line 2 (video, mid 1) offers no codec the relay forwards, only H265",
        ),
        (
            &opus,
            "sdp_no_common_codec",
            "only OPUS/48000, which must be opus/48000/2",
        ),
        (pcmu, "sdp_no_common_codec", "only PCMU"),
        (&idle, "sdp_no_common_codec", "H265"),
        (
            text,
            "sdp_unknown_media",
            "m-line 2 (text, mid 1) is not carried",
        ),
        (
            chat,
            "sdp_unknown_media",
            "the relay takes audio, video and data channels",
        ),
        (
            &vnd,
            "sdp_unknown_media",
            "its profile UDP/X is none that the relay knows; UDP/TLS/RTP/SAVPF",
        ),
        (
            sctp,
            "sdp_unknown_media",
            "its format 5000 is not webrtc-datachannel",
        ),
        (
            bfcp,
            "sdp_unknown_media",
            "its profile TCP/DTLS/BFCP is none",
        ),
    ] {
        // Wherever it stands.
        for parts in [[AUDIO, part], [part, AUDIO]] {
            let negotiated = answered(&parts);
            assert_eq!(refused(&negotiated), [("1", code)], "{part}");
            let (mid, reason) = &negotiated.refused[0];
            let says = says.replace(
                "m-line 2",
                if parts[0] == part {
                    "m-line 1"
                } else {
                    "m-line 2"
                },
            );
            assert!(reason.to_string().contains(&says), "{reason}");
            for (index, media) in negotiated.media.iter().enumerate() {
                let expected = match media.mid == *mid {
                    true => MediaRole::Rejected,
                    false => MediaRole::Publish,
                };
                assert_eq!(media.role, expected, "{part}");
                let head: Vec<&str> = parts[index].split_whitespace().take(4).collect();
                let line = m_lines(&negotiated)[index];
                match expected {
                    // The profile and a format are repeated.
                    MediaRole::Rejected => {
                        let [media, _, profile, format] = head[..] else {
                            panic!("{part}")
                        };
                        assert_eq!(format!("m={line}"), format!("{media} 0 {profile} {format}"));
                    }
                    _ => assert_eq!(line, "audio 9 UDP/TLS/RTP/SAVPF 111"),
                }
            }
            assert!(negotiated.sdp.contains("a=group:BUNDLE 0\r\n"), "{part}");
        }
    }
    // In a group, the m-line that describes the transport multiplexes RTCP for all; see below.
    let lone = answer_once(&offer(&[&split])).expect("negotiates");
    assert_eq!(refused(&lone), [("1", "sdp_no_rtcp_mux")]);
    let second = DATA.replace("mid:2", "mid:3");
    let twice = answered(&[AUDIO, DATA, &second]);
    assert_eq!(refused(&twice), [("3", "sdp_unknown_media")]);
}

/// RFC 9143 section 7.3.1, RFC 8829 section 5.3.1 with policy `max-bundle`: one group, that of the first
/// m-line in use.
#[test]
fn one_group_shares_the_transport() {
    use MediaRole::{Data, Publish, Rejected, Slot};
    let stopped = AUDIO.replace(" 9 ", " 0 ");
    let unknown = AUDIO.replace("opus", "G722");
    let group = |parts: &[&str], lines: &str| {
        let text = offer(parts);
        let known = text
            .lines()
            .find(|line| line.starts_with("a=group"))
            .expect("a group");
        text.replace(&format!("{known}\n"), lines)
    };
    let all = [AUDIO, VIDEO, DATA];
    for (what, text, roles, answered) in [
        (
            "all in one",
            group(&all, "a=group:BUNDLE 0 1 2\n"),
            [Publish, Slot, Data],
            Some("0 1 2"),
        ),
        (
            "listed in another order",
            group(&all, "a=group:BUNDLE 2 1 0\n"),
            [Publish, Slot, Data],
            Some("2 1 0"),
        ),
        (
            "no group",
            group(&all, ""),
            [Publish, Rejected, Rejected],
            None,
        ),
        (
            "another semantics",
            group(&all, "a=group:LS 0 1 2\n"),
            [Publish, Rejected, Rejected],
            None,
        ),
        (
            "one outside",
            group(&all, "a=group:BUNDLE 0 1\n"),
            [Publish, Slot, Rejected],
            Some("0 1"),
        ),
        (
            "the first outside",
            group(&all, "a=group:BUNDLE 1 2\n"),
            [Publish, Rejected, Rejected],
            None,
        ),
        (
            "two groups",
            group(&all, "a=group:BUNDLE 1\na=group:BUNDLE 0 2\n"),
            [Publish, Rejected, Data],
            Some("0 2"),
        ),
        (
            "the first stopped",
            group(&[&stopped, VIDEO, DATA], "a=group:BUNDLE 1 2\n"),
            [Rejected, Slot, Data],
            Some("1 2"),
        ),
        (
            "the first refused",
            group(&[&unknown, VIDEO, DATA], "a=group:BUNDLE 0 1 2\n"),
            [Rejected, Slot, Data],
            Some("1 2"),
        ),
        (
            "names of nothing",
            group(&all, "a=group:BUNDLE x 0 1 y 2\n"),
            [Publish, Slot, Data],
            Some("0 1 2"),
        ),
    ] {
        let negotiated = answer_once(&text).expect(what);
        let got: Vec<MediaRole> = negotiated.media.iter().map(|media| media.role).collect();
        assert_eq!(got, roles, "{what}");
        let line = negotiated
            .sdp
            .lines()
            .find_map(|line| line.strip_prefix("a=group:BUNDLE "));
        assert_eq!(line, answered, "{what}");
        for (_, reason) in &negotiated.refused {
            assert!(
                matches!(reason.code(), "sdp_no_bundle" | "sdp_no_common_codec"),
                "{what}"
            );
        }
    }
}

/// RFC 9143 section 7.3.1: the transport is that of the first m-line of the group's list that is accepted
/// and has a port; RFC 9143 section 7.1.3 and RFC 8859: bundle-only m-lines say nothing of it.
#[test]
fn the_tagged_m_line_speaks_for_the_group() {
    let own = |part: &str, ufrag: &str| {
        let transport = TRANSPORT.replace("Wj1g", ufrag);
        part.replacen("\na=mid", &format!("\n{transport}a=mid"), 1)
    };
    let head = |group: &str, parts: &[String]| {
        let bundle = offer(&[]).replace("BUNDLE ", &format!("BUNDLE {group}"));
        bundle.replace(TRANSPORT, "") + &parts.concat()
    };
    let bare = VIDEO
        .replace("video 9", "video 0")
        .replace("a=rtcp-mux\n", "a=bundle-only\n");
    let unknown = AUDIO.replace("opus", "G722");
    let stopped = AUDIO.replace(" 9 ", " 0 ");
    for (what, text, ufrag) in [
        (
            "the first",
            head("0 1", &[own(AUDIO, "aaaa"), own(VIDEO, "bbbb")]),
            "aaaa",
        ),
        (
            "the first of the list",
            head("1 0", &[own(AUDIO, "aaaa"), own(VIDEO, "bbbb")]),
            "bbbb",
        ),
        (
            "bundle-only beside it",
            head("0 1", &[own(AUDIO, "aaaa"), bare.clone()]),
            "aaaa",
        ),
        (
            "bundle-only ahead of it",
            head("1 0", &[own(AUDIO, "aaaa"), bare.clone()]),
            "aaaa",
        ),
        (
            "the first is stopped",
            head("1", &[stopped, own(VIDEO, "bbbb")]),
            "bbbb",
        ),
        (
            "the first is refused",
            head("0 1", &[own(&unknown, "aaaa"), own(VIDEO, "bbbb")]),
            "bbbb",
        ),
        // Its transport is the only one described.
        (
            "refused, the rest bundle-only",
            head("0 1", &[own(&unknown, "aaaa"), bare]),
            "aaaa",
        ),
    ] {
        let offer = parse_offer(&text, &LIMITS).expect(what);
        let remote = offer.remote.expect(what);
        assert_eq!(remote.ice.ufrag, ufrag, "{what}");
        let video = &offer.media[1];
        assert!(video.is_usable(), "{what}: {:?}", video.refusal);
    }
}

/// RFC 8858: multiplexed or not at all. The answer says `a=rtcp-mux` and never `a=rtcp-mux-only`.
#[test]
fn rtcp_mux_only_is_rtcp_mux() {
    let negotiated = answered(&[&AUDIO.replace("a=rtcp-mux", "a=rtcp-mux-only")]);
    assert_eq!(negotiated.media[0].role, MediaRole::Publish);
    assert!(negotiated.sdp.contains("a=rtcp-mux\r\n") && !negotiated.sdp.contains("mux-only"));
}

/// RFC 8829 section 5.10: an m-line without a=mid is given a name, which the answer does not repeat. More
/// than one cannot share a transport.
#[test]
fn a_lone_m_line_needs_no_mid_and_no_bundle() {
    let mid = format!("a=extmap:3 {}\n", Mid.uri());
    let nameless = (AUDIO.to_owned() + &mid).replace("a=mid:0\n", "");
    let text = offer(&[&nameless]).replace("a=group:BUNDLE \n", "");
    let negotiated = answer_once(&text).expect("negotiates");
    assert_eq!(roles(&negotiated), [("0", MediaRole::Publish)]);
    for absent in ["BUNDLE", "a=mid", "sdes:mid"] {
        assert!(!negotiated.sdp.contains(absent), "{absent}");
    }

    let two = [nameless.as_str(), &VIDEO.replace("a=mid:1\n", "")];
    let text = offer(&two).replace("a=group:BUNDLE \n", "");
    let negotiated = answer_once(&text).expect("negotiates");
    assert_eq!(
        roles(&negotiated),
        [("0", MediaRole::Publish), ("1", MediaRole::Rejected)]
    );
    assert_eq!(refused(&negotiated), [("1", "sdp_no_bundle")]);

    // The name of its place may be another's.
    let taken = AUDIO.replace("mid:0", "mid:1");
    let negotiated = answer_once(&offer(&[&taken, two[1]])).expect("negotiates");
    assert_eq!(
        roles(&negotiated),
        [("1", MediaRole::Publish), ("1_", MediaRole::Rejected)]
    );
}

/// A mid of more than 16 bytes needs the two-byte form (RFC 8285 section 4.3). The client may send it so;
/// the relay, which cannot know whether the client takes that form, is known by its SSRCs instead.
#[test]
fn a_long_mid_is_read_and_not_written() {
    let long = "123e4567-e89b-12d3-a456-426614174000";
    for (mid, extmap, published, received) in [
        ("0123456789abcdef", "3", Some("3"), Some("3")),
        (long, "3", Some("3/recvonly"), Some("3/recvonly")),
        (long, "3/sendonly", Some("3/recvonly"), Some("3/recvonly")),
        (long, "3/recvonly", None, None),
        (
            &"x".repeat(255),
            "3",
            Some("3/recvonly"),
            Some("3/recvonly"),
        ),
    ] {
        let extmap = format!(
            "a=extmap:{extmap} {}\na=extmap:4 {}\n",
            Mid.uri(),
            Rid.uri()
        );
        for (part, expected) in [
            (AUDIO, published),
            (&AUDIO.replace("sendonly", "recvonly"), received),
        ] {
            let negotiated = answered(&[&(part.replace("mid:0", &format!("mid:{mid}")) + &extmap)]);
            let media = &negotiated.media[0];
            assert_eq!(media.mid, mid);
            let line = expected.map(|id| format!("a=extmap:{id} {}\r\n", Mid.uri()));
            match line {
                Some(line) => assert!(negotiated.sdp.contains(&line), "{line}{}", negotiated.sdp),
                None => assert!(!negotiated.sdp.contains(Mid.uri())),
            }
            let reads = media.role == MediaRole::Publish;
            let used = expected.is_some() && (reads || mid.len() <= 16);
            assert_eq!(media.extensions.id(Mid), used.then_some(3), "{mid}");
            assert_eq!(media.extensions.id(Rid), Some(4));
        }
    }
}

/// RFC 8829 section 5.3.1: what every answered m-line says of RTP.
#[test]
fn answers_repeat_what_was_offered_and_no_more() {
    for (offered, answers, present) in [
        ("a=rtcp-rsize\n", "a=rtcp-rsize\r\n", true),
        ("", "a=rtcp-rsize", false),
        ("a=extmap-allow-mixed\n", "a=extmap-allow-mixed\r\n", true),
        ("", "a=extmap-allow-mixed", false),
        ("a=ice-options:trickle\n", "a=setup:passive\r\n", true),
        ("a=bundle-only\n", "bundle-only", false),
        (
            "a=candidate:1 1 udp 1 192.0.2.2 9 typ host\n",
            "192.0.2.2",
            false,
        ),
        ("a=rtcp-fb:111 nack\n", "a=rtcp-fb:111 nack\r\n", true),
        ("a=rtcp-xr:rcvr-rtt=all\n", "rtcp-xr", false),
        ("a=x-unknown\n", "x-unknown", false),
    ] {
        let negotiated = answered(&[&(AUDIO.to_owned() + offered)]);
        assert_eq!(
            negotiated.sdp.contains(answers),
            present,
            "{offered} {answers}"
        );
    }
}
