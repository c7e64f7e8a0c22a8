use std::net::SocketAddr;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn datagram(number: usize, len: usize) -> Datagram {
    let addr = SocketAddr::from(([127, 0, 0, 1], 1));
    let mut payload = vec![0; len.max(8)];
    payload[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Datagram {
        from: addr,
        to: addr,
        payload,
    }
}

fn number(datagram: &Datagram) -> u64 {
    u64::from_be_bytes(datagram.payload[..8].try_into().unwrap())
}

/// Everything that arrives from now on, in microseconds since `start`, driven as a simulation would.
fn arrivals(path: &mut Path, start: Instant) -> Vec<(u128, u64)> {
    let mut seen = Vec::new();
    while let Some(at) = path.next_arrival() {
        while let Some(datagram) = path.receive(at) {
            seen.push(((at - start).as_micros(), number(&datagram)));
        }
    }
    seen
}

/// Sends datagrams of 1,000 bytes, `every` so often, and takes what arrives; also in the end.
fn stream(path: &mut Path, start: Instant, count: usize, every: Duration) -> Vec<(u128, u64)> {
    let mut seen = Vec::new();
    for index in 0..count {
        let now = start + every * index as u32;
        while let Some(at) = path.next_arrival().filter(|at| *at <= now) {
            while let Some(datagram) = path.receive(at) {
                seen.push(((at - start).as_micros(), number(&datagram)));
            }
        }
        path.send(now, datagram(index, 1_000));
    }
    seen.extend(arrivals(path, start));
    seen
}

fn model(words: &str) -> PathModel {
    let mut model = PathModel::CLEAR;
    model.change(words, &PathModel::CLEAR).unwrap();
    model
}

#[test]
fn a_rate_spaces_datagrams_and_drops_at_the_tail_of_its_queue() {
    let start = Instant::now();
    let mut path = Path::new(model("delay=1ms rate=1M queue=20ms"), 1);
    for number in 0..10 {
        path.send(start, datagram(number, 1_250));
    }
    assert_eq!(path.queue_delay(start), 30 * MS);
    assert_eq!(path.queued_bytes(start), 3 * 1_250);
    assert_eq!(
        arrivals(&mut path, start),
        vec![(11_000, 0), (21_000, 1), (31_000, 2)]
    );
    assert_eq!(path.counts(), (10, 7));
    let stats = path.stats();
    assert_eq!((stats.lost, stats.dropped), (0, 7));
    assert_eq!((stats.delivered, stats.delivered_bytes), (3, 3_750));
    // They waited 0, 10 and 20 ms.
    assert_eq!(stats.queue_delay(0.5), 10 * MS);
    assert_eq!(stats.queue_delay(0.95), 20 * MS);
}

#[test]
fn a_queue_is_bounded_by_bytes_too() {
    let start = Instant::now();
    let mut path = Path::new(model("rate=1M queue=1s queue-bytes=3000"), 1);
    for number in 0..10 {
        path.send(start, datagram(number, 1_250));
    }
    assert_eq!(arrivals(&mut path, start).len(), 2);
    // A datagram longer than the queue passes while nothing waits.
    let later = start + Duration::from_secs(1);
    path.send(later, datagram(10, 5_000));
    path.send(later, datagram(11, 100));
    assert_eq!(arrivals(&mut path, start).len(), 1);
}

#[test]
fn what_waits_goes_on_at_a_new_rate() {
    let start = Instant::now();
    let mut path = Path::new(model("rate=1M queue=1s"), 1);
    for number in 0..3 {
        path.send(start, datagram(number, 1_250));
    }
    // Half of the second has passed: 5 ms at 1 Mbit/s are left, 50 at a tenth of it.
    path.set_model_at(start + 15 * MS, model("rate=100k queue=1s"));
    assert_eq!(path.queue_delay(start + 15 * MS), 150 * MS);
    let arrived: Vec<u128> = arrivals(&mut path, start)
        .iter()
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(arrived, vec![10_000, 65_000, 165_000]);
    // On an unlimited path all leave at once.
    let later = start + Duration::from_secs(1);
    for number in 0..3 {
        path.send(later, datagram(number, 1_250));
    }
    path.set_model_at(later + MS, PathModel::CLEAR);
    assert_eq!(path.queue_delay(later + MS), Duration::ZERO);
    let arrived: Vec<u128> = arrivals(&mut path, later)
        .iter()
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(arrived, vec![1_000; 3]);
}

#[test]
fn loss_is_its_share_and_repeats_with_the_seed() {
    let start = Instant::now();
    let run = |words: &str, seed| {
        let mut path = Path::new(model(words), seed);
        let seen = stream(&mut path, start, 20_000, MS);
        (path.stats().lost, seen)
    };
    for (words, share) in [("loss=2%", 0.02), ("loss=10%", 0.1), ("burst=5%/8", 0.05)] {
        let lost = run(words, 7).0 as f64 / 20_000.0;
        assert!(
            (share * 0.8..share * 1.2).contains(&lost),
            "{words}: {lost}"
        );
        assert_eq!(run(words, 7), run(words, 7));
        assert_ne!(run(words, 7), run(words, 8));
    }
}

#[test]
fn bursts_are_as_long_as_said() {
    let start = Instant::now();
    for length in [1.0_f64, 4.0, 12.0] {
        let mut path = Path::new(model(&format!("burst=5%/{length}")), 3);
        let seen = stream(&mut path, start, 100_000, MS);
        let gaps: Vec<u64> = seen
            .windows(2)
            .map(|pair| pair[1].1 - pair[0].1 - 1)
            .filter(|gap| *gap > 0)
            .collect();
        let mean = gaps.iter().sum::<u64>() as f64 / gaps.len() as f64;
        // Bursts may touch each other, the more so the shorter they are.
        assert!(
            (length * 0.85..length * 1.2).contains(&mean),
            "{length}: {mean}"
        );
    }
}

#[test]
fn jitter_keeps_the_order_unless_it_may_not() {
    let start = Instant::now();
    let ordered = |words: &str| {
        let seen = stream(&mut Path::new(model(words), 5), start, 2_000, MS);
        assert_eq!(seen.len(), 2_000);
        let late = |(at, number): &(u128, u64)| *at - u128::from(*number) * 1_000;
        assert!(
            seen.iter()
                .map(late)
                .all(|late| (20_000..=50_000).contains(&late))
        );
        assert!(seen.iter().map(late).any(|late| late > 45_000));
        seen.is_sorted_by_key(|(_, number)| *number)
    };
    assert!(ordered("delay=20ms jitter=30ms"));
    assert!(!ordered("delay=20ms jitter=30ms overtake=yes"));
}

#[test]
fn what_comes_between_two_turns_arrives_together() {
    let mut path = Path::new(model("delay=20ms turns=20ms"), 5);
    let seen = stream(&mut path, Instant::now(), 2_000, MS);
    let late = |(at, number): &(u128, u64)| *at - u128::from(*number) * 1_000;
    let within = |each| (20_000..=40_000).contains(&late(each));
    assert_eq!(
        (seen.len(), seen.iter().filter(|each| within(each)).count()),
        (2_000, 2_000)
    );
    assert!(seen.is_sorted_by_key(|(_, number)| *number));
    // A turn each 10 ms on average.
    let turns = seen.chunk_by(|a, b| a.0 == b.0).count();
    assert!((150..=250).contains(&turns), "{turns}");
}

#[test]
fn a_share_is_overtaken() {
    let start = Instant::now();
    let mut path = Path::new(model("delay=20ms reorder=10%/15ms"), 5);
    let seen = stream(&mut path, start, 2_000, MS);
    let late = |(at, number): &(u128, u64)| *at - u128::from(*number) * 1_000;
    let count = seen.iter().filter(|each| late(each) == 35_000).count();
    assert!((150..=250).contains(&count), "{count}");
    assert_eq!(
        seen.iter().filter(|each| late(each) == 20_000).count(),
        2_000 - count
    );
}

#[test]
fn noise_varies_the_rate_about_itself() {
    let start = Instant::now();
    let mut path = Path::new(model("rate=1M queue=10s noise=30%/100ms"), 5);
    // The stream has twice the rate that the path carries, which delivers as much as it can.
    let seen = stream(&mut path, start, 2_000, 4 * MS);
    let per_second = |second: u128| {
        let within = |at: u128| at / 1_000_000 == second;
        seen.iter().filter(|(at, _)| within(*at)).count() as f64 * 8_000.0
    };
    let rates: Vec<f64> = (0..8).map(per_second).collect();
    assert!(
        rates.iter().all(|rate| (0.7e6..1.3e6).contains(rate)),
        "{rates:?}"
    );
    let mean = rates.iter().sum::<f64>() / 8.0;
    assert!((0.9e6..1.1e6).contains(&mean), "{mean}");
    let spacing: Vec<u128> = seen.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    let (least, most) = (spacing.iter().min().unwrap(), spacing.iter().max().unwrap());
    assert!(
        *least < 7_000 && *most > 10_000,
        "{least} to {most} us apart"
    );
}

#[test]
fn a_rival_fills_the_link_and_yields_to_drops() {
    let start = Instant::now();
    let mut path = Path::new(model("rate=5M queue=100ms rival=50ms"), 5);
    path.receive(start);
    let end = start + Duration::from_secs(20);
    path.receive(end);
    let alone = path.take_stats().rival_bytes as f64 * 8.0 / 20.0;
    assert!((4.5e6..=5.0e6).contains(&alone), "alone it takes {alone}");
    let window = path.rival_window().unwrap();
    assert!((20.0..100.0).contains(&window), "{window}");
    // 1 Mbit/s that does not give way passes beside it, but for what the full queue drops.
    let mut seen = 0;
    for index in 0..2_500 {
        let now = end + index * 8 * MS;
        while path.receive(now).is_some() {
            seen += 1;
        }
        path.send(now, datagram(0, 1_000));
    }
    let stats = path.stats();
    let beside = stats.rival_bytes as f64 * 8.0 / 20.0;
    assert!((3.3e6..4.1e6).contains(&beside), "beside it takes {beside}");
    assert!(seen > 2_200, "{seen}");
    assert!(
        stats.queue_delay(0.95) > 50 * MS,
        "a bulk flow fills the queue"
    );
}

#[test]
fn what_a_script_says() {
    let text = "
        seed = 7
        [start]
        down = 'rate=3M queue=300ms delay=30ms'
        up = { delay = '30ms', loss = 0.02 }
        [[change]]
        at = '10s'
        down = 'rate=600k'
        [[change]]
        at = '25s'
        down = 'reset'
        up = 'clear'
    ";
    let script = Script::parse(text, Models::CLEAR).unwrap();
    assert_eq!(script.seed, Some(7));
    assert_eq!(script.start.down, model("rate=3M queue=300ms delay=30ms"));
    assert_eq!(script.start.up, model("delay=30ms loss=2%"));
    let now = Instant::now();
    let mut playback = script.play(now);
    assert_eq!(playback.next_at(), Some(now + Duration::from_secs(10)));
    assert!(playback.poll(now + Duration::from_secs(9)).is_none());
    let first = playback.poll(now + Duration::from_secs(30)).unwrap();
    assert_eq!(first.models.down, model("rate=600k queue=300ms delay=30ms"));
    assert_eq!(
        (first.models.up, first.text.as_str()),
        (script.start.up, "down rate=600k")
    );
    let second = playback.poll(now + Duration::from_secs(30)).unwrap();
    let expected = Models {
        down: script.start.down,
        up: PathModel::CLEAR,
    };
    assert_eq!(second.models, expected);
    assert!(playback.next_at().is_none() && playback.poll(now + Duration::from_secs(99)).is_none());
}

#[test]
fn what_is_wrong_with_a_script_is_said() {
    for (text, expected) in [
        ("[start", "TOML parse error"),
        ("sede = 1", "the script: there is no `sede` here"),
        ("seed = -1", "seed: a number from 0 on"),
        ("start = 1", "start: a table"),
        (
            "[start]\nleft = ''",
            "start: there is no `left` here; there is up and down",
        ),
        ("[start]\nup = 7", "start: up: words such as"),
        (
            "[start]\nup = 'rat=1'",
            "start: up: there is no setting `rat`",
        ),
        (
            "[start]\nup = 'rate'",
            "start: up: `rate` is not like rate=500k",
        ),
        (
            "[start]\nup = 'rate=fast'",
            "rate: `fast` is not a rate such as 500k",
        ),
        (
            "[start]\nup = 'loss=5'",
            "loss: `5` is not a share such as 5%",
        ),
        (
            "[start]\nup = 'burst=5%'",
            "burst: `5%` is not a share and a mean length",
        ),
        ("[start]\nup = 'burst=5%/0'", "burst: `5%/0` is not"),
        ("[start]\nup = 'delay=-1s'", "delay: `-1s` is not a time"),
        ("[start]\nup = 'delay=NaNs'", "delay: `NaNs` is not a time"),
        (
            "[start]\nup = 'overtake=maybe'",
            "overtake: `maybe` is not yes or no",
        ),
        ("change = 3", "change: tables: [[change]]"),
        ("[[change]]\ndown = 'clear'", "change 1: at = a time"),
        (
            "[[change]]\nat = '1s'\nof = 'x'",
            "change 1: there is no `of` here",
        ),
        (
            "[[change]]\nat = '2s'\n[[change]]\nat = '1s'",
            "change 2: it is before",
        ),
    ] {
        let error = Script::parse(text, Models::CLEAR).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

fn any_model() -> impl Strategy<Value = PathModel> {
    let times = (0u64..80, 0u64..40, 0u64..300);
    let shares = (0.0f64..0.3, 0.0f64..0.3, 0.0f64..0.2);
    let options = (any::<[bool; 6]>(), 20_000u64..10_000_000, 1.0f64..20.0);
    (times, shares, options).prop_map(|(times, shares, (on, rate, length))| PathModel {
        delay: MS * times.0 as u32,
        jitter: MS * times.1 as u32,
        turns: MS * (times.1 / 2) as u32,
        overtake: on[0],
        loss: shares.0,
        burst: on[1].then_some(Burst {
            loss: shares.1,
            length,
        }),
        reorder: on[2].then_some(Reorder {
            share: shares.2,
            delay: 15 * MS,
        }),
        rate: on[3].then_some(rate),
        noise: on[4].then_some(Noise {
            share: shares.1,
            period: 50 * MS,
        }),
        queue: MS * times.2 as u32,
        queue_bytes: None,
        rival: on[5].then_some(Rival { rtt: 20 * MS }),
    })
}

proptest! {
    /// With any model and any changes: no datagram is made up or arrives twice, all are accounted for, none arrives
    /// earlier than possible, and a run repeats.
    #[test]
    fn every_datagram_is_accounted_for(
        models in proptest::collection::vec((any_model(), 0u64..400), 1..4),
        sizes in proptest::collection::vec((8usize..1_400, 0u64..20), 1..150),
        seed: u64,
    ) {
        let start = Instant::now();
        let run = || {
            let mut path = Path::new(models[0].0, seed);
            let mut sent = Vec::new();
            let mut seen = Vec::new();
            let mut now = start;
            let mut changes = models[1..].iter();
            for (index, (len, pause)) in sizes.iter().enumerate() {
                now += MS * *pause as u32;
                while let Some(at) = path.next_arrival().filter(|at| *at <= now) {
                    seen.extend(std::iter::from_fn(|| path.receive(at)).map(|d| (at, number(&d))));
                }
                if index % 40 == 39 && let Some((model, _)) = changes.next() {
                    path.set_model_at(now, *model);
                }
                sent.push((now, path.model().delay));
                path.send(now, datagram(index, *len));
            }
            while let Some(at) = path.next_arrival() {
                let before = now;
                now = now.max(at);
                prop_assert!(now - before <= Duration::from_secs(20));
                seen.extend(std::iter::from_fn(|| path.receive(now)).map(|d| (now, number(&d))));
            }
            for (at, number) in &seen {
                let (sent, delay) = sent[*number as usize];
                let least = models.iter().map(|(model, _)| model.delay).min().unwrap().min(delay);
                prop_assert!(*at >= sent + least);
            }
            let mut numbers: Vec<u64> = seen.iter().map(|(_, number)| *number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            prop_assert_eq!(numbers.len(), seen.len());
            let stats = path.stats();
            prop_assert_eq!(stats.sent, sizes.len() as u64);
            prop_assert_eq!(stats.delivered, seen.len() as u64);
            prop_assert_eq!(stats.lost + stats.dropped + stats.delivered, stats.sent);
            Ok((seen, path.counts()))
        };
        let (first, second) = (run()?, run()?);
        prop_assert_eq!(first, second);
    }

    #[test]
    fn settings_and_scripts_never_panic(text in "[a-z=%/.0-9 \\-]{0,40}") {
        let mut model = PathModel::CLEAR;
        let _ = model.change(&text, &PathModel::LAN);
        let _ = Script::parse(&text, Models::CLEAR);
    }
}
