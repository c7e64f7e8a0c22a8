//! The report as data: what `--json` writes, and what `compare` and `report` read back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FirstFrame, Percentiles};

/// The report. Field names are stable; a field that an older report lacks reads as its default.
///
/// Packets are counted over the whole run unless they are in [`Window`]. Delay, jitter and the costs in [`Server`] are
/// measured in the window: from the first full second after the last join to the last full second before publishers
/// stop.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Version of `tertulia-loadtest`.
    pub version: String,
    /// Whether everything was right; the exit status says the same.
    pub passed: bool,
    /// Whether the figures are the server's. If not, no figure below is worth quoting.
    pub valid: bool,
    /// The reasons that the run is not valid.
    pub invalid_reasons: Vec<String>,
    /// The run was ended early by a signal.
    pub interrupted: bool,
    /// The scenario's name; empty if flags alone made it.
    pub scenario: String,
    /// `webrtc` or `wire`.
    pub bot: String,
    pub machine: String,
    pub url: String,
    pub rooms: usize,
    /// Publishers in each room.
    pub publishers: usize,
    /// Subscribers in each room.
    pub subscribers: usize,
    /// Publishers in each room that send anything.
    pub talkers: usize,
    /// Videos that each bot shows; None: all.
    pub tiles: Option<usize>,
    /// The video as on the command line.
    pub video: String,
    pub audio: bool,
    /// Length of the call after the last join, in seconds.
    pub duration_s: f64,

    pub joined: usize,
    pub join_failed: usize,
    /// Time from opening the WebSocket to media connected.
    pub join_ms: Percentiles,
    /// Time from opening the WebSocket to the first answer: the control plane's part of `join_ms`. ICE and DTLS follow;
    /// the webrtc bots' ICE agent waits 200 ms by itself.
    pub answer_ms: Percentiles,
    /// The steps of joining.
    pub phases: JoinPhases,
    /// Bots that joined and failed later.
    pub dropped: usize,
    /// Tracks that should be received: each bot should receive every track of the other bots in its room, except hidden
    /// ones.
    pub tracks_expected: usize,
    /// Tracks, among these, that arrived: audio with packets, video with decodable frames.
    pub tracks_receiving: usize,
    /// Tracks received from participants that are no bots of this run.
    pub foreign_tracks_receiving: usize,
    /// RTP packets of all layers, without retransmissions.
    pub packets_sent: u64,
    /// One for each simulcast encoding that wire bots publish, lowest first.
    pub encodings: Vec<Encoding>,
    /// Packets sent later than they were due by more than a frame: the generator was too slow.
    pub packets_late: u64,
    /// RTP packets with media, retransmitted ones included.
    pub packets_received: u64,
    /// Packets that viewers should have received in the window: every packet sent there, once for each other
    /// participant of its room. With several layers (or people coming and going) only the server knows which viewers
    /// get a packet; then this is the packets received plus the gaps between them.
    pub packets_expected: u64,
    /// Received share of `packets_expected`; none if no packet was expected.
    pub delivered_ratio: Option<f64>,
    /// Gaps in sequence numbers that stayed. `generator` shows whether the load generator may have caused them.
    pub packets_lost: u64,
    /// Packets that came after a later one, retransmissions not counted.
    pub reordered: u64,
    pub duplicates: u64,
    /// Bytes of RTP headers and payloads.
    pub bytes_received: u64,
    pub receive_mbit_s: f64,
    /// Time from the publisher's handing a packet to the kernel to its arrival at the viewer's socket, see
    /// [`crate::measure`].
    pub forward_delay_ms: Percentiles,
    /// Difference of successive packets' transit times.
    pub jitter_ms: Percentiles,
    /// Received by each viewer over its whole call; kbit/s in place of milliseconds.
    pub viewer_kbit_s: Percentiles,
    /// Share of viewing time at each picture height in pixels.
    pub layer_residency: BTreeMap<String, f64>,
    /// Share of the packets received whose content was decrypted. All were authenticated.
    pub decrypted_share: f64,
    /// Share of the streams received that were shown to the oracle.
    pub oracle_share: f64,
    /// Video frames that a decoder could show.
    pub frames_decodable: u64,
    /// Time from the later of join and announcement of the track to its first decodable frame.
    pub first_frame_ms: FirstFrame,
    /// The longest time that any video stood still between two decodable frames.
    pub longest_freeze_ms: f64,
    /// Times a picture stood still for more than 200 ms.
    pub freezes: u64,
    /// All freezes together.
    pub frozen_ms: f64,
    pub oracle_violations: u64,

    pub retransmissions_sent: u64,
    pub retransmissions_received: u64,
    /// Keyframe requests from bots to the server.
    pub keyframe_requests_sent: u64,
    /// Keyframe requests from the server to bots.
    pub keyframe_requests_received: u64,
    /// Packets that no bot could assign to a stream or codec.
    pub packets_unknown: u64,

    /// The reasons that bots failed.
    pub failures: Vec<Failure>,
    /// Tracks that did not arrive.
    pub missing_tracks: Vec<MissingTrack>,
    pub violation_samples: Vec<ViolationSample>,
    pub generator: Generator,
    /// The window alone.
    pub window: Window,
    /// The window's parts, if it has several (before, during and after a join storm).
    pub stages: Vec<Stage>,
    /// The remains of coming and going.
    pub churn: Option<ChurnOutcome>,
    pub server: Server,
    /// The cost of the machine's kernel and cipher by themselves (`--floor`).
    pub floor: Option<Floor>,
    /// Second by second, the whole run.
    pub timeline: Vec<Moment>,
    pub events: Vec<Event>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    pub bot: String,
    pub room: String,
    pub reason: String,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MissingTrack {
    pub bot: String,
    pub room: String,
    /// The track; none for a publisher's track that the server never named.
    pub track: Option<String>,
    pub reason: String,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ViolationSample {
    pub bot: String,
    pub room: String,
    pub track: Option<String>,
    pub ssrc: u32,
    pub violation: String,
}

/// The times of joins, each step from opening the WebSocket on.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JoinPhases {
    /// Time to the first answer.
    pub signaling_ms: Percentiles,
    /// Time to the first STUN response.
    pub ice_ms: Percentiles,
    /// Time to the end of the DTLS handshake.
    pub dtls_ms: Percentiles,
    /// Time to the first media packet.
    pub first_packet_ms: Percentiles,
}

