//! One offer for each kind of refusal, and the answers to features that are not carried.

use super::*;
use crate::client_offer::MayPublish;
use crate::transport::sdp::text;

/// The small offer negotiates, or the refusals below would prove nothing.
#[test]
fn the_small_offer_is_answered() {
    let negotiated = answer_once(&offer(&[AUDIO, VIDEO, DATA])).expect("negotiates");
    let roles: Vec<MediaRole> = negotiated.media.iter().map(|media| media.role).collect();
    assert_eq!(
        roles,
        [MediaRole::Publish, MediaRole::Slot, MediaRole::Data]
    );
    assert!(negotiated.sdp.contains("a=rtcp-fb:96 nack\r\n"));
    assert!(!negotiated.sdp.contains("extmap-allow-mixed"));
}

#[test]
fn refusals_have_a_code_and_name_the_m_line() {
    let whole = offer(&[AUDIO, VIDEO, DATA]);
    let without = |line: &str| {
        let changed: String = whole
            .lines()
            .filter(|l| !l.starts_with(line))
            .flat_map(|l| [l, "\n"])
            .collect();
        assert_ne!(changed, whole, "{line}");
        changed
    };
    let with = |from: &str, to: &str| {
        assert!(whole.contains(from), "{from}");
        whole.replacen(from, to, 1)
    };
    let many = offer(&vec![DATA; LIMITS.media + 1]);
    let long = format!("{whole}a=x:{}\n", "y".repeat(LIMITS.bytes));
    let lines = format!("{whole}{}", "a=x\n".repeat(LIMITS.lines));
    for (text, code, says) in [
        (String::new(), "sdp_syntax", "no v= line"),
        ("hello".into(), "sdp_syntax", "line 1, `hello`"),
        (with("v=0", "v=1"), "sdp_syntax", "line 1, `v=1`"),
        (long, "sdp_syntax", "1048576"),
        (lines, "sdp_syntax", "49152"),
        (
            with("a=mid:1", "a=mid:0"),
            "sdp_syntax",
            "m-line 2 (video, mid 0)",
        ),
        (
            with("a=mid:1", &format!("a=mid:{}", "x".repeat(256))),
            "sdp_syntax",
            "m-line 2 (video): a=mid must be 1 to 255 token characters",
        ),
        (
            with("a=mid:1", "a=mid:\u{e4}"),
            "sdp_syntax",
            "m-line 2 (video)",
        ),
        (with("actpass", "passive"), "sdp_syntax", "a=setup"),
        (
            with("m=video 9 UDP", "m=video 9 \u{e4}"),
            "sdp_syntax",
            "`m=video 9 \u{e4}/TLS/RTP/SAVPF 96 97`: medium, profile",
        ),
        (
            without("a=ice-ufrag"),
            "sdp_no_ice",
            "m-line 1 (audio, mid 0)",
        ),
        (
            without("a=ice-pwd"),
            "sdp_no_ice",
            "m-line 1 (audio, mid 0)",
        ),
        (
            with("a=ice-pwd:YIeT", "a=ice-pwd:"),
            "sdp_no_ice",
            "a=ice-pwd",
        ),
        (
            without("a=fingerprint"),
            "sdp_no_fingerprint",
            "there is none",
        ),
        (
            with("sha-256", "sha-1"),
            "sdp_no_fingerprint",
            "takes sha-256",
        ),
        (with("05:5E:", "05:"), "sdp_no_fingerprint", "takes sha-256"),
        (
            many,
            "sdp_too_many_media",
            "65 m-lines, the server takes 64",
        ),
    ] {
        let error = answer_once(&text).expect_err(says);
        let message = error.to_string();
        assert_eq!(error.code(), code, "{message}");
        assert!(message.contains(says), "{message:?} lacks {says:?}");
        assert!(message.len() < 400, "{message:?}");
    }
}

/// Without a=ice-ufrag nothing can connect, but an offer that uses no m-line needs no connection.
#[test]
fn an_offer_of_nothing_usable_needs_no_transport() {
    let stopped = AUDIO.replace(" 9 ", " 0 ");
    let unknown = AUDIO.replace("opus/48000/2", "G722/8000");
    for (part, refused) in [(stopped, 0), (unknown, 1)] {
        let text = offer(&[&part]).replace(TRANSPORT, "");
        let negotiated = answer_once(&text).expect("negotiates");
        assert_eq!(negotiated.media[0].role, MediaRole::Rejected);
        assert_eq!(negotiated.refused.len(), refused);
        assert!(
            negotiated
                .sdp
                .contains("m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n")
        );
        assert!(!negotiated.sdp.contains("BUNDLE") && !negotiated.sdp.contains("ice-ufrag"));
    }
}

