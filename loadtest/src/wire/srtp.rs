//! SRTP for bots, in place: AES-128-GCM (RFC 7714) and AES-CM with HMAC-SHA1 (RFC 3711), from the
//! RFCs and not from the relay's own, so that each checks the other.

use aes::Aes128;
use aes::cipher::{BlockEncrypt, KeyInit};
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use rustc_hash::FxHashMap;
use tertulia_sfu::rtp::RtpHeader;
use tertulia_sfu::rtp::sequence::Extender;

/// A map by SSRC, looked up for every packet. SSRCs are random and nobody attacks a bot: one multiplication spreads
/// them well enough.
pub(super) type SsrcMap<V> = FxHashMap<u32, V>;

/// The protection of packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    Gcm,
    CmSha1,
}

const KEY: usize = 16;
const GCM_TAG: usize = 16;
const SHA1_TAG: usize = 10;
/// The part of an RTCP packet that stays in the clear.
const RTCP_CLEAR: usize = 8;
const RTCP_INDEX: usize = 4;
const ENCRYPTED: u32 = 1 << 31;

impl Profile {
    fn salt_len(self) -> usize {
        match self {
            Self::Gcm => 12,
            Self::CmSha1 => 14,
        }
    }

    /// The keying material that DTLS exports: both sides' keys, then both sides' salts (RFC 5764 section
    /// 4.2).
    pub fn material_len(self) -> usize {
        2 * (KEY + self.salt_len())
    }

    fn tag(self) -> usize {
        match self {
            Self::Gcm => GCM_TAG,
            Self::CmSha1 => SHA1_TAG,
        }
    }
}

/// Both directions of one bot.
pub struct Srtp {
    profile: Profile,
    sending: Direction,
    receiving: Direction,
    rtcp_sent: u32,
    sent: SsrcMap<Extender>,
    received: SsrcMap<Extender>,
}

struct Direction {
    rtp: Keys,
    rtcp: Keys,
}

impl Srtp {
    /// The keys of a DTLS client.
    pub fn new(profile: Profile, material: &[u8]) -> Option<Self> {
        let salt = profile.salt_len();
        let (keys, salts) = material.split_at_checked(2 * KEY)?;
        let direction = |index: usize| {
            let key = keys.get(index * KEY..)?.first_chunk()?;
            let salt = salts.get(index * salt..(index + 1) * salt)?;
            Some(Direction {
                rtp: Keys::derive(profile, key, salt, 0)?,
                rtcp: Keys::derive(profile, key, salt, 3)?,
            })
        };
        Some(Self {
            profile,
            sending: direction(0)?,
            receiving: direction(1)?,
            rtcp_sent: 0,
            sent: SsrcMap::default(),
            received: SsrcMap::default(),
        })
    }

