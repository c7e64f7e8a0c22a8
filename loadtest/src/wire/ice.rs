//! ICE as the controlling agent towards a lite one (RFC 8445): a candidate pair, nominated with the first check, kept
//! alive by consent checks (RFC 7675). `search` finds one of several pairs. The server's checks are answered, as every
//! agent answers them (RFC 8445 section 7.3).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::distr::{Alphanumeric, SampleString};
use ring::hmac;

/// Time to the first retransmission; it then doubles. RFC 8489 section 6.2.1 has 500 ms for unknown paths; RFC 8445
/// section 14.3 lets agents pace by their knowledge of the network, here a test network.
const FIRST_TIMEOUT: Duration = Duration::from_millis(50);
const LONGEST_TIMEOUT: Duration = Duration::from_millis(1_600);
/// RFC 7675 section 5.1: every five seconds, times 0.8 to 1.2.
const CONSENT_INTERVAL: Duration = Duration::from_secs(5);
/// RFC 7675 section 5.1.
const CONSENT_EXPIRES: Duration = Duration::from_secs(30);

const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLING: u16 = 0x802a;
const HEADER: usize = 20;

/// The user fragment and the password of one side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    pub ufrag: String,
    pub pwd: String,
}

impl Credentials {
    /// Fresh ones, of 24 and 144 bits at least (RFC 8445 section 5.3).
    pub fn random() -> Self {
        let text = |len| Alphanumeric.sample_string(&mut rand::rng(), len);
        Self {
            ufrag: text(8),
            pwd: text(24),
        }
    }
}

/// The outcome of a response or of its absence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IceEvent {
    /// The first authenticated response.
    Connected,
    /// The server refuses or answers no more.
    Failed(&'static str),
}

/// The agent of one bot.
#[derive(Debug)]
pub struct Ice {
    username: String,
    key: hmac::Key,
    /// Ours, which the server's checks are signed with.
    own_key: hmac::Key,
    /// The server's end.
    to: SocketAddr,
    tie_breaker: [u8; 8],
    transaction: [u8; 12],
    sent: Option<Instant>,
    next: Option<Instant>,
    timeout: Duration,
    answered: Option<Instant>,
    round_trip: Duration,
}

impl Ice {
    /// The first check is due at once.
    pub fn new(now: Instant, to: SocketAddr, ours: &Credentials, theirs: &Credentials) -> Self {
        Self {
            username: format!("{}:{}", theirs.ufrag, ours.ufrag),
            key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, theirs.pwd.as_bytes()),
            own_key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, ours.pwd.as_bytes()),
            to,
            tie_breaker: rand::random(),
            transaction: rand::random(),
            sent: None,
            next: Some(now),
            timeout: FIRST_TIMEOUT,
            answered: None,
            round_trip: FIRST_TIMEOUT,
        }
    }

    /// The round trip of the last check.
    pub fn round_trip(&self) -> Duration {
        self.round_trip
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Writes the check that is due, if one is.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<IceEvent> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        if let Some(answered) = self.answered
            && now.saturating_duration_since(answered) > CONSENT_EXPIRES
        {
            self.next = None;
            return Some(IceEvent::Failed("lost consent"));
        }
        if self.sent.is_none() {
            self.transaction = rand::random();
        }
        // A retransmission is the same message (RFC 8489 section 6.2.1), and its round trip is
        // then not known (Karn); the first sending is kept, so that it is rather too long.
        self.sent.get_or_insert(now);
        self.next = Some(now + self.timeout);
        self.timeout = (self.timeout * 2).min(LONGEST_TIMEOUT);
        self.write_check(out);
        None
    }

    fn write_check(&self, out: &mut Vec<u8>) {
        let check = Check {
            username: &self.username,
            transaction: self.transaction,
            tie_breaker: self.tie_breaker,
            nominates: true,
        };
        check.write(&self.key, out);
    }

    /// Writes the answer to a check of the server. A datagram that is no check, or not rightly signed, gets none.
    pub fn answer(&self, datagram: &[u8], out: &mut Vec<u8>) {
        let is_check = datagram
            .first_chunk::<HEADER>()
            .is_some_and(|header| header[..2] == BINDING_REQUEST.to_be_bytes());
        if !is_check || !is_signed(datagram, &self.own_key) {
            return;
        }
        let start = out.len();
        out.extend_from_slice(&BINDING_SUCCESS.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&datagram[4..HEADER]);
        let mut mapped = vec![0, 1];
        mapped.extend_from_slice(&(self.to.port() ^ 0x2112).to_be_bytes());
        match self.to.ip().to_canonical() {
            IpAddr::V4(ip) => mapped.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => {
                mapped[1] = 2;
                mapped.extend_from_slice(&ip.octets());
            }
        }
        for (byte, mask) in mapped[4..].iter_mut().zip(&datagram[4..HEADER]) {
            *byte ^= mask;
        }
        attribute(out, XOR_MAPPED_ADDRESS, &mapped);
        finish(out, start, &self.own_key);
    }

    /// Handles a STUN datagram. One that does not authentically answer a check of ours is ignored.
    pub fn handle(&mut self, now: Instant, datagram: &[u8]) -> Option<IceEvent> {
        let header = datagram.first_chunk::<HEADER>()?;
        let sent = self.sent?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[4..8] != MAGIC || header[8..20] != self.transaction {
            return None;
        }
        let body = datagram.get(HEADER..HEADER + length)?;
        match kind {
            BINDING_SUCCESS => {}
            // Errors before authentication carry no integrity (RFC 8489 section 9.1.3); to a fault
            // of ours there is no better answer than to say so.
            BINDING_ERROR => {
                let code = attributes(body)
                    .find(|(_, kind, _)| *kind == ERROR_CODE)
                    .and_then(|(.., value)| Some((*value.get(2)?, *value.get(3)?)));
                return Some(IceEvent::Failed(match code {
                    Some((4, 1)) => "STUN error 401: the credentials are refused",
                    Some((4, 0)) => "STUN error 400: the check is malformed",
                    Some((4, 87)) => "STUN error 487: role conflict",
                    _ => "a STUN error",
                }));
            }
            _ => return None,
        }
        if !is_signed(datagram, &self.key) {
            return None;
        }

        self.round_trip = now.saturating_duration_since(sent);
        let first = self.answered.replace(now).is_none();
        self.sent = None;
        self.timeout = (self.round_trip * 2).clamp(FIRST_TIMEOUT, LONGEST_TIMEOUT);
        self.next = Some(now + CONSENT_INTERVAL.mul_f64(rand::random_range(0.8..1.2)));
        first.then_some(IceEvent::Connected)
    }
}

