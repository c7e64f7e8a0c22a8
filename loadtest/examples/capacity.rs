//! 1 -> N trace over real sockets: what the bots' core can take.
use std::sync::Arc;
use std::time::{Duration, Instant};
use tertulia_loadtest::bot::state::BotState;
use tertulia_loadtest::bot::{BotConfig, Phase};
use tertulia_loadtest::measure::{Histogram, Measure};
use tertulia_loadtest::wire::{WireConfig, WireFleet};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let url = &args[1];
    let viewers: usize = args[2].parse().unwrap();
    let video = args[3].parse().unwrap();
    let decrypt: f64 = args[4].parse().unwrap();
    let core: usize = args[5].parse().unwrap();
    let seconds: u64 = args[6].parse().unwrap();
    let measure = Arc::new(Measure::start(Instant::now()));
    let fleet = WireFleet::start(WireConfig {
        cores: vec![core],
        decrypt_share: decrypt,
        oracle_share: 0.0,
        measure: Arc::clone(&measure),
    })
    .unwrap();
    let (phase, phases) = tokio::sync::watch::channel(Phase::Call);
    let mut tasks = tokio::task::JoinSet::new();
    let mut states = Vec::new();
    let began = Instant::now();
    let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel::<()>();
    for index in 0..=viewers {
        let state = Arc::new(BotState::new(
            format!("b{index}"),
            "room".into(),
            index == 0,
        ));
        let config = BotConfig {
            url: url.parse().unwrap(),
            address: "127.0.0.1".parse().unwrap(),
            video,
            audio: false,
            talks: true,
            join_timeout: Duration::from_secs(60),
            stagger: Duration::ZERO,
        };
        let tx = tx.clone();
        tasks.spawn(fleet.run(
            config,
            Arc::clone(&state),
            phases.clone(),
            Box::new(move || drop(tx.send(()))),
        ));
        states.push(state);
        if index == 0 {
            rx.recv().await;
        }
    }
    let joining_cpu = fleet.cpu_seconds();
    for _ in 0..viewers {
        rx.recv().await;
    }
    let joined = states.iter().filter(|s| s.call().joined.is_some()).count();
    println!(
        "joined {joined}/{} in {:?}, thread cpu {:.3}",
        viewers + 1,
        began.elapsed(),
        fleet.cpu_seconds() - joining_cpu
    );
    for s in states
        .iter()
        .filter_map(|s| s.call().failure.clone())
        .take(3)
    {
        println!("{s}");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let first = measure.second_of(Instant::now()) + 1;
    tokio::time::sleep(measure.instant_of(first) - Instant::now()).await;
    let (cpu, from) = (fleet.cpu_seconds(), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let (cpu, wall) = (fleet.cpu_seconds() - cpu, from.elapsed().as_secs_f64());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (mut sent, mut received, mut delay) = (0, 0, Histogram::default());
    for second in &measure.seconds()[first..first + seconds as usize] {
        sent += second.sent;
        received += second.received;
        delay.merge(&second.delay);
    }
    println!(
        "sent {}/s received {}/s of {}/s, bot core {:.2}, {:.0} ns/packet, drops {} refused {}, delay {:?}",
        sent / seconds,
        received / seconds,
        sent * viewers as u64 / seconds,
        cpu / wall,
        cpu * 1e9 / received as f64,
        fleet.socket_drops(),
        fleet.refused_sends(),
        delay.percentiles(),
    );
    phase.send_replace(Phase::Drain);
    tokio::time::sleep(Duration::from_millis(500)).await;
    fleet.settle().await;
    let (mut lost, mut packets, mut late, mut decrypted, mut rtx) = (0, 0, 0, 0, 0);
    for state in &states {
        let seen = state.observed.lock().unwrap();
        lost += seen.streams.iter().map(|s| s.lost).sum::<u64>();
        packets += seen.packets;
        late += seen.sent.late;
        decrypted += seen.decrypted;
        rtx += seen.retransmitted;
    }
    println!("packets {packets} lost {lost} decrypted {decrypted} rtx {rtx} late {late}");
    phase.send_replace(Phase::Leave);
    while tasks.join_next().await.is_some() {}
}
