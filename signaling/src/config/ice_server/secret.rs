//! The secret that the operator's TURN server shares with this one: "A REST API For Access To TURN Services"
//! (draft-uberti-behave-turn-rest-00), as coturn and eturnal have it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha1::Sha1;

/// A secret that makes passwords of users. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct IceSecret(String);

impl IceSecret {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The password of a user. SHA-1 is what TURN servers take; as an HMAC it is not broken.
    pub(super) fn credential(&self, username: &str) -> String {
        // A key of any length is good.
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(self.0.as_bytes()) else {
            return String::new();
        };
        mac.update(username.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

impl From<String> for IceSecret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for IceSecret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for IceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IceSecret(..)")
    }
}