/// A connectivity check (RFC 8445 section 7.1).
pub struct Check<'a> {
    pub username: &'a str,
    pub transaction: [u8; 12],
    pub tie_breaker: [u8; 8],
    /// Whether it says USE-CANDIDATE.
    pub nominates: bool,
}

impl Check<'_> {
    /// Writes it, signed.
    pub fn write(&self, key: &hmac::Key, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&BINDING_REQUEST.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.transaction);
        attribute(out, USERNAME, self.username.as_bytes());
        // A peer-reflexive candidate of the first and only interface (RFC 8445 section 5.1.2).
        attribute(out, PRIORITY, &0x6e7f_1eff_u32.to_be_bytes());
        attribute(out, ICE_CONTROLLING, &self.tie_breaker);
        if self.nominates {
            attribute(out, USE_CANDIDATE, &[]);
        }
        finish(out, start, key);
    }
}

/// Whether a message's MESSAGE-INTEGRITY is of a password (RFC 8489 section 14.5).
fn is_signed(datagram: &[u8], key: &hmac::Key) -> bool {
    let body = datagram.get(HEADER..).unwrap_or_default();
    let mut found = attributes(body).filter(|(_, kind, _)| *kind == MESSAGE_INTEGRITY);
    let signed = found.next().and_then(|(offset, _, tag)| {
        let mut signed = datagram.get(..HEADER + offset)?.to_vec();
        set_length(&mut signed, 0, 24);
        hmac::verify(key, &signed, tag).ok()
    });
    signed.is_some()
}

