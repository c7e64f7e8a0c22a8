//! Access tokens: who may join which room, said by whoever has a key. A token is a JSON Web Token (RFC 7519), signed
//! with HS256 (RFC 7518 section 3.2) or EdDSA with Ed25519 (RFC 8037).

use serde::Serialize;

mod claims;
mod fault;
mod issue;
mod keys;
mod object;
mod shape;
mod token;
mod verify;

pub(crate) use claims::TOKEN_ID_BYTES;
pub use claims::{Claims, Publish, ROOM_ANY};
pub use fault::TokenFault;
pub use issue::{IssueError, new_key_set, new_token_id};
pub use keys::{Keys, KeysError};
#[cfg(feature = "testing")]
pub(crate) use shape::fuzz as fuzz_shape;
pub use token::{TOKEN_BYTES, Token};
pub(crate) use verify::IDENTITY_BYTES;
pub use verify::LEEWAY;

/// The rule by which a server lets people in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Everybody may join every room.
    Open,
    /// A join needs an access token.
    Tokens,
    /// The embedder's hooks decide.
    Hooks,
}

impl Access {
    /// Its name in `/stats`, in `welcome` and in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Tokens => "tokens",
            Self::Hooks => "hooks",
        }
    }
}
