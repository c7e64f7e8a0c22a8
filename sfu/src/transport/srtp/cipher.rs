//! The two transforms WebRTC needs, in place: AES-GCM with keys of either length (RFC 7714), and AES-CM with HMAC-SHA1
//! (RFC 3711 section 4).

use aes::Aes128;
use aes::cipher::KeyInit;
use ctr::cipher::{InnerIvInit, StreamCipher};
use ctr::{Ctr128BE, CtrCore, flavors};
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::Profile;
use super::backend::{Backend, GCM_TAG, GcmKey};
use super::kdf::{Label, Master};
use crate::prefetch;

/// Session keys of one direction and one protocol.
#[expect(
    clippy::large_enum_variant,
    reason = "four to a peer and read for every packet: a box would cost more than it saves"
)]
pub(super) enum Cipher {
    /// RFC 7714.
    Gcm(Gcm),
    /// RFC 3711.
    CmSha1(CmSha1),
}

/// One of a direction's two sets of session keys.
#[derive(Clone, Copy, Debug)]
pub(super) enum Protocol {
    /// SRTP.
    Rtp,
    /// SRTCP.
    Rtcp,
}

#[repr(C)]
pub(super) struct Gcm {
    salt: u128,
    key: GcmKey,
}

pub(super) struct CmSha1 {
    aes: Aes128,
    salt: [u8; 14],
    /// Begun with the key, and copied for each packet. These two crates use the CPU's SHA
    /// instructions and need no memory for a packet: `ring` lacks the former (3.1 us against 0.7 us
    /// for 1,200 bytes), `aws-lc-rs` the latter (0.8 us).
    auth: Hmac<Sha1>,
}

/// RFC 3711 section 5.2: 80 bits.
const SHA1_TAG: usize = 10;
/// The RTCP header that stays in the clear: version, count, type, length, sender's SSRC.
const RTCP_HEADER: usize = 8;
/// The E bit and the 31-bit SRTCP index.
const RTCP_INDEX: usize = 4;
const RTCP_ENCRYPTED: u32 = 1 << 31;

impl Cipher {
    /// None only if a key is refused, which never happens for the lengths of these.
    pub(super) fn new(
        backend: Backend,
        profile: Profile,
        master: &Master,
        protocol: Protocol,
    ) -> Option<Self> {
        let (encryption, authentication, salt) = match protocol {
            Protocol::Rtp => (
                Label::RtpEncryption,
                Label::RtpAuthentication,
                Label::RtpSalt,
            ),
            Protocol::Rtcp => (
                Label::RtcpEncryption,
                Label::RtcpAuthentication,
                Label::RtcpSalt,
            ),
        };
        let gcm = |key: &[u8]| {
            Some(Self::Gcm(Gcm {
                key: GcmKey::new(backend, key)?,
                salt: gcm_salt(master.derive(salt)),
            }))
        };
        match profile {
            Profile::AeadAes256Gcm => gcm(&master.derive::<32>(encryption)),
            Profile::AeadAes128Gcm => gcm(&master.derive::<16>(encryption)),
            Profile::Aes128CmSha1_80 => Some(Self::CmSha1(CmSha1 {
                aes: Aes128::new(&master.derive::<16>(encryption).into()),
                salt: master.derive(salt),
                auth: hmac_sha1(&master.derive::<20>(authentication))?,
            })),
        }
    }

    /// Prefetches the expanded key, of which a packet needs nearly all.
    pub(super) fn prefetch(&self) {
        match self {
            Self::Gcm(gcm) => prefetch::stretch(&gcm.salt, size_of::<Gcm>()),
            Self::CmSha1(cm) => prefetch::line(cm),
        }
    }

    /// The bytes by which an SRTP packet is longer than its RTP packet.
    pub(super) fn rtp_overhead(&self) -> usize {
        match self {
            Self::Gcm(_) => GCM_TAG,
            Self::CmSha1(_) => SHA1_TAG,
        }
    }

    /// The bytes by which an SRTCP packet is longer than its RTCP packet.
    pub(super) fn rtcp_overhead(&self) -> usize {
        self.rtp_overhead() + RTCP_INDEX
    }

