//! The text of an access token, which no log and no error shows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of the longest token that is read. Metadata of a usual size fits, and what a stranger makes the server decode
/// is small.
pub const TOKEN_BYTES: usize = 4 * 1024;

/// The text of an access token. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// The text, for whoever is to be let in.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Token {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Token {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_debug_form_does_not_show_it() {
        assert_eq!(format!("{:?}", Token::from("secret")), "Token(6 bytes)");
    }
}
