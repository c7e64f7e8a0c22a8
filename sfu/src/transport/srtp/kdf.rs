//! Session keys from master keys: the AES-CM pseudo-random function (RFC 3711 section 4.3.3). RFC 7714 section 11 keeps
//! it for AES-128-GCM, and takes it with AES-256 for AES-256-GCM (RFC 6188 section 3).

use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockEncrypt, KeyInit};
use aes::{Aes128, Aes256};

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
    key: Prf,
    /// 112 bits; a 96-bit GCM salt fills the front (RFC 7714 section 11).
    salt: [u8; 14],
}

/// The block cipher of the pseudo-random function, under the master key: of its key's length.
#[expect(
    clippy::large_enum_variant,
    reason = "two to a handshake, on the stack"
)]
enum Prf {
    Aes128(Aes128),
    Aes256(Aes256),
}

impl Master {
    /// The key has 16 or 32 bytes: `None` for any other. `salt` has at most 14; more are ignored.
    pub(super) fn new(key: &[u8], salt: &[u8]) -> Option<Self> {
        let key = match key.len() {
            16 => Prf::Aes128(Aes128::new_from_slice(key).ok()?),
            32 => Prf::Aes256(Aes256::new_from_slice(key).ok()?),
            _ => return None,
        };
        let mut padded = [0; 14];
        for (to, from) in padded.iter_mut().zip(salt) {
            *to = *from;
        }
        Some(Self { key, salt: padded })
    }

    /// `N` bytes of key stream for `label`, with a key derivation rate of zero (RFC 5764 section 4.1.2).
    pub(super) fn derive<const N: usize>(&self, label: Label) -> [u8; N] {
        let mut out = [0; N];
        for (counter, chunk) in (0_u16..).zip(out.chunks_mut(16)) {
            let mut block = [0; 16];
            block[..14].copy_from_slice(&self.salt);
            block[7] ^= label as u8;
            block[14..].copy_from_slice(&counter.to_be_bytes());
            let mut block = GenericArray::from(block);
            match &self.key {
                Prf::Aes128(aes) => aes.encrypt_block(&mut block),
                Prf::Aes256(aes) => aes.encrypt_block(&mut block),
            }
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
        let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let master = Master::new(&key, &hex("0EC675AD498AFEEBB6960B3AABE6")).unwrap();
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

    /// RFC 6188 section 7.4.
    #[test]
    fn key_derivation_vectors_of_aes_256() {
        let key = hex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6");
        let master = Master::new(&key, &hex("3b04803de51ee7c96423ab5b78d2")).unwrap();
        assert_eq!(
            master.derive::<32>(Label::RtpEncryption).to_vec(),
            hex("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4")
        );
        assert_eq!(
            master.derive::<14>(Label::RtpSalt).to_vec(),
            hex("fa31791685ca444a9e07c6c64e93")
        );
        assert_eq!(
            master.derive::<20>(Label::RtpAuthentication).to_vec(),
            hex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05")
        );
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        for len in [0, 15, 17, 24, 31, 33] {
            assert!(Master::new(&vec![1; len], &[2; 12]).is_none(), "{len}");
        }
    }
}
