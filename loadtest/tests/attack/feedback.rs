//! Attacks by viewers: requests without end, and lies about what arrives.

use tertulia_sfu::rtp::rtcp;

use crate::arena::{Arena, Attack, Said, said};
use crate::call::ROOM;

pub(crate) const ATTACKS: [Attack; 4] = [
    Attack::new("a flood of NACKs", |arena| Box::pin(nacks(arena))),
    Attack::new("a flood of PLIs", |arena| Box::pin(keyframes(arena, false))),
    Attack::new("a flood of FIRs", |arena| Box::pin(keyframes(arena, true))),
    Attack::new("lies about the link", |arena| Box::pin(lies(arena))),
];

/// A viewer of all.
async fn viewer(arena: &Arena) -> crate::hostile::Hostile {
    let mut viewer = arena.hostile(ROOM, |config| config.receives = [4, 4]).await;
    let started = std::time::Instant::now();
    while viewer.media.heard.rtp.len() < 4 {
        assert!(started.elapsed() < crate::http::PATIENCE, "no media");
        viewer.media.pump();
        tokio::task::yield_now().await;
    }
    viewer
}

/// A report on nothing: a compound begins with one (RFC 3550 section 6.1).
fn compound() -> Vec<u8> {
    let mut out = Vec::new();
    rtcp::receiver_report(&mut out, 1, &[]);
    out
}

/// 1,000 a second, each for the last 400 packets of a stream.
async fn nacks(arena: &Arena) -> Said {
    let mut viewer = viewer(arena).await;
    let rate = arena.many(1_000, 200) as u64;
    let mut number = 0;
    let bytes = viewer.media.heard.bytes;
    let sent = arena
        .pace(rate, |count| {
            for _ in 0..count {
                number += 1;
                let streams: Vec<_> = viewer.media.heard.rtp.iter().collect();
                let (ssrc, (_, newest)) = streams[number % streams.len()];
                let lost: Vec<u16> = (0..400)
                    .rev()
                    .map(|back| newest.wrapping_sub(back))
                    .collect();
                let mut out = compound();
                rtcp::nack(&mut out, 1, *ssrc, &lost);
                let sealed = viewer.media.rtcp(out).expect("keys");
                viewer.media.send(&sealed);
            }
            viewer.media.pump();
        })
        .await;
    let mbit = (viewer.media.heard.bytes - bytes) as f64 * 8.0 / 1e6;
    let seconds = arena.during().as_secs_f64();
    said(
        format!(
            "{:.0} a second, each for 400 packets",
            sent as f64 / seconds
        ),
        format!("{:.1} Mbit/s to the one who asks", mbit / seconds),
    )
}

/// For every stream by turns.
async fn keyframes(arena: &Arena, full: bool) -> Said {
    let mut viewer = viewer(arena).await;
    let rate = arena.many(1_000, 300) as u64;
    let mut number = 0;
    let before = arena.call.look().await;
    let sent = arena
        .pace(rate, |count| {
            for _ in 0..count {
                number += 1;
                let streams: Vec<u32> = viewer.media.heard.rtp.keys().copied().collect();
                let ssrc = streams[number % streams.len()];
                let mut out = compound();
                match full {
                    true => rtcp::fir(&mut out, 1, &[(ssrc, number as u8)]),
                    false => rtcp::pli(&mut out, 1, ssrc),
                }
                let sealed = viewer.media.rtcp(out).expect("keys");
                viewer.media.send(&sealed);
            }
            viewer.media.pump();
        })
        .await;
    let reached = arena.call.look().await.since(&before).keyframe_requests();
    let seconds = arena.during().as_secs_f64();
    // Each of four publishers is asked a few times a second.
    let most = (4.0 * 8.0 * (seconds + 1.0)) as u64;
    assert!(
        reached <= most,
        "{reached} requests reached the publishers, of {most} at most"
    );
    said(
        format!("{:.0} a second", sent as f64 / seconds),
        format!("{reached} reach the four publishers"),
    )
}

/// By turns: that the link carries nothing, that it carries everything, that all was lost, that all came at once.
async fn lies(arena: &Arena) -> Said {
    let mut viewer = viewer(arena).await;
    let rate = arena.many(1_000, 300) as u64;
    let mut number = 0_u32;
    let sent = arena
        .pace(rate, |count| {
            for _ in 0..count {
                number += 1;
                let streams: Vec<u32> = viewer.media.heard.rtp.keys().copied().collect();
                let ssrc = streams[number as usize % streams.len()];
                let mut out = compound();
                match number % 4 {
                    0 => rtcp::remb(&mut out, 1, 1, &streams),
                    1 => rtcp::remb(&mut out, 1, u64::MAX, &streams),
                    2 => {
                        let report = rtcp::ReportBlock {
                            ssrc,
                            fraction_lost: 255,
                            cumulative_lost: 0x7f_ffff,
                            ..rtcp::ReportBlock::default()
                        };
                        out.clear();
                        rtcp::receiver_report(&mut out, 1, &[report]);
                    }
                    _ => out.extend(arrivals(number, ssrc)),
                }
                let sealed = viewer.media.rtcp(out).expect("keys");
                viewer.media.send(&sealed);
            }
            viewer.media.pump();
        })
        .await;
    said(
        format!(
            "{:.0} a second: REMB, loss, transport-wide",
            arena.a_second(sent)
        ),
        "obeyed for the liar alone",
    )
}

/// Feedback that 1,000 packets came, or did not, as a run (draft-holmer-rmcat-transport-wide-cc-extensions-01).
fn arrivals(number: u32, media: u32) -> Vec<u8> {
    let base = rand::random::<u16>();
    let mut out = vec![0x8f, 205, 0, 0];
    out.extend(1_u32.to_be_bytes());
    out.extend(media.to_be_bytes());
    out.extend(base.to_be_bytes());
    let (count, symbol) = if number % 8 == 3 {
        (1_000_u16, 1)
    } else {
        (1_000, 0)
    };
    out.extend(count.to_be_bytes());
    out.extend((number << 8).to_be_bytes());
    out.extend((symbol << 13 | count).to_be_bytes());
    if symbol == 1 {
        out.resize(out.len() + usize::from(count), 0);
    }
    out.resize(out.len().next_multiple_of(4), 0);
    let words = (out.len() / 4 - 1) as u16;
    out[2..4].copy_from_slice(&words.to_be_bytes());
    out
}
