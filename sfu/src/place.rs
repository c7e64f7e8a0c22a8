//! Where a worker keeps a track: with the peer that publishes it, or among the tracks that other
//! workers relay to it. Everything after that handles both alike.

/// Where a worker keeps a track.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Place {
    /// Its publisher is this worker's.
    Published {
        /// The publisher, by index among the worker's peers.
        peer: usize,
        /// The track, by index among the publisher's.
        track: usize,
    },
    /// Its publisher is another worker's; by index among the tracks relayed to this one.
    Relayed(usize),
}
