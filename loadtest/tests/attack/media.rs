//! Attacks by publishers: packets that are too many, not theirs, or of too many streams.

use crate::hostile::{Hostile, Media, Outgoing, Published};
use serde_json::Value;

use crate::arena::{Arena, Attack, Said, said};
use crate::call::ROOM;
use crate::stun::flood;

pub(crate) const ATTACKS: [Attack; 4] = [
    Attack::new("an SSRC for each packet", |arena| {
        Box::pin(new_streams(arena))
    }),
    Attack::new("a publisher beyond its rate", |arena| {
        Box::pin(too_much(arena))
    }),
    Attack::new("replayed SRTP", |arena| Box::pin(replayed(arena))),
    Attack::new("forged SRTP", |arena| Box::pin(forged(arena))),
];

/// Eight simulcast tracks in the room of the call; each packet is the first of a stream.
async fn new_streams(arena: &Arena) -> Said {
    let mut peer = arena
        .hostile(ROOM, |config| {
            config.videos = 8;
            config.rids = vec!["a", "b", "c"];
        })
        .await;
    let streams = peer.media.published.clone();
    let payload = keyframe(1_000);
    let mut turn = streams.iter().cycle();
    // 18.8 Mbit/s.
    let rate = 2_350;
    let sent = arena
        .pace(rate, |count| {
            for stream in turn.by_ref().take(count as usize) {
                let packet = peer.media.rtp(&Outgoing {
                    payload_type: stream.payload_type,
                    marker: true,
                    sequence: rand::random::<u16>() & 0x7fff,
                    timestamp: rand::random(),
                    ssrc: rand::random(),
                    mid: Some(&stream.mid),
                    rid: Some(stream.rid),
                    payload: &payload,
                });
                peer.media.send(&packet.expect("keys"));
            }
            peer.media.pump();
        })
        .await;
    let published = published(arena, ROOM).await;
    let sum = |field: &str| -> u64 {
        published
            .iter()
            .filter_map(|track| track[field].as_u64())
            .sum()
    };
    let (anew, passed) = (sum("streams_begun_anew"), sum("packets_passed_over"));
    let seconds = arena.during().as_secs_f64();
    assert!(
        anew <= 24 * (seconds as u64 + 3),
        "{anew} streams begun anew"
    );
    assert!(passed > 0, "none was passed over");
    said(
        format!(
            "{:.1} Mbit/s, {sent} streams",
            sent as f64 * 8_000.0 / 1e6 / seconds
        ),
        format!("{anew} streams_begun_anew, {passed} packets_passed_over"),
    )
}

/// A publisher in the room of the call sends more of one track than `publisher_bitrate` allows.
async fn too_much(arena: &Arena) -> Said {
    let mut peer = arena.hostile(ROOM, |config| config.videos = 1).await;
    let mut stream = Stream::of(&peer.media.published[0]);
    let payload = keyframe(1_150);
    let rate = arena.many(12_000, 16_000) as u64;
    let sent = arena
        .pace(rate, |count| {
            for _ in 0..count {
                let packet = stream.next(&mut peer.media, &payload);
                peer.media.send(&packet);
            }
            peer.media.pump();
        })
        .await;
    let over = peers(arena, ROOM).await;
    let over: u64 = over
        .iter()
        .filter_map(|peer| peer["packets_over_rate"].as_u64())
        .sum();
    assert!(over > 0, "none was beyond the rate");
    said(
        format!("{:.0} Mbit/s", arena.a_second(sent) * 1_200.0 * 8.0 / 1e6),
        format!("{over} packets_over_rate"),
    )
}

async fn replayed(arena: &Arena) -> Said {
    let mut peer = arena.hostile("elsewhere", |config| config.videos = 1).await;
    let mut stream = Stream::of(&peer.media.published[0]);
    let payload = keyframe(200);
    let packets: Vec<_> = (0..200)
        .map(|_| stream.next(&mut peer.media, &payload))
        .collect();
    counted(arena, &peer, &packets, "srtp_replayed").await
}

async fn forged(arena: &Arena) -> Said {
    let mut peer = arena.hostile("elsewhere", |config| config.videos = 1).await;
    let mut stream = Stream::of(&peer.media.published[0]);
    let payload = keyframe(200);
    let packets = (0..200).map(|number| {
        let mut packet = stream.next(&mut peer.media, &payload);
        // Anything but the version, which says that it is RTP.
        let at = 2 + number % (packet.len() - 2);
        packet[at] ^= 0x10;
        packet
    });
    let packets: Vec<_> = packets.collect();
    counted(arena, &peer, &packets, "srtp_auth_failed").await
}

/// Floods the server with them, which must count them by this code.
async fn counted(arena: &Arena, peer: &Hostile, packets: &[Vec<u8>], code: &str) -> Said {
    let socket = peer.media.socket.try_clone().expect("a socket");
    let said = flood(arena, peer.media.server, &socket, packets, "packets").await;
    said.naming(code)
}

/// One stream with numbers in order.
pub(crate) struct Stream {
    of: Published,
    sequence: u16,
    timestamp: u32,
}

impl Stream {
    pub(crate) fn of(published: &Published) -> Self {
        Self {
            of: published.clone(),
            sequence: 1,
            timestamp: 0,
        }
    }

    /// A frame of one packet.
    pub(crate) fn next(&mut self, media: &mut Media, payload: &[u8]) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(3_000);
        let packet = media.rtp(&Outgoing {
            payload_type: self.of.payload_type,
            marker: true,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.of.ssrc,
            mid: Some(&self.of.mid),
            rid: Some(self.of.rid).filter(|rid| !rid.is_empty()),
            payload,
        });
        packet.expect("keys")
    }
}

/// The beginning of a VP8 keyframe of 640x360 (RFC 7741 section 4.2, RFC 6386 section 9.1), and zeroes.
pub(crate) fn keyframe(bytes: usize) -> Vec<u8> {
    let mut payload = vec![0x10, 0x10, 0x20, 0, 0x9d, 0x01, 0x2a];
    payload.extend(640_u16.to_le_bytes());
    payload.extend(360_u16.to_le_bytes());
    payload.resize(bytes, 0);
    payload
}

/// The server's counters of everyone in a room.
pub(crate) async fn peers(arena: &Arena, room: &str) -> Vec<Value> {
    let answer = crate::http::get(arena.server.admin, &format!("/stats?room={room}")).await;
    let stats: Value = serde_json::from_str(&answer.expect("counters").body).expect("JSON");
    let participants = stats["participants"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    participants
        .into_iter()
        .map(|mut one| one["peer"].take())
        .collect()
}

/// Its counters of the tracks of the one who publishes most of them.
async fn published(arena: &Arena, room: &str) -> Vec<Value> {
    let peers = peers(arena, room).await;
    let tracks = peers.iter().filter_map(|peer| peer["published"].as_array());
    tracks
        .max_by_key(|tracks| tracks.len())
        .cloned()
        .unwrap_or_default()
}
