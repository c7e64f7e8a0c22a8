//! Tests of offers and answers alone: events and requests before a packet flows.

use std::time::{Duration, Instant};

use crate::config::Limits;
use crate::event::{Answer, Event, MediaKind, Needs};
use crate::id::{PeerId, RoomId, TrackId};
use crate::testing::{SimRelay, epoch};
use crate::view::Reason;

const SECOND: Duration = Duration::from_secs(1);

struct Call {
    now: Instant,
    relay: SimRelay,
    room: RoomId,
    told: Vec<Event>,
}

/// Codecs by letter.
fn rtpmap(letter: char) -> (u8, &'static str) {
    match letter {
        '8' => (96, "VP8/90000"),
        '9' => (98, "VP9/90000\r\na=fmtp:98 profile-id=0"),
        // VP9 with 10 bits.
        't' => (100, "VP9/90000\r\na=fmtp:100 profile-id=2"),
        'b' => (
            102,
            "H264/90000\r\na=fmtp:102 packetization-mode=1;profile-level-id=42e01f",
        ),
        // Single NAL unit mode.
        's' => (
            104,
            "H264/90000\r\na=fmtp:104 packetization-mode=0;profile-level-id=42e01f",
        ),
        'h' => (
            106,
            "H264/90000\r\na=fmtp:106 packetization-mode=1;profile-level-id=64001f",
        ),
        'a' => (108, "AV1/90000"),
        // A codec that the relay does not know.
        'x' => (112, "H265/90000"),
        _ => (110, "AV1/90000\r\na=fmtp:110 profile=1"),
    }
}

/// An offer of video m-lines: a direction and codecs by letter for each, the preferred first. An m-line may
/// be `stopped` as well, or `apart` from the others' BUNDLE group, which the relay refuses.
fn offer(lines: &[(&str, &str)]) -> String {
    let mut text =
        String::from("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE");
    for (mid, (direction, _)) in lines.iter().enumerate() {
        if *direction != "stopped" && !direction.ends_with("apart") {
            text += &format!(" {mid}");
        }
    }
    text += "\r\na=ice-ufrag:Wj1g\r\na=ice-pwd:YIeTuvxYyPudqoT4P6vMAjRk\r\na=setup:actpass\r\n\
             a=fingerprint:sha-256 05:5E:B5:FD:A2:A4:2F:6C:59:02:BE:36:5E:68:81:72:34:7F:E8:34:4F:15:3F:CC:90:C7:\
             BA:64:2B:46:D8:A9\r\n";
    for (mid, (direction, codecs)) in lines.iter().enumerate() {
        let stopped = *direction == "stopped";
        let direction = match *direction {
            "stopped" => "inactive",
            direction => direction.trim_end_matches(" apart"),
        };
        let port = if stopped { 0 } else { 9 };
        text += &format!("m=video {port} UDP/TLS/RTP/SAVPF");
        for (payload_type, _) in codecs.chars().map(rtpmap) {
            text += &format!(" {payload_type}");
        }
        text += &format!("\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=mid:{mid}\r\na={direction}\r\n");
        for (payload_type, rtpmap) in codecs.chars().map(rtpmap) {
            text += &format!("a=rtpmap:{payload_type} {rtpmap}\r\n");
        }
    }
    text
}

/// The payload type that a mid's answer lists first.
fn first(answer: &Answer, mid: usize) -> u8 {
    let line = answer.sdp.lines().filter(|line| line.starts_with("m="));
    let line = line.clone().nth(mid).expect("an m-line");
    let format = line.split(' ').nth(3).expect("a format");
    format.parse().expect("a payload type")
}

impl Call {
    fn new() -> Self {
        let mut relay = SimRelay::new(epoch(), ([10, 0, 0, 1], 1).into(), 1, Limits::default());
        let room = relay.create_room();
        Self {
            now: epoch(),
            relay,
            room,
            told: Vec::new(),
        }
    }

    fn join(&mut self, lines: &[(&str, &str)]) -> (PeerId, Answer) {
        let joined = self.relay.join(self.now, self.room, &offer(lines), true);
        self.hear();
        joined.expect("joins")
    }

    fn again(&mut self, peer: PeerId, lines: &[(&str, &str)]) -> Answer {
        let answer = self.relay.offer(self.now, peer, &offer(lines));
        self.hear();
        answer.expect("an answer")
    }

    fn hear(&mut self) {
        self.relay.flush(self.now);
        while let Some(event) = self.relay.poll_event() {
            self.told.push(event);
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.relay.poll_timeout(self.now).filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.relay.handle_timeout(self.now);
            self.hear();
        }
        self.now = end;
    }

