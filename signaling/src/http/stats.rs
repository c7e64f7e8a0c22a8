//! `GET /stats`: the node's counters, for load tests and scripts; with `?room=NAME` the counters of all participants in
//! a room. Those contain addresses, which an operator needs and an attacker would like to know. So they are on the
//! admin listener alone; over the native protocol participants see only their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Serialize;
use tokio::time::Instant;

use super::front::Front;
use super::ice_tcp::{IceTcp, IceTcpCounts};
use super::proxied::{ProxyProtocol, ProxyProtocolCounts};
use super::refused::RequestsRefused;
use super::room::{Which, reply, unreadable};
use super::tls::{Handshakes, Tls};
use super::turn::TurnFront;
use crate::access::Access;
use crate::media::stats::{Drops, WorkerStats};
use crate::media::{Media, SfuError};
use crate::memory::{Memory, MemoryStats};
use crate::node::LogCounts;
use crate::protocol::native::Native;
use crate::room::Rooms;
use crate::turn::TurnCounts;

/// The sources of the counters.
pub(crate) struct Stats {
    pub(crate) started: Instant,
    pub(crate) rooms: Rooms,
    pub(crate) native: Arc<Native>,
    pub(crate) media: Arc<dyn Media>,
    pub(crate) log: Arc<dyn Fn() -> LogCounts + Send + Sync>,
    pub(crate) memory: Memory,
    pub(crate) front: Front,
    pub(crate) refused: RequestsRefused,
}

#[derive(Serialize)]
struct NodeStats {
    uptime_s: f64,
    rooms: usize,
    participants: usize,
    access: Access,
    joins_refused: BTreeMap<&'static str, u64>,
    requests_refused: BTreeMap<&'static str, u64>,
    moderated: BTreeMap<&'static str, u64>,
    moderation_refused: BTreeMap<&'static str, u64>,
    media_never_connected: u64,
    sessions: Sessions,
    /// Sockets of clients by their kind.
    sockets: BTreeMap<&'static str, usize>,
    /// None without TLS.
    tls_handshakes: Option<Handshakes>,
    /// None where ICE-TCP is off.
    ice_tcp: Option<IceTcpCounts>,
    /// None where it is off.
    proxy_protocol: Option<ProxyProtocolCounts>,
    /// None where TURN is off.
    turn: Option<TurnCounts>,
    cipher: &'static str,
    linked_workers: usize,
    links_refused: u64,
    failed_workers: usize,
    log_lines_lost: u64,
    log_lines_left_out: u64,
    memory: MemoryStats,
    cache_bytes: usize,
    cache_bytes_most: usize,
    caches_refused: u64,
    workers: Vec<Worker>,
    drops: BTreeMap<&'static str, u64>,
}

/// Sessions that outlive their connections.
#[derive(Serialize)]
struct Sessions {
    open: usize,
    /// Sessions without a connection.
    away: usize,
    resumed: u64,
    refused: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct Worker {
    index: usize,
    failed: bool,
    datagrams_received: u64,
    datagrams_sent: u64,
    messages_sent: u64,
    bytes_received: u64,
    bytes_sent: u64,
    padding_bytes: u64,
    packets_forwarded: u64,
    run_lengths: RunLengths,
    coalescing_us: f64,
    peers: usize,
    subscriptions: usize,
    relayed_tracks: usize,
    relay_packets_out: u64,
    relay_packets_in: u64,
    address_claims_refused: u64,
    addresses_proven: u64,
    addresses_unproven: u64,
    addresses_rebound: u64,
    stun_answers: u64,
    media_held: BTreeMap<&'static str, u64>,
    drops: BTreeMap<&'static str, u64>,
}

/// Messages to the kernel by the datagrams in them.
#[derive(Serialize)]
struct RunLengths {
    #[serde(rename = "1")]
    one: u64,
    #[serde(rename = "2-3")]
    two: u64,
    #[serde(rename = "4-7")]
    four: u64,
    #[serde(rename = "8-15")]
    eight: u64,
    #[serde(rename = "16+")]
    sixteen: u64,
}

/// Answers 404 without a room that the query names, 503 when the media workers do not answer.
pub(super) async fn stats(
    State(stats): State<Arc<Stats>>,
    query: Result<Query<Which>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(Which { room: Some(room) })) => reply(stats.rooms.stats(&room).await),
        Ok(Query(Which { room: None })) => reply(Some(stats.read().await)),
        Err(_) => unreadable(),
    }
}

