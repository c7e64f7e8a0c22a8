//! Public names of participants and tracks.

use std::fmt;
use std::sync::Arc;

use rand::Rng;
use rand::distr::Alphanumeric;

use crate::session::Secret;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            pub(crate) fn random() -> Self {
                let random = rand::rng().sample_iter(Alphanumeric).take($length);
                Self($prefix.chars().chain(random.map(char::from)).collect::<String>().into())
            }

            /// The id as clients are told it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        /// Allows maps to be searched by a client's string.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Unguessable (95 bits, or 120 with a session).
    ParticipantId, "pa_", 16
);
impl ParticipantId {
    /// The sender's id of what the server says itself. No participant has it.
    pub const SERVER: &'static str = "server";

    pub(crate) fn server() -> Self {
        Self(Self::SERVER.into())
    }

    /// The id, in a room, of who has the secret of a session.
    pub(super) fn of_session(room: &str, secret: &Secret) -> Self {
        Self(secret.participant(room).into())
    }
}

name!(
    /// Unique among all tracks there will ever be (71 bits).
    TrackName, "tr_", 12
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_prefix_and_length() {
        let participant = ParticipantId::random();
        assert!(participant.as_str().starts_with("pa_") && participant.as_str().len() == 19);
        let track = TrackName::random();
        assert!(track.as_str().starts_with("tr_") && track.as_str().len() == 15);
        assert_ne!(track, TrackName::random());
    }
}
