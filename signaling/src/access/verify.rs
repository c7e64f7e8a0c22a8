//! The check of an access token.

use std::time::Duration;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, get_current_timestamp};
use serde_json::{Map, Value};

use super::claims::{Claims, TOKEN_ID_BYTES};
use super::fault::TokenFault;
use super::keys::{Key, Keys};
use super::object::Object;
use super::shape;
use super::token::{TOKEN_BYTES, Token};
use crate::hooks::Admission;

/// The time by which the clocks of the issuer and of the server may differ: both are set by NTP.
pub const LEEWAY: Duration = Duration::from_secs(5);

impl Keys {
    /// Admits whoever has this token to a room, which is given in the one form of its name. The token's `kid` chooses
    /// the key; without it each key of its algorithm is tried.
    ///
    /// # Errors
    ///
    /// The [`TokenFault`]. Signature and times are checked first, then the id, the room and the grants.
    pub fn admit(&self, token: &Token, room: &str) -> Result<Admission, TokenFault> {
        self.verify(token, room).map(Claims::into_admission)
    }

    /// The claims of a token that lets into a room, which is given in the one form of its name.
    pub(crate) fn verify(&self, token: &Token, room: &str) -> Result<Claims, TokenFault> {
        let text = token.as_str();
        if let Some(around) = pasted(text) {
            return Err(TokenFault::Invalid(around));
        }
        if text.len() > TOKEN_BYTES {
            return Err(TokenFault::Invalid("has more than 4096 bytes"));
        }
        let header = decode_header(text).map_err(|error| header_fault(&error))?;
        let mut keys = self.candidates(&header)?.into_iter();
        let claims = loop {
            let Some(key) = keys.next() else {
                return Err(TokenFault::Invalid(WRONG_SIGNATURE));
            };
            match decode::<Object<Claims>>(text, &key.verifies, &validation(header.alg)) {
                Ok(token) => break token.claims.0,
                Err(error) if *error.kind() == ErrorKind::InvalidSignature => {}
                Err(error) => return Err(fault(&error, || unread(text, key, header.alg))),
            }
        };
        if claims.expires_s().is_some_and(is_far) {
            return Err(TokenFault::Invalid(FAR_EXP));
        }
        if claims
            .identity
            .as_ref()
            .is_some_and(|it| it.len() > IDENTITY_BYTES)
        {
            return Err(TokenFault::Invalid("has a `sub` of more than 256 bytes"));
        }
        if let Some(id) = &claims.id {
            if id.len() > TOKEN_ID_BYTES {
                return Err(TokenFault::Invalid("has a `jti` of more than 64 bytes"));
            }
            if self.has_revoked(id) {
                return Err(TokenFault::Revoked);
            }
        }
        if !claims.is_for(room) {
            return Err(TokenFault::WrongRoom);
        }
        if !claims.grants.join {
            return Err(TokenFault::NotGranted);
        }
        Ok(claims)
    }

    /// The id of a token that one of these keys has signed, even if it lets nobody in: for the log.
    pub(crate) fn signed_id(&self, token: &Token) -> Option<String> {
        let text = token.as_str();
        let header = (text.len() <= TOKEN_BYTES)
            .then(|| decode_header(text))?
            .ok()?;
        let mut validation = validation(header.alg);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let keys = self.candidates(&header).ok()?.into_iter();
        let mut read =
            keys.filter_map(|key| decode::<Object<Claims>>(text, &key.verifies, &validation).ok());
        let id = read.next()?.claims.0.id?;
        (id.len() <= TOKEN_ID_BYTES).then_some(id)
    }

    /// Whether the token's `kid` names one of these keys. Nothing is verified.
    pub(crate) fn is_named_in(&self, token: &Token) -> bool {
        let text = token.as_str();
        let header = (text.len() <= TOKEN_BYTES).then(|| decode_header(text));
        let kid = header.and_then(|header| header.ok()?.kid);
        kid.is_some_and(|kid| self.iter().any(|key| key.id == kid))
    }