impl Stats {
    async fn read(&self) -> Result<NodeStats, SfuError> {
        let totals = self.media.totals().await?;
        let counts = self.rooms.counts();
        let mut drops = Drops::default();
        for worker in &totals.workers {
            drops.extend(worker.drops.iter());
        }
        let failed_workers = totals.workers.iter().filter(|w| w.failed).count();
        let log = (self.log)();
        let sessions = self.native.session_counts();
        let workers = totals.workers.into_iter().enumerate();
        Ok(NodeStats {
            uptime_s: self.started.elapsed().as_secs_f64(),
            rooms: counts.rooms,
            participants: counts.participants,
            access: self.rooms.access(),
            joins_refused: self.rooms.joins_refused(),
            requests_refused: self.refused.by_code(),
            moderated: self.rooms.moderated(),
            moderation_refused: self.rooms.moderation_refused(),
            media_never_connected: counts.media_never_connected,
            sessions: Sessions {
                open: sessions.open,
                away: sessions.away,
                resumed: sessions.resumed,
                refused: sessions.refused,
            },
            sockets: self.native.open_sockets(),
            tls_handshakes: self.front.tls.as_ref().map(Tls::handshakes),
            ice_tcp: self.front.over_tcp.ice_tcp.as_ref().map(IceTcp::counts),
            proxy_protocol: self
                .front
                .proxy_protocol
                .as_ref()
                .map(ProxyProtocol::counts),
            turn: self.front.over_tcp.turn.as_ref().map(TurnFront::counts),
            cipher: totals.cipher,
            linked_workers: totals.linked_workers,
            links_refused: totals.links_refused,
            failed_workers,
            log_lines_lost: log.lost,
            log_lines_left_out: log.left_out,
            memory: self.memory.stats(),
            cache_bytes: totals.cache_bytes,
            cache_bytes_most: totals.cache_bytes_most,
            caches_refused: totals.caches_refused,
            workers: workers
                .map(|(index, worker)| Worker::new(index, worker))
                .collect(),
            drops: by_code(&drops),
        })
    }
}

fn by_code(drops: &Drops) -> BTreeMap<&'static str, u64> {
    let counts = drops.iter();
    counts
        .map(|(reason, count)| (reason.code(), count))
        .collect()
}

impl Worker {
    fn new(index: usize, stats: WorkerStats) -> Self {
        let [one, two, four, eight, sixteen] = stats.run_lengths;
        Self {
            index,
            failed: stats.failed,
            datagrams_received: stats.datagrams_received,
            datagrams_sent: stats.datagrams_sent,
            messages_sent: stats.messages_sent,
            bytes_received: stats.bytes_received,
            bytes_sent: stats.bytes_sent,
            padding_bytes: stats.padding_bytes,
            packets_forwarded: stats.packets_forwarded,
            run_lengths: RunLengths {
                one,
                two,
                four,
                eight,
                sixteen,
            },
            coalescing_us: stats.coalescing_us,
            peers: stats.peer_count,
            subscriptions: stats.subscriptions,
            relayed_tracks: stats.relayed_tracks,
            relay_packets_out: stats.relay_packets_out,
            relay_packets_in: stats.relay_packets_in,
            address_claims_refused: stats.address_claims_refused,
            addresses_proven: stats.addresses_proven,
            addresses_unproven: stats.addresses_unproven,
            addresses_rebound: stats.addresses_rebound,
            stun_answers: stats.stun_answers,
            media_held: stats.media_held,
            drops: by_code(&stats.drops),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::proxied::Refusal;
    use super::super::refused;
    use super::super::tls::Failure;
    use crate::media::DropReason;
    use crate::room::{DONE_CODES, REFUSED_CODES, join_codes};
    use crate::session::ResumeFault;

    /// The codes that the first column of the guide's table under `heading` has.
    fn listed(heading: &str) -> Vec<&'static str> {
        let guide = include_str!("../../docs/operating.md");
        let (_, table) = guide.split_once(heading).expect("the heading");
        let (table, _) = table.split_once("\n#").expect("the next heading");
        // The first cell of a row: codes between backticks.
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
        let cells = rows.map(|row| row.split(" | ").next().unwrap_or_default());
        let codes = cells.flat_map(|cell| cell.split(", "));
        let mut listed: Vec<&str> = codes.map(|code| code.trim_matches('`')).collect();
        listed.sort_unstable();
        listed
    }

    #[test]
    fn the_guide_lists_every_cause_of_drops() {
        let mut codes = DropReason::ALL.map(DropReason::code);
        codes.sort_unstable();
        assert_eq!(listed("### Causes of drops"), codes);
    }

    #[test]
    fn the_guide_lists_every_failed_handshake() {
        let mut codes = Failure::ALL.map(Failure::code);
        codes.sort_unstable();
        assert_eq!(listed("### Failed handshakes"), codes);
    }

    #[test]
    fn the_guide_lists_every_refusal_of_a_proxys_connection() {
        let mut codes = Refusal::ALL.map(Refusal::code);
        codes.sort_unstable();
        assert_eq!(listed("### Refused connections of proxies"), codes);
    }

    #[test]
    fn the_guide_lists_every_refusal_of_turn() {
        let mut codes = crate::turn::Refusal::ALL.map(crate::turn::Refusal::code);
        codes.sort_unstable();
        assert_eq!(listed("### Refused TURN"), codes);
    }

    #[test]
    fn the_guide_lists_every_refusal_of_the_door() {
        let mut codes = join_codes();
        codes.sort_unstable();
        assert_eq!(listed("### Refused joins"), codes);
    }

    #[test]
    fn the_guide_lists_every_refusal_of_a_request() {
        assert_eq!(listed("### Refused requests"), refused::CODES);
    }

    #[test]
    fn the_guide_lists_every_refusal_of_a_resume() {
        let mut codes = ResumeFault::CODES.to_vec();
        codes.sort_unstable();
        assert_eq!(listed("### Refused resumes"), codes);
    }

    #[test]
    fn the_guide_lists_every_action_of_moderators_and_every_refusal() {
        for (heading, mut codes) in [
            ("### Moderation done", DONE_CODES.to_vec()),
            ("### Moderation refused", REFUSED_CODES.to_vec()),
        ] {
            codes.sort_unstable();
            assert_eq!(listed(heading), codes, "{heading}");
        }
    }
}