/// The load generator's own state.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Generator {
    /// Datagrams the kernel dropped at the bots' sockets because the bots did not keep up. While
    /// this is not 0, losses may be the generator's own.
    pub socket_drops: Option<u64>,
    /// Buffer errors of every UDP socket of the machine, a server on it included.
    pub machine_buffer_errors: Option<u64>,
    /// Processor time of the bots, in seconds, from the first join to the end.
    pub cpu_s: Option<f64>,
    /// Processor time in the window, as a share: 1.0 is all of its cores busy.
    pub cpu_share: Option<f64>,
    /// The cores it may use.
    pub cores: Vec<usize>,
}

/// One simulcast encoding of all publishers.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Encoding {
    pub rid: String,
    /// Publishers that have it.
    pub publishers: usize,
    /// Publishers, among these, that the server had last told that a viewer is to be sent it.
    pub wanted: usize,
    /// Bytes of RTP headers and payloads, without retransmissions, over the whole run.
    pub bytes: u64,
}

/// The measured window.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Window {
    /// Since the run began.
    pub from_s: f64,
    pub seconds: f64,
    /// RTP packets of all layers, without retransmissions.
    pub packets_sent: u64,
    /// RTP headers and payloads of these; of wire bots.
    pub bytes_sent: u64,
    /// Retransmitted ones included.
    pub packets_received: u64,
    /// Gaps given up in the window.
    pub packets_lost: u64,
    /// RTP headers and payloads received.
    pub bytes_received: u64,
    /// Packets that arrived before they were sent: a clock was set meanwhile.
    pub packets_backwards: u64,
}

/// A part of the window.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stage {
    /// `before`, `during`, `after` a join storm; `churn`, `idle`.
    pub name: String,
    /// Since the run began.
    pub from_s: f64,
    pub seconds: f64,
    pub packets_received: u64,
    pub packets_lost: u64,
    pub forward_delay_ms: Percentiles,
    /// Join times of the bots that began to join in it.
    pub join_ms: Percentiles,
    /// The number of these that joined.
    pub joined: usize,
}

/// Resident memory of the server around a churn.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChurnOutcome {
    /// Joins that were completed.
    pub joins: usize,
    /// After the first 100 had come and gone.
    pub rss_after_first_bytes: Option<u64>,
    /// After the last had gone and the server had idled.
    pub rss_at_end_bytes: Option<u64>,
    /// The second through the first.
    pub ratio: Option<f64>,
}

