//! Nonces (RFC 8489 section 9.2), of which the server keeps none: each tells when it was made, and is signed together
//! with the address that it was made for.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::time::Instant;

/// Time for which a nonce is good (RFC 8656 section 5 asks for an hour at most).
pub(super) const GOOD_FOR: Duration = Duration::from_secs(3_600);
const TIME: usize = 8;
/// Bytes of the signature: 96 bits.
const SIGNATURE: usize = 12;

/// Makes nonces and knows them again.
pub(super) struct Nonces {
    secret: [u8; 32],
    began: Instant,
}

impl Nonces {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            secret: rand::random(),
            began: now,
        }
    }

    /// A nonce for a client.
    pub(super) fn make(&self, now: Instant, client: SocketAddr) -> String {
        let seconds = now.saturating_duration_since(self.began).as_secs();
        self.of(seconds, client)
    }

    /// Whether a nonce was made for this client, and not too long ago.
    pub(super) fn is_good(&self, now: Instant, client: SocketAddr, nonce: &[u8]) -> bool {
        let Some(time) = URL_SAFE_NO_PAD.decode(nonce).ok().and_then(|bytes| {
            let time = bytes.first_chunk::<TIME>()?;
            Some(u64::from_be_bytes(*time))
        }) else {
            return false;
        };
        let seconds = now.saturating_duration_since(self.began).as_secs();
        let age = seconds.checked_sub(time);
        // It is no secret, so that the time of a comparison tells nothing.
        age.is_some_and(|age| age < GOOD_FOR.as_secs()) && self.of(time, client).as_bytes() == nonce
    }

    fn of(&self, seconds: u64, client: SocketAddr) -> String {
        let ip = match client.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.secret) else {
            unreachable!("HMAC takes any key");
        };
        mac.update(&seconds.to_be_bytes());
        mac.update(&ip.octets());
        mac.update(&client.port().to_be_bytes());
        let signature = mac.finalize().into_bytes();
        let mut bytes = [0; TIME + SIGNATURE];
        bytes[..TIME].copy_from_slice(&seconds.to_be_bytes());
        bytes[TIME..].copy_from_slice(&signature[..SIGNATURE]);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_for_one_client_and_for_a_while() {
        let began = Instant::now();
        let nonces = Nonces::new(began);
        let client: SocketAddr = "192.0.2.7:4000".parse().unwrap();
        let made_at = began + Duration::from_secs(50);
        let nonce = nonces.make(made_at, client);
        let is_good = |at, client, nonce: &str| nonces.is_good(at, client, nonce.as_bytes());
        assert!(is_good(made_at, client, &nonce));
        let last = made_at + GOOD_FOR - Duration::from_secs(1);
        assert!(is_good(last, client, &nonce));
        assert!(!is_good(made_at + GOOD_FOR, client, &nonce));
        for other in ["192.0.2.8:4000", "192.0.2.7:4001", "[::1]:4000"] {
            assert!(!is_good(made_at, other.parse().unwrap(), &nonce), "{other}");
        }
        for (at, _) in nonce.char_indices() {
            let mut other = nonce.clone();
            let letter = if &other[at..=at] == "A" { "B" } else { "A" };
            other.replace_range(at..=at, letter);
            assert!(!is_good(made_at, client, &other), "{other}");
        }
        assert!(!is_good(made_at, client, ""));
        let of_another = Nonces::new(began).make(made_at, client);
        assert!(!is_good(made_at, client, &of_another));
    }
}
