//! Wire bots in a call through the real server, in one process.

mod candidates;
mod paths;
mod proxy;
mod tiles;
mod token;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tertulia_loadtest::bot::publish::Video;
use tertulia_loadtest::bot::state::BotState;
use tertulia_loadtest::bot::{self, BotConfig, Phase, Settled};
use tertulia_loadtest::generator;
use tertulia_loadtest::measure::{Histogram, Measure, Observed};
use tertulia_loadtest::wire::{WireConfig, WireFleet};
use tertulia_signaling::access::Keys;
use tertulia_signaling::protocol::native::MediaKind;
use tertulia_signaling::{Config, Node};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use proxy::Impairment;

/// A server, a fleet, and the bots of one room.
struct Hall {
    node: Node,
    url: String,
    fleet: WireFleet,
    measure: Arc<Measure>,
    phase: watch::Sender<Phase>,
    bots: Vec<(Arc<BotState>, JoinHandle<()>)>,
}

const PATIENCE: Duration = Duration::from_secs(30);

impl Hall {
    async fn open(decrypt_share: f64, oracle_share: f64) -> Self {
        let loopback = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        Self::start(loopback, decrypt_share, oracle_share).await
    }

    /// A hall whose server wants access tokens.
    async fn locked(keys: Keys) -> Self {
        let config = Config {
            media_ip: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            keys: Some(keys),
            ..Config::default()
        };
        Self::with(config, 1.0, 1.0).await
    }

    /// A hall whose server announces these addresses.
    async fn announcing(addresses: Vec<IpAddr>) -> Self {
        Self::start(addresses, 1.0, 1.0).await
    }

    async fn start(media_ip: Vec<IpAddr>, decrypt_share: f64, oracle_share: f64) -> Self {
        let config = Config {
            media_ip,
            ..Config::default()
        };
        Self::with(config, decrypt_share, oracle_share).await
    }

