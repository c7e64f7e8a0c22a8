//! Participants' counters, its tracks called as clients know them. Field by field what
//! [`media::stats`](crate::media::stats) documents, ready to be written as JSON.

use std::net::SocketAddr;

use serde::Serialize;

use super::{ParticipantId, Source, TrackName};
use crate::media::{MediaKind, PeerId, TrackId, stats as media};

/// Everyone in a room, in the order they joined.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct RoomStats {
    /// The room's name.
    pub room: String,
    /// The participants.
    pub participants: Vec<ParticipantStats>,
}

/// A participant.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ParticipantStats {
    /// Its id.
    pub participant: ParticipantId,
    /// Its name.
    pub name: String,
    /// Its session has had no connection for a while, and the others know.
    pub away: bool,
    /// The socket that carries its messages, or carried them last: `websocket`, `sse` or `polling`. None: it has joined
    /// through the embedder.
    pub socket: Option<&'static str>,
    /// The transport's counters; none while there is no transport.
    pub peer: Option<PeerStats>,
}

/// A participant's transport.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PeerStats {
    /// ICE and DTLS are up.
    pub connected: bool,
    /// The address that its media comes from and goes to.
    pub remote_addr: Option<SocketAddr>,
    /// The protocol by which it is reached: `udp`, `tcp`, `turn_tcp` or `turn_tls`. None before its first check.
    pub path: Option<&'static str>,
    /// The reason that it is sent no media although it is connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_held: Option<&'static str>,
    /// The cipher of its media; none until DTLS is up.
    pub srtp_profile: Option<&'static str>,
    /// Round trip, by its receiver reports.
    pub rtt_ms: Option<f64>,
    /// Packets dropped because all its tracks together sent too much.
    pub packets_over_rate: u64,
    /// The link from the server to it.
    pub bandwidth: BandwidthStats,
    /// Its tracks.
    pub published: Vec<PublishedStats>,
    /// The tracks of others that it is subscribed to.
    pub subscriptions: Vec<SubscriptionStats>,
}

/// A viewer's link; rates in bits a second.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BandwidthStats {
    /// The estimated rate of the whole link; none until it is known.
    pub estimate: Option<u64>,
    /// The bound of the estimate.
    pub limited_by: &'static str,
    /// The rate that all wanted video would need.
    pub desired: u64,
    /// The rate of the video that was chosen.
    pub allocated: u64,
    /// The rate sent, in UDP payload.
    pub sent: u64,
    /// The part of it that arrived.
    pub acknowledged: u64,
    /// The share of packets lost, 0 to 1.
    pub loss: f64,
    /// The estimated wait of packets in the link's queue.
    pub queue_delay_ms: f64,
    /// Whether another flow seems to fill that queue.
    pub contested: bool,
    /// Bytes that wait in the server.
    pub queued_bytes: usize,
    /// The time that the first of them has waited.
    pub queued_ms: f64,
    /// The number of probes.
    pub probes: u64,
    /// Whether sound is sent twice, or the reason why not.
    pub redundancy: &'static str,
}

/// A published track.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PublishedStats {
    /// Its id.
    pub track: TrackName,
    /// Audio or video.
    pub kind: &'static str,
    /// The codec that it comes in.
    pub codec: &'static str,
    /// Keyframe requests sent to its publisher.
    pub keyframe_requests: u64,
    /// The number of times that a stream took the place of another.
    pub streams_begun_anew: u64,
    /// Packets of streams beside the one that is heard.
    pub packets_passed_over: u64,
    /// Lowest first.
    pub layers: Vec<LayerStats>,
    /// Viewers who cannot watch it.
    pub unwatchable: Vec<UnwatchableStats>,
}

/// A viewer that cannot watch a track, with the reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct UnwatchableStats {
    /// The viewer.
    pub participant: ParticipantId,
    /// The reason.
    pub reason: &'static str,
}

/// An encoding of a track.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LayerStats {
    /// Its RID.
    pub rid: Option<String>,
    /// Packets come.
    pub alive: bool,
    /// Somebody is sent it.
    pub wanted: bool,
    /// The rate that came, in bits a second.
    pub bitrate: u64,
    /// Height of its largest picture, in pixels.
    pub height: Option<u16>,
    /// Packets that came.
    pub packets: u64,
    /// Their payloads.
    pub bytes: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Packets that its publisher was asked to send again.
    pub nacks_sent: u64,
    /// Packets that came by retransmission.
    pub repaired: u64,
}

