//! Runs the scripts of `tests/sim/scripts` against the relay and against `str0m`'s estimator, and
//! prints what viewers got, or writes it to `tests/sim/scoreboard.md`:
//!
//! `cargo run --release -p tertulia-sfu --example scoreboard -- [--write] [--seeds N] [SCRIPT…]`
#![allow(
    clippy::disallowed_methods,
    reason = "a run starts at some instant; virtual time goes on from there"
)]
#![allow(dead_code, reason = "the harness is that of the tests")]

#[path = "../tests/sim/harness/mod.rs"]
mod harness;
#[path = "../tests/sim/scoreboard/mod.rs"]
mod scoreboard;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use scoreboard::{CASES, Case, Figures, Sender, median, page};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sim/scoreboard.md");

fn main() -> ExitCode {
    let (mut write, mut seeds, mut cases) = (false, 20, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--write" => write = true,
            "--seeds" => match arguments.next().and_then(|number| number.parse().ok()) {
                Some(number @ 1..) => seeds = number,
                _ => return usage("--seeds wants a number"),
            },
            name => match CASES.iter().find(|case| case.name == name) {
                Some(case) => cases.push(case),
                None => return usage(&format!("there is no script {name}")),
            },
        }
    }
    if write && !cases.is_empty() {
        return usage("the page is of all scripts");
    }
    if cases.is_empty() {
        cases = CASES.iter().collect();
    }
    let page = page(seeds, &run_all(&cases, seeds));
    if !write {
        print!("{page}");
    } else if let Err(error) = std::fs::write(PAGE, page) {
        eprintln!("error: {PAGE}: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The medians of each case over the seeds, on all cores.
fn run_all(cases: &[&'static Case], seeds: u64) -> Vec<(&'static Case, Figures, Option<Figures>)> {
    let senders = [Sender::Ours, Sender::Reference];
    let jobs: Vec<(usize, Sender, u64)> = (0..cases.len())
        .flat_map(|case| senders.map(|sender| (case, sender)))
        .flat_map(|(case, sender)| (0..seeds).map(move |seed| (case, sender, seed)))
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((case, sender, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if *seed == 0 {
                eprintln!("{} {sender:?}", cases[*case].name);
            }
            let (case, sender) = (*case, *sender);
            let number = 1_000 + 100 * seed;
            // `str0m` gives up now and then: a handshake whose every flight was lost. Such a run tells
            // nothing of either sender, and is left out, not silently.
            match std::panic::catch_unwind(|| cases[case].run(sender, number)) {
                Ok(figures) => done.extend(figures.map(|figures| (case, sender, figures))),
                Err(_) => eprintln!("{} {sender:?} seed {number}: left out", cases[case].name),
            }
        }
        done
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let done: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let done = threads.into_iter();
        done.flat_map(|thread| thread.join().expect("no run panics"))
            .collect()
    });
    let medians = |case: usize, sender: Sender| {
        let runs = done.iter();
        let runs = runs.filter(|run| run.0 == case && run.1 == sender);
        median(&runs.map(|run| run.2.clone()).collect::<Vec<_>>())
    };
    let rows = cases.iter().enumerate().map(|(index, case)| {
        let ours = medians(index, Sender::Ours).expect("ours has run");
        (*case, ours, medians(index, Sender::Reference))
    });
    rows.collect()
}

fn usage(error: &str) -> ExitCode {
    let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
    eprintln!("error: {error}\nusage: scoreboard [--write] [--seeds N] [SCRIPT...]");
    eprintln!("scripts: {}", names.join(" "));
    ExitCode::from(2)
}