/// The server, from the kernel's accounting and its own counters; all None or empty if neither
/// could be read (`--spawn`, `--server-pid`, `--admin-url`).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Server {
    pub pid: Option<u32>,
    /// The cores it may use.
    pub cores: Vec<usize>,
    /// Its media threads.
    pub workers: Option<usize>,
    /// `ring` or `aws-lc-rs`.
    pub cipher: Option<String>,
    /// Processor time in the window, of all its threads.
    pub cpu_seconds: Option<f64>,
    /// Processor time as a share of all its cores together; 1.0 is all of them busy.
    pub cpu_share: Option<f64>,
    /// Nanoseconds of processor time for each packet delivered: everything the server does, divided by its useful work.
    pub cpu_ns_per_packet: Option<f64>,
    /// Packets delivered to viewers.
    pub packets_per_second: Option<f64>,
    /// `packets_per_second` divided by the cores' worth of processor time used: what one core
    /// would deliver if the cost stayed the same up to its limit.
    pub packets_per_core_second: Option<f64>,
    /// Packets forwarded, by the server's own count.
    pub packets_forwarded: Option<u64>,
    /// Datagrams in one message to the kernel.
    pub packets_per_message: Option<f64>,
    /// Messages to the kernel by the number of datagrams in each.
    pub run_lengths: BTreeMap<String, u64>,
    /// Resident memory after the last join: the highest in the window.
    pub rss_bytes: Option<u64>,
    /// Resident memory before the first join.
    pub rss_idle_bytes: Option<u64>,
    /// The memory on top of idle, divided by the number of participants.
    pub rss_bytes_per_participant: Option<f64>,
    /// The memory on top of idle, divided by the number of subscriptions.
    pub rss_bytes_per_subscription: Option<f64>,
    /// Tracks sent to viewers.
    pub subscriptions: Option<u64>,
    /// Share of its cores that other programs, and the machine's owner (steal), used in the window.
    pub background_share: Option<f64>,
    /// Datagrams dropped in the window, by cause.
    pub drops: BTreeMap<String, u64>,
    /// The last lines of its log, if something went wrong.
    pub log: Vec<String>,
}

/// Nanoseconds for each 1200-byte packet without any relay around it, on the server's core.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Floor {
    /// Copy, rewrite, seal, and one `sendmmsg` of single packets.
    pub sendmmsg_ns: f64,
    /// Nanoseconds for each packet in GSO runs of 10.
    pub gso10_ns: f64,
    /// The server's `cpu_ns_per_packet` through `sendmmsg_ns`.
    pub ratio_sendmmsg: Option<f64>,
    /// The server's `cpu_ns_per_packet` through `gso10_ns`.
    pub ratio_gso10: Option<f64>,
    /// Nanoseconds for each packet where ten at a time are written to a TCP connection. None: all media takes UDP.
    pub write10_ns: Option<f64>,
    /// Nanoseconds for each packet where ten at a time are sealed by `rustls` before. None: no media takes TLS.
    pub rustls10_ns: Option<f64>,
    /// The server's `cpu_ns_per_packet` through that of its subscribers' path.
    pub ratio_stream: Option<f64>,
}

/// One second of the run.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Moment {
    /// The second's beginning, since the run began.
    pub t_s: f64,
    /// Participants in the call at its end.
    pub participants: usize,
    pub sent: u64,
    pub received: u64,
    pub mbit_s: f64,
    pub lost: u64,
    pub delay_p50_ms: Option<f64>,
    pub delay_p99_ms: Option<f64>,
    pub server_cpu_share: Option<f64>,
    pub generator_cpu_share: Option<f64>,
    pub server_rss_bytes: Option<u64>,
}

impl Moment {
    /// This look at the processes and the participants, with the packets of `second`.
    pub(crate) fn with(self, second: &Self) -> Self {
        Self {
            t_s: self.t_s,
            participants: self.participants,
            server_cpu_share: self.server_cpu_share,
            generator_cpu_share: self.generator_cpu_share,
            server_rss_bytes: self.server_rss_bytes,
            ..*second
        }
    }
}

/// Something that happened, for the charts.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Since the run began.
    pub t_s: f64,
    pub what: String,
}