/// A subscription.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SubscriptionStats {
    /// The track's id.
    pub track: TrackName,
    /// The participant whose track it is.
    pub publisher: ParticipantId,
    /// Its source, as its publisher says.
    pub source: &'static str,
    /// `audio` or `video`.
    pub kind: &'static str,
    /// The m-line that carries it.
    pub mid: Option<String>,
    /// The layer that is sent.
    pub layer: Option<usize>,
    /// The highest temporal layer that is sent.
    pub temporal: Option<u8>,
    /// The layer that is to be sent.
    pub target: Option<usize>,
    /// The reason why it is no more.
    pub reason: &'static str,
    /// The rate set aside for it, in bits a second.
    pub allocated: u64,
    /// The rate that was sent, in bits a second.
    pub bitrate: u64,
    /// Keyframes asked for, by the viewer or for it.
    pub keyframe_requests: u64,
    /// Packets sent, without retransmissions.
    pub packets: u64,
    /// Their payloads.
    pub bytes: u64,
    /// Packets that the viewer asked for again.
    pub nacks_received: u64,
    /// Packets that were sent again.
    pub retransmitted: u64,
    /// Packets of sound with a copy of the one before.
    pub redundant: u64,
    /// The share of packets lost between the last two receiver reports.
    pub fraction_lost: f64,
}

/// A track as people know it.
pub(super) struct TrackOf {
    pub(super) name: TrackName,
    pub(super) publisher: ParticipantId,
    pub(super) source: Source,
    pub(super) kind: MediaKind,
}

fn kind_name(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    }
}

impl PeerStats {
    /// A track without a name has just ended and is left out, and so is a viewer who has just left.
    pub(super) fn named(
        stats: media::PeerStats,
        of_track: impl Fn(TrackId) -> Option<TrackOf>,
        viewer: impl Fn(PeerId) -> Option<ParticipantId>,
    ) -> Self {
        let published = stats.published.into_iter();
        let subscriptions = stats.subscriptions.into_iter();
        Self {
            connected: stats.connected,
            remote_addr: stats.remote_addr,
            path: stats.path,
            media_held: stats.media_held,
            srtp_profile: stats.srtp_profile,
            rtt_ms: stats.rtt_ms,
            packets_over_rate: stats.packets_over_rate,
            bandwidth: stats.bandwidth.into(),
            published: published
                .filter_map(|stats| {
                    Some(PublishedStats::named(
                        of_track(stats.track)?.name,
                        stats,
                        &viewer,
                    ))
                })
                .collect(),
            subscriptions: subscriptions
                .filter_map(|stats| Some(SubscriptionStats::named(of_track(stats.track)?, stats)))
                .collect(),
        }
    }
}

impl PublishedStats {
    fn named(
        track: TrackName,
        stats: media::PublishedStats,
        viewer: impl Fn(PeerId) -> Option<ParticipantId>,
    ) -> Self {
        let unwatchable = stats.unwatchable.into_iter();
        let unwatchable = unwatchable.filter_map(|(peer, reason)| {
            let participant = viewer(peer)?;
            Some(UnwatchableStats {
                participant,
                reason,
            })
        });
        Self {
            track,
            kind: kind_name(stats.kind),
            codec: stats.codec,
            keyframe_requests: stats.keyframe_requests,
            streams_begun_anew: stats.streams_begun_anew,
            packets_passed_over: stats.packets_passed_over,
            layers: stats.layers.into_iter().map(Into::into).collect(),
            unwatchable: unwatchable.collect(),
        }
    }
}

impl From<media::BandwidthStats> for BandwidthStats {
    fn from(stats: media::BandwidthStats) -> Self {
        Self {
            estimate: stats.estimate,
            limited_by: stats.limited_by,
            desired: stats.desired,
            allocated: stats.allocated,
            sent: stats.sent,
            acknowledged: stats.acknowledged,
            loss: stats.loss,
            queue_delay_ms: stats.queue_delay_ms,
            contested: stats.contested,
            queued_bytes: stats.queued_bytes,
            queued_ms: stats.queued_ms,
            probes: stats.probes,
            redundancy: stats.redundancy,
        }
    }
}

impl From<media::LayerStats> for LayerStats {
    fn from(stats: media::LayerStats) -> Self {
        Self {
            rid: stats.rid,
            alive: stats.alive,
            wanted: stats.wanted,
            bitrate: stats.bitrate,
            height: stats.height,
            packets: stats.packets,
            bytes: stats.bytes,
            lost: stats.lost,
            nacks_sent: stats.nacks_sent,
            repaired: stats.repaired,
        }
    }
}