    /// The keys that may have signed it: each has the header's algorithm, so that no public key serves as a secret.
    fn candidates(&self, header: &Header) -> Result<Vec<&Key>, TokenFault> {
        if !matches!(header.alg, Algorithm::HS256 | Algorithm::EdDSA) {
            return Err(TokenFault::Invalid(OTHER_ALGORITHM));
        }
        // RFC 7515 section 4.1.11: what is critical must be understood, and nothing is here.
        if header.crit.is_some() {
            return Err(TokenFault::Invalid("has a header `crit`"));
        }
        let of_algorithm = self.iter().filter(|key| key.algorithm == header.alg);
        let named = |key: &&Key| header.kid.as_ref().is_none_or(|kid| *kid == key.id);
        let keys: Vec<&Key> = of_algorithm.filter(named).collect();
        if keys.is_empty() {
            return Err(TokenFault::Invalid("names no key of this server"));
        }
        Ok(keys)
    }
}

/// Bytes of an identity: a key of the embedder's database, which each event about its participant carries.
pub(crate) const IDENTITY_BYTES: usize = 256;
pub(super) const WRONG_SIGNATURE: &str = "has a wrong signature";
const OTHER_ALGORITHM: &str = "is signed with neither HS256 nor EdDSA";
const OTHER_HEADER: &str =
    "is signed with neither HS256 nor EdDSA, or has a header of another form";

/// The head of an HTTP header's value (RFC 6750 section 2.1), which is no part of the token.
const BEARER: &[u8] = b"Bearer ";
/// Times further ahead are no seconds: the milliseconds of today are in the year 58000.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);
const FAR_EXP: &str =
    "has an `exp` more than 100 years ahead: is it in milliseconds? It has to be in seconds";
const FAR_NBF: &str =
    "has an `nbf` more than 100 years ahead: is it in milliseconds? It has to be in seconds";

fn validation(algorithm: Algorithm) -> Validation {
    // `exp` is required by default, and a token with an `aud` is for somebody else.
    let mut validation = Validation::new(algorithm);
    validation.leeway = LEEWAY.as_secs();
    validation.validate_nbf = true;
    validation
}

fn header_fault(error: &Error) -> TokenFault {
    TokenFault::Invalid(match error.kind() {
        // `none`, an algorithm that nobody knows, or a `kid` that is no text.
        ErrorKind::Json(error) if error.is_data() => OTHER_HEADER,
        _ => "is no JSON Web Token",
    })
}

/// `claims`: those of the token, however they are written.
fn fault(error: &Error, claims: impl Fn() -> Option<Map<String, Value>>) -> TokenFault {
    TokenFault::Invalid(match error.kind() {
        ErrorKind::ExpiredSignature => return TokenFault::Expired,
        ErrorKind::ImmatureSignature => {
            let nbf = claims().and_then(|claims| claims.get("nbf")?.as_f64());
            match nbf.is_some_and(|nbf| is_far(nbf as u64)) {
                true => FAR_NBF,
                false => return TokenFault::NotYetValid,
            }
        }
        ErrorKind::InvalidAudience => "is for another server: it has an `aud`",
        // `exp` alone is required. One that is no number counts as none.
        ErrorKind::MissingRequiredClaim(_) => "has no `exp` that is a time",
        ErrorKind::InvalidClaimFormat(_) => "has an `exp` or `nbf` that is no time",
        ErrorKind::Json(_) => match claims() {
            Some(claims) => shape::wrong(&claims),
            None => "has claims that are no JSON object",
        },
        _ => "is no JSON Web Token",
    })
}

/// The claims of a token whose signature is right, whatever their form.
fn unread(text: &str, key: &Key, algorithm: Algorithm) -> Option<Map<String, Value>> {
    let mut validation = validation(algorithm);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let read = decode::<Object<Map<String, Value>>>(text, &key.verifies, &validation);
    Some(read.ok()?.claims.0)
}

/// The fault of a token that has something else around it.
fn pasted(text: &str) -> Option<&'static str> {
    let head = text.trim_start().as_bytes().get(..BEARER.len());
    if head.is_some_and(|head| head.eq_ignore_ascii_case(BEARER)) {
        return Some("has `Bearer ` before it: leave that out");
    }
    (text != text.trim()).then_some("has white space before or behind it")
}