    fn reason(&self, viewer: PeerId, of: TrackId) -> Option<Reason> {
        let told = self.told.iter().rev();
        let mut states = told.filter_map(|event| match event {
            Event::SubscriptionsChanged {
                peer,
                subscriptions,
                ..
            } if *peer == viewer => subscriptions.iter().rev().find(|state| state.track == of),
            _ => None,
        });
        states.next().map(|state| state.reason)
    }

    fn needs(&self, viewer: PeerId) -> Needs {
        let mut told = self.told.iter().rev();
        let needs = told.find_map(|event| match event {
            Event::NeedsChanged { peer, needs, .. } if *peer == viewer => Some(*needs),
            _ => None,
        });
        needs.unwrap_or_default()
    }

    fn asked(&self) -> usize {
        let asked = |event: &&Event| matches!(event, Event::RenegotiationWanted { .. });
        self.told.iter().filter(asked).count()
    }

    fn unable(&self) -> Option<usize> {
        let mut told = self.told.iter().rev();
        told.find_map(|event| match event {
            Event::UnwatchableChanged { unwatchable, .. } => Some(unwatchable.count),
            _ => None,
        })
    }
}

#[test]
fn an_answer_lists_first_what_most_viewers_decode() {
    for (viewers, offered, expected) in [
        (&[][..], "98", 98),
        (&["8"], "98", 96),
        (&["89", "8"], "98", 96),
        (&["98", "89"], "98", 98),
        (&["b"], "98", 98),
        // Profiles and packetization modes are codecs of their own.
        (&["s"], "bs", 104),
        (&["b"], "bs", 102),
        (&["b"], "hb", 102),
        (&["h"], "hb", 106),
        (&["h"], "bh", 102),
        (&["9"], "t9", 98),
        (&["t"], "t9", 100),
        (&["a"], "Aa", 108),
        (&["A"], "Aa", 110),
        // If no codec serves all, the one that serves most.
        (&["8", "9", "9"], "89", 98),
        (&["8", "9"], "89", 96),
    ] {
        let mut call = Call::new();
        for viewer in viewers {
            call.join(&[("recvonly", viewer)]);
        }
        let (_, answer) = call.join(&[("sendonly", offered)]);
        assert_eq!(first(&answer, 0), expected, "{viewers:?} {offered}");
        let codec = answer.published[0].codec;
        assert!(rtpmap_of(expected).starts_with(codec), "{codec}");
    }
}

fn rtpmap_of(payload_type: u8) -> &'static str {
    let mut letters = "89tbshaA".chars().map(rtpmap);
    let found = letters.rfind(|(other, _)| *other == payload_type);
    found.expect("known").1
}

#[test]
fn who_sends_and_receives_is_a_viewer_of_the_others_alone() {
    let mut call = Call::new();
    let both = [("sendonly", "98"), ("recvonly", "8")];
    let (_, answer) = call.join(&both);
    assert_eq!(first(&answer, 0), 98, "its own m-line does not count");
    let (_, answer) = call.join(&both);
    assert_eq!(first(&answer, 0), 96);
}

#[test]
fn an_order_lasts_until_its_client_changes_it() {
    let mut call = Call::new();
    let (viewer, _) = call.join(&[("recvonly", "8")]);
    let (publisher, answer) = call.join(&[("sendonly", "98")]);
    assert_eq!(first(&answer, 0), 96);
    // The viewer leaves: the same offer is answered as at first.
    call.relay.close_peer(call.now, viewer);
    assert_eq!(first(&call.again(publisher, &[("sendonly", "98")]), 0), 96);
    let more = [("sendonly", "98"), ("recvonly", "98")];
    assert_eq!(first(&call.again(publisher, &more), 0), 96);
    // An offer with other codecs is another wish.
    let more = [("sendonly", "98b"), ("recvonly", "98")];
    assert_eq!(first(&call.again(publisher, &more), 0), 98);
    let more = [("sendonly", "8b9"), ("recvonly", "98")];
    assert_eq!(first(&call.again(publisher, &more), 0), 96);
    // The wish is granted as far as viewers can decode it.
    call.join(&[("recvonly", "8")]);
    let more = [("sendonly", "98"), ("recvonly", "98")];
    assert_eq!(first(&call.again(publisher, &more), 0), 96);
    call.wait(60 * SECOND);
    assert_eq!(call.asked(), 0);
}

