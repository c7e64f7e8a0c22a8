//! The keys of access tokens: a JSON Web Key Set (RFC 7517 section 5).

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use rand::Rng;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::claims::TOKEN_ID_BYTES;
use super::object::Object;
use crate::files;

/// Keys in a set. A rotation has two, and a token without `kid` is tried with each.
const MOST_KEYS: usize = 16;
/// Ids of revoked tokens in a set. One is needed until its token has expired. Whoever revokes more in that time has lost a
/// key, which is to be replaced.
const MOST_REVOKED: usize = 1_000;
/// Bytes of a set: more than so many keys and ids take.
const SET_BYTES: usize = 128 * 1024;
/// Bytes of a key's id, which each of its tokens carries.
const ID_BYTES: usize = 64;
/// Bytes of the shortest secret: as many as HMAC-SHA-256 gives (RFC 7518 section 3.2).
pub(super) const SECRET_BYTES: usize = 32;
/// Bytes of an Ed25519 key, the public and the private one (RFC 8032 section 5.1.5).
const ED25519_BYTES: usize = 32;
/// Characters of a member's name in an error.
const SHOWN_CHARS: usize = 64;
/// The head of an Ed25519 private key as PKCS #8 (RFC 8410 section 7), before its 32 bytes.
const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The keys of access tokens. Several at once let one take the place of another. Cheap to clone. Its `Debug` form
/// shows ids and algorithms alone.
#[derive(Clone)]
pub struct Keys {
    all: Arc<[Key]>,
    /// Ids of tokens that let nobody in, whichever key has signed them.
    revoked: Arc<HashSet<String>>,
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    pub(super) verifies: DecodingKey,
    /// None: the public key alone is known.
    pub(super) signs: Option<EncodingKey>,
}

/// A key set that cannot be used. Its sentence names the key, and shows no secret.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeysError(String);

#[derive(Deserialize)]
struct Set {
    keys: Vec<Object<Jwk>>,
    #[serde(default)]
    revoked: Vec<String>,
    /// RFC 7517 section 5 passes them over. A `revokd` here would let in whom it should keep out.
    #[serde(flatten)]
    others: BTreeMap<String, IgnoredAny>,
}

/// The members that are read. It has no `Debug` form: `k` and `d` are secret.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    k: Option<String>,
    x: Option<String>,
    d: Option<String>,
}

impl Keys {
    /// Reads a JSON Web Key Set. A key has `kid`, and is either `"kty": "oct"` with `k` (HS256), or `"kty": "OKP"` with
    /// `"crv": "Ed25519"` and `x` (EdDSA); with `d` as well it signs. `"revoked"` beside `"keys"` lists the ids (`jti`) of
    /// tokens that let nobody in.
    ///
    /// # Errors
    ///
    /// The text is no key set, a key has another form or use, two have one id, a secret is shorter than 32 bytes,
    /// anybody can sign for a public key, or `revoked` has more than 1000 ids or one that no token can have.
    pub fn from_json(text: &str) -> Result<Self, KeysError> {
        choose_backend();
        if text.len() > SET_BYTES {
            return Err(KeysError(format!(
                "the key set has more than {SET_BYTES} bytes"
            )));
        }
        // The error's own words may show a secret.
        let Object::<Set>(set) = serde_json::from_str(text).map_err(|error| {
            KeysError(format!(
                "this is no JSON Web Key Set (RFC 7517): see line {}, column {}",
                error.line(),
                error.column()
            ))
        })?;
        if let Some(other) = set.others.keys().next() {
            let name: String = other.chars().take(SHOWN_CHARS).collect();
            return Err(KeysError(format!(
                "the key set has a member `{}`, and may have `keys` and `revoked` alone",
                shown(&name)
            )));
        }
        if !(1..=MOST_KEYS).contains(&set.keys.len()) {
            return Err(KeysError(format!(
                "a key set has 1 to {MOST_KEYS} keys, and this one has {}",
                set.keys.len()
            )));
        }
        let keys = set.keys.into_iter().enumerate();
        let all: Vec<Key> = keys
            .map(|(at, Object(key))| read(at, key))
            .collect::<Result<_, _>>()?;
        let mut ids = HashSet::new();
        if let Some(twice) = all.iter().find(|key| !ids.insert(&key.id)) {
            return Err(KeysError(format!(
                "two keys have the `kid` `{}`",
                shown(&twice.id)
            )));
        }
        if set.revoked.len() > MOST_REVOKED {
            return Err(KeysError(format!(
                "`revoked` has at most {MOST_REVOKED} ids, and this one has {}",
                set.revoked.len()
            )));
        }
        let wrong = |id: &String| !(1..=TOKEN_ID_BYTES).contains(&id.len());
        if let Some(at) = set.revoked.iter().position(wrong) {
            return Err(KeysError(format!(
                "`revoked`: id {} must have 1 to {TOKEN_ID_BYTES} bytes",
                at + 1
            )));
        }
        Ok(Self {
            all: all.into(),
            revoked: Arc::new(set.revoked.into_iter().collect()),
        })
    }

