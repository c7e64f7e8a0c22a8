//! The identity of a transport's two ends: ICE credentials and certificate fingerprints.

use rand::Rng;
use ring::digest;

use crate::index::WorkerIx;

/// ICE credentials of one end (RFC 8839 section 5.4).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct IceCredentials {
    /// The user fragment, 4 to 256 ice-chars.
    pub(crate) ufrag: String,
    /// The password, 22 to 256 ice-chars.
    pub(crate) pwd: String,
}

/// 16 random ice-chars carry 95 bits: our fragment is what demultiplexes a first check, so it must be unguessable. Two
/// characters before them name the worker.
const UFRAG_CHARS: usize = 16;
/// The ice-chars (RFC 8839 section 5.4).
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// 32 ice-chars carry 190 bits; RFC 8445 section 5.3 asks for at least 128.
const PWD_CHARS: usize = 32;

impl IceCredentials {
    /// Fresh ones of a worker. The fragment begins with the worker's name, which tells a stream's worker.
    pub(crate) fn generate(worker: WorkerIx, rng: &mut impl Rng) -> Self {
        let mut text = |start: String, len| {
            let random = (0..len).map(|_| char::from(rng.sample(rand::distr::Alphanumeric)));
            start.chars().chain(random).collect()
        };
        Self {
            ufrag: text(worker_name(worker), UFRAG_CHARS),
            pwd: text(String::new(), PWD_CHARS),
        }
    }
}

/// The first two characters of a worker's user fragments: its index, in base 64.
fn worker_name(worker: WorkerIx) -> String {
    let index = usize::from(worker);
    let digit = |value: usize| char::from(ICE_CHARS[value % ICE_CHARS.len()]);
    [digit(index / ICE_CHARS.len()), digit(index)]
        .iter()
        .collect()
}

/// The worker of a user fragment. None if it is none of ours.
pub(crate) fn worker_of(ufrag: &[u8]) -> Option<WorkerIx> {
    let digit = |at: usize| {
        ICE_CHARS
            .iter()
            .position(|char| ufrag.get(at) == Some(char))
    };
    Some(WorkerIx::from(digit(0)? * ICE_CHARS.len() + digit(1)?))
}

/// The password is a secret: only the fragment is shown.
impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceCredentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

/// A certificate's fingerprint (RFC 8122 section 5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fingerprint {
    /// The hash.
    pub(crate) algorithm: HashAlgorithm,
    /// Its output over the DER certificate.
    pub(crate) bytes: Vec<u8>,
}

/// Hashes accepted for fingerprints. Weaker ones are refused (RFC 8122 section 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HashAlgorithm {
    /// `sha-256`
    Sha256,
    /// `sha-384`
    Sha384,
    /// `sha-512`
    Sha512,
}

impl Fingerprint {
    /// The fingerprint that we announce for our own certificate.
    pub(crate) fn sha256(der: &[u8]) -> Self {
        let algorithm = HashAlgorithm::Sha256;
        Self {
            algorithm,
            bytes: algorithm.digest(der).as_ref().to_vec(),
        }
    }

    /// Whether it is this certificate's.
    pub(crate) fn matches(&self, der: &[u8]) -> bool {
        self.algorithm.digest(der).as_ref() == self.bytes
    }
}

impl HashAlgorithm {
    fn digest(self, bytes: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, bytes)
    }
}
