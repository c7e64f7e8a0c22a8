//! Session keys from master keys: the AES-CM pseudo-random function (RFC 3711 section 4.3.3), which
//! RFC 7714 section 11 keeps for AES-128-GCM.

use aes::Aes128;
use aes::cipher::{BlockEncrypt, KeyInit};

/// The use of a session key (RFC 3711 section 4.3.2, table 1).
#[derive(Clone, Copy, Debug)]
pub(super) enum Label {
    /// SRTP encryption.
    RtpEncryption = 0,
    /// SRTP authentication.
    RtpAuthentication = 1,
    /// SRTP salt.
    RtpSalt = 2,
    /// SRTCP encryption.
    RtcpEncryption = 3,
    /// SRTCP authentication.
    RtcpAuthentication = 4,
    /// SRTCP salt.
    RtcpSalt = 5,
}

/// A master key and salt of one direction.
pub(super) struct Master {
    key: [u8; 16],
    /// 112 bits; a 96-bit GCM salt fills the front (RFC 7714 section 11).
    salt: [u8; 14],
}

impl Master {
    /// `salt` has at most 14 bytes; more are ignored.
    pub(super) fn new(key: [u8; 16], salt: &[u8]) -> Self {
        let mut padded = [0; 14];
        for (to, from) in padded.iter_mut().zip(salt) {
            *to = *from;
        }
        Self { key, salt: padded }
    }

    /// `N` bytes of key stream for `label`, with a key derivation rate of zero (RFC 5764 section 4.1.2).
    pub(super) fn derive<const N: usize>(&self, label: Label) -> [u8; N] {
        let aes = Aes128::new(&self.key.into());
        let mut out = [0; N];
        for (counter, chunk) in (0_u16..).zip(out.chunks_mut(16)) {
            let mut block = [0; 16];
            block[..14].copy_from_slice(&self.salt);
            block[7] ^= label as u8;
            block[14..].copy_from_slice(&counter.to_be_bytes());
            let mut block = block.into();
            aes.encrypt_block(&mut block);
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::srtp::testing::hex;

    /// RFC 3711 appendix B.3.
    #[test]
    fn key_derivation_vectors() {
        let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139").try_into().unwrap();
        let master = Master::new(key, &hex("0EC675AD498AFEEBB6960B3AABE6"));
        assert_eq!(
            master.derive::<16>(Label::RtpEncryption).to_vec(),
            hex("C61E7A93744F39EE10734AFE3FF7A087")
        );
        assert_eq!(
            master.derive::<14>(Label::RtpSalt).to_vec(),
            hex("30CBBC08863D8C85D49DB34A9AE1")
        );
        assert_eq!(
            master.derive::<94>(Label::RtpAuthentication).to_vec(),
            hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4\
                 8F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF7227098\
                 6371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E47403576\
                 6B68642C59BBFC2F34DB60DBDFB2")
        );
    }
}
