//! A call of four beside the attacks: what each hears and sees of the others.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tertulia_loadtest::bot::media_path::MediaPath;
use tertulia_loadtest::bot::publish::Video;
use tertulia_loadtest::bot::signaling::ServerUrl;
use tertulia_loadtest::bot::state::BotState;
use tertulia_loadtest::bot::{BotConfig, Phase};
use tertulia_loadtest::generator;
use tertulia_loadtest::measure::{Measure, Span, StreamOutcome};
use tertulia_loadtest::wire::{WireConfig, WireFleet};
use tertulia_signaling::protocol::native::MediaKind;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::http::PATIENCE;

/// The room they are in.
pub(crate) const ROOM: &str = "call";
/// The people in it.
pub(crate) const PEOPLE: usize = 4;
/// Each receives a camera and a microphone of each other.
const STREAMS: usize = (PEOPLE - 1) * 2;

/// The people, and what is counted of them.
pub(crate) struct Call {
    fleet: WireFleet,
    pub(crate) measure: Arc<Measure>,
    phase: watch::Sender<Phase>,
    bots: Vec<(Arc<BotState>, JoinHandle<()>)>,
    /// The streams from each other, for each of them; what attackers publish is not counted.
    known: Vec<Vec<u32>>,
}

/// The packets so far, all streams together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    /// Packets sent, times their receivers.
    expected: u64,
    received: u64,
    lost: u64,
    freezes: u64,
    frozen: Duration,
    unknown: u64,
    keyframe_requests: u64,
    socket_drops: u64,
    late: u64,
    /// Packets of each stream.
    streams: BTreeMap<(usize, u32), u64>,
}

impl Call {
    /// Four join, and everybody sees and hears everybody.
    pub(crate) async fn start(url: &ServerUrl) -> Self {
        let measure = Arc::new(Measure::start(Instant::now()));
        let fleet = WireFleet::start(WireConfig {
            cores: Vec::new(),
            decrypt_share: 1.0,
            oracle_share: 0.0,
            measure: Arc::clone(&measure),
        });
        let mut call = Self {
            fleet: fleet.expect("threads"),
            measure,
            phase: watch::channel(Phase::Call).0,
            bots: Vec::new(),
            known: Vec::new(),
        };
        for index in 0..PEOPLE {
            let config = BotConfig {
                url: url.clone(),
                token: None,
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                video: Video::P720,
                audio: true,
                talks: true,
                tiles: None,
                join_timeout: PATIENCE,
                stagger: Duration::from_millis(8 * index as u64),
                path: MediaPath::Udp,
                stalls: false,
                is_timed: true,
            };
            let state = Arc::new(BotState::new(format!("bot-{index}"), ROOM.into(), true));
            let (settled, joined) = oneshot::channel();
            let phase = call.phase.subscribe();
            let settled = Box::new(move || _ = settled.send(()));
            let bot = call.fleet.run(config, Arc::clone(&state), phase, settled);
            call.bots.push((state, tokio::spawn(bot)));
            joined.await.expect("a bot");
        }
        let deadline = Instant::now() + PATIENCE;
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        loop {
            looks.tick().await;
            call.fleet.settle().await;
            let seen: Vec<_> = (0..PEOPLE).map(|bot| call.streams(bot)).collect();
            let moving = |stream: &StreamOutcome| {
                stream.kind == MediaKind::Audio || stream.decodable_frames > 0
            };
            if seen
                .iter()
                .all(|of| of.len() == STREAMS && of.iter().all(moving))
            {
                let ssrcs = seen.iter().map(|of| of.iter().map(|of| of.ssrc).collect());
                call.known = ssrcs.collect();
                return call;
            }
            assert_eq!(call.failures(), [""; 0]);
            assert!(Instant::now() < deadline, "no call: {seen:#?}");
        }
    }

    fn streams(&self, bot: usize) -> Vec<StreamOutcome> {
        let observed = &self.bots[bot].0.observed;
        let observed = observed.lock().unwrap_or_else(PoisonError::into_inner);
        observed.streams.clone()
    }

