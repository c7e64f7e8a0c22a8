//! Random changes to real offers, and random lives of a session.

use std::collections::HashMap;

use proptest::prelude::*;

use super::chromium::{CALL, PUBLISH, RECEIVE};
use super::firefox;
use super::*;
use crate::rtp::extension::ExtensionKind;
use crate::transport::sdp::attribute::extensions;
use crate::transport::sdp::media::Direction;
use crate::transport::sdp::text;

/// A seed that finds a bug becomes a table test, not a file.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// One change to the lines of an offer; positions wrap around.
#[derive(Clone, Debug)]
enum Mutation {
    Remove(usize),
    Repeat(usize),
    Swap(usize, usize),
    Replace(usize, usize, char),
    Insert(usize, String),
    /// Another line's value under this line's name.
    Graft(usize, usize),
    Cut(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    use Mutation::*;
    let at = any::<usize>;
    prop_oneof![
        3 => at().prop_map(Remove),
        2 => at().prop_map(Repeat),
        2 => (at(), at()).prop_map(|(a, b)| Swap(a, b)),
        4 => (at(), at(), any::<char>()).prop_map(|(a, b, c)| Replace(a, b, c)),
        3 => (at(), hostile_line()).prop_map(|(a, line)| Insert(a, line)),
        3 => (at(), at()).prop_map(|(a, b)| Graft(a, b)),
        1 => at().prop_map(Cut),
    ]
}

fn hostile_line() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        Just("0".to_owned()),
        Just("255".into()),
        Just("65536".into()),
        Just("-1".into()),
        Just("99999999999999999999".into()),
        any::<u32>().prop_map(|n| n.to_string()),
    ];
    let name = prop::sample::select(vec![
        "mid",
        "extmap",
        "rtpmap",
        "fmtp",
        "rtcp-fb",
        "ssrc",
        "ssrc-group",
        "rid",
        "simulcast",
        "msid",
        "group",
        "fingerprint",
        "ice-ufrag",
        "ice-pwd",
        "setup",
        "sctp-port",
        "sctpmap",
        "rtcp-mux",
        "rtcp-mux-only",
        "extmap-allow-mixed",
        "bundle-only",
        "inactive",
        "sendonly",
        "recvonly",
    ]);
    prop_oneof![
        (name.clone(), number.clone(), ".{0,30}").prop_map(|(a, n, s)| format!("a={a}:{n} {s}")),
        (name, ".{0,30}").prop_map(|(a, s)| format!("a={a}:{s}")),
        extmap(),
        prop::collection::vec(0..6u32, 0..6).prop_map(|ssrcs| {
            let ssrcs: Vec<String> = ssrcs.iter().map(u32::to_string).collect();
            format!("a=ssrc-group:SIM {}", ssrcs.join(" "))
        }),
        prop::sample::select(vec![
            "m=audio 9 RTP/AVP 0",
            "m=video 9 RTP/SAVPF 96",
            "m=application 9 DTLS/SCTP 5000",
            "m=text 9 X/Y z",
            "a=mid:0123456789abcdefg",
        ])
        .prop_map(str::to_owned),
        number.prop_map(|n| format!("m=video {n} UDP/TLS/RTP/SAVPF {n}")),
        ".{0,40}",
    ]
}

/// Known extensions under ids and in directions of chance.
fn extmap() -> impl Strategy<Value = String> {
    let directions = [
        "",
        "/sendrecv",
        "/sendonly",
        "/recvonly",
        "/inactive",
        "/up",
    ];
    let kinds = prop::sample::select(ExtensionKind::ALL.to_vec());
    (1..16u8, prop::sample::select(directions.to_vec()), kinds)
        .prop_map(|(id, direction, kind)| format!("a=extmap:{id}{direction} {}", kind.uri()))
}

fn mutate(text: &str, mutations: &[Mutation]) -> String {
    let mut lines: Vec<String> = text.lines().map(Into::into).collect();
    for mutation in mutations {
        let len = lines.len();
        if len == 0 {
            break;
        }
        match mutation {
            Mutation::Remove(at) => drop(lines.remove(at % len)),
            Mutation::Repeat(at) => lines.insert(at % len, lines[at % len].clone()),
            Mutation::Swap(a, b) => lines.swap(a % len, b % len),
            Mutation::Replace(at, within, with) => {
                let mut chars: Vec<char> = lines[at % len].chars().collect();
                let chars_len = chars.len().max(1);
                if let Some(c) = chars.get_mut(within % chars_len) {
                    *c = *with;
                }
                lines[at % len] = chars.into_iter().collect();
            }
            Mutation::Insert(at, line) => lines.insert(at % len, line.clone()),
            Mutation::Graft(a, b) => {
                let name = lines[a % len].split(':').next().unwrap_or_default();
                let value = lines[b % len]
                    .split_once(':')
                    .map_or("", |(_, value)| value);
                lines[a % len] = format!("{name}:{value}");
            }
            Mutation::Cut(at) => lines.truncate(at % len),
        }
    }
    lines.join("\r\n")
}