/// Port 0 on the m-line that names the BUNDLE group would cost a browser all of them.
#[test]
fn a_track_that_may_not_be_published_leaves_its_m_line_in_use() {
    let text = offer(&[AUDIO, VIDEO, DATA]);
    let silent = MayPublish {
        audio: false,
        ..MayPublish::default()
    };
    let negotiated = answer_to(&mut session(), &restricted(&text, &silent)).expect("negotiates");
    let expected = [
        ("0", MediaRole::Inactive),
        ("1", MediaRole::Slot),
        ("2", MediaRole::Data),
    ];
    assert_eq!(roles(&negotiated), expected);
    let [(mid, error)] = negotiated.refused.as_slice() else {
        panic!("{:?}", negotiated.refused);
    };
    assert_eq!((mid.as_str(), error.code()), ("0", "sdp_not_allowed"));
    assert!(
        error.to_string().contains("m-line 1 (audio, mid 0)"),
        "{error}"
    );
    assert!(negotiated.sdp.contains("a=group:BUNDLE 0 1 2\r\n"));
    let sections = text::read(&negotiated.sdp).expect("an answer").media;
    assert_eq!((sections[0].port, sections[0].formats[0]), (9, "111"));
    assert!(sections[0].attributes.has("inactive") && sections[0].attributes.has("ice-ufrag"));

    // A slot is no track.
    let nothing = MayPublish {
        audio: false,
        video: false,
        except: Vec::new(),
    };
    let negotiated = answer_to(&mut session(), &restricted(&text, &nothing)).expect("negotiates");
    assert_eq!(roles(&negotiated), expected);
    // Nothing else in the offer is needed for the transport.
    let lone = restricted(&offer(&[AUDIO]), &nothing);
    assert!(lone.remote.is_some());
    let negotiated = answer_to(&mut session(), &lone).expect("negotiates");
    assert_eq!(roles(&negotiated), expected[..1]);
}

#[test]
fn a_right_that_is_taken_away_ends_the_track_and_one_that_is_given_takes_it() {
    let text = offer(&[AUDIO, VIDEO]);
    let silent = MayPublish {
        audio: false,
        ..MayPublish::default()
    };
    let mut session = session();
    for (may_publish, role) in [
        (MayPublish::default(), MediaRole::Publish),
        (silent.clone(), MediaRole::Inactive),
        (silent, MediaRole::Inactive),
        (MayPublish::default(), MediaRole::Publish),
    ] {
        let negotiated = answer_to(&mut session, &restricted(&text, &may_publish));
        let negotiated = negotiated.expect("negotiates");
        assert_eq!(roles(&negotiated), [("0", role), ("1", MediaRole::Slot)]);
        let told = negotiated.refused.len() == 1;
        assert_eq!(told, role == MediaRole::Inactive);
    }
}

/// Browsers send one encoding from then on if the answer has no simulcast, even after the right is given.
#[test]
fn a_simulcast_that_may_not_be_published_is_answered_without_media_only() {
    let (text, answered) = super::chromium::CALL[0];
    let no_camera = MayPublish {
        video: false,
        ..MayPublish::default()
    };
    let negotiated = answer_to(&mut session(), &restricted(text, &no_camera)).expect("negotiates");
    assert_eq!(
        roles(&negotiated),
        [("0", MediaRole::Publish), ("1", MediaRole::Inactive)]
    );
    assert!(negotiated.media[1].ssrcs.is_empty() && negotiated.media[1].sim.is_empty());
    let (audio, video) = answered.split_once("m=video").expect("a video");
    assert!(video.contains("a=simulcast:recv q;h;f"));
    let video = video.replacen("a=recvonly", "a=inactive", 1);
    let expected = format!("{audio}m=video{video}");
    assert_eq!(negotiated.sdp.replace("\r\n", "\n"), expected);
}

fn restricted(text: &str, may_publish: &MayPublish) -> Offer {
    let mut offer = parse_offer(text, &LIMITS).expect("an offer");
    offer.restrict(may_publish);
    offer
}

/// RFC 8829 section 4.1.1: bundle-only m-lines have port 0 and no transport of their own.
#[test]
fn bundle_only_is_not_stopped() {
    let video = VIDEO.replace("video 9", "video 0") + "a=bundle-only\n";
    let text = offer(&[AUDIO, VIDEO]).replace(VIDEO, &video);
    let negotiated = answer_once(&text).expect("negotiates");
    assert_eq!(negotiated.media[1].role, MediaRole::Slot);
    assert!(negotiated.sdp.contains("m=video 9 "));
}