impl SubscriptionStats {
    fn named(of: TrackOf, stats: media::SubscriptionStats) -> Self {
        Self {
            track: of.name,
            publisher: of.publisher,
            source: of.source.as_str(),
            kind: kind_name(of.kind),
            mid: stats.mid,
            layer: stats.layer,
            temporal: stats.temporal,
            target: stats.target,
            reason: stats.reason,
            allocated: stats.allocated,
            bitrate: stats.bitrate,
            keyframe_requests: stats.keyframe_requests,
            packets: stats.packets,
            bytes: stats.bytes,
            nacks_received: stats.nacks_received,
            retransmitted: stats.retransmitted,
            redundant: stats.redundant,
            fraction_lost: stats.fraction_lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::media::RoomId;

    /// Every field, and one element in each list.
    fn full() -> PeerStats {
        let track = TrackId::from_u64(1);
        let layer = media::LayerStats {
            rid: Some("q".into()),
            alive: true,
            wanted: true,
            bitrate: 1,
            height: Some(180),
            packets: 1,
            bytes: 1,
            lost: 0,
            nacks_sent: 0,
            repaired: 0,
        };
        let published = media::PublishedStats {
            track,
            kind: MediaKind::Video,
            codec: "VP8",
            layers: vec![layer],
            keyframe_requests: 1,
            streams_begun_anew: 1,
            packets_passed_over: 0,
            unwatchable: vec![(PeerId::from_u64(2), "codec_not_negotiated")],
        };
        let subscription = media::SubscriptionStats {
            track,
            mid: Some("1".into()),
            layer: Some(0),
            temporal: Some(0),
            target: Some(0),
            reason: "best",
            allocated: 1,
            bitrate: 1,
            keyframe_requests: 1,
            packets: 1,
            bytes: 1,
            nacks_received: 0,
            retransmitted: 0,
            redundant: 0,
            fraction_lost: 0.0,
        };
        let peer = media::PeerStats {
            peer: PeerId::from_u64(1),
            room: RoomId::from_u64(1),
            connected: true,
            remote_addr: Some(([192, 0, 2, 7], 50_000).into()),
            path: Some("udp"),
            media_held: Some("silent"),
            srtp_profile: Some("AEAD_AES_128_GCM"),
            rtt_ms: Some(1.5),
            packets_over_rate: 0,
            published: vec![published],
            subscriptions: vec![subscription],
            bandwidth: media::BandwidthStats::default(),
        };
        let of_track = |_| {
            Some(TrackOf {
                name: TrackName::random(),
                publisher: ParticipantId::random(),
                source: Source::Camera,
                kind: MediaKind::Video,
            })
        };
        PeerStats::named(peer, of_track, |_| Some(ParticipantId::random()))
    }

    /// `bandwidth.loss`, `published[].layers[].rid`.
    fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let dot = if path.is_empty() { "" } else { "." };
                    let path = format!("{path}{dot}{name}");
                    paths(value, &path, found);
                    found.insert(path);
                }
            }
            Value::Array(elements) => {
                for element in elements {
                    paths(element, &format!("{path}[]"), found);
                }
            }
            _ => {}
        }
    }

    /// The rows of the table under `## Stats`: field, unit, range, meaning.
    fn documented() -> Vec<[&'static str; 4]> {
        let text = include_str!("../../docs/PROTOCOL.md");
        let (_, section) = text.split_once("\n## Stats\n").expect("a section");
        let section = section.split("\n## ").next().expect("its end");
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let cells = rows.map(|row| {
            let cells = row.trim_matches('|').split('|').map(str::trim);
            let cells: Vec<&str> = cells.collect();
            <[&str; 4]>::try_from(cells).expect(row)
        });
        cells.collect()
    }

    #[test]
    fn each_field_is_in_the_golden_message_and_described_in_the_protocol() {
        let mut fields = BTreeSet::new();
        let told = serde_json::to_value(full()).expect("JSON");
        paths(&told, "", &mut fields);

        let golden = include_str!("../../golden/native/server/stats.json");
        let golden: Value = serde_json::from_str(golden).expect("JSON");
        let mut written = BTreeSet::new();
        paths(&golden["peer"], "", &mut written);
        assert_eq!(written, fields, "the golden message, and what is sent");

        let rows = documented();
        let described: BTreeSet<String> = rows
            .iter()
            .map(|[field, ..]| field.trim_matches('`').to_owned())
            .collect();
        assert_eq!(described, fields, "PROTOCOL.md, and what is sent");
        assert_eq!(described.len(), rows.len(), "one row for each");
        for [field, unit, range, meaning] in rows {
            assert!(
                !unit.is_empty() || !range.is_empty(),
                "{field}: which values?"
            );
            let named = meaning.is_empty() && (!range.is_empty() || unit.ends_with(" id"));
            assert!(named || meaning.len() > 5, "{field}: what is it?");
        }
    }
}
