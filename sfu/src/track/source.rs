//! The source of a track: a peer of this worker, or another worker.

use super::ladder::LayerSet;
use crate::cache::CacheShare;
use crate::index::{PeerIx, WorkerIx};

/// The source of a track's packets.
#[derive(Debug)]
pub(crate) enum Source {
    /// A peer of this worker publishes the track.
    Peer(PeerIx),
    /// A peer of another worker does, and that worker sends its packets.
    Pipe(Piped),
}

/// A track that another worker sends.
#[derive(Debug)]
pub(crate) struct Piped {
    /// The publisher's worker.
    pub(crate) from: WorkerIx,
    /// The layers wanted here, as that worker was last told. It sends packets while there are any.
    pub(crate) wanted: LayerSet,
    /// The memory for its packets here.
    pub(crate) caches: CacheShare,
}
