//! Attacks by session descriptions.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::arena::{Arena, Attack, Said, said};
use crate::ws::Visitor;

pub(crate) const ATTACKS: [Attack; 2] = [
    Attack::new("odd descriptions up to 1 MB", |arena| Box::pin(odd(arena))),
    Attack::new("offers again and again", |arena| Box::pin(again(arena))),
];

/// As Chromium wrote it, with a camera and a microphone.
const OFFER: &str = include_str!("../../../sfu/src/transport/sdp/fixtures/chromium-publish.sdp");
/// A little less than the longest message.
const LARGE: usize = 1_000_000;

fn offer(sdp: &str) -> Value {
    json!({"type": "offer", "id": 7, "sdp": sdp, "tracks": []})
}

/// Nothing that a browser writes.
fn oddities() -> Vec<(&'static str, String)> {
    let with = |line: &str| format!("{OFFER}{line}\r\n");
    let many = |line: &dyn Fn(usize) -> String| {
        let (mut sdp, mut bytes) = (OFFER.to_owned(), 2 * OFFER.len());
        for number in 0.. {
            let line = line(number);
            // In JSON the end of a line takes four bytes.
            bytes += line.len() + 2 * line.matches("\r\n").count();
            if bytes > LARGE {
                return sdp;
            }
            sdp.push_str(&line);
        }
        sdp
    };
    let media = OFFER.find("m=").expect("m-lines");
    let (session, lines) = OFFER.split_at(media);
    vec![
        ("nothing", String::new()),
        ("a version alone", "v=0\r\n".into()),
        ("one long word", "a".repeat(LARGE)),
        (
            "one long line",
            with(&format!("a=x:{}", "y".repeat(LARGE - 2 * OFFER.len()))),
        ),
        ("empty lines", "\r\n".repeat(LARGE / 4)),
        ("zero bytes", "\0".repeat(LARGE / 6)),
        (
            "attributes without end",
            many(&|number| format!("a=x{number}:y\r\n")),
        ),
        (
            "candidates without end",
            many(&|number| {
                format!(
                    "a=candidate:{number} 1 udp 1 10.0.0.1 {} typ host\r\n",
                    number % 65_536
                )
            }),
        ),
        (
            "SSRCs without end",
            many(&|number| format!("a=ssrc:{number} cname:c\r\n")),
        ),
        (
            "extensions without end",
            many(&|number| format!("a=extmap:{} urn:x:{number}\r\n", number % 255 + 1)),
        ),
        (
            "encodings without end",
            many(&|number| format!("a=rid:r{number} send\r\n")),
        ),
        (
            "formats without end",
            many(&|number| format!("a=rtpmap:{} VP8/90000\r\n", number % 128)),
        ),
        (
            "fingerprints without end",
            many(&|_| "a=fingerprint:sha-256 00:11\r\n".to_owned()),
        ),
        (
            "m-lines without end",
            many(&|number| format!("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:x{number}\r\n")),
        ),
        ("the same m-lines again", many(&|_| lines.to_owned())),
        ("no session", lines.to_owned()),
        ("no m-line", session.to_owned()),
        ("half of it", OFFER[..OFFER.len() / 2].to_owned()),
        (
            "a name that is long",
            OFFER.replacen(
                "a=ice-ufrag:",
                &format!("a=ice-ufrag:{}", "u".repeat(100_000)),
                1,
            ),
        ),
        (
            "a password that is long",
            OFFER.replacen(
                "a=ice-pwd:",
                &format!("a=ice-pwd:{}", "p".repeat(100_000)),
                1,
            ),
        ),
        (
            "numbers that are large",
            OFFER.replace(" 9 UDP", " 99999999999999999999 UDP"),
        ),
        (
            "numbers that are negative",
            OFFER.replace("a=rtpmap:", "a=rtpmap:-"),
        ),
        (
            "a bundle of many",
            OFFER.replacen(
                "a=group:BUNDLE",
                &format!("a=group:BUNDLE {}", "z ".repeat(300_000)),
                1,
            ),
        ),
        ("lines that end otherwise", OFFER.replace("\r\n", "\r")),
        (
            "letters beyond ASCII",
            OFFER.replace("a=mid:", "a=mid:\u{1f600}\u{202e}"),
        ),
        (
            "both sides passive",
            OFFER.replace("a=setup:actpass", "a=setup:passive"),
        ),
        (
            "a simulcast of many",
            with(&format!("a=simulcast:send {}", "q;".repeat(300_000))),
        ),
    ]
}

async fn odd(arena: &Arena) -> Said {
    let from = arena.address();
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    let oddities = oddities();
    for (what, sdp) in &oddities {
        let mut visitor = Visitor::open(&arena.server, from).await.expect("let in");
        visitor.join("elsewhere").await.expect("a join");
        visitor.say(offer(sdp)).await;
        let code = answer(&mut visitor).await;
        let known = [
            "answer",
            "bad_sdp",
            "bad_field",
            "too_many_tracks",
            "message_too_large",
        ];
        assert!(
            known.contains(&&*code) || code.starts_with("sdp_"),
            "{what}: {code}"
        );
        *codes.entry(code).or_default() += 1;
    }
    let codes: Vec<_> = codes
        .iter()
        .map(|(code, count)| format!("{count} {code}"))
        .collect();
    said(format!("{} descriptions", oddities.len()), codes.join(", "))
}

/// `answer`, or the code of the refusal.
async fn answer(visitor: &mut Visitor) -> String {
    loop {
        let Some(message) = visitor.next().await else {
            return "closed".into();
        };
        match message["type"].as_str() {
            Some("answer") => return "answer".into(),
            Some("error") => return message["code"].as_str().unwrap_or_default().into(),
            _ => {}
        }
    }
}

/// By twelve participants at once, as often as they may speak.
async fn again(arena: &Arena) -> Said {
    let from = arena.address();
    let mut visitors = Vec::new();
    for _ in 0..12 {
        let mut visitor = Visitor::open(&arena.server, from).await.expect("let in");
        visitor.join("elsewhere").await.expect("a join");
        visitors.push(visitor);
    }
    let (start, mut count) = (Instant::now(), 0_u64);
    let mut turns = tokio::time::interval(Duration::from_millis(22));
    while start.elapsed() < arena.during() {
        turns.tick().await;
        for visitor in &mut visitors {
            visitor.say(offer(OFFER)).await;
        }
        for visitor in &mut visitors {
            let code = answer(visitor).await;
            assert!(["answer", "rate_limited"].contains(&&*code), "{code}");
            count += u64::from(code == "answer");
        }
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    said(
        format!("{rate:.0} offers a second"),
        "each answered, or rate_limited",
    )
}
