//! Runs the calls on narrow links of `tests/sim/narrow` and prints what viewers heard and saw:
//!
//! `cargo run --release -p tertulia-sfu --example narrow -- [--seeds N] [CALL…]`
#![allow(
    clippy::disallowed_methods,
    reason = "a run starts at some instant; virtual time goes on from there"
)]
#![allow(dead_code, unused_imports, reason = "the harness is that of the tests")]

#[path = "../tests/sim/harness/mod.rs"]
mod harness;
#[path = "../tests/sim/narrow/mod.rs"]
mod narrow;

use narrow::{CALLS, Calm, calm_median, calm_page};

fn main() -> std::process::ExitCode {
    let (mut seeds, mut names) = (5, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seeds" => match arguments.next().and_then(|number| number.parse().ok()) {
                Some(number @ 1..) => seeds = number,
                _ => return usage("--seeds wants a number"),
            },
            name if CALLS.iter().any(|call| call.name.contains(name)) => {
                names.push(name.to_owned());
            }
            name => return usage(&format!("no call has {name} in its name")),
        }
    }
    let calls = CALLS.iter().filter(|call| {
        names.is_empty() || names.iter().any(|name| call.name.contains(name.as_str()))
    });
    let rows: Vec<_> = calls
        .map(|call| {
            let runs: Vec<Calm> = (0..seeds).map(|seed| call.run(1_000 + seed)).collect();
            (call, calm_median(&runs))
        })
        .collect();
    print!("{}", calm_page(&rows));
    std::process::ExitCode::SUCCESS
}

fn usage(what: &str) -> std::process::ExitCode {
    eprintln!("error: {what}\nusage: narrow [--seeds N] [PART OF A CALL'S NAME…]");
    std::process::ExitCode::from(2)
}