#[test]
fn who_has_no_codec_is_told_and_needs_no_m_line() {
    let mut call = Call::new();
    let (publisher, answer) = call.join(&[("sendonly", "9")]);
    let track = answer.published[0].track;
    let (viewer, answer) = call.join(&[("recvonly", "8")]);
    assert_eq!(
        (answer.slots[0].track, answer.needs),
        (None, Needs::default())
    );
    assert_eq!(call.reason(viewer, track), Some(Reason::Codec));
    // Two more of the same sort ask for no m-lines either; one of another sort takes the slot.
    call.join(&[("sendonly", "9"), ("sendonly", "9")]);
    let (_, answer) = call.join(&[("sendonly", "8")]);
    let seen = answer.published[0].track;
    let needs =
        |event: &&Event| matches!(event, Event::NeedsChanged { peer, .. } if *peer == viewer);
    assert_eq!(call.told.iter().filter(needs).count(), 0);
    assert_eq!(call.reason(viewer, seen), Some(Reason::NotStarted));
    call.wait(SECOND);
    assert_eq!((call.unable(), call.asked()), (Some(1), 0));

    // Its publisher offers another codec: now an m-line is missing.
    call.again(publisher, &[("sendonly", "98")]);
    assert_eq!(call.reason(viewer, track), Some(Reason::NoSlot));
    let answer = call.again(viewer, &[("recvonly", "8"), ("recvonly", "8")]);
    assert_eq!(answer.slots[1].track, Some(track));
    assert_eq!(call.reason(viewer, track), Some(Reason::NotStarted));
    call.wait(SECOND);
    assert_eq!(call.unable(), Some(0));
    assert_eq!(call.relay.audit(), Vec::<String>::new());
}

/// Its m-line is refused. A request for another would be repeated for ever.
#[test]
fn who_receives_nothing_that_is_known_is_told_too() {
    let mut call = Call::new();
    let (publisher, answer) = call.join(&[("sendonly", "8")]);
    let track = answer.published[0].track;
    let (viewer, answer) = call.join(&[("recvonly", "x")]);
    assert_eq!((answer.slots, answer.needs), (vec![], Needs::default()));
    assert_eq!(call.reason(viewer, track), Some(Reason::Codec));
    call.wait(SECOND);
    assert_eq!((call.unable(), call.asked()), (Some(1), 0));
    // None is asked for later either: the m-line is stopped by then, and another one would be refused as well.
    let answer = call.again(viewer, &[("stopped", "x")]);
    assert_eq!(answer.needs, Needs::default());
    let answer = call.again(viewer, &[("stopped", "x"), ("sendonly", "8")]);
    assert_eq!(answer.needs, Needs::default());
    assert_eq!(call.reason(viewer, track), Some(Reason::Codec));
    // Once an m-line is accepted, it is told of the next like any viewer.
    let lines = [("stopped", "x"), ("sendonly", "8"), ("recvonly", "8")];
    let answer = call.again(viewer, &lines);
    assert_eq!(answer.slots[0].track, Some(track));
    assert_eq!(answer.needs, Needs::default());
    assert_eq!(call.reason(viewer, track), Some(Reason::NotStarted));
    call.wait(SECOND);
    assert_eq!(call.unable(), Some(0));
    call.join(&[("sendonly", "8")]);
    assert_eq!(call.needs(viewer).video, 1);
    // A viewer without m-lines may well have the codec.
    let (other, answer) = call.join(&[("sendonly", "8")]);
    assert_eq!((answer.needs.video, call.reason(other, track)), (3, None));
    call.relay.close_peer(call.now, publisher);
    assert_eq!(call.relay.audit(), Vec::<String>::new());
}

/// The relay has a codec for it, but cannot send on such an m-line: `refused` explains that.
#[test]
fn an_m_line_that_is_refused_for_another_reason_is_not_asked_for_again() {
    let mut call = Call::new();
    let (_, answer) = call.join(&[("sendonly", "8")]);
    let first = answer.published[0].track;
    let (sends, receives) = (("sendonly", "8"), ("recvonly", "8"));
    for (seen, known) in [(false, vec![sends]), (true, vec![sends, receives])] {
        let lines = |more: &[(&'static str, &'static str)]| [&known[..], more].concat();
        let (viewer, answer) = call.join(&lines(&[]));
        assert_eq!(answer.needs.video, u16::from(!seen));
        let (publisher, answer) = call.join(&[("sendonly", "8")]);
        let second = answer.published[0].track;
        let answer = call.again(viewer, &lines(&[("recvonly apart", "8")]));
        assert_eq!((answer.refused.len(), answer.needs), (1, Needs::default()));
        assert_eq!(call.reason(viewer, second), Some(Reason::NoSlot));
        assert_eq!(call.reason(viewer, first) == Some(Reason::NoSlot), !seen);
        let answer = call.again(viewer, &lines(&[("stopped", "8")]));
        assert_eq!(answer.needs, Needs::default());
        let answer = call.again(viewer, &lines(&[("stopped", "8"), receives]));
        let asked = u16::from(!seen);
        assert_eq!(
            (answer.slots.len(), answer.needs.video),
            (known.len(), asked)
        );
        call.relay.close_peer(call.now, publisher);
        call.relay.close_peer(call.now, viewer);
    }
    call.wait(SECOND);
    assert_eq!(call.unable(), None, "they are not told of");
    assert_eq!(call.relay.audit(), Vec::<String>::new());
}