/// Checks that hold of every answer to every offer.
fn assert_sound(text: &str, negotiated: &Negotiated) -> Result<(), TestCaseError> {
    let offer = parse_offer(text, &LIMITS).expect("it was answered");
    let offered = text::read(text).expect("it was answered");
    let answered = text::read(&negotiated.sdp).expect("answers are well-formed");
    prop_assert_eq!(answered.media.len(), offer.media.len());
    prop_assert_eq!(negotiated.media.len(), offer.media.len());
    let group = answered.session.value("group").unwrap_or_default();
    let group: Vec<&str> = group.split(' ').skip(1).collect();
    let mut meanings = HashMap::new();
    for (index, media) in negotiated.media.iter().enumerate() {
        let (line, ours) = (&offered.media[index], &answered.media[index]);
        prop_assert_eq!(&media.mid, &offer.media[index].mid);
        prop_assert_eq!((line.media, line.protocol), (ours.media, ours.protocol));
        let named = offer.media[index].named.then_some(media.mid.as_str());
        prop_assert_eq!(ours.attributes.value("mid"), named);
        let rejected = media.role == MediaRole::Rejected;
        prop_assert_eq!(ours.port == 0, rejected);
        let told = negotiated.refused.iter().any(|(mid, _)| *mid == media.mid);
        prop_assert_eq!(told, rejected && !offer.media[index].stopped);
        prop_assert!(offer.bundle.is_none() || group.contains(&media.mid.as_str()) != rejected);
        for format in &ours.formats {
            prop_assert!(line.formats.contains(format));
        }
        let mut payload_types: Vec<u8> = Vec::new();
        for codec in &media.codecs {
            payload_types.extend([Some(codec.payload_type), codec.rtx].into_iter().flatten());
            prop_assert!(
                media
                    .payload_type_for(codec.codec, &codec.parameters)
                    .is_some()
            );
        }
        let count = payload_types.len();
        payload_types.sort_unstable();
        payload_types.dedup();
        prop_assert_eq!(payload_types.len(), count);
        prop_assert_eq!(media.slot.is_some(), media.role == MediaRole::Slot);
        prop_assert!(media.sim.is_empty() || (2..=4).contains(&media.sim.len()));
        prop_assert!(media.sim.is_empty() || media.rids.is_empty());
        for (at, ssrc) in media.sim.iter().enumerate() {
            prop_assert!(media.ssrcs.iter().any(|known| known.ssrc == *ssrc));
            prop_assert!(!media.sim[..at].contains(ssrc));
        }
        for extension in &extensions(&ours.attributes) {
            let offered = offer.media[index].extensions.iter();
            let offered = offered.copied().find(|offered| offered.id == extension.id);
            let long = extension.kind == ExtensionKind::Mid && media.mid.len() > 16;
            let expected = offered.map(|offered| match offered.direction.mirrored() {
                Direction::SendRecv if long => (offered.kind, Direction::RecvOnly),
                mirrored => (offered.kind, mirrored),
            });
            prop_assert_eq!(expected, Some((extension.kind, extension.direction)));
            let known = meanings.entry(extension.id).or_insert(extension.kind);
            prop_assert_eq!(*known, extension.kind);
        }
        for (id, kind) in media.extensions.iter() {
            let offered = offer.media[index].extensions.iter();
            let mut flowing = offered.filter(|offered| match media.role {
                MediaRole::Publish => offered.direction.sends(),
                MediaRole::Slot => offered.direction.receives(),
                _ => true,
            });
            prop_assert!(flowing.any(|offered| (offered.id, offered.kind) == (id, kind)));
            prop_assert_eq!(meanings.get(&id), Some(&kind));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn changed_offers_are_answered_soundly_or_refused(
        which in 0..9usize,
        mutations in prop::collection::vec(mutation(), 0..8),
        after_an_honest_offer in any::<bool>(),
    ) {
        let (honest, _) = [
            PUBLISH,
            RECEIVE,
            CALL[0],
            CALL[1],
            CALL[2],
            CALL[3],
            firefox::PUBLISH,
            firefox::SIMULCAST,
            firefox::RECEIVE,
        ][which];
        let mut session = session();
        if after_an_honest_offer {
            answer(&mut session, honest).expect("negotiates");
        }
        let text = mutate(honest, &mutations);
        match answer(&mut session, &text) {
            Ok(negotiated) => assert_sound(&text, &negotiated)?,
            Err(error) => {
                let message = error.to_string();
                prop_assert!(!message.chars().any(char::is_control), "{:?}", message);
                prop_assert!(message.chars().count() < 400, "{:?}", message);
            }
        }
    }

    #[test]
    fn arbitrary_text_is_no_trouble(text in "(?s).{0,400}") {
        let _ = answer_once(&text);
        let _ = answer_once(&format!("v=0\no=- 1 1 IN IP4 0\ns=-\nt=0 0\n{text}"));
        let _ = answer_once(&format!("{}{text}", offer(&[AUDIO, VIDEO])));
    }
}

/// A client's step between two offers.
#[derive(Clone, Copy, Debug)]
enum Step {
    Add(SectionKind),
    Stop(usize),
    Turn(usize, Direction),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop::sample::select(vec![SectionKind::Audio, SectionKind::Video]);
    let direction = prop::sample::select(vec![
        Direction::SendRecv,
        Direction::SendOnly,
        Direction::RecvOnly,
        Direction::Inactive,
    ]);
    prop_oneof![
        2 => kind.prop_map(Step::Add),
        1 => any::<usize>().prop_map(Step::Stop),
        2 => (any::<usize>(), direction).prop_map(|(at, direction)| Step::Turn(at, direction)),
    ]
}

/// A client's side of the m-lines, after RFC 8829 section 5.2.2.
#[derive(Clone, Debug)]
struct ClientLine {
    mid: String,
    kind: SectionKind,
    direction: Direction,
    stopped: bool,
}

impl ClientLine {
    fn text(&self) -> String {
        let (part, mid) = match self.kind {
            SectionKind::Audio => (AUDIO.replace("a=sendonly", self.direction_line()), "mid:0"),
            _ => (VIDEO.replace("a=recvonly", self.direction_line()), "mid:1"),
        };
        let part = part.replace(mid, &format!("mid:{}", self.mid));
        if self.stopped {
            part.replace(" 9 UDP", " 0 UDP")
        } else {
            part
        }
    }

    fn direction_line(&self) -> &'static str {
        match self.direction {
            Direction::SendRecv => "a=sendrecv",
            Direction::SendOnly => "a=sendonly",
            Direction::RecvOnly => "a=recvonly",
            Direction::Inactive => "a=inactive",
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn lives_of_a_session(steps in prop::collection::vec(step(), 1..30)) {
        let mut session = session();
        let mut lines: Vec<ClientLine> = Vec::new();
        // The slots seen so far, by mid: none may ever change its SSRC.
        let mut slots: Vec<(String, u32)> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            let len = lines.len().max(1);
            match step {
                Step::Add(kind) => {
                    let line = ClientLine {
                        mid: format!("n{number}"),
                        kind,
                        direction: Direction::RecvOnly,
                        stopped: false,
                    };
                    match lines.iter_mut().find(|line| line.stopped) {
                        Some(vacant) => *vacant = line,
                        None => lines.push(line),
                    }
                }
                Step::Stop(at) => lines.iter_mut().skip(at % len).take(1).for_each(|line| line.stopped = true),
                Step::Turn(at, direction) => {
                    lines.iter_mut().skip(at % len).take(1).for_each(|line| line.direction = direction);
                }
            }
            let parts: Vec<String> = lines.iter().map(ClientLine::text).collect();
            let text = offer(&parts.iter().map(String::as_str).collect::<Vec<_>>());
            let negotiated = answer(&mut session, &text).expect("the client follows the rules");
            assert_sound(&text, &negotiated)?;
            for (line, media) in lines.iter().zip(&negotiated.media) {
                let expected = match line.direction {
                    _ if line.stopped => MediaRole::Rejected,
                    Direction::SendRecv | Direction::SendOnly => MediaRole::Publish,
                    Direction::RecvOnly => MediaRole::Slot,
                    Direction::Inactive => MediaRole::Inactive,
                };
                prop_assert_eq!(media.role, expected);
                if let Some(slot) = &media.slot {
                    let known = slots.iter().find(|(mid, _)| *mid == media.mid);
                    prop_assert!(known.is_none_or(|(_, ssrc)| *ssrc == slot.ssrc));
                    slots.push((media.mid.clone(), slot.ssrc));
                }
            }
        }
    }
}
