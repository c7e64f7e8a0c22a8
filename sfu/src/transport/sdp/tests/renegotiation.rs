//! Later offers: what must stay, what may change.

use super::*;

#[test]
fn m_lines_keep_their_places() {
    let moved_audio = AUDIO.replace("mid:0", "mid:9");
    let video_as_audio = AUDIO.replace("mid:0", "mid:1");
    for (second, says) in [
        (offer(&[AUDIO]), "there were 2, this offer has 1"),
        (
            offer(&[VIDEO, AUDIO]),
            "m-line 1 (video, mid 1) was Audio with mid 0",
        ),
        (
            offer(&[&moved_audio, VIDEO]),
            "m-line 1 (audio, mid 9) was Audio with mid 0",
        ),
        (
            offer(&[AUDIO, &video_as_audio]),
            "m-line 2 (audio, mid 1) was Video with mid 1",
        ),
    ] {
        let mut session = session();
        let before = answer(&mut session, &offer(&[AUDIO, VIDEO])).expect("negotiates");
        let error = answer(&mut session, &second).expect_err(says);
        assert_eq!(error.code(), "sdp_bad_order");
        assert!(error.to_string().contains(says), "{error}");

        // The refused offer left no trace: the first is as good as ever.
        let after = answer(&mut session, &offer(&[AUDIO, VIDEO])).expect("negotiates");
        assert_eq!(after.media, before.media);
    }
}

/// The client's name replaces the one that the server made up, which only the server knew as an `a=mid`.
#[test]
fn an_m_line_without_a_mid_may_be_called_otherwise_later() {
    let nameless = AUDIO.replace("a=mid:0\n", "");
    let lone = offer(&[&nameless]).replace("a=group:BUNDLE \n", "");
    let receiving = nameless.replace("sendonly", "recvonly");
    let named = |part: &str, mid: &str| part.replace("mid:1", &format!("mid:{mid}"));
    let audio = AUDIO.replace("mid:0", "mid:audio");
    for (first, second, renamed, roles_now) in [
        // Another has its name now, in a group of its own.
        (
            lone.clone(),
            offer(&[&nameless, &named(VIDEO, "0")]),
            &[("0", "0_")][..],
            [("0_", MediaRole::Publish), ("0", MediaRole::Rejected)],
        ),
        // The m-line is named, to be bundled.
        (
            lone.clone(),
            offer(&[&audio, &named(VIDEO, "0")]),
            &[("0", "audio")],
            [("audio", MediaRole::Publish), ("0", MediaRole::Slot)],
        ),
        (
            lone.clone(),
            offer(&[AUDIO, VIDEO]),
            &[],
            [("0", MediaRole::Publish), ("1", MediaRole::Slot)],
        ),
        // The name of its place is free again.
        (
            offer(&[&nameless, &named(VIDEO, "0")]),
            offer(&[&nameless, &named(VIDEO, "7")]),
            &[("0_", "0")],
            [("0", MediaRole::Publish), ("7", MediaRole::Rejected)],
        ),
        (
            lone.replace("sendonly", "recvonly"),
            offer(&[&receiving, &named(VIDEO, "0")]),
            &[("0", "0_")],
            [("0_", MediaRole::Slot), ("0", MediaRole::Rejected)],
        ),
    ] {
        let mut session = session();
        answer(&mut session, &first).expect("negotiates");
        let parsed = parse_offer(&second, &LIMITS).expect("parses");
        assert_eq!(session.renamed(&parsed).expect("in order"), renamed);
        for _ in 0..2 {
            let negotiated = answer(&mut session, &second).expect("negotiates");
            assert_eq!(roles(&negotiated), roles_now);
            // Known under that name from here on.
            assert_eq!(session.renamed(&parsed).expect("in order"), []);
        }
    }
    // Its kind stays, and a name that it was given is the client's.
    let mut session = session();
    answer(&mut session, &lone).expect("negotiates");
    let video = offer(&[&named(VIDEO, "0")]);
    let error = answer(&mut session, &video).expect_err("another kind");
    assert_eq!(error.code(), "sdp_bad_order");
    answer(&mut session, &offer(&[&audio])).expect("negotiates");
    let error = answer(&mut session, &offer(&[AUDIO])).expect_err("another name");
    assert_eq!(error.code(), "sdp_bad_order");
}