    /// One fresh secret for HS256, of 256 random bits, which nobody else knows.
    pub(crate) fn fresh(id: String) -> Self {
        choose_backend();
        let secret: [u8; SECRET_BYTES] = rand::rng().random();
        let key = Key {
            id,
            algorithm: Algorithm::HS256,
            verifies: DecodingKey::from_secret(&secret),
            signs: Some(EncodingKey::from_secret(&secret)),
        };
        Self {
            all: Arc::new([key]),
            revoked: Arc::default(),
        }
    }

    /// Reads a file with a JSON Web Key Set.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or as of [`from_json`](Self::from_json). The sentence names the file.
    pub fn from_file(path: &Path) -> Result<Self, KeysError> {
        let at = path.display();
        let text = files::read_text(path, SET_BYTES)
            .map_err(|error| KeysError(format!("cannot read {at}: {error}")))?;
        Self::from_json(&text).map_err(|KeysError(wrong)| KeysError(format!("{at}: {wrong}")))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.all.iter()
    }

    /// The number of keys.
    pub fn key_count(&self) -> usize {
        self.all.len()
    }

    /// The number of revoked ids.
    pub fn revoked_count(&self) -> usize {
        self.revoked.len()
    }

    /// Whether one of the keys signs. Others verify alone.
    pub(crate) fn can_sign(&self) -> bool {
        self.iter().any(|key| key.signs.is_some())
    }

    /// Whether the token of this id (`jti`) lets nobody in.
    pub(crate) fn has_revoked(&self, id: &str) -> bool {
        self.revoked.contains(id)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.iter().map(|key| (&key.id, key.algorithm));
        f.debug_map().entries(keys).finish()
    }
}

/// Chooses the library that signs and verifies.
fn choose_backend() {
    // Other crates of the process may have another backend built in, and then neither would be the default. Fails where
    // the embedder has chosen one, which serves as well.
    let _ = aws_lc::DEFAULT_PROVIDER.install_default();
}