#[test]
fn a_viewer_who_offers_the_codec_is_shown_the_track() {
    let mut call = Call::new();
    let (_, answer) = call.join(&[("sendonly", "9")]);
    let track = answer.published[0].track;
    let (viewer, _) = call.join(&[("recvonly", "8")]);
    assert_eq!(call.reason(viewer, track), Some(Reason::Codec));
    let answer = call.again(viewer, &[("recvonly", "89")]);
    assert_eq!(answer.slots[0].track, Some(track));
    assert_eq!(call.reason(viewer, track), Some(Reason::NotStarted));
    // The viewer takes it back.
    let answer = call.again(viewer, &[("recvonly", "8")]);
    assert_eq!(answer.slots[0].track, None);
    assert_eq!(call.reason(viewer, track), Some(Reason::Codec));
    call.wait(SECOND);
    assert_eq!(call.unable(), Some(1));
    assert_eq!(call.relay.audit(), Vec::<String>::new());
}

#[test]
fn a_publisher_is_asked_for_what_late_viewers_decode() {
    let mut call = Call::new();
    let (publisher, answer) = call.join(&[("sendonly", "98")]);
    let track = answer.published[0].track;
    let (viewer, _) = call.join(&[("recvonly", "8")]);
    // The viewer has an m-line for it, and is told of the expected codec.
    assert_eq!(call.reason(viewer, track), Some(Reason::Codec));
    assert_eq!(call.asked(), 0, "others may come at once");
    call.wait(SECOND);
    assert_eq!((call.asked(), call.unable()), (1, Some(1)));
    let answer = call.again(publisher, &[("sendonly", "98")]);
    assert_eq!(first(&answer, 0), 96);
    assert_eq!(call.reason(viewer, track), Some(Reason::NotStarted));
    call.wait(60 * SECOND);
    assert_eq!((call.asked(), call.unable()), (1, Some(0)));
}

#[test]
fn a_viewer_who_takes_its_m_line_away_counts_no_more() {
    for direction in ["inactive", "stopped"] {
        let mut call = Call::new();
        let (_, answer) = call.join(&[("sendonly", "98")]);
        let track = answer.published[0].track;
        let (viewer, _) = call.join(&[("recvonly", "8")]);
        call.wait(SECOND);
        assert_eq!(
            (call.reason(viewer, track), call.unable()),
            (Some(Reason::Codec), Some(1))
        );
        call.again(viewer, &[(direction, "8")]);
        call.wait(SECOND);
        assert_eq!(call.unable(), Some(0), "{direction}");
    }
}

/// Two publishing m-lines belong to one publisher, which is asked once.
#[test]
fn several_tracks_of_a_publisher_are_one_offer() {
    let mut call = Call::new();
    let lines = [("sendonly", "98"), ("sendonly", "98")];
    let (publisher, _) = call.join(&lines);
    call.join(&[("recvonly", "8"), ("recvonly", "8")]);
    call.wait(5 * SECOND);
    assert_eq!(call.asked(), 1);
    let answer = call.again(publisher, &lines);
    assert_eq!((first(&answer, 0), first(&answer, 1)), (96, 96));
    call.wait(60 * SECOND);
    assert_eq!(call.asked(), 1);
}

#[test]
fn many_who_cannot_are_counted_and_some_named() {
    let mut call = Call::new();
    let (publisher, answer) = call.join(&[("sendonly", "9")]);
    for _ in 0..40 {
        call.join(&[("recvonly", "8")]);
    }
    call.wait(SECOND);
    let told = call.told.iter().filter_map(|event| match event {
        Event::UnwatchableChanged { unwatchable, .. } => Some(unwatchable),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "who come together are one change");
    assert_eq!((told[0].count, told[0].viewers.len()), (40, 32));
    assert_eq!(told[0].track, answer.published[0].track);
    let stats = call.relay.peer_stats(publisher).expect("there");
    assert_eq!(stats.published[0].unwatchable.len(), 32);
    assert_eq!(stats.published[0].kind, MediaKind::Video);
}
