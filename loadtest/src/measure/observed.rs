//! The observations of one bot.

use std::time::{Duration, Instant};

use tertulia_signaling::protocol::native::MediaKind;

/// The times of a join, each from opening the WebSocket on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Phases {
    /// Time to the first answer: the control plane's part.
    pub signaling: Option<Duration>,
    /// Time to the first authenticated STUN response.
    pub ice: Option<Duration>,
    /// Time to the end of the DTLS handshake: media may flow.
    pub dtls: Option<Duration>,
    /// Time to the first authenticated media packet.
    pub first_packet: Option<Duration>,
}

/// The packets that a publisher sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// RTP packets of all layers, without retransmissions.
    pub packets: u64,
    /// RTP headers and payloads of these.
    pub bytes: u64,
    /// Packets sent again because the server asked.
    pub retransmissions: u64,
    /// Keyframe requests from the server to this bot.
    pub keyframe_requests_received: u64,
    /// Packets sent later than they were due by more than a frame: the generator was too slow.
    pub late: u64,
}

/// The packets that a publisher sent of one encoding.
#[derive(Clone, Debug)]
pub struct EncodingSent {
    pub kind: MediaKind,
    /// Empty without simulcast.
    pub rid: &'static str,
    /// The server wants it.
    pub active: bool,
    /// RTP headers and payloads, without retransmissions.
    pub bytes: u64,
    /// The times of its first packet sent, and of its last.
    pub first: Option<Instant>,
    pub last: Option<Instant>,
}

/// The packets that a bot received.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// RTP packets with media, retransmitted ones included.
    pub packets: u64,
    /// Their RTP headers and payloads.
    pub bytes: u64,
    /// Packets, among these, that came by retransmission.
    pub retransmitted: u64,
    /// Packets, among these, whose whole content was decrypted and checked, not only counted.
    pub decrypted: u64,
    /// Keyframe requests to the server.
    pub keyframe_requests: u64,
    /// Packets of an unknown stream or codec, and packets that did not authenticate.
    pub unknown: u64,
}

/// The observations of a bot, up to the last time it told them.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The time of this observation: the same for all bots of a thread.
    pub at: Option<Instant>,
    pub phases: Phases,
    pub sent: Sent,
    /// One for each encoding that a wire bot publishes.
    pub encodings: Vec<EncodingSent>,
    /// The packets received.
    pub totals: Totals,
    /// Bytes of RTP headers and payloads received so far under each SSRC, of a wire bot.
    pub received: Vec<(u32, u64)>,
    /// One for each SSRC with media.
    pub streams: Vec<StreamOutcome>,
}

/// The fate of one received stream.
#[derive(Clone, Debug)]
pub struct StreamOutcome {
    /// The m-line it came on, if the server's answers named it.
    pub mid: Option<String>,
    pub ssrc: u32,
    pub kind: MediaKind,
    /// The codec's name as in SDP, e.g. `VP8`.
    pub codec: &'static str,
    pub packets: u64,
    /// RTP headers and payloads.
    pub bytes: u64,
    /// Gaps in sequence numbers that stayed.
    pub lost: u64,
    pub duplicates: u64,
    /// Packets that came after one with a higher sequence number, retransmissions not counted.
    pub reordered: u64,
    pub decodable_frames: u64,
    pub keyframes: u64,
    pub first_decodable: Option<Instant>,
    /// Times the picture stood still for more than 200 ms between two decodable frames (six frames
    /// at 30 a second: what a viewer notices).
    pub freezes: u64,
    pub longest_freeze: Duration,
    pub frozen: Duration,
    /// Time at each picture height, in pixels, from the keyframes.
    pub residency: Vec<(u16, Duration)>,
    /// The violations that the oracle found; examples only.
    pub violations: Vec<String>,
    pub violation_count: u64,
}
