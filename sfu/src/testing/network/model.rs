//! The model of a path: its rate, delay, loss and order.

use std::time::Duration;

/// A path's treatment of datagrams. They are lost, then queue for the rate, then travel.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PathModel {
    /// Propagation, one way.
    pub delay: Duration,
    /// Added to it at random, evenly from zero up to this.
    pub jitter: Duration,
    /// Whether datagrams may overtake each other by the jitter. On most links they may not: a delayed one holds up
    /// those that follow.
    pub overtake: bool,
    /// The longest pause between two turns in which the path delivers: datagrams that come between them wait, and
    /// arrive together. Pauses are random, evenly from zero up to this. Wi-Fi pauses so, as it sends many frames at
    /// once, and so does a receiver that is short of processor time.
    pub turns: Duration,
    /// Share of datagrams lost at random, each for itself (0 to 1).
    pub loss: f64,
    /// Loss that comes in bursts, beside the above.
    pub burst: Option<Burst>,
    /// Datagrams delayed alone, so that later ones overtake them.
    pub reorder: Option<Reorder>,
    /// Bits a second of UDP payload; none is unlimited.
    pub rate: Option<u64>,
    /// The variation of the rate by itself.
    pub noise: Option<Noise>,
    /// Datagrams that would wait longer than this for the rate are dropped at its tail.
    pub queue: Duration,
    /// Most bytes that wait; further datagrams are lost too. None is no bound by bytes.
    pub queue_bytes: Option<usize>,
    /// Another person's download through the same queue. It needs a rate to compete for.
    pub rival: Option<Rival>,
}

/// Losses that follow each other: the model of Gilbert (1960), in which the path is good and passes
/// all, or bad and loses all.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Burst {
    /// Share of datagrams lost in the long run (0 to below 1).
    pub loss: f64,
    /// Datagrams lost in a row, on average (1 or more).
    pub length: f64,
}

/// Datagrams delayed alone.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reorder {
    /// Share of datagrams (0 to 1).
    pub share: f64,
    /// The extra time that they travel.
    pub delay: Duration,
}

/// A rate that is not quite constant, as at the edge of a cell.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Noise {
    /// The rate is off by up to this share of it, either way, evenly (0 to below 1).
    pub share: f64,
    /// The time after which the factor is drawn anew.
    pub period: Duration,
}

/// A flow that sends as TCP Reno would with endless data: its window grows by a packet each round
/// trip and is halved when the queue drops one of its packets.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rival {
    /// Its round trip without queueing.
    pub rtt: Duration,
}

impl PathModel {
    /// A path without any impairment, not even delay.
    pub const CLEAR: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        overtake: false,
        turns: Duration::ZERO,
        loss: 0.0,
        burst: None,
        reorder: None,
        rate: None,
        noise: None,
        queue: Duration::from_millis(200),
        queue_bytes: None,
        rival: None,
    };

    /// A loopback or a switch: 1 ms, nothing lost.
    pub const LAN: Self = Self {
        delay: Duration::from_millis(1),
        ..Self::CLEAR
    };
}