    /// The UDP ports of all.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let ports = |(bot, _): &(Arc<BotState>, _)| {
            let ports = bot.ports.lock().unwrap_or_else(PoisonError::into_inner);
            ports.clone()
        };
        self.bots.iter().flat_map(ports).collect()
    }

    /// Why some have left, in words.
    pub(crate) fn failures(&self) -> Vec<String> {
        let failures = self.bots.iter().filter_map(|(bot, task)| {
            let why = bot.call().failure.clone();
            let why = why.or_else(|| task.is_finished().then(|| "ended".into()))?;
            Some(format!("{}: {why}", bot.name))
        });
        failures.collect()
    }

    /// Takes stock. Gaps that are open are lost by then.
    pub(crate) async fn look(&self) -> Look {
        self.fleet.settle().await;
        let mut look = Look {
            socket_drops: generator::socket_drops(&self.ports()).unwrap_or_default(),
            ..Look::default()
        };
        for (index, (bot, _)) in self.bots.iter().enumerate() {
            let observed = bot.observed.lock().unwrap_or_else(PoisonError::into_inner);
            look.expected += observed.sent.packets * (PEOPLE - 1) as u64;
            look.keyframe_requests += observed.sent.keyframe_requests_received;
            look.late += observed.sent.late;
            look.unknown += observed.totals.unknown;
            let known = &self.known[index];
            for stream in observed
                .streams
                .iter()
                .filter(|of| known.contains(&of.ssrc))
            {
                look.received += stream.packets;
                look.lost += stream.lost;
                look.freezes += stream.freezes;
                look.frozen += stream.frozen;
                look.streams.insert((index, stream.ssrc), stream.packets);
            }
        }
        look
    }

    /// Everybody leaves. Returns what was counted between [`Measure::begin`] and its end, by name.
    pub(crate) async fn close(self) -> Vec<Span> {
        self.phase.send_replace(Phase::Leave);
        for (_, task) in self.bots {
            // One who failed has been told of.
            let _ = tokio::time::timeout(PATIENCE, task).await;
        }
        self.measure.finish()
    }
}

impl Look {
    /// The difference to an earlier look.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let streams = self.streams.iter().map(|(name, packets)| {
            let earlier = before.streams.get(name).copied().unwrap_or_default();
            (*name, packets - earlier)
        });
        Self {
            expected: self.expected - before.expected,
            received: self.received - before.received,
            lost: self.lost - before.lost,
            freezes: self.freezes - before.freezes,
            frozen: self.frozen - before.frozen,
            unknown: self.unknown - before.unknown,
            keyframe_requests: self.keyframe_requests - before.keyframe_requests,
            // The kernel forgets the drops of a socket that was closed.
            socket_drops: self.socket_drops.saturating_sub(before.socket_drops),
            late: self.late - before.late,
            streams: streams.collect(),
        }
    }

    pub(crate) fn freezes(&self) -> u64 {
        self.freezes
    }

    /// Packets that the bots themselves sent late, since the machine was too busy.
    pub(crate) fn late(&self) -> u64 {
        self.late
    }

    pub(crate) fn keyframe_requests(&self) -> u64 {
        self.keyframe_requests
    }

    /// Share of the packets sent that came, once each.
    pub(crate) fn delivery(&self) -> f64 {
        let missing = self.lost.max(self.short());
        1.0 - missing as f64 / self.expected.max(1) as f64
    }

    /// Packets that did not come, without those that may be on their way.
    fn short(&self) -> u64 {
        // Between the two moments of a look: a frame of each, to each.
        const UNDER_WAY: u64 = 40 * (PEOPLE * (PEOPLE - 1)) as u64;
        let missing = self.expected.saturating_sub(self.received);
        if missing <= UNDER_WAY { 0 } else { missing }
    }

    /// Its faults, in words.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.delivery() < 1.0 {
            faults.push(format!(
                "{:.3} % delivered: {} lost, {} of {} came ({} late, {} dropped by the bots' own sockets)",
                self.delivery() * 100.0,
                self.lost,
                self.received,
                self.expected,
                self.late,
                self.socket_drops
            ));
        }
        // Pictures that were sent too late freeze whatever the server does.
        if self.freezes > 0 && self.late == 0 {
            faults.push(format!("{} freezes, {:?}", self.freezes, self.frozen));
        }
        if self.unknown > 0 {
            faults.push(format!("{} packets that are not authentic", self.unknown));
        }
        let silent = self.streams.values().filter(|packets| **packets == 0);
        match silent.count() {
            0 => {}
            silent => faults.push(format!("{silent} streams came to an end")),
        }
        faults
    }
}
