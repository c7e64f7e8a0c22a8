//! SRTP and SRTCP of one peer, in place and without allocation per packet.
//!
//! It is written here rather than taken from a crate for two reasons: a packet must authenticate before any state of
//! its SSRC is kept, and sealing is the server's largest cost.

mod backend;
mod cipher;
mod index;
mod kdf;
mod rollover;
mod sources;

use crate::drops::DropReason;
use crate::prefetch;
pub(crate) use backend::Backend;
use cipher::{Cipher, Protocol};
use kdf::Master;
use rollover::Rollovers;
use sources::Sources;

/// A negotiated protection profile (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Profile {
    /// `SRTP_AEAD_AES_256_GCM`: 8% dearer than that of AES-128, on a CPU with AES instructions.
    AeadAes256Gcm,
    /// `SRTP_AEAD_AES_128_GCM`: a quarter of the cost without GCM.
    AeadAes128Gcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80`: what every WebRTC client has.
    Aes128CmSha1_80,
}

impl Profile {
    /// The name for stats.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::Aes128CmSha1_80 => "AES128_CM_SHA1_80",
        }
    }

    /// The length of the keying material to export from DTLS: two keys and two salts (RFC 5764 section 4.2).
    pub(crate) const fn keying_material_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }

    const fn key_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            Self::AeadAes128Gcm | Self::Aes128CmSha1_80 => 16,
        }
    }

    const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm | Self::AeadAes128Gcm => 12,
            Self::Aes128CmSha1_80 => 14,
        }
    }
}

/// SRTP of one peer, both directions.
#[repr(C)]
pub(crate) struct Srtp {
    /// The fields that a packet sent needs, first.
    rollovers: Rollovers,
    outbound: Direction,
    inbound: Direction,
    profile: Profile,
    rtp_sources: Sources<RTP_WINDOW>,
    rtcp_sources: Sources<RTCP_WINDOW>,
    rtcp_index: u32,
}

struct Direction {
    rtp: Cipher,
    rtcp: Cipher,
}

/// Words of the replay window, 31 x 64 packets: a second of a 20 Mbit/s stream, so that packets delayed by a pacer's
/// burst or a detour are not taken for a replay. 272 bytes per SSRC.
const RTP_WINDOW: usize = 32;
/// 3 x 64 reports: SRTCP is a hundred packets a second at most.
const RTCP_WINDOW: usize = 4;
/// RFC 3711 section 9.2.
const MAX_RTCP_INDEX: u32 = (1 << 31) - 1;

impl Srtp {
    /// Keys from a DTLS server's exported keying material (RFC 5764 section 4.2): the client's
    /// write key, ours, the client's salt, ours. `None` if `material` has the wrong length.
    pub(crate) fn from_keying_material(
        backend: Backend,
        profile: Profile,
        material: &[u8],
    ) -> Option<Self> {
        if material.len() != profile.keying_material_len() {
            return None;
        }
        let (client_key, rest) = material.split_at_checked(profile.key_len())?;
        let (server_key, rest) = rest.split_at_checked(profile.key_len())?;
        let (client_salt, server_salt) = rest.split_at_checked(profile.salt_len())?;
        Some(Self {
            profile,
            inbound: Direction::new(backend, profile, &Master::new(client_key, client_salt)?)?,
            outbound: Direction::new(backend, profile, &Master::new(server_key, server_salt)?)?,
            rtp_sources: Sources::default(),
            rtcp_sources: Sources::default(),
            rollovers: Rollovers::default(),
            rtcp_index: 0,
        })
    }

    /// Seals one packet of 1,200 bytes each time it is called, to find out what that takes: by the profile that browsers
    /// get.
    pub(crate) fn sealing(backend: Backend) -> Option<impl FnMut()> {
        let profile = Profile::AeadAes256Gcm;
        let material = [7; Profile::AeadAes256Gcm.keying_material_len()];
        let mut srtp = Self::from_keying_material(backend, profile, &material)?;
        let mut packet = [0x80; 1_200 + 16];
        let mut sequence = 0_u16;
        Some(move || {
            sequence = sequence.wrapping_add(1);
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            std::hint::black_box(srtp.seal_rtp(&mut packet, 20, 1_200));
        })
    }

    /// The profile that was negotiated.
    pub(crate) fn profile(&self) -> Profile {
        self.profile
    }

    /// Authenticates and decrypts in place; the plain packet's length.
    pub(crate) fn open_rtp(&mut self, packet: &mut [u8]) -> Result<usize, DropReason> {
        let header = FixedHeader::parse(packet).ok_or(DropReason::RtpMalformed)?;
        if packet.len() < header.len + self.inbound.rtp.rtp_overhead() {
            return Err(DropReason::RtpMalformed);
        }
        let (source, index) = match self.rtp_sources.find(header.ssrc) {
            None => (None, u64::from(header.sequence)),
            Some((at, window)) => {
                let index = index::guess(window.newest(), header.sequence)
                    .ok_or(DropReason::SrtpAuthFailed)?;
                if !window.is_fresh(index) {
                    return Err(DropReason::SrtpReplayed);
                }
                (Some(at), index)
            }
        };
        let len = self
            .inbound
            .rtp
            .open_rtp(packet, header.len, header.ssrc, index)
            .ok_or(DropReason::SrtpAuthFailed)?;
        self.rtp_sources.accept(source, header.ssrc, index);
        Ok(len)
    }

    /// Authenticates and decrypts in place; the plain packet's length.
    pub(crate) fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, DropReason> {
        let ssrc = rtcp_ssrc(packet).ok_or(DropReason::RtcpMalformed)?;
        let index = self
            .inbound
            .rtcp
            .rtcp_index(packet)
            .ok_or(DropReason::RtcpMalformed)?;
        let source = match self.rtcp_sources.find(ssrc) {
            None => None,
            Some((_, window)) if !window.is_fresh(index.into()) => {
                return Err(DropReason::SrtcpReplayed);
            }
            Some((at, _)) => Some(at),
        };
        let len = self
            .inbound
            .rtcp
            .open_rtcp(packet, ssrc, index)
            .ok_or(DropReason::SrtcpAuthFailed)?;
        self.rtcp_sources.accept(source, ssrc, index.into());
        Ok(len)
    }

    /// Encrypts and signs `buf[..len]` in place. Returns the sealed length, 0 if it cannot be sealed.
    ///
    /// A packet sent again must be the same to the bit, header extensions included: another text under an index already
    /// used gives AES-GCM's key away (RFC 7714 section 8.4). Use RTX.
    pub(crate) fn seal_rtp(&mut self, buf: &mut [u8], header_len: usize, len: usize) -> usize {
        self.try_seal_rtp(buf, header_len, len).unwrap_or(0)
    }

    fn try_seal_rtp(&mut self, buf: &mut [u8], header_len: usize, len: usize) -> Option<usize> {
        let sealed = len + self.outbound.rtp.rtp_overhead();
        let packet = buf.get_mut(..sealed)?;
        let fixed = packet.first_chunk::<12>()?;
        if header_len < fixed.len() || header_len > len {
            return None;
        }
        let sequence = u16::from_be_bytes([fixed[2], fixed[3]]);
        let ssrc = u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]);
        let index = self.rollovers.index(ssrc, sequence)?;
        self.outbound
            .rtp
            .seal_rtp(packet, header_len, ssrc, index)?;
        Some(sealed)
    }

    /// Asks for some of the memory that sealing needs.
    pub(crate) fn prefetch(&self) {
        prefetch::line(&self.rollovers);
        self.outbound.rtp.prefetch();
    }

    /// Asks for the memory that numbering a packet of this SSRC needs.
    pub(crate) fn prefetch_rollover(&self, ssrc: u32) {
        self.rollovers.prefetch(ssrc);
    }

    /// Writes `packet` sealed into `out`; the sealed length, 0 if it cannot be sealed.
    pub(crate) fn seal_rtcp(&mut self, packet: &[u8], out: &mut [u8]) -> usize {
        self.try_seal_rtcp(packet, out).unwrap_or(0)
    }

    /// One index serves all of the server's SSRCs: nonces also contain the SSRC, and a receiver only needs each SSRC's
    /// index to grow.
    fn try_seal_rtcp(&mut self, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        let ssrc = rtcp_ssrc(packet)?;
        let sealed = packet.len() + self.outbound.rtcp.rtcp_overhead();
        let out = out.get_mut(..sealed)?;
        out.get_mut(..packet.len())?.copy_from_slice(packet);
        if self.rtcp_index == MAX_RTCP_INDEX {
            return None;
        }
        self.rtcp_index += 1;
        self.outbound.rtcp.seal_rtcp(out, ssrc, self.rtcp_index)?;
        Some(sealed)
    }
}

impl Direction {
    fn new(backend: Backend, profile: Profile, master: &Master) -> Option<Self> {
        Some(Self {
            rtp: Cipher::new(backend, profile, master, Protocol::Rtp)?,
            rtcp: Cipher::new(backend, profile, master, Protocol::Rtcp)?,
        })
    }
}

/// The fields of an RTP header that SRTP needs (RFC 3550 section 5.1).
struct FixedHeader {
    sequence: u16,
    ssrc: u32,
    /// Length of the header with CSRCs and extension: authenticated but not encrypted.
    len: usize,
}

impl FixedHeader {
    fn parse(packet: &[u8]) -> Option<Self> {
        let fixed = packet.first_chunk::<12>()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let mut len = fixed.len() + usize::from(fixed[0] & 0x0f) * 4;
        if fixed[0] & 0x10 != 0 {
            let extension = packet.get(len..)?.first_chunk::<4>()?;
            len += 4 + usize::from(u16::from_be_bytes([extension[2], extension[3]])) * 4;
        }
        Some(Self {
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            len,
        })
    }
}

fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    let header = packet.first_chunk::<8>()?;
    (header[0] >> 6 == 2).then(|| u32::from_be_bytes([header[4], header[5], header[6], header[7]]))
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