    /// Seals the RTP packet that begins at `start`. Sequence numbers of an SSRC must not repeat.
    pub fn seal_rtp(&mut self, out: &mut Vec<u8>, start: usize) -> Option<()> {
        let packet = out.get(start..)?;
        let header = RtpHeader::parse_sealed(packet).ok()?;
        let index = index_of(
            self.sent
                .entry(header.ssrc)
                .or_default()
                .extend(header.sequence),
        )?;
        let end = out.len();
        out.resize(end + self.profile.tag(), 0);
        let (plain, tag) = out[start..].split_at_mut(end - start);
        let (clear, body) = plain.split_at_mut(header.payload_offset);
        match &self.sending.rtp {
            Keys::Gcm { key, salt } => {
                let nonce = gcm_nonce(salt, header.ssrc, index);
                let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(&*clear), body);
                tag.copy_from_slice(sealed.ok()?.as_ref());
            }
            Keys::CmSha1 { key, salt, auth } => {
                cm_apply(key, salt, header.ssrc, index, body);
                tag.copy_from_slice(&sha1_tag(auth, plain, &roc(index)));
            }
        }
        Some(())
    }

    /// Opens an RTP packet in place; its plain length. `None` if it is not authentic.
    pub fn open_rtp(&mut self, packet: &mut [u8], header: &RtpHeader) -> Option<usize> {
        // Remembered only once it has authenticated.
        let mut extender = match self.received.get(&header.ssrc) {
            Some(known) => *known,
            None => Extender::default(),
        };
        let index = index_of(extender.extend(header.sequence))?;
        let len = packet.len().checked_sub(self.profile.tag())?;
        match &self.receiving.rtp {
            Keys::Gcm { key, salt } => {
                let (clear, sealed) = packet.split_at_mut_checked(header.payload_offset)?;
                let nonce = gcm_nonce(salt, header.ssrc, index);
                key.open_in_place(nonce, Aad::from(&*clear), sealed).ok()?;
            }
            Keys::CmSha1 { key, salt, auth } => {
                let (signed, tag) = packet.split_at_mut(len);
                same(&sha1_tag(auth, signed, &roc(index)), tag)?;
                let body = signed.get_mut(header.payload_offset..)?;
                cm_apply(key, salt, header.ssrc, index, body);
            }
        }
        self.received.insert(header.ssrc, extender);
        Some(len)
    }

    /// Counts a packet that is not opened, so that the index of later ones is known; its length
    /// without the tag.
    pub fn skip_rtp(&mut self, packet: &[u8], header: &RtpHeader) -> Option<usize> {
        let extender = self.received.entry(header.ssrc).or_default();
        extender.extend(header.sequence);
        let len = packet.len().checked_sub(self.profile.tag())?;
        (len >= header.payload_offset).then_some(len)
    }

    /// Seals the RTCP compound that begins at `start`.
    pub fn seal_rtcp(&mut self, out: &mut Vec<u8>, start: usize) -> Option<()> {
        let ssrc = rtcp_ssrc(out.get(start..)?)?;
        let index = self.rtcp_sent & !ENCRYPTED;
        self.rtcp_sent = self.rtcp_sent.wrapping_add(1);
        let word = (index | ENCRYPTED).to_be_bytes();
        match &self.sending.rtcp {
            Keys::Gcm { key, salt } => {
                let (clear, body) = out[start..].split_at_mut(RTCP_CLEAR);
                let aad = [&*clear, &word].concat();
                let nonce = gcm_nonce(salt, ssrc, index.into());
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::from(&aad), body)
                    .ok()?;
                out.extend_from_slice(tag.as_ref());
                out.extend_from_slice(&word);
            }
            Keys::CmSha1 { key, salt, auth } => {
                cm_apply(
                    key,
                    salt,
                    ssrc,
                    index.into(),
                    &mut out[start + RTCP_CLEAR..],
                );
                out.extend_from_slice(&word);
                let tag = sha1_tag(auth, &out[start..], &[]);
                out.extend_from_slice(&tag);
            }
        }
        Some(())
    }

    /// Opens an RTCP compound in place; its plain length. `None` if it is not authentic.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Option<usize> {
        let ssrc = rtcp_ssrc(packet)?;
        let tail = self.profile.tag() + RTCP_INDEX;
        let len = packet
            .len()
            .checked_sub(tail)
            .filter(|len| *len >= RTCP_CLEAR)?;
        match &self.receiving.rtcp {
            Keys::Gcm { key, salt } => {
                let (sealed, word) = packet.split_at_mut(len + GCM_TAG);
                let index = index_word(word)?;
                let (clear, sealed) = sealed.split_at_mut(RTCP_CLEAR);
                let aad = [&*clear, &*word].concat();
                let nonce = gcm_nonce(salt, ssrc, index.into());
                key.open_in_place(nonce, Aad::from(&aad), sealed).ok()?;
            }
            Keys::CmSha1 { key, salt, auth } => {
                let (signed, tag) = packet.split_at_mut(len + RTCP_INDEX);
                same(&sha1_tag(auth, signed, &[]), tag)?;
                let index = index_word(&signed[len..])?;
                cm_apply(key, salt, ssrc, index.into(), &mut signed[RTCP_CLEAR..len]);
            }
        }
        Some(len)
    }
}

