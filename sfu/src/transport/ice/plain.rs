//! STUN without credentials (RFC 8489 section 2): a worker tells whoever asks the address that it sees, and asks another
//! server for its own.

use std::time::{Duration, Instant};

use super::check::Transaction;
use super::stun::{
    BINDING_REQUEST, COMPREHENSION_OPTIONAL, HEADER, Writer, attributes, mapped_address,
};
use crate::transport::path::{Candidate, Path};

/// Answers in a [`PERIOD`]. An answer has 12 bytes more than the shortest request over IPv4, and 24 over IPv6, so that a
/// forged source gains nothing: 100 are 4 kB.
const ANSWERS: u32 = 100;
const PERIOD: Duration = Duration::from_secs(1);
/// Requests of one query, each after twice the time of the one before (RFC 8489 section 6.2.1).
const REQUESTS: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The bound on answers to requests without credentials.
#[derive(Debug, Default)]
pub(crate) struct PlainAnswers {
    left: u32,
    refilled_at: Option<Instant>,
}

impl PlainAnswers {
    /// The answer to a Binding request that has no attribute which must be understood. None: it is something else, or too
    /// many came lately.
    pub(crate) fn answer(&mut self, now: Instant, from: Path, datagram: &[u8]) -> Option<Vec<u8>> {
        let transaction = plain_request(datagram)?;
        if self.refilled_at.is_none_or(|at| now >= at + PERIOD) {
            (self.left, self.refilled_at) = (ANSWERS, Some(now));
        }
        self.left = self.left.checked_sub(1)?;
        Some(Writer::mapped(from.mapped_addr(), transaction))
    }
}

/// The transaction of a well-formed request without credentials.
fn plain_request(datagram: &[u8]) -> Option<&[u8]> {
    let mut end = HEADER;
    for (kind, value, at) in attributes(datagram, BINDING_REQUEST)? {
        if kind < COMPREHENSION_OPTIONAL {
            return None;
        }
        end = at + 4 + value.len().next_multiple_of(4);
    }
    (end == datagram.len()).then(|| datagram.get(8..HEADER))?
}

/// A question to a STUN server: which address others see.
#[derive(Debug)]
pub(crate) struct Query {
    server: Path,
    transaction: Transaction,
    sent: u32,
    due: Instant,
}

/// The next step of a query.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum QueryStep {
    /// Nothing is due.
    Wait,
    /// A request to the server.
    Send(Path, Vec<u8>),
    /// No answer has come.
    GiveUp,
}

impl Query {
    /// Only who sees the request knows `transaction`, which is random.
    pub(crate) fn new(now: Instant, server: Path, transaction: [u8; 12]) -> Self {
        Self {
            server,
            transaction,
            sent: 0,
            due: now,
        }
    }

    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    pub(crate) fn poll(&mut self, now: Instant) -> QueryStep {
        if now < self.due {
            return QueryStep::Wait;
        }
        if self.sent == REQUESTS {
            return QueryStep::GiveUp;
        }
        self.due = now + FIRST_WAIT * (1 << self.sent);
        self.sent += 1;
        QueryStep::Send(self.server, Writer::request(&self.transaction))
    }

    /// The candidate that an answer of the server tells. None: it is no such answer.
    pub(crate) fn answer(&self, from: Path, datagram: &[u8]) -> Option<Candidate> {
        if from != self.server {
            return None;
        }
        let address = mapped_address(datagram, &self.transaction)?;
        let ip = address.ip();
        let is_useful = !ip.is_unspecified() && !ip.is_multicast() && address.port() != 0;
        is_useful.then_some(Candidate::Udp(address))
    }
}

