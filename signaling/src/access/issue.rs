//! New access tokens and keys.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Header, encode};
use rand::Rng;
use serde::Serialize;
use serde_json::json;

use super::claims::{Claims, TOKEN_ID_BYTES};
use super::fault::TokenFault;
use super::keys::{Keys, SECRET_BYTES};
use super::token::{TOKEN_BYTES, Token};
use super::verify::WRONG_SIGNATURE;

/// A token that cannot be made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// There is no key of this id.
    #[error("there is no key `{0}`")]
    NoSuchKey(String),
    /// The key, or each key, has its public half alone.
    #[error("no private key to sign with: the `d` of an Ed25519 key, or a secret")]
    CannotSign,
    /// Its claims take too much.
    #[error("the token would have more than 4096 bytes: shorten its metadata")]
    TooLong,
    /// The private key does not belong to the public one.
    #[error("the key signs what it does not verify: its `d` does not belong to its `x`")]
    Mismatch,
    /// No server would take it, for this reason.
    #[error("no server would take the token: {0}")]
    Useless(TokenFault),
    /// Its id has more than 64 bytes, or none.
    #[error("the token's id must have 1 to 64 bytes")]
    Id,
    /// Its id is among those that were revoked.
    #[error("the token's id is in `revoked` of the key set: it would let nobody in")]
    Revoked,
}

#[derive(Serialize)]
struct Timed<'a> {
    exp: u64,
    #[serde(flatten)]
    claims: &'a Claims,
}

impl Keys {
    /// Makes a token that is valid from now on for `valid`. `id` is the key's; without it the first that can signs.
    ///
    /// # Errors
    ///
    /// [`IssueError`].
    pub fn issue(
        &self,
        claims: &Claims,
        valid: Duration,
        id: Option<&str>,
    ) -> Result<Token, IssueError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let exp = now.unwrap_or_default().saturating_add(valid).as_secs();
        self.issue_until(claims, exp, id)
    }

    /// Makes a token that is valid from now on until `exp`, Unix time in seconds.
    pub(crate) fn issue_until(
        &self,
        claims: &Claims,
        exp: u64,
        id: Option<&str>,
    ) -> Result<Token, IssueError> {
        let is_long = |id: &String| !(1..=TOKEN_ID_BYTES).contains(&id.len());
        if claims.id.as_ref().is_some_and(is_long) {
            return Err(IssueError::Id);
        }
        let mut keys = self
            .iter()
            .filter(|key| id.is_none_or(|id| key.id == id))
            .peekable();
        if let (None, Some(id)) = (keys.peek(), id) {
            return Err(IssueError::NoSuchKey(id.to_owned()));
        }
        let signing = keys.find_map(|key| Some((key, key.signs.as_ref()?)));
        let (key, signs) = signing.ok_or(IssueError::CannotSign)?;
        let mut header = Header::new(key.algorithm);
        header.kid = Some(key.id.clone());
        let token = encode(&header, &Timed { exp, claims }, signs);
        let token = Token::from(token.map_err(|_| IssueError::CannotSign)?);
        if token.as_str().len() > TOKEN_BYTES {
            return Err(IssueError::TooLong);
        }
        match self.verify(&token, claims.room()) {
            Err(TokenFault::Invalid(WRONG_SIGNATURE)) => Err(IssueError::Mismatch),
            Err(fault @ TokenFault::Invalid(_)) => Err(IssueError::Useless(fault)),
            Err(TokenFault::Revoked) => Err(IssueError::Revoked),
            _ => Ok(token),
        }
    }
}