    async fn with(config: Config, decrypt_share: f64, oracle_share: f64) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_addr().unwrap();
        let scheme = match config.tls_cert {
            Some(_) => "https",
            None => "http",
        };
        let node = Node::start(Config {
            listen,
            media_port: 0,
            workers: 1,
            ..config
        });
        let node = node.unwrap();
        let serving = node.clone();
        tokio::spawn(async move { serving.serve(listener).await });
        let url = format!("{scheme}://{listen}");
        let measure = Arc::new(Measure::start(Instant::now()));
        measure.begin("call", measure.started());
        let fleet = WireFleet::start(WireConfig {
            cores: Vec::new(),
            decrypt_share,
            oracle_share,
            measure: Arc::clone(&measure),
        });
        Self {
            node,
            url,
            fleet: fleet.unwrap(),
            measure,
            phase: watch::channel(Phase::Call).0,
            bots: Vec::new(),
        }
    }

    fn config(&self, url: &str, video: Video, audio: bool) -> BotConfig {
        BotConfig {
            url: url.parse().unwrap(),
            token: None,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            video,
            audio,
            talks: true,
            tiles: None,
            join_timeout: PATIENCE,
            stagger: Duration::from_millis(7 * self.bots.len() as u64),
            path: Default::default(),
            stalls: false,
            is_timed: true,
        }
    }

    fn state(&self, publishes: bool) -> Arc<BotState> {
        let name = format!("bot-{}", self.bots.len());
        Arc::new(BotState::new(name, "hall".into(), publishes))
    }

    /// Lets a wire bot in. Without `video` and `audio` it only receives.
    async fn admit(&mut self, video: Video, audio: bool) -> Arc<BotState> {
        self.admit_at(&self.url.clone(), video, audio).await
    }

    async fn admit_at(&mut self, url: &str, video: Video, audio: bool) -> Arc<BotState> {
        let config = self.config(url, video, audio);
        self.admit_with(config).await
    }

    async fn admit_with(&mut self, config: BotConfig) -> Arc<BotState> {
        let state = self.state(config.audio || config.video != Video::None);
        let (settled, joined) = settled();
        let phase = self.phase.subscribe();
        let bot = self.fleet.run(config, Arc::clone(&state), phase, settled);
        self.bots.push((Arc::clone(&state), tokio::spawn(bot)));
        joined.await.unwrap();
        state
    }

    async fn admit_webrtc(&mut self, video: Video, audio: bool) -> Arc<BotState> {
        let state = self.state(true);
        let config = self.config(&self.url, video, audio);
        let (settled, joined) = settled();
        let phase = self.phase.subscribe();
        let bot = bot::run(config, Arc::clone(&state), phase, settled);
        self.bots.push((Arc::clone(&state), tokio::spawn(bot)));
        joined.await.unwrap();
        state
    }

    /// Waits until every bot has received as much as `enough` asks for.
    async fn until(&self, what: &str, enough: impl Fn(&Observed) -> bool, bots: &[Arc<BotState>]) {
        let deadline = Instant::now() + PATIENCE;
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        while !bots.iter().all(|bot| enough(&observed(bot))) {
            looks.tick().await;
            let seen: Vec<_> = bots.iter().map(|bot| observed(bot)).collect();
            assert!(Instant::now() < deadline, "no {what}: {seen:#?}");
        }
    }

    /// Waits until nothing came to any wire bot between two times that it took stock.
    async fn quiet(&self) {
        let look = || -> Vec<_> {
            let seen = self.bots.iter().map(|(bot, _)| observed(bot));
            let seen = seen.filter_map(|seen| Some((seen.at?, seen.totals.packets)));
            seen.collect()
        };
        let mut before = look();
        eventually("packets come and come", || {
            let now = look();
            if now.len() != before.len() {
                before = now;
                return false;
            }
            let pairs = || before.iter().zip(&now);
            if !pairs().all(|((then, _), (at, _))| at > then) {
                return false;
            }
            let quiet = pairs().all(|((_, then), (_, packets))| packets == then);
            before = now;
            quiet
        })
        .await;
    }

    /// Stops publishing, waits for packets on their way, takes stock and closes.
    async fn close(self) -> Closed {
        let failures: Vec<_> = self
            .bots
            .iter()
            .filter_map(|(bot, _)| bot.call().failure.clone())
            .collect();
        assert_eq!(failures, [""; 0]);
        self.phase.send_replace(Phase::Drain);
        self.quiet().await;
        self.fleet.settle().await;
        let seen = self.bots.iter().map(|(bot, _)| observed(bot)).collect();
        let ports = self.bots.iter();
        let ports: Vec<u16> = ports
            .flat_map(|(bot, _)| bot.ports.lock().unwrap().clone())
            .collect();
        // Closed sockets lose their counts.
        let dropped = generator::socket_drops(&ports).unwrap();
        self.phase.send_replace(Phase::Leave);
        for (_, task) in self.bots {
            tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
        }
        self.node.shutdown().await;
        let span = self.measure.finish().remove(0);
        assert_eq!(span.total.backwards, 0);
        Closed {
            seen,
            delay: span.total.delay,
            dropped,
        }
    }
}

struct Closed {
    seen: Vec<Observed>,
    delay: Histogram,
    dropped: u64,
}

fn settled() -> (Settled, oneshot::Receiver<()>) {
    let (settled, joined) = oneshot::channel();
    (Box::new(move || _ = settled.send(())), joined)
}

/// Waits for something, or fails saying what is wrong.
async fn eventually(wrong: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while !is() {
        looks.tick().await;
        assert!(Instant::now() < deadline, "{wrong}");
    }
}