/// Puts a candidate that a server has told behind the others over UDP, in the place of one of its family that was told
/// before. True if it is new.
pub(crate) fn place_discovered(
    candidates: &mut Vec<Candidate>,
    before: &mut [Option<Candidate>; 2],
    told: Candidate,
) -> bool {
    let Candidate::Udp(address) = told else {
        return false;
    };
    if candidates.contains(&told) {
        return false;
    }
    let before = &mut before[usize::from(address.is_ipv6())];
    candidates.retain(|candidate| Some(*candidate) != *before);
    let is_udp = |candidate: &Candidate| matches!(candidate, Candidate::Udp(_));
    let at = candidates.iter().take_while(|it| is_udp(it)).count();
    candidates.insert(at, told);
    *before = Some(told);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::Udp(text.parse().unwrap())
    }

    fn udp(text: &str) -> Candidate {
        Candidate::Udp(text.parse().unwrap())
    }

    #[test]
    fn whoever_asks_is_told_its_address_and_no_more() {
        let now = Instant::now();
        for (from, bytes) in [("192.0.2.1:7", 32), ("[2001:db8::1]:7", 44)] {
            let mut query = Query::new(now, path("198.51.100.1:3478"), [7; 12]);
            let QueryStep::Send(server, request) = query.poll(now) else {
                panic!("nothing is asked");
            };
            assert_eq!(request.len(), HEADER);
            let answer = PlainAnswers::default().answer(now, path(from), &request);
            let answer = answer.unwrap();
            assert_eq!(answer.len(), bytes);
            assert_eq!(query.answer(server, &answer), Some(udp(from)));
            // Not from elsewhere, nor to another question, nor the question itself.
            assert_eq!(query.answer(path("198.51.100.1:3479"), &answer), None);
            assert_eq!(query.answer(server, &request), None);
            let other = Query::new(now, server, [8; 12]);
            assert_eq!(other.answer(server, &answer), None);
        }
    }

    #[test]
    fn only_plain_requests_are_answered() {
        let now = Instant::now();
        let request = Writer::request(&[7; 12]);
        let with = |kind: u16, value: &[u8]| {
            let mut request = request.clone();
            request.extend(kind.to_be_bytes());
            request.extend((value.len() as u16).to_be_bytes());
            request.extend(value);
            request[3] = (request.len() - HEADER) as u8;
            request
        };
        let mut short = with(0x8022, b"abcd");
        short.pop();
        for (request, is_answered) in [
            (request.clone(), true),
            // SOFTWARE
            (with(0x8022, b"test"), true),
            // USERNAME, MESSAGE-INTEGRITY, CHANGE-REQUEST
            (with(0x0006, b"a:bc"), false),
            (with(0x0008, &[0; 20]), false),
            (with(0x0003, &[0, 0, 0, 6]), false),
            (short, false),
            (Vec::new(), false),
        ] {
            let answer = PlainAnswers::default().answer(now, path("192.0.2.1:7"), &request);
            assert_eq!(answer.is_some(), is_answered, "{request:?}");
        }
    }

    #[test]
    fn answers_are_bounded() {
        let mut answers = PlainAnswers::default();
        let request = Writer::request(&[7; 12]);
        let start = Instant::now();
        for second in 0..3 {
            let now = start + PERIOD * second;
            let asked =
                (0..1_000).filter_map(|_| answers.answer(now, path("192.0.2.1:7"), &request));
            assert_eq!(asked.count(), ANSWERS as usize);
        }
    }

    #[test]
    fn a_server_that_is_silent_is_given_up() {
        let start = Instant::now();
        let mut query = Query::new(start, path("192.0.2.1:3478"), [7; 12]);
        let mut sent = Vec::new();
        loop {
            let now = query.due();
            match query.poll(now) {
                QueryStep::Send(..) => sent.push((now - start).as_millis()),
                QueryStep::GiveUp => break assert_eq!((now - start).as_millis(), 15_500),
                QueryStep::Wait => panic!("it is due"),
            }
            assert_eq!(query.poll(now), QueryStep::Wait);
        }
        assert_eq!(sent, [0, 500, 1_500, 3_500, 7_500]);
    }

    #[test]
    fn what_is_discovered_is_told_behind_the_rest_and_replaced() {
        let tcp = Candidate::Tcp("10.0.0.1:443".parse().unwrap());
        let mut candidates = vec![udp("10.0.0.1:7"), tcp];
        let mut before = [None; 2];
        let mut place = |told| place_discovered(&mut candidates, &mut before, udp(told));
        for (told, is_new) in [
            ("10.0.0.1:7", false),
            ("203.0.113.1:7", true),
            ("203.0.113.1:7", false),
            ("[2001:db8::1]:7", true),
            ("203.0.113.2:7", true),
        ] {
            assert_eq!(place(told), is_new, "{told}");
        }
        let expected = ["10.0.0.1:7", "[2001:db8::1]:7", "203.0.113.2:7"].map(udp);
        assert_eq!(candidates[..3], expected);
        assert_eq!(candidates[3..], [tcp]);
    }
}
