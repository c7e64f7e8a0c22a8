//! Facts of the machine that both benches print, and their command line.

use std::fs;

/// Options of the command line: `--quick`, `--alone`, `--rounds N`, `--packets N`, and words that a row must contain.
pub(crate) struct Options {
    pub(crate) rounds: usize,
    /// Packets of each figure in each round.
    pub(crate) packets: usize,
    /// Leave out the floor as far as possible: for profiles.
    pub(crate) alone: bool,
    words: Vec<String>,
}

impl Options {
    pub(crate) fn read() -> Self {
        let mut args = std::env::args().skip(1);
        let mut options = Self {
            rounds: 7,
            packets: 40_000,
            alone: false,
            words: Vec::new(),
        };
        // `cargo bench` says so; anything else that runs this only wants to see it run.
        let mut quick = true;
        while let Some(arg) = args.next() {
            let mut number = || args.next().and_then(|number| number.parse().ok());
            match arg.as_str() {
                "--bench" => quick = false,
                "--quick" => quick = true,
                "--alone" => options.alone = true,
                "--rounds" => options.rounds = number().unwrap_or(options.rounds),
                "--packets" => options.packets = number().unwrap_or(options.packets),
                _ => options.words.push(arg),
            }
        }
        if quick || std::env::args().any(|arg| arg == "--quick") {
            (options.rounds, options.packets) = (1, 2_000);
        }
        options
    }

    /// Whether a row is asked for.
    pub(crate) fn wants(&self, row: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| row.contains(word.as_str()))
    }
}

/// The machine the figures are of.
pub(crate) fn print(options: &Options) {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "cpu {model}, {cores} cores, Linux {}, load {load}; medians of {} rounds",
        kernel.trim(),
        options.rounds
    );
}