/// Signs the message that begins at `start`. The length includes the attribute being computed (RFC 8489 section 14.5).
fn finish(out: &mut Vec<u8>, start: usize, key: &hmac::Key) {
    set_length(out, start, 24);
    let tag = hmac::sign(key, &out[start..]);
    attribute(out, MESSAGE_INTEGRITY, tag.as_ref());
    set_length(out, start, 8);
    let crc = crc32(&out[start..]) ^ 0x5354_554e;
    attribute(out, FINGERPRINT, &crc.to_be_bytes());
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Sets the length of the message that begins at `start` to the present one plus `more`.
fn set_length(out: &mut [u8], start: usize, more: usize) {
    let length = (out.len() - start - HEADER + more) as u16;
    out[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Offset, type and value of each.
fn attributes(body: &[u8]) -> impl Iterator<Item = (usize, u16, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let head = body.get(at..)?.first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = body.get(at + 4..at + 4 + length)?;
        let offset = at;
        at += 4 + length.next_multiple_of(4);
        Some((offset, u16::from_be_bytes([head[0], head[1]]), value))
    })
}

/// ITU V.42, as RFC 8489 section 14.7 has it. Messages are short and rare: bit by bit will do.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Ours, and the server's.
    pub(in super::super) fn credentials() -> [Credentials; 2] {
        let theirs = Credentials {
            ufrag: "server".into(),
            pwd: "a password of the server".into(),
        };
        [Credentials::random(), theirs]
    }

    /// A success response as a lite agent writes it.
    pub(in super::super) fn response(check: &[u8], password: &str) -> Vec<u8> {
        let mut out = BINDING_SUCCESS.to_be_bytes().to_vec();
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&check[4..20]);
        attribute(&mut out, 0x0020, &[0, 1, 0, 0, 1, 2, 3, 4]);
        set_length(&mut out, 0, 24);
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let tag = hmac::sign(&key, &out);
        attribute(&mut out, MESSAGE_INTEGRITY, tag.as_ref());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::testing::response;
    use super::*;

    fn agent(now: Instant) -> Ice {
        let to = SocketAddr::from(([10, 0, 0, 1], 1));
        Ice::new(now, to, &Credentials::random(), &theirs())
    }

    fn theirs() -> Credentials {
        testing::credentials()[1].clone()
    }

    #[test]
    fn the_checksum_is_that_of_v42() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_check_is_repeated_until_answered_and_then_consent_is_kept() {
        let start = Instant::now();
        let mut ice = agent(start);
        let mut check = Vec::new();
        assert_eq!(ice.handle_timeout(start, &mut check), None);
        let mut again = Vec::new();
        let later = start + FIRST_TIMEOUT;
        ice.handle_timeout(later - Duration::from_millis(1), &mut again);
        assert!(again.is_empty());
        ice.handle_timeout(later, &mut again);
        assert_eq!(again, check, "a retransmission is the same message");

        let forged = response(&check, "another password");
        assert_eq!(ice.handle(later, &forged), None);
        let mut old = response(&check, &theirs().pwd);
        old[10] ^= 1;
        assert_eq!(ice.handle(later, &old), None);
        let right = response(&check, &theirs().pwd);
        assert_eq!(ice.handle(later, &right), Some(IceEvent::Connected));
        assert_eq!(ice.handle(later, &right), None, "answered already");

        let next = ice.poll_timeout().unwrap();
        assert!(next - later >= CONSENT_INTERVAL.mul_f64(0.8));
        let mut consent = Vec::new();
        ice.handle_timeout(next, &mut consent);
        assert_ne!(consent[8..20], check[8..20], "a new transaction");
        let much_later = later + CONSENT_EXPIRES + Duration::from_secs(1);
        let lost = ice.handle_timeout(much_later, &mut Vec::new());
        assert_eq!(lost, Some(IceEvent::Failed("lost consent")));
        assert_eq!(ice.poll_timeout(), None);
    }

    #[test]
    fn a_check_of_the_servers_is_answered_if_it_is_signed_right() {
        let now = Instant::now();
        let [ours, theirs] = testing::credentials();
        let to = SocketAddr::from(([10, 0, 0, 1], 1));
        let ice = Ice::new(now, to, &ours, &theirs);
        // The server's agent is ours with the ends exchanged.
        let mut server = Ice::new(now, to, &theirs, &ours);
        let (mut check, mut answer) = (Vec::new(), Vec::new());
        server.handle_timeout(now, &mut check);
        ice.answer(&check, &mut answer);
        assert_eq!(server.handle(now, &answer), Some(IceEvent::Connected));
        for at in (0..check.len() - 8).filter(|at| !(2..4).contains(at)) {
            let (mut forged, mut answer) = (check.clone(), Vec::new());
            forged[at] ^= 1;
            ice.answer(&forged, &mut answer);
            assert!(answer.is_empty(), "byte {at} is changed");
        }
        for len in 0..check.len() - 8 {
            let mut answer = Vec::new();
            ice.answer(&check[..len], &mut answer);
            assert!(answer.is_empty(), "cut to {len}");
        }
    }

    #[test]
    fn nonsense_is_no_answer() {
        let start = Instant::now();
        let mut ice = agent(start);
        let mut check = Vec::new();
        ice.handle_timeout(start, &mut check);
        let right = response(&check, &theirs().pwd);
        for len in 0..right.len() {
            assert_eq!(ice.handle(start, &right[..len]), None);
        }
        for at in 0..right.len() {
            let mut wrong = right.clone();
            wrong[at] ^= 0x11;
            assert_ne!(ice.handle(start, &wrong), Some(IceEvent::Connected), "{at}");
        }
    }
}