/// A track's half of `a=msid` is one slot's, whatever its m-line is called.
#[test]
fn a_slot_without_a_mid_is_not_named_by_its_place() {
    let nameless = AUDIO
        .replace("a=mid:0\n", "")
        .replace("sendonly", "recvonly");
    let lone = offer(&[&nameless]).replace("a=group:BUNDLE \n", "");
    let parsed = parse_offer(&lone, &LIMITS).expect("parses");
    let remote = parsed.remote.as_ref().expect("a transport");
    let ours = LocalDescription {
        ice: &remote.ice,
        fingerprint: &remote.fingerprint,
        candidates: &[],
        cname: "c",
        max_message_size: 1,
    };
    let mut names = Vec::new();
    let negotiated = session().negotiate(&parsed, &ours, &mut |mid, kind| {
        names.push(mid.to_owned());
        name_slot(mid, kind)
    });
    assert_eq!(
        negotiated.expect("negotiates").media[0].role,
        MediaRole::Slot
    );
    assert_eq!(names, [""]);
}

#[test]
fn a_stopped_m_line_makes_room_for_another() {
    let mut session = session();
    answer(&mut session, &offer(&[AUDIO, VIDEO])).expect("negotiates");
    // Stopped m-lines may lose their mid.
    let stopped = "m=video 0 UDP/TLS/RTP/SAVPF 0\na=inactive\n";
    let negotiated = answer(&mut session, &offer(&[AUDIO, stopped])).expect("negotiates");
    assert_eq!(negotiated.media[1].role, MediaRole::Rejected);
    let recycled = DATA.replace("mid:2", "mid:7");
    let negotiated = answer(&mut session, &offer(&[AUDIO, &recycled])).expect("negotiates");
    assert_eq!(negotiated.media[1].role, MediaRole::Data);
    let error = answer(&mut session, &offer(&[AUDIO, VIDEO])).expect_err("taken");
    assert_eq!(error.code(), "sdp_bad_order");
}

#[test]
fn a_slot_is_named_once_until_its_m_line_is_published_on_or_stopped() {
    let mut session = session();
    let mut named = 0;
    let mut negotiate = |parts: &[&str]| {
        let offer = parse_offer(&offer(parts), &LIMITS).expect("parses");
        let remote = offer.remote.as_ref().expect("a transport");
        let ours = LocalDescription {
            ice: &remote.ice,
            fingerprint: &remote.fingerprint,
            candidates: &[],
            cname: "c",
            max_message_size: 1,
        };
        let negotiated = session.negotiate(&offer, &ours, &mut |mid, kind| {
            named += 1;
            SlotIdentity {
                ssrc: named,
                ..name_slot(mid, kind)
            }
        });
        let media = negotiated.expect("negotiates").media.swap_remove(0);
        (media.role, media.slot.map(|slot| slot.ssrc))
    };
    let publishing = VIDEO.replace("recvonly", "sendrecv");
    let idle = VIDEO.replace("recvonly", "inactive");
    let stopped = VIDEO.replace("video 9", "video 0");
    let next = VIDEO.replace("mid:1", "mid:2");
    for (part, expected) in [
        (VIDEO, (MediaRole::Slot, Some(1))),
        (VIDEO, (MediaRole::Slot, Some(1))),
        (&idle, (MediaRole::Inactive, None)),
        (VIDEO, (MediaRole::Slot, Some(1))),
        (&publishing, (MediaRole::Publish, None)),
        // Numbers would begin anew under the same keys.
        (VIDEO, (MediaRole::Slot, Some(2))),
        (&idle, (MediaRole::Inactive, None)),
        (&publishing, (MediaRole::Publish, None)),
        (VIDEO, (MediaRole::Slot, Some(3))),
        (&stopped, (MediaRole::Rejected, None)),
        (&next, (MediaRole::Slot, Some(4))),
    ] {
        // The audio keeps the offer alive while the video is stopped.
        assert_eq!(negotiate(&[part, AUDIO]), expected, "{part}");
    }
}

#[test]
fn an_ice_restart_is_told_and_another_certificate_taken() {
    let mut session = session();
    let first = offer(&[AUDIO]);
    assert!(
        !answer(&mut session, &first)
            .expect("negotiates")
            .ice_restarted
    );
    assert!(
        !answer(&mut session, &first)
            .expect("negotiates")
            .ice_restarted
    );
    let restarted = first.replace("Wj1g", "new1");
    assert!(
        answer(&mut session, &restarted)
            .expect("negotiates")
            .ice_restarted
    );
    assert!(
        !answer(&mut session, &restarted)
            .expect("negotiates")
            .ice_restarted
    );
    // RFC 8842 section 5.1: it is another DTLS association's.
    let other = restarted.replace("05:5E", "06:5E");
    assert!(answer(&mut session, &other).is_ok());
}

/// RFC 8866 section 5.2: the version of `o=` grows with each answer, the id stays.
#[test]
fn answers_are_versioned() {
    let mut session = session();
    for version in 1..4 {
        let negotiated = answer(&mut session, &offer(&[AUDIO])).expect("negotiates");
        let origin = negotiated.sdp.lines().nth(1).expect("o=");
        assert_eq!(origin, format!("o=- 38 {version} IN IP4 127.0.0.1"));
    }
}
