//! Entry points for fuzzing private code: bytes in, no panic.

mod call;
mod person;

use std::cell::RefCell;
use std::net::SocketAddr;

use super::{SimRelay, epoch};
use crate::config::Limits;
use crate::event::MediaKind;
use crate::rtp::parameters::SlotIdentity;
use crate::testing::network::Datagram;
use crate::transport::fuzz::{self, steps};
use crate::transport::sdp::{LocalDescription, SdpLimits, Session, parse_offer};
use crate::transport::{Candidate, Fingerprint, IceCredentials};

pub use call::{Operation, call};

/// An offer of a real browser: sound and simulcast video.
const OFFER: &str = include_str!("../../transport/sdp/fixtures/chromium-call-1-simulcast.sdp");

/// Handles a datagram from a stranger, and again from an address that will be known: demultiplexing, STUN, and
/// everything before authentication.
///
/// # Panics
///
/// If the relay refuses a browser's offer.
pub fn datagram(bytes: &[u8]) {
    thread_local! {
        static RELAY: RefCell<SimRelay> = RefCell::new(relay());
    }
    RELAY.with_borrow_mut(|relay| {
        let from = SocketAddr::from(([192, 0, 2, 1], 1));
        let mut datagram = Datagram {
            from,
            to: relay.addr(),
            payload: bytes.to_vec(),
        };
        relay.handle_datagram(epoch(), &mut datagram);
        assert!(
            relay.flush(epoch()).is_empty(),
            "a stranger is not answered"
        );
    });
}

fn relay() -> SimRelay {
    let addr = SocketAddr::from(([192, 0, 2, 9], 9));
    let mut relay = SimRelay::new(epoch(), addr, 1, Limits::default());
    let room = relay.create_room();
    relay
        .join(epoch(), room, OFFER, true)
        .expect("a browser's offer is answered");
    relay
}

/// An offer, twice: as a first one and as its own renegotiation.
///
/// # Panics
///
/// If an offer that was answered is refused when it comes again.
pub fn offer(text: &str) {
    let Ok(offer) = parse_offer(text, &SdpLimits::new(64)) else {
        return;
    };
    let ice = IceCredentials {
        ufrag: "ufrag".into(),
        pwd: "password-of-twenty-two-chars".into(),
    };
    let ours = LocalDescription {
        ice: &ice,
        fingerprint: &Fingerprint::sha256(b"certificate"),
        candidates: &[Candidate::Udp(([192, 0, 2, 9], 9).into())],
        cname: "cname",
        max_message_size: 16_384,
    };
    let mut name = |mid: &str, _: MediaKind| SlotIdentity {
        ssrc: 1,
        rtx_ssrc: Some(2),
        stream_id: "stream".into(),
        track_id: mid.chars().take(16).collect(),
    };
    let mut session = Session::new(1);
    if session.negotiate(&offer, &ours, &mut name).is_ok() {
        session
            .negotiate(&offer, &ours, &mut name)
            .expect("the same offer again");
    }
}

/// DTLS datagrams: a run of steps, each a byte of flags (1: from the second address; 2 and 4: a pause before
/// it), a length in two bytes, and the datagram.
pub fn dtls(bytes: &[u8]) {
    fuzz::dtls(bytes);
}

/// SCTP packets: a run of steps, each a byte of flags (1: under the association's tag; 2: the cookie instead;
/// 4 and 8: a pause before it; 32: something is sent as well), a length in two bytes, and the chunks.
pub fn sctp(bytes: &[u8]) {
    fuzz::sctp(bytes);
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_entry_points_take_real_input() {
        super::datagram(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
        super::offer(super::OFFER);
        super::offer("v=0");
        super::dtls(&[0, 0, 1, 22, 3, 0, 0]);
        super::sctp(&[0, 0, 4, 1, 0, 0, 4, 2, 0, 0]);
    }
}
