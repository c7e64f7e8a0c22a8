//! A client's end of the transport, by keys that everybody knows.

use std::net::SocketAddr;

use super::call::PROFILE;
use crate::id::PeerId;
use crate::transport::{Backend, IceCredentials, Srtp, fuzz};

pub(super) struct Person {
    pub(super) peer: Option<PeerId>,
    pub(super) addr: SocketAddr,
    /// Whether it answers our checks.
    pub(super) answers: bool,
    /// Packets of media that came, by SSRC and sequence number. A run's are few.
    pub(super) heard: Vec<(u32, u16)>,
    ours: IceCredentials,
    theirs: IceCredentials,
    srtp: Srtp,
    sealing: Srtp,
}

/// Keys and salts, the same both ways.
pub(super) fn material() -> Vec<u8> {
    vec![7; PROFILE.keying_material_len()]
}

fn srtp() -> Srtp {
    Srtp::from_keying_material(Backend::default(), PROFILE, &material()).expect("keys")
}

fn none() -> IceCredentials {
    IceCredentials {
        ufrag: String::new(),
        pwd: String::new(),
    }
}

impl Person {
    pub(super) fn new(number: u8) -> Self {
        Self {
            peer: None,
            addr: SocketAddr::from(([192, 0, 2, 100 + number], 7)),
            answers: true,
            heard: Vec::new(),
            ours: none(),
            theirs: none(),
            srtp: srtp(),
            sealing: srtp(),
        }
    }

    pub(super) fn joined(&mut self, peer: PeerId) {
        self.peer = Some(peer);
        self.answers = true;
        self.heard.clear();
        (self.srtp, self.sealing) = (srtp(), srtp());
    }

    /// An offer and its answer.
    pub(super) fn agreed(&mut self, offer: &str, answer: &str) {
        let said = |sdp: &str, attribute: &str| {
            let mut lines = sdp.lines();
            let value = lines
                .find_map(|line| line.strip_prefix(attribute))
                .unwrap_or_default();
            value.trim().to_owned()
        };
        let credentials = |sdp| IceCredentials {
            ufrag: said(sdp, "a=ice-ufrag:"),
            pwd: said(sdp, "a=ice-pwd:"),
        };
        (self.theirs, self.ours) = (credentials(offer), credentials(answer));
    }

    /// A check of ours by the client: a binding request, or another message if `kind` says so.
    pub(super) fn check(&self, kind: u8, attributes: &[u8]) -> Vec<u8> {
        let username = format!("{}:{}", self.ours.ufrag, self.theirs.ufrag);
        let kind = [0x0001, 0x0101, 0x0111, 0x0011][usize::from(kind & 3)];
        fuzz::signed(kind, &[9; 12], Some(&username), attributes, &self.ours.pwd)
    }

    /// The answer to a check of the server's, if that is one and this client answers.
    pub(super) fn answer(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        if datagram.get(..2)? != [0, 1] || !self.answers {
            return None;
        }
        let transaction = datagram.get(8..20)?.first_chunk()?;
        // XOR-MAPPED-ADDRESS is ignored by a server that knows its addresses.
        let mapped = [0, 0x20, 0, 8, 0, 1, 0, 0, 0, 0, 0, 0];
        Some(fuzz::signed(
            0x0101,
            transaction,
            None,
            &mapped,
            &self.theirs.pwd,
        ))
    }

    /// Seals a packet as the client does, and changes the byte at `at` by `change`. None if it is neither RTP nor RTCP.
    pub(super) fn sealed(&mut self, &[at, change]: &[u8; 2], packet: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = fuzz::sealed(&mut self.sealing, packet)?;
        let len = sealed.len();
        if let Some(byte) = sealed.get_mut(usize::from(at) % len.max(1)) {
            *byte ^= change;
        }
        Some(sealed)
    }

    pub(super) fn open_rtp(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        let len = self.srtp.open_rtp(&mut packet).expect("sealed right");
        packet.truncate(len);
        packet
    }

    pub(super) fn open_rtcp(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        let len = self.srtp.open_rtcp(&mut packet).expect("sealed right");
        packet.truncate(len);
        packet
    }
}
