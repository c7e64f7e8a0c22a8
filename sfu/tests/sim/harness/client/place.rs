//! The address of a client, and the datagrams for it there.

use std::net::SocketAddr;

use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Input};
use tertulia_sfu::testing::network::Datagram;

use super::Client;

impl Client {
    /// The address that the relay sees.
    pub(crate) fn seen_at(&self) -> SocketAddr {
        self.mapped
    }

    /// The NAT before it forgets its mapping and makes another.
    pub(crate) fn rebind(&mut self, mapped: SocketAddr) {
        self.mapped = mapped;
    }

    /// Whether a datagram to where it and others are is for it: by user fragment, by its handshake, else for all,
    /// whose keys tell.
    pub(crate) fn shares(&self, datagram: &Datagram) -> bool {
        match datagram.payload.first() {
            Some(0..=3) => {
                let contents = datagram.payload.as_slice().try_into();
                contents.is_ok_and(|contents| {
                    let receive = Receive {
                        proto: Protocol::Udp,
                        source: datagram.from,
                        destination: self.addr,
                        contents,
                    };
                    self.rtc.accepts(&Input::Receive(self.now, receive))
                })
            }
            Some(20 | 22) => self.connected_at.is_none(),
            _ => self.connected_at.is_some(),
        }
    }

    /// Leaves one network and enters another, as from Wi-Fi to mobile.
    pub(crate) fn roam(&mut self, addr: SocketAddr) {
        let before = Candidate::host(self.addr, "udp").expect("a valid candidate");
        self.rtc.direct_api().invalidate_candidate(&before);
        let candidate = Candidate::host(addr, "udp").expect("a valid candidate");
        self.rtc.add_local_candidate(candidate);
        (self.addr, self.mapped) = (addr, addr);
    }
}

/// Whether a datagram is a check with USE-CANDIDATE, which has no value (RFC 8445 section 16.1).
pub(super) fn nominates(datagram: &[u8]) -> bool {
    datagram.starts_with(&[0, 1]) && datagram.windows(4).any(|at| at == [0, 0x25, 0, 0])
}
