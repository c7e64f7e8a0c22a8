//! Tokens of sessions: `SECRET.NONCE`. The secret stays for as long as the session; the nonce is for one resume.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// 128 bits: nobody guesses one.
const BYTES: usize = 16;
/// Bytes of a digest in a participant's id: 120 bits, 20 characters.
const ID_BYTES: usize = 15;

/// The part of a token that names its session. Its `Debug` form does not show it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Secret([u8; BYTES]);

/// The part of a token that is for one resume.
#[derive(Clone, Copy)]
pub(crate) struct Nonce([u8; BYTES]);

/// The token of a session, until it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub(crate) secret: Secret,
    pub(crate) nonce: Nonce,
}

impl Secret {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }

    /// The id, in a room, of the participant who has this secret. Whoever brings the secret to another process has the
    /// same id there, and nobody else can claim it.
    pub(crate) fn participant(&self, room: &str) -> String {
        let digest = Sha256::new()
            .chain_update("tertulia participant\0")
            .chain_update(room)
            .chain_update("\0")
            .chain_update(self.0)
            .finalize();
        format!("pa_{}", URL_SAFE_NO_PAD.encode(&digest[..ID_BYTES]))
    }
}

impl Nonce {
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }
}

/// In constant time: how much of a guess is right takes no longer to say.
impl PartialEq for Nonce {
    fn eq(&self, other: &Self) -> bool {
        let different = self
            .0
            .iter()
            .zip(&other.0)
            .fold(0, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(different) == 0
    }
}

impl Eq for Nonce {}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [secret, nonce] =
            [self.secret.0, self.nonce.0].map(|part| URL_SAFE_NO_PAD.encode(part));
        write!(f, "{secret}.{nonce}")
    }
}

impl FromStr for Token {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (secret, nonce) = text.split_once('.').ok_or(())?;
        Ok(Self {
            secret: Secret(part(secret)?),
            nonce: Nonce(part(nonce)?),
        })
    }
}

fn part(text: &str) -> Result<[u8; BYTES], ()> {
    let mut bytes = [0; BYTES];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
        Ok(BYTES) => Ok(bytes),
        _ => Err(()),
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_id_is_that_of_the_secret_in_the_room() {
        let secret = Secret([7; BYTES]);
        // printf 'tertulia participant\0room\0' plus sixteen bytes of 7, through sha256sum.
        assert_eq!(secret.participant("room"), "pa_NRfxJ3R3M8LZhihLmZ9F");
        assert_ne!(secret.participant("room"), secret.participant("room2"));
        assert_ne!(
            secret.participant("room"),
            Secret([8; BYTES]).participant("room")
        );
    }

    #[test]
    fn no_part_is_shown() {
        let token = Token {
            secret: Secret([1; BYTES]),
            nonce: Nonce([2; BYTES]),
        };
        assert_eq!(
            format!("{token:?}"),
            "Token { secret: Secret(..), nonce: Nonce(..) }"
        );
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let half = URL_SAFE_NO_PAD.encode([9; BYTES]);
        let good = format!("{half}.{half}");
        assert!(good.parse::<Token>().is_ok());
        for bad in [
            String::new(),
            ".".into(),
            half.clone(),
            format!("{good}.{half}"),
            format!("{half}.{}", URL_SAFE_NO_PAD.encode([9; BYTES - 1])),
            format!("{half}.{}", URL_SAFE_NO_PAD.encode([9; BYTES + 1])),
            format!("{half}.{half}="),
            format!(" {good}"),
            format!("{half}.{}", "/".repeat(22)),
            "x".repeat(100_000),
        ] {
            assert_eq!(bad.parse::<Token>(), Err(()), "{bad:.80}");
        }
    }

    proptest! {
        #[test]
        fn a_token_is_read_as_it_was_written(secret: [u8; BYTES], nonce: [u8; BYTES]) {
            let token = Token { secret: Secret(secret), nonce: Nonce(nonce) };
            prop_assert_eq!(token.to_string().parse(), Ok(token));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            if let Ok(token) = text.parse::<Token>() {
                prop_assert_eq!(token.to_string(), text);
            }
        }
    }
}