/// A client may number an m-line on its own, and limit an extension to a direction.
#[test]
fn extensions_mean_one_thing_in_the_whole_group() {
    use crate::rtp::extension::ExtensionKind::{AudioLevel, Mid, PlayoutDelay, Rid, TransportCc};
    let audio = format!(
        "{AUDIO}a=extmap:1 {}\na=extmap:3 {}\na=extmap:9/sendonly {}\n",
        AudioLevel.uri(),
        Mid.uri(),
        Rid.uri(),
    );
    let video = format!(
        "{VIDEO}a=extmap:1 {}\na=extmap:3 {}\na=extmap:6/recvonly {}\na=extmap:9/sendonly {}\n",
        TransportCc.uri(),
        Mid.uri(),
        PlayoutDelay.uri(),
        Rid.uri(),
    );
    let negotiated = answer_once(&offer(&[&audio, &video])).expect("negotiates");
    let used = |index: usize| {
        negotiated.media[index]
            .extensions
            .iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(used(0), [(1, AudioLevel), (3, Mid), (9, Rid)]);
    assert_eq!(used(1), [(3, Mid), (6, PlayoutDelay)]);
    let answered: Vec<&str> = negotiated
        .sdp
        .lines()
        .filter(|l| l.contains("extmap:"))
        .collect();
    let [level, mid, delay, rid] = [AudioLevel, Mid, PlayoutDelay, Rid].map(|kind| kind.uri());
    assert_eq!(
        answered,
        [
            format!("a=extmap:1 {level}"),
            format!("a=extmap:3 {mid}"),
            format!("a=extmap:9/recvonly {rid}"),
            format!("a=extmap:3 {mid}"),
            format!("a=extmap:6/sendonly {delay}"),
            format!("a=extmap:9/recvonly {rid}"),
        ]
    );
}

#[test]
fn feedback_is_what_both_have() {
    use crate::rtp::extension::ExtensionKind::TransportCc;
    let twcc = "a=rtcp-fb:96 transport-cc\n";
    let remb = "a=rtcp-fb:96 goog-remb\n";
    let extension = format!("a=extmap:3 {}\n", TransportCc.uri());
    for (lines, twcc, remb) in [
        (format!("{twcc}{remb}{extension}"), true, false),
        (format!("{twcc}{remb}"), false, true),
        (format!("{remb}{extension}"), false, true),
        (twcc.into(), false, false),
    ] {
        let negotiated = answer_once(&offer(&[&format!("{VIDEO}{lines}")])).expect("negotiates");
        let feedback = negotiated.media[0].codecs[0].feedback;
        assert_eq!((feedback.twcc, feedback.remb), (twcc, remb), "{lines}");
        assert!(feedback.nack && !feedback.pli && !feedback.fir);
    }
}

/// Without the RID extension simulcast encodings cannot be told apart.
#[test]
fn simulcast_needs_the_rid_extension() {
    use crate::rtp::extension::ExtensionKind::Rid;
    let publish = VIDEO.replace("recvonly", "sendonly")
        + "a=rid:l send\na=rid:h send\na=simulcast:send l;h\n";
    let without = answer_once(&offer(&[&publish])).expect("negotiates");
    assert!(without.media[0].rids.is_empty() && !without.sdp.contains("simulcast"));
    for (id, simulcast) in [
        ("10", true),
        ("10/sendrecv", true),
        ("10/sendonly", true),
        ("10/recvonly", false),
        ("10/inactive", false),
    ] {
        let with = format!("{publish}a=extmap:{id} {}\n", Rid.uri());
        let with = answer_once(&offer(&[&with])).expect("negotiates");
        let rids: &[&str] = if simulcast { &["l", "h"] } else { &[] };
        assert_eq!(with.media[0].rids, rids, "{id}");
        let answered = "a=rid:l recv\r\na=rid:h recv\r\na=simulcast:recv l;h\r\n";
        assert_eq!(with.sdp.contains(answered), simulcast, "{id}");
    }
}

/// If RIDs name the encodings, a group of SSRCs adds nothing. An SSRC belongs to the first m-line that names it.
#[test]
fn a_simulcast_of_ssrcs_is_for_clients_without_rids() {
    use crate::rtp::extension::ExtensionKind::Rid;
    let group = "a=ssrc-group:SIM 11 22 33\na=ssrc-group:FID 22 44\n";
    let publish = VIDEO.replace("recvonly", "sendonly") + group;
    let rids = "a=rid:l send\na=rid:h send\na=simulcast:send l;h\n";
    let rid = format!("a=extmap:10 {}\n", Rid.uri());
    for (parts, expected) in [
        (vec![publish.clone()], &[11, 22, 33][..]),
        (vec![AUDIO.into(), publish.clone()], &[22, 33]),
        (vec![format!("{publish}{rids}")], &[11, 22, 33]),
        (vec![format!("{publish}{rids}{rid}")], &[]),
        (vec![publish.replace("11 22 33", "11")], &[]),
        (vec![VIDEO.to_owned() + group], &[]),
    ] {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let negotiated = answer_once(&offer(&parts)).expect("negotiates");
        let video = negotiated.media.last().expect("an m-line");
        assert_eq!(video.sim, expected, "{parts:?}");
        let of_22 = video.ssrcs.iter().find(|offered| offered.ssrc == 22);
        assert!(of_22.is_none_or(|offered| offered.rtx == Some(44)));
    }
}

#[test]
fn stereo_is_asked_of_a_publisher_and_announced_to_a_viewer() {
    let publisher = format!("{AUDIO}a=fmtp:111 minptime=10;stereo=1\n");
    let viewer = publisher.replace("sendonly", "recvonly");
    for (part, fmtp) in [
        (
            publisher,
            "a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1;stereo=1\r\n",
        ),
        (
            viewer,
            "a=fmtp:111 minptime=10;useinbandfec=1;sprop-stereo=1\r\n",
        ),
    ] {
        let negotiated = answer_once(&offer(&[&part])).expect("negotiates");
        assert!(negotiated.sdp.contains(fmtp), "{}", negotiated.sdp);
    }
}