/// Whether a time is further ahead than anybody means.
fn is_far(time_s: u64) -> bool {
    time_s > get_current_timestamp().saturating_add(FAR.as_secs())
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{EncodingKey, encode};
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::keys::tests::{PRIVATE, PUBLIC, secret};
    use super::*;
    use crate::hooks::Permissions;

    /// `old` and `new` are secrets, `ed` a key pair.
    fn keys() -> Keys {
        let set = json!({"keys": [
            {"kty": "oct", "kid": "old", "k": secret(32)},
            {"kty": "oct", "kid": "new", "k": secret(40)},
            {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": PUBLIC, "d": PRIVATE},
        ], "revoked": ["lost", "stolen"]});
        Keys::from_json(&set.to_string()).expect("keys")
    }

    fn good() -> Value {
        json!({
            "exp": get_current_timestamp() + 60,
            "sub": "user-1",
            "tertulia": {"room": "a", "join": true},
        })
    }

    fn with(changes: Value) -> Value {
        let mut claims = good();
        for (key, value) in changes.as_object().expect("an object") {
            claims[key] = value.clone();
        }
        claims
    }

    fn signed(claims: &Value, id: &str, kid: Option<&str>) -> Token {
        let keys = keys();
        let key = keys.iter().find(|key| key.id == id).expect("a key");
        let mut header = Header::new(key.algorithm);
        header.kid = kid.map(str::to_owned);
        let signs = key.signs.as_ref().expect("a private key");
        encode(&header, claims, signs).expect("signed").into()
    }

    fn code(claims: &Value) -> &'static str {
        let admitted = keys().admit(&signed(claims, "old", None), "a");
        admitted.map_or_else(TokenFault::code, |_| "admitted")
    }

    #[test]
    fn each_fault_has_its_code() {
        let now = get_current_timestamp();
        for (changes, expected) in [
            (json!({}), "admitted"),
            (json!({"exp": now + 1_000_000_000}), "admitted"),
            // Within the leeway.
            (json!({"exp": now - 1}), "admitted"),
            (json!({"exp": now - 60}), "token_expired"),
            (json!({"exp": 0}), "token_expired"),
            (json!({"exp": null}), "token_invalid"),
            (json!({"exp": "tomorrow"}), "token_invalid"),
            (json!({"exp": -1}), "token_invalid"),
            (json!({"nbf": now - 60}), "admitted"),
            (json!({"nbf": now + 2}), "admitted"),
            (json!({"nbf": now + 60}), "token_not_yet_valid"),
            (json!({"nbf": "now"}), "token_invalid"),
            // RFC 7519 section 2: a NumericDate may have a fraction.
            (json!({"exp": now as f64 + 60.5}), "admitted"),
            (json!({"jti": "kept"}), "admitted"),
            (json!({"jti": ""}), "admitted"),
            (json!({"jti": "lost"}), "token_revoked"),
            (json!({"jti": "stolen"}), "token_revoked"),
            (json!({"jti": "Lost"}), "admitted"),
            (json!({"jti": "i".repeat(64)}), "admitted"),
            (json!({"jti": "i".repeat(65)}), "token_invalid"),
            (json!({"jti": 7}), "token_invalid"),
            (json!({"jti": "lost", "exp": now - 60}), "token_expired"),
            (
                json!({"jti": "lost", "tertulia": {"room": "b", "join": true}}),
                "token_revoked",
            ),
            (
                json!({"tertulia": {"room": "a", "join": true, "invited": true}}),
                "admitted",
            ),
            (json!({"aud": "another"}), "token_invalid"),
            // A derived reader takes an array of the fields for an object.
            (json!({"tertulia": ["a", true]}), "token_invalid"),
            (json!({"iss": "anybody", "other": 1}), "admitted"),
            (
                json!({"tertulia": {"room": "b", "join": true}}),
                "token_wrong_room",
            ),
            (json!({"tertulia": {"room": "*", "join": true}}), "admitted"),
            (json!({"tertulia": {"room": "a"}}), "not_allowed"),
            (
                json!({"tertulia": {"room": "a", "join": false}}),
                "not_allowed",
            ),
            (json!({"tertulia": {"join": true}}), "token_invalid"),
            (
                json!({"tertulia": {"room": "a", "join": true, "record": true}}),
                "token_invalid",
            ),
            (json!({"tertulia": null}), "token_invalid"),
            (json!({"sub": 5}), "token_invalid"),
            (json!({"metadata": []}), "token_invalid"),
            // The signature and the times come first.
            (
                json!({"exp": now - 60, "tertulia": {"room": "b", "join": false}}),
                "token_expired",
            ),
        ] {
            assert_eq!(code(&with(changes.clone())), expected, "{changes}");
        }
    }

    fn said(token: &Token) -> String {
        let fault = keys().admit(token, "a").expect_err("refused");
        assert_eq!(fault.code(), "token_invalid", "{fault}");
        fault.to_string()
    }

    #[test]
    fn the_claim_that_is_wrong_is_named() {
        let now = get_current_timestamp();
        for (changes, named) in [
            (
                json!({"tertulia": null}),
                "has a claim `tertulia` that is no object",
            ),
            (
                json!({"tertulia": ["a", true]}),
                "has a claim `tertulia` that is no object",
            ),
            (json!({"exp": "tomorrow"}), "has an `exp` that is no number"),
            (json!({"nbf": "now"}), "`nbf`"),
            (json!({"sub": 5}), "has a `sub` that is no text"),
            (
                json!({"sub": "i".repeat(257)}),
                "has a `sub` of more than 256 bytes",
            ),
            (json!({"name": 5}), "has a `name` that is no text"),
            (json!({"jti": 5}), "has a `jti` that is no text"),
            (
                json!({"metadata": []}),
                "has a `metadata` that is no object",
            ),
            (
                json!({"exp": now * 1_000}),
                "has an `exp` more than 100 years ahead: is it in milliseconds?",
            ),
            (
                json!({"nbf": now * 1_000}),
                "has an `nbf` more than 100 years ahead: is it in milliseconds?",
            ),
            (
                json!({"tertulia": {"join": true}}),
                "has no `room` in `tertulia`",
            ),
            (
                json!({"tertulia": {"room": 7}}),
                "has a `room` in `tertulia` that is no text",
            ),
            (
                json!({"tertulia": {"room": "a", "join": "yes"}}),
                "has a `join` in `tertulia` that is neither true nor false",
            ),
            (
                json!({"tertulia": {"room": "a", "publish": "camera"}}),
                "has a `publish` in `tertulia` that is no list",
            ),
            (
                json!({"tertulia": {"room": "a", "publish": ["video"]}}),
                "has a source in `publish` that this server does not know: it knows microphone, camera and screen",
            ),
            (
                json!({"tertulia": {"room": "a", "record": true}}),
                "has a grant in `tertulia` that this server does not know: it knows",
            ),
        ] {
            let said = said(&signed(&with(changes.clone()), "old", None));
            assert!(said.contains(named), "{changes}: {said}");
        }
        let mut none = good();
        none.as_object_mut().expect("an object").remove("tertulia");
        let said = said(&signed(&none, "old", None));
        assert!(said.contains("has no claim `tertulia`"), "{said}");
    }

    #[test]
    fn what_was_pasted_with_a_token_is_named_and_not_taken() {
        let good = signed(&good(), "old", None);
        let good = good.as_str();
        for (text, named) in [
            (format!(" {good}"), "has white space"),
            (format!("{good}\n"), "has white space"),
            (format!("Bearer {good}"), "has `Bearer ` before it"),
            (format!(" bearer {good}"), "has `Bearer ` before it"),
        ] {
            assert!(said(&Token::from(text)).contains(named), "{named}");
        }
    }

    #[test]
    fn the_id_of_a_refused_token_is_told_if_a_key_has_signed_it() {
        let keys = keys();
        let now = get_current_timestamp();
        for changes in [
            json!({"jti": "lost"}),
            json!({"jti": "lost", "exp": now - 60}),
            json!({"jti": "lost", "nbf": now + 60}),
            json!({"jti": "lost", "tertulia": {"room": "b", "join": true}}),
        ] {
            let token = signed(&with(changes.clone()), "old", None);
            assert!(keys.admit(&token, "a").is_err(), "{changes}");
            assert_eq!(keys.signed_id(&token).as_deref(), Some("lost"), "{changes}");
        }
        let header = json!({"alg": "HS256", "typ": "JWT"});
        let forged = hand_made(&header, &with(json!({"jti": "lost"})), &[0; 32]);
        let long = signed(&with(json!({"jti": "i".repeat(65)})), "old", None);
        for token in [forged, long, Token::from("nonsense")] {
            assert_eq!(keys.signed_id(&token), None);
        }
    }

    #[test]
    fn the_id_chooses_the_key_and_without_it_each_is_tried() {
        let keys = keys();
        for id in ["old", "new", "ed"] {
            for kid in [None, Some(id)] {
                let admitted = keys
                    .admit(&signed(&good(), id, kid), "a")
                    .expect("admitted");
                assert_eq!(admitted.identity.as_deref(), Some("user-1"));
            }
        }
        for (id, kid) in [
            ("old", "new"),
            ("new", "old"),
            ("old", "ed"),
            ("ed", "old"),
            ("old", "x"),
        ] {
            let refused = keys.admit(&signed(&good(), id, Some(kid)), "a");
            assert_eq!(
                refused.map_err(TokenFault::code),
                Err("token_invalid"),
                "{id} {kid}"
            );
        }
    }

    #[test]
    fn a_key_that_is_gone_lets_nobody_in() {
        let set = json!({"keys": [{"kty": "oct", "kid": "new", "k": secret(40)}]});
        let rotated = Keys::from_json(&set.to_string()).expect("keys");
        assert!(rotated.admit(&signed(&good(), "new", None), "a").is_ok());
        for kid in [None, Some("old")] {
            let refused = rotated.admit(&signed(&good(), "old", kid), "a");
            assert_eq!(refused.map_err(TokenFault::code), Err("token_invalid"));
        }
    }

    #[test]
    fn the_id_of_the_key_says_whose_a_token_is() {
        let keys = keys();
        for (kid, expected) in [(Some("ed"), true), (Some("x"), false), (None, false)] {
            let token = signed(&good(), "ed", kid);
            assert_eq!(keys.is_named_in(&token), expected, "{kid:?}");
        }
        let long = with(json!({"metadata": {"k": "v".repeat(4_000)}}));
        assert!(!keys.is_named_in(&signed(&long, "old", Some("old"))));
        assert!(!keys.is_named_in(&Token::from("nonsense")));
    }

    #[test]
    fn the_time_of_its_end_is_read() {
        for (exp, read) in [
            (json!(4_000_000_000_u64), 4_000_000_000),
            (json!(4_000_000_000.9), 4_000_000_000),
        ] {
            let token = signed(&with(json!({ "exp": exp })), "old", None);
            let claims = keys().verify(&token, "a").expect("admitted");
            assert_eq!(claims.expires_s(), Some(read));
        }
        assert_eq!(Claims::join("a", Permissions::all()).expires_s(), None);
    }

    fn hand_made(header: &Value, claims: &Value, signature: &[u8]) -> Token {
        let parts =
            [header.to_string(), claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
        let [header, claims] = parts;
        format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature)).into()
    }

    #[test]
    fn no_other_algorithm_is_taken() {
        let keys = keys();
        for alg in [
            "none", "None", "NONE", "HS384", "HS512", "RS256", "ES256", "PS256", "hs256", "",
        ] {
            for signature in [&b""[..], &[0; 32]] {
                let token = hand_made(&json!({"alg": alg, "typ": "JWT"}), &good(), signature);
                let refused = keys.admit(&token, "a").map_err(TokenFault::code);
                assert_eq!(refused, Err("token_invalid"), "{alg}");
            }
        }
    }

    /// The public key is known to everybody, and must not serve as the secret of HS256.
    #[test]
    fn a_public_key_is_no_secret() {
        let keys = keys();
        let public = URL_SAFE_NO_PAD.decode(PUBLIC).expect("bytes");
        for secret in [&public[..], PUBLIC.as_bytes()] {
            for kid in [None, Some("ed")] {
                let mut header = Header::new(Algorithm::HS256);
                header.kid = kid.map(str::to_owned);
                let key = EncodingKey::from_secret(secret);
                let token = encode(&header, &good(), &key).expect("signed").into();
                let refused = keys.admit(&token, "a").map_err(TokenFault::code);
                assert_eq!(refused, Err("token_invalid"), "{kid:?}");
            }
        }
    }

    #[test]
    fn a_header_that_must_be_understood_refuses() {
        let keys = keys();
        let key = keys
            .iter()
            .next()
            .and_then(|key| key.signs.as_ref())
            .expect("a secret");
        let mut header = Header::new(Algorithm::HS256);
        header.crit = Some(vec!["b64".into()]);
        let token = encode(&header, &good(), key).expect("signed").into();
        let refused = keys.admit(&token, "a").map_err(TokenFault::code);
        assert_eq!(refused, Err("token_invalid"));
    }

    /// A key that the token itself brings is not used.
    #[test]
    fn a_key_of_the_token_itself_is_not_used() {
        let own = json!({"kty": "oct", "k": secret(33)});
        let header = json!({"alg": "HS256", "jwk": own, "jku": "https://attacker.example/keys"});
        let token = hand_made(&header, &good(), &[0; 32]);
        let refused = keys().admit(&token, "a").map_err(TokenFault::code);
        assert_eq!(refused, Err("token_invalid"));
    }

    #[test]
    fn what_is_no_token_or_too_long_is_refused() {
        let keys = keys();
        let long = with(json!({"metadata": {"k": "v".repeat(4_000)}}));
        let long = signed(&long, "old", None);
        let texts = [
            "", ".", "..", "...", "a.b.c", "e30.e30.", "{}", "\u{0}", "é.é.é",
        ];
        let tokens = texts.into_iter().map(Token::from).chain([long]);
        for token in tokens {
            let refused = keys.admit(&token, "a").map_err(TokenFault::code);
            assert_eq!(refused, Err("token_invalid"), "{:.20}", token.as_str());
        }
    }

    #[test]
    fn claims_are_what_the_participant_is() {
        let claims = with(json!({
            "name": "Ada", "metadata": {"seat": 4},
            "tertulia": {"room": "a", "join": true, "publish": ["camera"], "chat": false},
        }));
        let admission = keys()
            .admit(&signed(&claims, "ed", Some("ed")), "a")
            .expect("admitted");
        assert_eq!(admission.name.as_deref(), Some("Ada"));
        assert_eq!(
            admission.metadata.map(Value::from),
            Some(json!({"seat": 4}))
        );
        let expected = Permissions::all()
            .microphone(false)
            .screen(false)
            .chat(false);
        assert_eq!(admission.permissions, expected);
    }

    proptest! {
        /// Every byte is signed: another one in its place, one more, or one less refuses the token.
        #[test]
        fn any_change_of_a_token_refuses_it(
            id in prop::sample::select(vec!["old", "new", "ed"]),
            named in any::<bool>(),
            at in any::<prop::sample::Index>(),
            byte in 0x20_u8..0x7f,
            how in 0..3,
        ) {
            let token = signed(&good(), id, named.then_some(id));
            let mut bytes = token.as_str().as_bytes().to_vec();
            let at = at.index(bytes.len());
            match how {
                0 => {
                    prop_assume!(bytes[at] != byte);
                    bytes[at] = byte;
                }
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
            prop_assume!(bytes != token.as_str().as_bytes());
            let changed = Token::from(String::from_utf8(bytes).expect("ASCII"));
            prop_assert_eq!(keys().admit(&changed, "a").map_err(TokenFault::code), Err("token_invalid"));
        }

        #[test]
        fn any_text_is_refused(text in ".{0,300}") {
            prop_assert!(keys().admit(&Token::from(text), "a").is_err());
        }
    }
}
