/**
 * A load test's report as the load tester writes it, as big as one wants: a livestream to 300 with
 * a join storm in the middle. The same each time.
 */
export function loadReport(seconds, changes = {}) {
  const random = mulberry(7);
  const names = (pairs) => Object.fromEntries(pairs);
  const spread = (p50, p95, p99, max) => ({ p50, p95, p99, max });
  const storm = { from: Math.round(seconds * 0.45), to: Math.round(seconds * 0.55) };
  const timeline = [];
  for (let second = 0; second < seconds; second += 1) {
    const stormy = second >= storm.from && second < storm.to;
    const people = Math.min(second * 50, 301) + (second < storm.from ? 0 : Math.min((second - storm.from + 1) * 40, 300));
    const noise = () => 1 + (random() - 0.5) * 0.06;
    const share = people / 301;
    const measured = second > 1;
    timeline.push({
      t_s: second,
      participants: people,
      sent: 172,
      received: Math.round(51_600 * share * noise()),
      mbit_s: 412 * share * noise(),
      lost: stormy && random() < 0.2 ? Math.round(random() * 30) : 0,
      delay_p50_ms: measured ? 0.24 * noise() * (stormy ? 1.6 : 1) : null,
      delay_p99_ms: measured ? 1.3 * noise() * (stormy ? 4.2 : 1) + (random() < 0.02 ? 6 : 0) : null,
      server_cpu_share: 0.31 * share * noise() + (stormy ? 0.25 : 0),
      generator_cpu_share: 0.44 * share * noise(),
      server_rss_bytes: Math.round(24e6 + people * 262_000 + second * 900),
    });
  }
  const received = timeline.reduce((sum, moment) => sum + moment.received, 0);
  const lost = timeline.reduce((sum, moment) => sum + moment.lost, 0);
  return {
    version: "0.1.0", passed: true, valid: true, invalid_reasons: [], interrupted: false,
    scenario: "join-storm", bot: "wire", machine: "2 x A Processor At 2.60GHz, 23 GiB, linux 6.1.0", url: "http://127.0.0.1:8080",
    rooms: 1, publishers: 1, subscribers: 300, talkers: 1, video: "720p", audio: true, duration_s: seconds,
    joined: 601, join_failed: 0, join_ms: spread(141, 388, 512, 640.5), answer_ms: spread(18, 61, 95, 130),
    phases: {
      signaling_ms: spread(18, 61, 95, 130), ice_ms: spread(24, 80, 118, 160),
      dtls_ms: spread(141, 388, 512, 640.5), first_packet_ms: spread(163, 421, 560, 700),
    },
    dropped: 0, tracks_expected: 1200, tracks_receiving: 1200, foreign_tracks_receiving: 0,
    packets_sent: 172 * seconds, packets_late: 3, packets_received: received, packets_expected: received + lost,
    delivered_ratio: received / (received + lost), packets_lost: lost, reordered: 0, duplicates: 0,
    bytes_received: received * 1000, receive_mbit_s: 412,
    forward_delay_ms: spread(0.24, 0.71, 1.62, 11.4), jitter_ms: spread(0.06, 0.35, 0.92, 7.1),
    viewer_kbit_s: spread(1371, 1374, 1375, 1380), layer_residency: { 180: 0.02, 360: 0.07, 720: 0.91 },
    decrypted_share: 0.1, oracle_share: 0.05, frames_decodable: 9000 * seconds,
    first_frame_ms: { p50: 180, p95: 402, max: 733 }, longest_freeze_ms: 233, freezes: 2, frozen_ms: 440, oracle_violations: 0,
    retransmissions_sent: 4, retransmissions_received: 61, keyframe_requests_sent: 600, keyframe_requests_received: 12, packets_unknown: 0,
    failures: [], missing_tracks: [], violation_samples: [],
    generator: { socket_drops: 0, machine_buffer_errors: 0, cpu_s: 0.6 * seconds, cpu_share: 0.61, cores: [1] },
    window: { from_s: 8, seconds: seconds - 9, packets_sent: 172 * (seconds - 9), packets_received: received, packets_lost: lost, bytes_received: received * 1000 },
    stages: [
      { name: "before", from_s: 8, seconds: storm.from - 8, packets_received: 1e6, packets_lost: 0, forward_delay_ms: spread(0.24, 0.7, 1.3, 3.9), join_ms: spread(null, null, null, null), joined: 0 },
      { name: "during", from_s: storm.from, seconds: storm.to - storm.from, packets_received: 4e5, packets_lost: lost, forward_delay_ms: spread(0.38, 2.4, 5.6, 11.4), join_ms: spread(141, 388, 512, 640.5), joined: 300 },
      { name: "after", from_s: storm.to, seconds: seconds - storm.to, packets_received: 2e6, packets_lost: 0, forward_delay_ms: spread(0.26, 0.74, 1.5, 4.2), join_ms: spread(null, null, null, null), joined: 0 },
    ],
    churn: null,
    server: {
      pid: 4711, cores: [0], workers: 1, cipher: "ring", cpu_seconds: 0.6 * seconds, cpu_share: 0.58, cpu_ns_per_packet: 2480, packets_per_second: 77_000,
      packets_per_core_second: 403_000, packets_forwarded: received, packets_per_message: 5.4,
      run_lengths: names([["1", 41_000], ["2-3", 88_000], ["4-7", 321_000], ["8-15", 190_000], ["16+", 2_100]]),
      rss_bytes: 182e6, rss_idle_bytes: 22e6, rss_bytes_per_participant: 266_000, rss_bytes_per_subscription: 133_000,
      drops: names([["no_subscription", 1_204], ["unknown_address", 88], ["send_queue_full", 12], ["replayed", 0]]), log: [],
    },
    floor: { sendmmsg_ns: 3_790, gso10_ns: 1_905, ratio_sendmmsg: 0.654, ratio_gso10: 1.302 },
    timeline,
    events: [
      { t_s: 8, what: "everybody is in" },
      { t_s: storm.from, what: "join storm begins: 300 join as fast as they can" },
      { t_s: storm.to, what: "join storm is over" },
      { t_s: seconds - 1, what: "publishers stop" },
    ],
    ...changes,
  };
}

/** Pseudorandom numbers from 0 to 1. */
function mulberry(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
