//! Attacks by data channels.

use std::collections::BTreeMap;

use crate::hostile::Hostile;
use tertulia_signaling::protocol::native::ServerMessage;

use crate::arena::{Arena, Attack, Said, said};
use crate::sctp::{Association, init};

pub(crate) const ATTACKS: [Attack; 3] = [
    Attack::new("associations begun anew", |arena| Box::pin(inits(arena))),
    Attack::new("channels opened without end", |arena| {
        Box::pin(opens(arena))
    }),
    Attack::new("data to closed windows", |arena| Box::pin(windows(arena))),
];

/// A window that takes all.
const OPEN: u32 = 1 << 20;
/// The least that RFC 9260 section 3.3.2 allows.
const CLOSED: u32 = 1_500;

async fn inits(arena: &Arena) -> Said {
    let mut peer = arena
        .hostile("elsewhere", |config| config.data = true)
        .await;
    let _association = Association::begin(&mut peer.media, OPEN).await;
    let rate = arena.many(10_000, 1_000) as u64;
    let sent = arena
        .pace(rate, |count| {
            for _ in 0..count {
                peer.media.write_data(&init(rand::random(), OPEN));
            }
            peer.media.pump();
            drop(peer.media.take_data());
        })
        .await;
    said(
        format!("{:.0} INITs a second", arena.a_second(sent)),
        "no fault",
    )
}

async fn opens(arena: &Arena) -> Said {
    let mut peer = arena
        .hostile("elsewhere", |config| config.data = true)
        .await;
    let mut association = Association::begin(&mut peer.media, OPEN).await;
    let rate = arena.many(6_500, 1_000) as u64;
    let mut streams = (0..=u16::MAX).cycle();
    let labels = ["reliable", "unreliable", "other"];
    let sent = arena
        .pace(rate, |count| {
            for stream in streams.by_ref().take(count as usize) {
                association.open(&mut peer.media, stream, labels[usize::from(stream) % 3]);
            }
            peer.media.pump();
            drop(peer.media.take_data());
        })
        .await;
    let codes = errors(&peer);
    assert!(codes.contains_key("data_too_many_channels"), "{codes:?}");
    let codes: Vec<_> = codes.keys().cloned().collect();
    said(
        format!("{:.0} opens a second", arena.a_second(sent)),
        codes.join(", "),
    )
}

/// The codes of the errors that the server sent it.
fn errors(peer: &Hostile) -> BTreeMap<String, u64> {
    let mut codes = BTreeMap::new();
    for message in peer.heard() {
        if let ServerMessage::Error(refusal) = message {
            *codes.entry(refusal.code).or_default() += 1;
        }
    }
    codes
}

/// One says as much as it may, and more; six receivers take nothing.
async fn windows(arena: &Arena) -> Said {
    let mut receivers = Vec::new();
    for _ in 0..6 {
        let mut peer = arena
            .hostile("elsewhere", |config| config.data = true)
            .await;
        let mut association = Association::begin(&mut peer.media, CLOSED).await;
        association.open(&mut peer.media, 0, "reliable");
        receivers.push((peer, association));
    }
    let mut sender = arena
        .hostile("elsewhere", |config| config.data = true)
        .await;
    let mut association = Association::begin(&mut sender.media, OPEN).await;
    association.open(&mut sender.media, 0, "reliable");
    let undelivered = arena.count("/drops/data_undelivered").await;
    let message = vec![b'x'; 16_000];
    let sent = arena
        .pace(200, |count| {
            for _ in 0..count {
                association.text(&mut sender.media, 0, &message);
            }
            sender.media.pump();
            drop(sender.media.take_data());
            for (peer, _) in &mut receivers {
                peer.media.pump();
                drop(peer.media.take_data());
            }
        })
        .await;
    let undelivered = arena.count("/drops/data_undelivered").await - undelivered;
    assert!(undelivered > 0, "nothing was dropped");
    let codes: Vec<_> = errors(&sender).into_keys().collect();
    said(
        format!(
            "{:.0} messages of 16 kB a second to six",
            arena.a_second(sent)
        ),
        format!("{undelivered} data_undelivered; {}", codes.join(", ")),
    )
}