    /// Seals `packet`, whose last [`rtp_overhead`](Self::rtp_overhead) bytes are room for the tag.
    pub(super) fn seal_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Option<()> {
        let len = packet.len().checked_sub(self.rtp_overhead())?;
        let (plain, tag) = packet.split_at_mut_checked(len)?;
        match self {
            Self::Gcm(gcm) => {
                let (header, payload) = plain.split_at_mut_checked(header_len)?;
                gcm.seal(ssrc, index, header, payload, tag)?;
            }
            Self::CmSha1(cm) => {
                cm.apply(ssrc, index, plain.get_mut(header_len..)?);
                tag.copy_from_slice(&cm.rtp_tag(plain, index));
            }
        }
        Some(())
    }

    /// Opens a packet in place and returns the plain packet's length. `None` for a forged one,
    /// whose payload is then garbage.
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Option<usize> {
        let len = packet.len().checked_sub(self.rtp_overhead())?;
        match self {
            Self::Gcm(gcm) => {
                let (header, sealed) = packet.split_at_mut_checked(header_len)?;
                gcm.open(ssrc, index, header, sealed)?;
            }
            Self::CmSha1(cm) => {
                let (sealed, tag) = packet.split_at_mut_checked(len)?;
                if !rtc_crypto::constant_time_eq(&cm.rtp_tag(sealed, index), tag) {
                    return None;
                }
                cm.apply(ssrc, index, sealed.get_mut(header_len..)?);
            }
        }
        Some(len)
    }

    /// Seals `packet`, whose last [`rtcp_overhead`](Self::rtcp_overhead) bytes are room for the
    /// index and the tag, which the two transforms place differently.
    pub(super) fn seal_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Option<()> {
        let word = (index | RTCP_ENCRYPTED).to_be_bytes();
        let len = packet.len().checked_sub(self.rtcp_overhead())?;
        let (plain, trailer) = packet.split_at_mut_checked(len)?;
        match self {
            Self::Gcm(gcm) => {
                let (header, payload) = plain.split_at_mut_checked(RTCP_HEADER)?;
                let aad = rtcp_aad(header, word)?;
                let (tag, index_room) = trailer.split_at_mut_checked(GCM_TAG)?;
                gcm.seal(ssrc, index.into(), &aad, payload, tag)?;
                index_room.copy_from_slice(&word);
            }
            Self::CmSha1(cm) => {
                cm.apply(ssrc, index.into(), plain.get_mut(RTCP_HEADER..)?);
                trailer
                    .split_at_mut_checked(RTCP_INDEX)?
                    .0
                    .copy_from_slice(&word);
                let (signed, tag) = packet.split_at_mut_checked(len + RTCP_INDEX)?;
                tag.copy_from_slice(&cm.tag(signed, &[]));
            }
        }
        Some(())
    }

    /// The index a packet claims, before it is authenticated. `None` if the packet is too short or
    /// not encrypted: WebRTC always encrypts (RFC 8834 section 4), so only a forger leaves E clear.
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Option<u32> {
        let len = packet.len().checked_sub(self.rtcp_overhead())?;
        if len < RTCP_HEADER {
            return None;
        }
        let at = match self {
            Self::Gcm(_) => len + GCM_TAG,
            Self::CmSha1(_) => len,
        };
        let word = packet.get(at..at + RTCP_INDEX)?.try_into().ok()?;
        let word = u32::from_be_bytes(word);
        (word & RTCP_ENCRYPTED != 0).then_some(word & !RTCP_ENCRYPTED)
    }

