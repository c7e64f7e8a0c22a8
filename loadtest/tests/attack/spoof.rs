//! Datagrams from addresses that are others', which takes root.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// A socket that writes its own headers.
pub(crate) struct Spoofer(OwnedFd);

impl Spoofer {
    pub(crate) fn open() -> io::Result<Self> {
        let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW))?;
        Ok(Self(raw))
    }

    /// Sends `payload` as if `from` had. The kernel writes lengths and checksums of the IP header; a UDP checksum of 0 is
    /// none (RFC 768).
    pub(crate) fn send(&self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) {
        let mut packet = vec![0; IP_HEADER];
        packet[0] = 0x45;
        packet[8] = 64;
        packet[9] = 17;
        packet[12..16].copy_from_slice(&from.ip().octets());
        packet[16..20].copy_from_slice(&to.ip().octets());
        packet.extend(from.port().to_be_bytes());
        packet.extend(to.port().to_be_bytes());
        packet.extend(((UDP_HEADER + payload.len()) as u16).to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        // Datagrams that the kernel has no room for are lost.
        let _ = sendto(&self.0, &packet, SendFlags::DONTWAIT, &to);
    }
}
