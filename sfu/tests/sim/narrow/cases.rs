//! Calls to run.

/// A call on a narrow link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Narrow {
    pub(crate) name: &'static str,
    /// People with a camera.
    pub(crate) publishers: u16,
    /// People of them who also have a microphone.
    pub(crate) talkers: u16,
    /// Bits a second that the link carries at first; none: more than needed.
    pub(crate) first: Option<u64>,
    /// Bits a second that the link carries after that.
    pub(crate) rate: u64,
    /// Seconds for which it runs at that rate.
    pub(crate) seconds: u64,
    /// Other impairments of the path to the viewer, in words for [`PathModel::change`].
    ///
    /// [`PathModel::change`]: tertulia_sfu::testing::network::PathModel::change
    pub(crate) path: &'static str,
}

const fn call(name: &'static str, publishers: u16, first: Option<u64>, rate: u64) -> Narrow {
    on(name, publishers, first, rate, "")
}

const fn on(
    name: &'static str,
    publishers: u16,
    first: Option<u64>,
    rate: u64,
    path: &'static str,
) -> Narrow {
    Narrow {
        name,
        publishers,
        talkers: publishers,
        first,
        rate: rate * 1_000,
        seconds: 30,
        path,
    }
}

pub(crate) const CALLS: [Narrow; 27] = [
    call("2 at 3M", 2, None, 3_000),
    call("2 at 1M", 2, None, 1_000),
    call("2 at 700k", 2, None, 700),
    call("2 at 500k", 2, None, 500),
    call("2 at 300k", 2, None, 300),
    call("2 at 200k", 2, None, 200),
    call("2 at 150k", 2, None, 150),
    call("2 at 1.5M, then 400k", 2, Some(1_500_000), 400),
    call("2 at 400k, then 3M", 2, Some(400_000), 3_000),
    call("1 at 1M", 1, None, 1_000),
    call("1 at 500k", 1, None, 500),
    call("1 at 250k", 1, None, 250),
    call("1 at 120k", 1, None, 120),
    call("3 at 1M", 3, None, 1_000),
    call("3 at 500k", 3, None, 500),
    call("6 at 1.5M", 6, None, 1_500),
    call("6 at 700k", 6, None, 700),
    Narrow {
        talkers: 2,
        ..call("12 at 3M, then 800k", 12, Some(3_000_000), 800)
    },
    Narrow {
        talkers: 2,
        ..call("20 at 3M, then 800k", 20, Some(3_000_000), 800)
    },
    on("2 at 1M in turns", 2, None, 1_000, "turns=100ms"),
    on("2 at 500k in turns", 2, None, 500, "turns=100ms"),
    on(
        "2 at 400k, then 3M in turns",
        2,
        Some(400_000),
        3_000,
        "turns=100ms",
    ),
    on("2 at 1M with jitter", 2, None, 1_000, "jitter=20ms"),
    on("2 at 500k with jitter", 2, None, 500, "jitter=20ms"),
    on("2 at 500k with loss", 2, None, 500, "loss=2%"),
    on("2 at 1M far away", 2, None, 1_000, "delay=100ms"),
    on("2 at 500k far away", 2, None, 500, "delay=100ms"),
];
