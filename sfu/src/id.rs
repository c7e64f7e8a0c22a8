//! Names of the things a control plane refers to. Plain integers, unique within one [`Sfu`](crate::Sfu)
//! for its lifetime and never reused.

use std::fmt;

use crate::index::WorkerIx;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u64);

        impl $name {
            /// Worker index in the top 16 bits, a counter below: an id alone tells which worker to ask, without a
            /// lookup.
            pub(crate) fn new(worker: impl Into<WorkerIx>, counter: u64) -> Self {
                let worker: WorkerIx = worker.into();
                Self(((usize::from(worker) as u64) << 48) | (counter & 0xffff_ffff_ffff))
            }

            /// The worker that gave it, and owns what it names. An id that no worker gave may name one that does not
            /// exist.
            pub(crate) fn worker(self) -> WorkerIx {
                ((self.0 >> 48) as usize).into()
            }

            /// The number itself, for maps and wire formats of the control plane.
            pub const fn as_u64(self) -> u64 {
                self.0
            }

            /// The id that [`as_u64`](Self::as_u64) gave: for control planes that stored the
            /// number, and for fakes in their tests. A number that no [`Sfu`](crate::Sfu) gave
            /// names nothing there.
            pub const fn from_u64(number: u64) -> Self {
                Self(number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// A room: the peers that can see each other's tracks.
    RoomId, "r"
);
id!(
    /// A peer: one WebRTC transport.
    PeerId, "p"
);
id!(
    /// A published track: one camera, microphone or screen of one peer, with all its layers.
    TrackId, "t"
);