    /// Opens a packet in place and returns the plain packet's length; `None` for a forged one.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) -> Option<usize> {
        let len = packet.len().checked_sub(self.rtcp_overhead())?;
        match self {
            Self::Gcm(gcm) => {
                let (sealed, _index) = packet.split_at_mut_checked(len + GCM_TAG)?;
                let (header, sealed) = sealed.split_at_mut_checked(RTCP_HEADER)?;
                let aad = rtcp_aad(header, (index | RTCP_ENCRYPTED).to_be_bytes())?;
                gcm.open(ssrc, index.into(), &aad, sealed)?;
            }
            Self::CmSha1(cm) => {
                let (signed, tag) = packet.split_at_mut_checked(len + RTCP_INDEX)?;
                if !rtc_crypto::constant_time_eq(&cm.tag(signed, &[]), tag) {
                    return None;
                }
                cm.apply(ssrc, index.into(), signed.get_mut(RTCP_HEADER..len)?);
            }
        }
        Some(len)
    }
}

impl Gcm {
    fn seal(
        &self,
        ssrc: u32,
        index: u64,
        aad: &[u8],
        text: &mut [u8],
        tag: &mut [u8],
    ) -> Option<()> {
        self.key.seal(self.nonce(ssrc, index), aad, text, tag)
    }

    fn open(&self, ssrc: u32, index: u64, aad: &[u8], sealed: &mut [u8]) -> Option<()> {
        self.key.open(self.nonce(ssrc, index), aad, sealed)
    }

    /// RFC 7714 sections 8.1 and 9.1: zero, SSRC and the 48-bit index (an SRTCP index has its upper
    /// bits clear), masked by the salt.
    fn nonce(&self, ssrc: u32, index: u64) -> [u8; 12] {
        let value = (u128::from(ssrc) << 48) | u128::from(index);
        let [_, _, _, _, nonce @ ..] = (value ^ self.salt).to_be_bytes();
        nonce
    }
}

/// HMAC takes keys of any length, so that it never refuses one.
fn hmac_sha1(key: &[u8]) -> Option<Hmac<Sha1>> {
    <Hmac<Sha1> as Mac>::new_from_slice(key).ok()
}

/// The salt as the number that masks a nonce.
fn gcm_salt(salt: [u8; 12]) -> u128 {
    salt.iter()
        .fold(0, |salt, byte| (salt << 8) | u128::from(*byte))
}

impl CmSha1 {
    /// RFC 3711 section 4.1.1: encryption and decryption are the same.
    fn apply(&self, ssrc: u32, index: u64, payload: &mut [u8]) {
        let value = (u128::from(ssrc) << 64) | (u128::from(index) << 16);
        let mut iv = value.to_be_bytes();
        for (byte, salt) in iv.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        let stream = CtrCore::<_, flavors::Ctr128BE>::inner_iv_init(&self.aes, &iv.into());
        Ctr128BE::from_core(stream).apply_keystream(payload);
    }

    /// RFC 3711 section 4.2: the rollover counter is signed but not sent.
    fn rtp_tag(&self, packet: &[u8], index: u64) -> [u8; SHA1_TAG] {
        self.tag(packet, &((index >> 16) as u32).to_be_bytes())
    }

    fn tag(&self, packet: &[u8], suffix: &[u8]) -> [u8; SHA1_TAG] {
        let mut mac = self.auth.clone();
        mac.update(packet);
        mac.update(suffix);
        let whole: [u8; 20] = mac.finalize().into_bytes().into();
        let mut tag = [0; SHA1_TAG];
        tag.copy_from_slice(&whole[..SHA1_TAG]);
        tag
    }
}