/// A JSON Web Key Set with one fresh secret for HS256, of 256 random bits.
pub fn new_key_set(id: &str) -> String {
    let secret: [u8; SECRET_BYTES] = rand::rng().random();
    let key = json!({"kty": "oct", "kid": id, "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(secret)});
    json!({ "keys": [key] }).to_string()
}

/// A fresh id for [`Claims::id`], of 128 random bits: 22 characters of `A-Z a-z 0-9 - _`.
pub fn new_token_id() -> String {
    let id: [u8; 16] = rand::rng().random();
    URL_SAFE_NO_PAD.encode(id)
}

#[cfg(test)]
mod tests {
    use super::super::keys::tests::{PRIVATE, PUBLIC, secret};
    use super::*;
    use crate::hooks::Permissions;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn keys(set: &serde_json::Value) -> Keys {
        Keys::from_json(&json!({ "keys": set }).to_string()).expect("keys")
    }

    #[test]
    fn a_token_that_no_server_would_take_is_not_made() {
        let keys = keys(&json!([{"kty": "oct", "kid": "a", "k": secret(32)}]));
        let mut claims = Claims::join("a", Permissions::all());
        let refused = |claims: &Claims, valid| {
            let refused = keys.issue(claims, valid, None).expect_err("refused");
            assert!(matches!(refused, IssueError::Useless(_)), "{refused}");
            refused.to_string()
        };
        assert!(refused(&claims, HOUR * 24 * 366 * 100).contains("`exp`"));
        claims.identity = Some("i".repeat(257));
        assert!(refused(&claims, HOUR).contains("`sub`"));
    }

    #[test]
    fn a_token_is_signed_by_the_key_that_is_named_or_the_first_that_can() {
        let keys = keys(&json!([
            {"kty": "OKP", "kid": "public", "crv": "Ed25519", "x": PUBLIC},
            {"kty": "OKP", "kid": "pair", "crv": "Ed25519", "x": PUBLIC, "d": PRIVATE},
            {"kty": "oct", "kid": "secret", "k": secret(32)},
        ]));
        let claims = Claims::join("a", Permissions::all());
        for (id, signed_by) in [
            (None, "pair"),
            (Some("pair"), "pair"),
            (Some("secret"), "secret"),
        ] {
            let token = keys.issue(&claims, HOUR, id).expect("a token");
            let header = jsonwebtoken::decode_header(token.as_str()).expect("a header");
            assert_eq!(header.kid.as_deref(), Some(signed_by));
            assert!(keys.admit(&token, "a").is_ok());
        }
        let refused = |id| keys.issue(&claims, HOUR, Some(id)).expect_err("no token");
        assert_eq!(refused("public"), IssueError::CannotSign);
        assert_eq!(refused("x"), IssueError::NoSuchKey("x".into()));
    }

    #[test]
    fn what_would_not_be_read_is_not_made() {
        let pair =
            json!([{"kty": "OKP", "kid": "a", "crv": "Ed25519", "x": PUBLIC, "d": secret(32)}]);
        let claims = Claims::join("a", Permissions::all());
        let refused = keys(&pair).issue(&claims, HOUR, None);
        assert_eq!(refused, Err(IssueError::Mismatch));
        let keys = keys(&json!([{"kty": "oct", "kid": "a", "k": secret(32)}]));
        let mut long = claims.clone();
        long.name = Some("n".repeat(4_000));
        assert_eq!(keys.issue(&long, HOUR, None), Err(IssueError::TooLong));
        for (id, expected) in [
            ("i".repeat(64), Ok(())),
            ("i".repeat(65), Err(IssueError::Id)),
            (String::new(), Err(IssueError::Id)),
        ] {
            let mut named = claims.clone();
            named.id = Some(id);
            assert_eq!(keys.issue(&named, HOUR, None).map(drop), expected);
        }
        let mut gone = claims.clone();
        gone.id = Some("gone".into());
        let text =
            json!({"keys": [{"kty": "oct", "kid": "a", "k": secret(32)}], "revoked": ["gone"]});
        let revoking = Keys::from_json(&text.to_string()).expect("keys");
        let refused = revoking.issue(&gone, HOUR, None);
        assert_eq!(refused, Err(IssueError::Revoked));
        let expired = keys.issue(&claims, Duration::ZERO, None).expect("a token");
        // It is within the leeway still.
        assert!(keys.admit(&expired, "a").is_ok());
    }

    #[test]
    fn a_new_id_fits_and_no_two_are_alike() {
        let [one, other] = [new_token_id(), new_token_id()];
        assert_eq!((one.len(), other.len()), (22, 22));
        assert_ne!(one, other);
    }

    #[test]
    fn a_new_key_set_is_a_key_set_and_no_two_are_alike() {
        let [one, other] = [new_key_set("1"), new_key_set("1")];
        assert_ne!(one, other);
        let keys = Keys::from_json(&one).expect("keys");
        let token = keys
            .issue(&Claims::join("*", Permissions::all()), HOUR, Some("1"))
            .expect("a token");
        assert!(keys.admit(&token, "a").is_ok());
        let refused = Keys::from_json(&other).expect("keys").admit(&token, "a");
        assert_eq!(refused.map_err(TokenFault::code), Err("token_invalid"));
    }
}
