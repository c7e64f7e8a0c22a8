//! The other end of SRTP in tests: an independent implementation.

use super::Profile;
use rtc_srtp::context::Context;
use rtc_srtp::option::srtp_replay_protection;
use rtc_srtp::protection_profile::ProtectionProfile;

/// A client's SRTP.
pub(crate) struct Client {
    pub(crate) sending: Context,
    pub(crate) receiving: Context,
}

impl Client {
    pub(crate) fn from_keying_material(profile: Profile, material: &[u8]) -> Self {
        let (theirs, key, salt) = match profile {
            Profile::AeadAes256Gcm => (ProtectionProfile::AeadAes256Gcm, 32, 12),
            Profile::AeadAes128Gcm => (ProtectionProfile::AeadAes128Gcm, 16, 12),
            Profile::Aes128CmSha1_80 => (ProtectionProfile::Aes128CmHmacSha1_80, 16, 14),
        };
        let (keys, salts) = material.split_at(2 * key);
        let context = |key: &[u8], salt: &[u8]| {
            let provider = rtc_crypto::default_provider().unwrap();
            let window = Some(srtp_replay_protection(64));
            Context::new(key, salt, theirs, window, None, provider.crypto()).unwrap()
        };
        Self {
            sending: context(&keys[..key], &salts[..salt]),
            receiving: context(&keys[key..], &salts[salt..]),
        }
    }
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

/// An RTP packet with a header extension and `payload` bytes.
pub(crate) fn rtp(ssrc: u32, sequence: u16, payload: usize) -> Vec<u8> {
    let mut packet = vec![0x90, 96];
    packet.extend(sequence.to_be_bytes());
    packet.extend(u32::from(sequence).wrapping_mul(3_000).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xbe, 0xde, 0, 1, 0x10, 0x30, 0, 0]);
    packet.extend((0..payload).map(|byte| byte as u8));
    packet
}

/// Length of [`rtp`]'s header.
pub(crate) const RTP_HEADER: usize = 20;

/// A receiver report without blocks, then a PLI.
pub(crate) fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0x81, 206, 0, 2]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend([1, 2, 3, 4]);
    packet
}
