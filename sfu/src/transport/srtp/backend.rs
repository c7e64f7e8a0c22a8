//! The libraries that AES-GCM can come from. Which is faster depends on the CPU: they know
//! different instruction sets, and differ by 1.6 times either way.

#[cfg(feature = "aws-lc-rs")]
use aws_lc_rs::aead as aws_lc;
use ring::aead as ring;

/// A library, chosen once at start-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Backend {
    /// Always there.
    #[default]
    Ring,
    /// `aws-lc-rs`, with the feature of its name.
    #[cfg(feature = "aws-lc-rs")]
    AwsLcRs,
}

/// A key of AES-128-GCM or AES-256-GCM, expanded.
#[cfg_attr(
    feature = "aws-lc-rs",
    expect(
        clippy::large_enum_variant,
        reason = "read for every packet: a box would cost more than it saves"
    )
)]
pub(super) enum GcmKey {
    Ring(ring::LessSafeKey),
    #[cfg(feature = "aws-lc-rs")]
    AwsLcRs(aws_lc::LessSafeKey),
}

/// RFC 7714 section 12: both profiles of AES-GCM use the full tag.
pub(super) const GCM_TAG: usize = 16;

impl Backend {
    /// Backends built in; the unconditional one is first.
    pub(crate) const ALL: &[Self] = &[
        Self::Ring,
        #[cfg(feature = "aws-lc-rs")]
        Self::AwsLcRs,
    ];

    /// The name for settings, logs and stats.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLcRs => "aws-lc-rs",
        }
    }
}

impl GcmKey {
    /// AES-128 for a key of 16 bytes, AES-256 for one of 32. `None` for any other.
    pub(super) fn new(backend: Backend, key: &[u8]) -> Option<Self> {
        Some(match backend {
            Backend::Ring => {
                let algorithm = match key.len() {
                    16 => &ring::AES_128_GCM,
                    32 => &ring::AES_256_GCM,
                    _ => return None,
                };
                let key = ring::UnboundKey::new(algorithm, key).ok()?;
                Self::Ring(ring::LessSafeKey::new(key))
            }
            #[cfg(feature = "aws-lc-rs")]
            Backend::AwsLcRs => {
                let algorithm = match key.len() {
                    16 => &aws_lc::AES_128_GCM,
                    32 => &aws_lc::AES_256_GCM,
                    _ => return None,
                };
                let key = aws_lc::UnboundKey::new(algorithm, key).ok()?;
                Self::AwsLcRs(aws_lc::LessSafeKey::new(key))
            }
        })
    }

    /// Encrypts `text` in place and writes its tag, which must be [`GCM_TAG`] bytes.
    #[inline]
    pub(super) fn seal(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &mut [u8],
    ) -> Option<()> {
        match self {
            Self::Ring(key) => {
                let nonce = ring::Nonce::assume_unique_for_key(nonce);
                let aad = ring::Aad::from(aad);
                let made = key.seal_in_place_separate_tag(nonce, aad, text).ok()?;
                let tag: &mut [u8; GCM_TAG] = tag.try_into().ok()?;
                *tag = made.as_ref().try_into().ok()?;
                Some(())
            }
            // This call is made for a text in two places; here the second is empty. It writes the
            // tag to its final place, which the simpler call does not.
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLcRs(key) => {
                let nonce = aws_lc::Nonce::assume_unique_for_key(nonce);
                let aad = aws_lc::Aad::from(aad);
                key.seal_in_place_scatter(nonce, aad, text, &[], tag).ok()
            }
        }
    }

    /// Decrypts `sealed`, a text and its tag, in place. `None` for a forged one, whose text is then
    /// garbage.
    #[inline]
    pub(super) fn open(&self, nonce: [u8; 12], aad: &[u8], sealed: &mut [u8]) -> Option<()> {
        match self {
            Self::Ring(key) => {
                let nonce = ring::Nonce::assume_unique_for_key(nonce);
                let opened = key.open_in_place(nonce, ring::Aad::from(aad), sealed);
                opened.ok().map(drop)
            }
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLcRs(key) => {
                let nonce = aws_lc::Nonce::assume_unique_for_key(nonce);
                let opened = key.open_in_place(nonce, aws_lc::Aad::from(aad), sealed);
                opened.ok().map(drop)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tag_of_another_length_is_refused() {
        for backend in Backend::ALL {
            let key = GcmKey::new(*backend, &[1; 16]).unwrap();
            for len in [0, 10, 15, 17] {
                let mut tag = vec![0; len];
                assert_eq!(key.seal([0; 12], &[], &mut [0; 9], &mut tag), None);
            }
        }
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        for backend in Backend::ALL {
            for len in [0, 15, 17, 24, 31, 33] {
                assert!(GcmKey::new(*backend, &vec![1; len]).is_none(), "{len}");
            }
        }
    }

    proptest! {
        /// All backends seal alike, and all open each other's packets.
        #[test]
        fn all_are_one_cipher(
            key: [u8; 32],
            long: bool,
            nonce: [u8; 12],
            aad in proptest::collection::vec(any::<u8>(), 0..80),
            text in proptest::collection::vec(any::<u8>(), 0..1_500),
            flip: (usize, u8),
        ) {
            let key = if long { &key[..] } else { &key[..16] };
            let keys = Backend::ALL.iter().map(|backend| GcmKey::new(*backend, key).unwrap());
            let keys: Vec<GcmKey> = keys.collect();
            let seal = |by: &GcmKey| {
                let mut sealed = text.clone();
                let mut tag = [0; GCM_TAG];
                by.seal(nonce, &aad, &mut sealed, &mut tag).unwrap();
                sealed.extend(tag);
                sealed
            };
            let sealed = seal(&keys[0]);
            for by in &keys {
                prop_assert_eq!(&seal(by), &sealed);
                let mut opened = sealed.clone();
                prop_assert_eq!(by.open(nonce, &aad, &mut opened), Some(()));
                prop_assert_eq!(&opened[..text.len()], &text[..]);
                let mut forged = sealed.clone();
                forged[flip.0 % sealed.len()] ^= flip.1.max(1);
                prop_assert_eq!(by.open(nonce, &aad, &mut forged), None);
                prop_assert_eq!(by.open(nonce, &aad, &mut [0; GCM_TAG - 1]), None);
            }
        }
    }
}