/// `at` counts from 0.
fn read(at: usize, jwk: Jwk) -> Result<Key, KeysError> {
    let id = jwk.kid.unwrap_or_default();
    if !(1..=ID_BYTES).contains(&id.len()) {
        return Err(KeysError(format!(
            "key {}: its `kid` must have 1 to {ID_BYTES} bytes",
            at + 1
        )));
    }
    let wrong = |what: &str| Err(KeysError(format!("key `{}`: {what}", shown(&id))));
    let (algorithm, name) = match jwk.kty.as_str() {
        "oct" => (Algorithm::HS256, "HS256"),
        "OKP" => (Algorithm::EdDSA, "EdDSA"),
        _ => return wrong("its `kty` must be `oct` (HS256) or `OKP` (EdDSA)"),
    };
    if jwk.alg.is_some_and(|alg| alg != name) {
        return wrong(&format!("the `alg` of its `kty` is {name}"));
    }
    let signs_by = |what: &String| what == "sign" || what == "verify";
    if jwk.r#use.is_some_and(|of| of != "sig")
        || jwk.key_ops.is_some_and(|ops| !ops.iter().any(signs_by))
    {
        return wrong("it is not for signatures, by its `use` or `key_ops` (RFC 7517 section 4)");
    }
    let (verifies, signs) = if algorithm == Algorithm::HS256 {
        let Some(secret) = bytes(jwk.k.as_deref()) else {
            return wrong("its `k` must be the secret in base64url without `=`");
        };
        if secret.len() < SECRET_BYTES {
            return wrong(&format!(
                "its secret must have at least {SECRET_BYTES} bytes (RFC 7518 section 3.2), and has {}",
                secret.len()
            ));
        }
        let signs = EncodingKey::from_secret(&secret);
        (DecodingKey::from_secret(&secret), Some(signs))
    } else {
        if jwk.crv.as_deref() != Some("Ed25519") {
            return wrong("its `crv` must be `Ed25519`");
        }
        let is_key = |key: &Vec<u8>| key.len() == ED25519_BYTES;
        let Some(public) = bytes(jwk.x.as_deref()).filter(is_key) else {
            return wrong(
                "its `x` must be the 32 bytes of the public key in base64url without `=`",
            );
        };
        let private = bytes(jwk.d.as_deref()).filter(is_key);
        if jwk.d.is_some() && private.is_none() {
            return wrong(
                "its `d` must be the 32 bytes of the private key in base64url without `=`",
            );
        }
        let signs =
            private.map(|private| EncodingKey::from_ed_der(&[&PKCS8_HEAD[..], &private].concat()));
        // It takes the raw key, in spite of its name: a verifier of Ed25519 wants nothing else.
        let verifies = DecodingKey::from_ed_der(&public);
        if anybody_signs_for(&verifies) {
            return wrong("its `x` is a point of small order, for which anybody can sign");
        }
        (verifies, signs)
    };
    Ok(Key {
        id,
        algorithm,
        verifies,
        signs,
    })
}

/// Whether a public key of Ed25519 is a point of small order: all zeros is one. Such a key takes the signature that is a
/// neutral point and the number 0 for at least one message in eight, and any other key never does.
fn anybody_signs_for(key: &DecodingKey) -> bool {
    /// Messages tried. Each of the points is found by far fewer, which a test shows.
    const MESSAGES: u8 = 64;
    let mut neutral = [0; 2 * ED25519_BYTES];
    neutral[0] = 1;
    let neutral = URL_SAFE_NO_PAD.encode(neutral);
    let takes = |message: u8| crypto::verify(&neutral, &[message], key, Algorithm::EdDSA);
    (0..MESSAGES).any(|message| takes(message).is_ok_and(|takes| takes))
}

fn bytes(text: Option<&str>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}