/// Session keys of one direction and one protocol.
#[expect(
    clippy::large_enum_variant,
    reason = "four to a bot, and read for every packet"
)]
enum Keys {
    Gcm {
        key: LessSafeKey,
        salt: [u8; 12],
    },
    CmSha1 {
        key: [u8; KEY],
        salt: [u8; 14],
        auth: hmac::Key,
    },
}

impl Keys {
    /// `label` is that of encryption; authentication and salt follow (RFC 3711 section 4.3.2).
    fn derive(profile: Profile, key: &[u8; KEY], salt: &[u8], label: u8) -> Option<Self> {
        let session: [u8; KEY] = derive(key, salt, label);
        Some(match profile {
            Profile::Gcm => Self::Gcm {
                key: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &session).ok()?),
                salt: derive(key, salt, label + 2),
            },
            Profile::CmSha1 => Self::CmSha1 {
                key: session,
                salt: derive(key, salt, label + 2),
                auth: hmac::Key::new(
                    hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                    &derive::<20>(key, salt, label + 1),
                ),
            },
        })
    }
}

/// RFC 3711 section 4.3.3; a 12-byte salt is padded at the end (RFC 7714 section 11).
fn derive<const N: usize>(key: &[u8; KEY], salt: &[u8], label: u8) -> [u8; N] {
    let cipher = Aes128::new(&(*key).into());
    let mut out = [0; N];
    for (counter, chunk) in out.chunks_mut(16).enumerate() {
        let mut block = [0; 16];
        block[..salt.len()].copy_from_slice(salt);
        block[7] ^= label;
        block[15] = counter as u8;
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        chunk.copy_from_slice(&block[..chunk.len()]);
    }
    out
}

/// The index of an extended number, whose first cycle is 1: an earlier number has none.
fn index_of(extended: u64) -> Option<u64> {
    extended.checked_sub(1 << 16)
}

fn roc(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// RFC 7714 sections 8.1 and 9.1.
fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut nonce = *salt;
    let [_, _, index @ ..] = index.to_be_bytes();
    let unsalted = ssrc.to_be_bytes().into_iter().chain(index);
    for (byte, more) in nonce[2..].iter_mut().zip(unsalted) {
        *byte ^= more;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 3711 section 4.1.1.
fn cm_apply(key: &[u8; KEY], salt: &[u8; 14], ssrc: u32, index: u64, body: &mut [u8]) {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    let [_, _, index @ ..] = index.to_be_bytes();
    let unsalted = ssrc.to_be_bytes().into_iter().chain(index);
    for (byte, more) in iv[4..14].iter_mut().zip(unsalted) {
        *byte ^= more;
    }
    Ctr128BE::<Aes128>::new(key.into(), &iv.into()).apply_keystream(body);
}

fn sha1_tag(key: &hmac::Key, signed: &[u8], suffix: &[u8]) -> [u8; SHA1_TAG] {
    let mut context = hmac::Context::with_key(key);
    context.update(signed);
    context.update(suffix);
    let tag = context.sign();
    let mut out = [0; SHA1_TAG];
    out.copy_from_slice(&tag.as_ref()[..SHA1_TAG]);
    out
}

fn same(ours: &[u8], theirs: &[u8]) -> Option<()> {
    // The comparison is not in constant time: nobody attacks a bot.
    (ours == theirs).then_some(())
}

fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*packet.get(4..)?.first_chunk()?))
}