/// RFC 7714 section 9.2: the header and the ESRTCP word.
fn rtcp_aad(header: &[u8], word: [u8; RTCP_INDEX]) -> Option<[u8; RTCP_HEADER + RTCP_INDEX]> {
    let mut aad = [0; RTCP_HEADER + RTCP_INDEX];
    let (to, index) = aad.split_at_mut_checked(RTCP_HEADER)?;
    to.copy_from_slice(header.get(..RTCP_HEADER)?);
    index.copy_from_slice(&word);
    Some(aad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::srtp::testing::hex;

    /// The keys of RFC 7714 sections 16 and 17: 0, 1, 2 and so on.
    fn gcm(backend: Backend, key_len: u8) -> Cipher {
        let key: Vec<u8> = (0..key_len).collect();
        Cipher::Gcm(Gcm {
            key: GcmKey::new(backend, &key).unwrap(),
            salt: gcm_salt(hex("517569642070726f2071756f").try_into().unwrap()),
        })
    }

    /// RFC 7714 sections 16.1.1 and 16.2.1.
    #[test]
    fn gcm_rtp_vectors() {
        let plain = hex("8040f17b8041f8d35501a0b2\
                         47616c6c696120657374206f6d6e697320646976697361\
                         20696e207061727465732074726573");
        let with_128 = "8040f17b8041f8d35501a0b2\
                        f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a\
                        51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce";
        let with_256 = "8040f17b8041f8d35501a0b2\
                        32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a02\
                        76ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13";
        for backend in Backend::ALL {
            for (key_len, sealed) in [(16, with_128), (32, with_256)] {
                let gcm = gcm(*backend, key_len);
                let mut packet = plain.clone();
                packet.resize(plain.len() + GCM_TAG, 0);
                gcm.seal_rtp(&mut packet, 12, 0x5501_a0b2, 0xf17b).unwrap();
                assert_eq!(packet, hex(sealed), "{backend:?} {key_len}");
                let len = gcm.open_rtp(&mut packet, 12, 0x5501_a0b2, 0xf17b);
                assert_eq!(packet[..len.unwrap()], plain, "{backend:?} {key_len}");
            }
        }
    }

    /// RFC 7714 sections 17.1 and 17.3.
    #[test]
    fn gcm_rtcp_vectors() {
        let plain = hex("81c8000d4d6172734e5450314e545032525450200000042a0000e930\
                         4c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef");
        let with_128 = "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f7\
                        6c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa458\
                        96cf4d2fc5abf87245d9eade800005d4";
        let with_256 = "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5d\
                        bffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad1d1eb30c\
                        4446839f57ff6f6cb26ac3be800005d4";
        for backend in Backend::ALL {
            for (key_len, sealed) in [(16, with_128), (32, with_256)] {
                let gcm = gcm(*backend, key_len);
                let mut packet = plain.clone();
                packet.resize(plain.len() + GCM_TAG + RTCP_INDEX, 0);
                gcm.seal_rtcp(&mut packet, 0x4d61_7273, 0x0000_05d4)
                    .unwrap();
                assert_eq!(packet, hex(sealed), "{backend:?} {key_len}");
                assert_eq!(gcm.rtcp_index(&packet), Some(0x0000_05d4));
                let len = gcm.open_rtcp(&mut packet, 0x4d61_7273, 0x0000_05d4);
                assert_eq!(packet[..len.unwrap()], plain, "{backend:?} {key_len}");
            }
        }
    }

    /// RFC 2202 section 3, cases 2 and 7.
    #[test]
    fn hmac_sha1_vectors() {
        let tag = |key: &[u8], text: &[u8], suffix: &[u8]| {
            let cm = CmSha1 {
                aes: Aes128::new(&[0; 16].into()),
                salt: [0; 14],
                auth: hmac_sha1(key).unwrap(),
            };
            cm.tag(text, suffix).to_vec()
        };
        let said = tag(b"Jefe", b"what do ya want ", b"for nothing?");
        assert_eq!(said, hex("effcdf6ae5eb2fa2d274"));
        let text = b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data";
        let said = tag(&[0xaa; 80], &text[..70], &text[70..]);
        assert_eq!(said, hex("e8e99d0f45237d786d6b"));
    }

    /// RFC 3711 appendix B.2: the key stream is what zeros turn into.
    #[test]
    fn aes_cm_vector() {
        let key: [u8; 16] = hex("2B7E151628AED2A6ABF7158809CF4F3C").try_into().unwrap();
        let cm = CmSha1 {
            aes: Aes128::new(&key.into()),
            salt: hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap(),
            auth: hmac_sha1(&[]).unwrap(),
        };
        let mut stream = [0; 48];
        cm.apply(0, 0, &mut stream);
        assert_eq!(
            stream.to_vec(),
            hex(
                "E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB\
                 41E95B3BB0A2E8DD477901E4FCA894C0"
            )
        );
    }
}