fn observed(bot: &BotState) -> Observed {
    let observed: &Mutex<Observed> = &bot.observed;
    observed
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// Everything arrived once, and could be shown.
fn check_clean(seen: &Observed, streams: usize) {
    assert_eq!(seen.streams.len(), streams, "{seen:#?}");
    assert_eq!(seen.totals.unknown, 0, "{seen:#?}");
    for stream in &seen.streams {
        assert!(stream.mid.is_some(), "{stream:#?}");
        assert_eq!(stream.violation_count, 0, "{stream:#?}");
        assert!(stream.decodable_frames > 30, "{stream:#?}");
        assert_eq!(stream.lost, 0, "{stream:#?}");
        // The relay finds out what the link carries by sending some packets again.
        assert!(stream.duplicates < 100, "{stream:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_publishers_and_three_viewers_receive_every_track() {
    let mut hall = Hall::open(1.0, 1.0).await;
    let mut bots = Vec::new();
    for _ in 0..2 {
        bots.push(hall.admit(Video::P720Simulcast, true).await);
    }
    for _ in 0..3 {
        bots.push(hall.admit(Video::None, false).await);
    }
    hall.until("media", |seen| seen.totals.packets > 1_000, &bots[2..])
        .await;
    let closed = hall.close().await;
    assert_eq!(closed.dropped, 0);
    for (index, seen) in closed.seen.iter().enumerate() {
        check_clean(seen, if index < 2 { 2 } else { 4 });
        let phases = seen.phases;
        let order = [
            phases.signaling,
            phases.ice,
            phases.dtls,
            phases.first_packet,
        ];
        assert!(order.iter().all(Option::is_some), "{phases:?}");
        assert!(order.is_sorted(), "{phases:?}");
        assert_eq!(seen.sent.packets > 0, index < 2);
        assert_eq!(seen.totals.decrypted, seen.totals.packets);
        for stream in seen.streams.iter().filter(|s| s.kind == MediaKind::Video) {
            assert!(
                stream.keyframes > 0 && !stream.residency.is_empty(),
                "{stream:#?}"
            );
        }
    }
    // Keyframes were asked for by each that came, and the publishers went on decodable.
    let requests: u64 = closed.seen[..2]
        .iter()
        .map(|seen| seen.sent.keyframe_requests_received)
        .sum();
    assert!(requests > 0);
    let delay = closed.delay.percentiles();
    assert!(closed.delay.count() > 3_000);
    assert!(
        delay.p50.unwrap() > 0.0 && delay.p50.unwrap() < 50.0,
        "{delay:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_alone_tell_loss_and_pictures_as_well() {
    let mut hall = Hall::open(0.0, 0.0).await;
    let trace = Video::Trace {
        packets_per_frame: 10,
        frames_per_second: 50,
        packet_bytes: 600,
    };
    let mut bots = vec![hall.admit(trace, true).await];
    bots.push(hall.admit(Video::None, false).await);
    hall.until("media", |seen| seen.totals.packets > 1_500, &bots[1..])
        .await;
    let closed = hall.close().await;
    let seen = &closed.seen[1];
    check_clean(seen, 2);
    assert!(
        seen.totals.decrypted > 0 && seen.totals.decrypted < seen.totals.packets / 4,
        "{seen:#?}"
    );
    let sent = closed.seen[0].sent;
    // Names are added until the server has reported, and the relay adds its own for a while.
    let mean = sent.bytes as f64 / sent.packets as f64;
    assert!((500.0..610.0).contains(&mean), "{mean}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_packets_are_asked_for_again() {
    let mut hall = Hall::open(1.0, 1.0).await;
    let url = proxy::start(
        &hall.url,
        Impairment {
            lose_one_in: 50,
            ..Impairment::default()
        },
    )
    .await;
    // Both ways: the publisher repeats for the server, the server for the viewer.
    let publisher = hall.admit_at(&url, Video::P720, true).await;
    let viewer = hall.admit_at(&url, Video::None, false).await;
    let bots = [viewer, publisher];
    hall.until("media", |seen| seen.totals.packets > 1_000, &bots[..1])
        .await;
    let closed = hall.close().await;
    let (publisher, viewer) = (&closed.seen[0], &closed.seen[1]);
    assert!(publisher.sent.retransmissions > 0, "{publisher:#?}");
    assert!(viewer.totals.retransmitted > 0, "{viewer:#?}");
    for stream in &viewer.streams {
        assert_eq!(stream.violation_count, 0, "{stream:#?}");
        match stream.kind {
            // Lost audio is not sent again.
            MediaKind::Audio => assert!(stream.lost > 0),
            MediaKind::Video => assert!(stream.lost * 100 < stream.packets, "{stream:#?}"),
        }
    }
}

async fn median_delay(impairment: Option<Impairment>) -> f64 {
    let mut hall = Hall::open(1.0, 0.0).await;
    hall.admit(Video::P180, true).await;
    let url = match impairment {
        Some(impairment) => proxy::start(&hall.url, impairment).await,
        None => hall.url.clone(),
    };
    let viewer = hall.admit_at(&url, Video::None, false).await;
    hall.until("media", |seen| seen.totals.packets > 250, &[viewer])
        .await;
    // The publisher receives nothing: the measurement is the viewer's.
    hall.close().await.delay.percentiles().p50.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_delay_is_measured_as_such() {
    let added = Duration::from_millis(20);
    let plain = median_delay(None).await;
    let delayed = median_delay(Some(Impairment {
        delay: added,
        ..Impairment::default()
    }))
    .await;
    let difference = delayed - plain;
    assert!(
        (16.0..24.0).contains(&difference),
        "{plain} ms, then {delayed} ms"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wire_bots_and_webrtc_bots_hear_each_other() {
    let mut hall = Hall::open(1.0, 1.0).await;
    let webrtc = hall.admit_webrtc(Video::P720, true).await;
    let wire = hall.admit(Video::P720, true).await;
    hall.until("media", |seen| seen.totals.packets > 500, &[wire])
        .await;
    eventually("the webrtc bot hears nothing", || {
        webrtc.receiver.lock().unwrap().totals().packets >= 500
    })
    .await;
    let heard = webrtc.receiver.lock().unwrap().finish();
    let codecs: Vec<_> = heard.iter().map(|stream| stream.codec).collect();
    assert!(
        codecs.contains(&"VP8") && codecs.contains(&"opus"),
        "{codecs:?}"
    );
    for stream in heard {
        assert_eq!(stream.violation_count, 0, "{:?}", stream.violations);
        assert!(stream.decodable_frames > 30, "{stream:?}");
    }
    let closed = hall.close().await;
    check_clean(&closed.seen[1], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_come_and_go_and_nobody_is_left_behind() {
    let mut hall = Hall::open(1.0, 0.0).await;
    hall.admit(Video::P180, true).await;
    for _ in 0..3 {
        let (phase, phases) = watch::channel(Phase::Call);
        let mut tasks = tokio::task::JoinSet::new();
        let mut states = Vec::new();
        for index in 0..20 {
            let name = format!("guest-{index}");
            let state = Arc::new(BotState::new(name, "hall".into(), false));
            let config = hall.config(&hall.url, Video::None, false);
            let bot = hall
                .fleet
                .run(config, Arc::clone(&state), phases.clone(), Box::new(|| {}));
            tasks.spawn(bot);
            states.push(state);
        }
        hall.until("media", |seen| seen.totals.packets > 5, &states)
            .await;
        phase.send_replace(Phase::Leave);
        while let Some(left) = tasks.join_next().await {
            left.unwrap();
        }
        assert!(states.iter().all(|state| state.call().failure.is_none()));
        assert!(
            states
                .iter()
                .all(|state| !observed(state).streams.is_empty())
        );
    }
    hall.close().await;
}

#[tokio::test]
async fn what_went_wrong_is_named() {
    let hall = Hall::open(1.0, 0.0).await;
    let state = hall.state(false);
    let config = hall.config("http://127.0.0.1:1", Video::None, false);
    let (settled, joined) = settled();
    let phase = hall.phase.subscribe();
    hall.fleet
        .run(config, Arc::clone(&state), phase, settled)
        .await;
    joined.await.unwrap();
    let failure = state.call().failure.clone().unwrap();
    assert!(failure.contains("cannot connect"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h264_is_published_and_judged_too() {
    let mut hall = Hall::open(1.0, 1.0).await;
    hall.admit(Video::P720H264, false).await;
    let viewer = hall.admit(Video::None, false).await;
    hall.until("media", |seen| seen.totals.packets > 400, &[viewer])
        .await;
    let closed = hall.close().await;
    let seen = &closed.seen[1];
    check_clean(seen, 1);
    let stream = &seen.streams[0];
    assert_eq!((stream.codec, stream.residency[0].0), ("H264", 720));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_talks_is_taken_for_a_speaker_as_long_as_it_talks() {
    let mut hall = Hall::open(0.0, 0.0).await;
    hall.admit(Video::None, true).await;
    let listener = hall.admit(Video::None, false).await;
    // Long after a level that does not change has become the noise of its microphone.
    hall.until(
        "sound",
        |seen| seen.totals.packets > 50 * 6,
        std::slice::from_ref(&listener),
    )
    .await;
    let mut speaks = 0;
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..40 {
        looks.tick().await;
        speaks += listener.call().speaking;
    }
    assert!(speaks >= 20, "for {speaks} of 40 looks");
    hall.close().await;
}