/// An id for a line of the log.
fn shown(id: &str) -> String {
    id.escape_debug().collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The key pair of RFC 8037 appendix A.
    pub(in crate::access) const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    pub(in crate::access) const PRIVATE: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

    /// A secret of so many bytes.
    pub(in crate::access) fn secret(bytes: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![7; bytes])
    }

    fn fault(text: &str) -> String {
        Keys::from_json(text).expect_err(text).to_string()
    }

    #[test]
    fn keys_that_cannot_be_used_are_refused_with_their_id_and_without_their_secret() {
        let weak = secret(31);
        let long = "i".repeat(65);
        for (key, named) in [
            (
                r#""kty":"oct","kid":"a","k":"WEAK""#,
                "key `a`: its secret must have at least 32 bytes",
            ),
            (
                r#""kty":"oct","kid":"a","k":"not base64!""#,
                "key `a`: its `k`",
            ),
            (r#""kty":"oct","kid":"a""#, "key `a`: its `k`"),
            (r#""kty":"oct","k":"WEAK""#, "key 1: its `kid`"),
            (r#""kty":"oct","kid":"LONG","k":"WEAK""#, "key 1: its `kid`"),
            (
                r#""kty":"oct","kid":"a","alg":"HS512","k":"WEAK""#,
                "key `a`: the `alg` of its `kty` is HS256",
            ),
            (
                r#""kty":"oct","kid":"a","alg":"EdDSA","k":"WEAK""#,
                "key `a`: the `alg` of its `kty` is HS256",
            ),
            (
                r#""kty":"OKP","kid":"a","alg":"HS256","crv":"Ed25519""#,
                "key `a`: the `alg` of its `kty` is EdDSA",
            ),
            (r#""kty":"RSA","kid":"a""#, "key `a`: its `kty`"),
            (
                r#""kty":"oct","kid":"a","use":"enc","k":"WEAK""#,
                "key `a`: it is not for signatures",
            ),
            (
                r#""kty":"oct","kid":"a","key_ops":["encrypt"],"k":"WEAK""#,
                "key `a`: it is not for signatures",
            ),
            (
                r#""kty":"OKP","kid":"a","crv":"Ed448","x":"WEAK""#,
                "key `a`: its `crv`",
            ),
            (
                r#""kty":"OKP","kid":"a","crv":"Ed25519","x":"WEAK""#,
                "key `a`: its `x`",
            ),
            (
                r#""kty":"OKP","kid":"a","crv":"Ed25519","x":"PUBLIC","d":"WEAK""#,
                "key `a`: its `d`",
            ),
        ] {
            let key = key
                .replace("WEAK", &weak)
                .replace("LONG", &long)
                .replace("PUBLIC", PUBLIC);
            let said = fault(&format!(r#"{{"keys":[{{{key}}}]}}"#));
            assert!(said.starts_with(named) && !said.contains(&weak), "{said}");
        }
    }

    #[test]
    fn a_member_that_a_set_does_not_have_is_named() {
        let key = format!(r#""kty":"oct","kid":"a","k":"{}""#, secret(32));
        let said = fault(&format!(r#"{{"keys":[{{{key}}}],"revokd":["lost"]}}"#));
        assert!(said.contains("has a member `revokd`"), "{said}");
        let long = "n".repeat(100);
        let said = fault(&format!(r#"{{"keys":[{{{key}}}],"{long}":1}}"#));
        assert!(
            said.contains(&long[..64]) && !said.contains(&long),
            "{said}"
        );
        // RFC 7517 section 4: members of a key that are not understood are passed over.
        let set = format!(r#"{{"keys":[{{{key},"x5t":"v","note":{{}}}}],"revoked":["lost"]}}"#);
        assert_eq!(Keys::from_json(&set).expect("keys").revoked_count(), 1);
    }

    #[test]
    fn what_is_no_key_set_is_refused_and_not_shown() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"keys":"PASSWORD"}"#,
            r#"{"keys":["PASSWORD"]}"#,
            // A derived reader takes arrays of the fields for objects.
            r#"[[["oct","x",null,null,null,null,"PASSWORD",null,null]]]"#,
            r#"{"keys":[["oct","x",null,null,null,null,"PASSWORD",null,null]]}"#,
            r#"{"keys":[{"kty":"oct","k":{"PASSWORD":1}}]}"#,
            r#"{"keys":[{"kty":"oct","k":"a","k":"PASSWORD"}]}"#,
            "PASSWORD",
        ] {
            let said = fault(text);
            assert!(
                said.contains("no JSON Web Key Set") && !said.contains("PASSWORD"),
                "{said}"
            );
        }
        assert!(fault(r#"{"keys":[]}"#).contains("1 to 16 keys"));
        let key = |id: usize| format!(r#"{{"kty":"oct","kid":"{id}","k":"{}"}}"#, secret(32));
        let set = |ids: &[usize]| {
            let keys: Vec<String> = ids.iter().map(|id| key(*id)).collect();
            format!(r#"{{"keys":[{}]}}"#, keys.join(","))
        };
        assert!(fault(&set(&[1, 2, 1])).contains("two keys have the `kid` `1`"));
        assert!(fault(&set(&(0..17).collect::<Vec<_>>())).contains("and this one has 17"));
        assert!(fault(&" ".repeat(SET_BYTES + 1)).contains("more than"));
        assert!(Keys::from_json(&set(&(0..16).collect::<Vec<_>>())).is_ok());
    }

    #[test]
    fn revoked_ids_are_bounded_and_are_texts() {
        let set = |revoked: &str| {
            let key = format!(r#"{{"kty":"oct","kid":"a","k":"{}"}}"#, secret(32));
            format!(r#"{{"keys":[{key}],"revoked":{revoked}}}"#)
        };
        let ids = |count: usize| {
            let ids = (0..count).map(|at| format!("{at:064}"));
            serde_json::to_string(&ids.collect::<Vec<_>>()).expect("JSON")
        };
        let keys = Keys::from_json(&set(&ids(MOST_REVOKED))).expect("keys");
        assert!(keys.has_revoked(&format!("{:064}", 999)) && !keys.has_revoked("999"));
        assert!(fault(&set(&ids(MOST_REVOKED + 1))).contains("and this one has 1001"));
        assert!(fault(&set(r#"["a",""]"#)).contains("id 2 must have 1 to 64 bytes"));
        let long = format!(r#"["{}"]"#, "i".repeat(65));
        assert!(fault(&set(&long)).contains("id 1 must have"));
        for wrong in ["null", "7", "[7]", r#""a""#] {
            assert!(
                fault(&set(wrong)).contains("no JSON Web Key Set"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_fresh_key_is_that_of_nobody_else() {
        let [one, other] = ["a", "a"].map(|id| Keys::fresh(id.into()));
        assert!(one.can_sign());
        let message = b"message";
        let sign = |keys: &Keys| {
            let key = keys.iter().next().and_then(|key| key.signs.as_ref());
            crypto::sign(message, key.expect("a key"), Algorithm::HS256).expect("signed")
        };
        let verifies = |keys: &Keys, signature: &str| {
            let key = &keys.iter().next().expect("a key").verifies;
            crypto::verify(signature, message, key, Algorithm::HS256).expect("verified")
        };
        assert!(verifies(&one, &sign(&one)));
        assert!(!verifies(&other, &sign(&one)));
    }

    #[test]
    fn a_public_key_for_which_anybody_signs_is_refused() {
        // The neutral point, the one of order 2, and the two of order 4 and four of order 8, which differ in their sign bits.
        let points = [
            (format!("01{}", "00".repeat(31)), 1),
            (format!("ec{}7f", "ff".repeat(30)), 1),
            ("00".repeat(32), 2),
            (
                "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05".to_owned(),
                2,
            ),
            (
                "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a".to_owned(),
                2,
            ),
        ];
        for (point, signs) in points {
            let byte = |at: usize| u8::from_str_radix(&point[2 * at..2 * at + 2], 16).expect("hex");
            let mut point: Vec<u8> = (0..ED25519_BYTES).map(byte).collect();
            for _ in 0..signs {
                let key = DecodingKey::from_ed_der(&point);
                assert!(anybody_signs_for(&key), "{point:x?}");
                point[ED25519_BYTES - 1] ^= 0x80;
            }
        }
        let x = URL_SAFE_NO_PAD.encode([0; ED25519_BYTES]);
        let zeros = format!(r#"{{"keys":[{{"kty":"OKP","kid":"a","crv":"Ed25519","x":"{x}"}}]}}"#);
        assert!(fault(&zeros).contains("small order"));
        let good = DecodingKey::from_ed_der(&bytes(Some(PUBLIC)).expect("a key"));
        assert!(!anybody_signs_for(&good));
    }

    #[test]
    fn no_debug_form_shows_a_secret() {
        let secret = secret(32);
        let text = format!(
            r#"{{"keys":[{{"kty":"oct","kid":"a","k":"{secret}"}},
                {{"kty":"OKP","kid":"b","crv":"Ed25519","x":"{PUBLIC}","d":"{PRIVATE}"}}]}}"#
        );
        let keys = Keys::from_json(&text).expect("keys");
        assert_eq!(format!("{keys:?}"), r#"{"a": HS256, "b": EdDSA}"#);
        for key in keys.iter() {
            let shown = format!("{key:?}");
            assert!(
                !shown.contains(&secret) && !shown.contains("7, 7") && !shown.contains("157"),
                "{shown}"
            );
        }
    }
}