/// The index of an encrypted packet; WebRTC has no others.
fn index_word(word: &[u8]) -> Option<u32> {
    let word = u32::from_be_bytes(*word.first_chunk()?);
    (word & ENCRYPTED != 0).then_some(word & !ENCRYPTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks(2).map(|p| (p[0] * 16 + p[1]) as u8).collect()
    }

    /// A client, and the server it talks to: the halves of the keying material swapped.
    fn pair(profile: Profile) -> (Srtp, Srtp) {
        let material: Vec<u8> = (0..profile.material_len() as u8).collect();
        let salt = profile.salt_len();
        let (keys, salts) = material.split_at(2 * KEY);
        let swapped = [&keys[KEY..], &keys[..KEY], &salts[salt..], &salts[..salt]].concat();
        let ours = Srtp::new(profile, &material).unwrap();
        (ours, Srtp::new(profile, &swapped).unwrap())
    }

    fn rtp(sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x90, 96];
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 9, 0, 0, 0, 7, 0xbe, 0xde, 0, 1, 0x10, 5, 0, 0]);
        packet.extend(0..100);
        packet
    }

    /// RFC 3711 appendix B.3.
    #[test]
    fn keys_are_derived_as_the_vectors_say() {
        let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        let key: [u8; 16] = key.try_into().unwrap();
        let derived: [u8; 16] = derive(&key, &salt, 0);
        assert_eq!(derived.to_vec(), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        let derived: [u8; 14] = derive(&key, &salt, 2);
        assert_eq!(derived.to_vec(), hex("30CBBC08863D8C85D49DB34A9AE1"));
        let derived: [u8; 20] = derive(&key, &salt, 1);
        assert_eq!(
            derived.to_vec(),
            hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
        );
    }

    /// RFC 7714 section 16.1.1.
    #[test]
    fn gcm_seals_as_the_vector_says() {
        let (mut srtp, _) = pair(Profile::Gcm);
        let key = hex("000102030405060708090a0b0c0d0e0f");
        srtp.sending.rtp = Keys::Gcm {
            key: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).unwrap()),
            salt: hex("517569642070726f2071756f").try_into().unwrap(),
        };
        let mut packet = hex(
            "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e6973206469766973\
                              6120696e207061727465732074726573",
        );
        srtp.seal_rtp(&mut packet, 0).unwrap();
        let sealed = hex(
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42\
                          a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
        );
        assert_eq!(packet, sealed);
    }

    #[test]
    fn packets_survive_the_way_and_forged_ones_do_not() {
        for profile in [Profile::Gcm, Profile::CmSha1] {
            let (mut client, mut server) = pair(profile);
            // Past a rollover, with one reordered across it and one only counted.
            for sequence in [65_533, 65_534, 1, 65_535, 2] {
                let mut packet = vec![0xaa; 3];
                packet.extend(rtp(sequence));
                client.seal_rtp(&mut packet, 3).unwrap();
                let mut packet = packet.split_off(3);
                let header = RtpHeader::parse_sealed(&packet).unwrap();
                if sequence == 65_534 {
                    assert_eq!(server.skip_rtp(&packet, &header), Some(rtp(0).len()));
                    continue;
                }
                let mut forged = packet.clone();
                forged[40] ^= 1;
                assert_eq!(server.open_rtp(&mut forged, &header), None);
                let len = server.open_rtp(&mut packet, &header).unwrap();
                assert_eq!(packet[..len], rtp(sequence), "{profile:?} {sequence}");
            }
            let mut compound = Vec::new();
            tertulia_sfu::rtp::rtcp::pli(&mut compound, 1, 2);
            let plain = compound.clone();
            client.seal_rtcp(&mut compound, 0).unwrap();
            let mut forged = compound.clone();
            forged[9] ^= 1;
            assert_eq!(server.open_rtcp(&mut forged), None);
            let len = server.open_rtcp(&mut compound).unwrap();
            assert_eq!(compound[..len], plain);
            for len in 0..40 {
                let mut short = compound[..len.min(compound.len())].to_vec();
                assert_eq!(server.open_rtcp(&mut short), None);
            }
        }
    }
}
