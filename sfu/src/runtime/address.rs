//! Socket addresses between the kernel's form and ours.

#![allow(unsafe_code)]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The address family of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    /// IPv4 alone: the kernel has no IPv6.
    V4,
    /// Both; IPv4 appears as IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2).
    Dual,
}

/// Holds either family: `sockaddr_in` is the smaller and equally aligned.
pub(super) type RawAddr = libc::sockaddr_in6;

const _: () = assert!(size_of::<libc::sockaddr_in>() <= size_of::<RawAddr>());
const _: () = assert!(align_of::<libc::sockaddr_in>() <= align_of::<RawAddr>());

pub(super) fn empty() -> RawAddr {
    // SAFETY: sockaddr_in6 is plain integers, for which all zeroes is a value.
    unsafe { std::mem::zeroed() }
}

/// `addr` as a socket of `family` takes it, with the length to pass; none if it cannot reach it.
pub(super) fn encode(family: Family, addr: SocketAddr) -> Option<(RawAddr, libc::socklen_t)> {
    let mut raw = empty();
    let len = match (family, addr) {
        (Family::V4, SocketAddr::V6(_)) => return None,
        (Family::V4, SocketAddr::V4(v4)) => {
            // SAFETY: sockaddr_in is plain integers, for which all zeroes is a value.
            let mut sin: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            sin.sin_family = libc::AF_INET as libc::sa_family_t;
            sin.sin_port = v4.port().to_be();
            sin.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            // SAFETY: `raw` is at least as large and as aligned as a sockaddr_in (asserted above).
            unsafe { (&raw mut raw).cast::<libc::sockaddr_in>().write(sin) };
            size_of::<libc::sockaddr_in>()
        }
        (Family::Dual, addr) => {
            let (ip, scope) = match addr {
                SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), 0),
                SocketAddr::V6(v6) => (*v6.ip(), v6.scope_id()),
            };
            raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            raw.sin6_port = addr.port().to_be();
            raw.sin6_addr.s6_addr = ip.octets();
            raw.sin6_scope_id = scope;
            size_of::<libc::sockaddr_in6>()
        }
    };
    Some((raw, len as libc::socklen_t))
}

/// The address the kernel wrote, IPv4-mapped IPv6 as plain IPv4; none if it is of another family.
pub(super) fn decode(raw: &RawAddr) -> Option<SocketAddr> {
    match i32::from(raw.sin6_family) {
        libc::AF_INET => {
            // SAFETY: the family says what it is, and a RawAddr holds a whole sockaddr_in.
            let sin = unsafe { std::ptr::from_ref(raw).cast::<libc::sockaddr_in>().read() };
            Some(SocketAddr::V4(SocketAddrV4::new(
                Ipv4Addr::from(sin.sin_addr.s_addr.to_ne_bytes()),
                u16::from_be(sin.sin_port),
            )))
        }
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
            let port = u16::from_be(raw.sin6_port);
            Some(match ip.to_ipv4_mapped() {
                Some(v4) => SocketAddr::V4(SocketAddrV4::new(v4, port)),
                // The flow label is left out: it differs between packets of one peer.
                None => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, raw.sin6_scope_id)),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_plain_ones() {
        for (family, addr, back) in [
            (Family::Dual, "192.0.2.1:7", Some("192.0.2.1:7")),
            (Family::Dual, "[::ffff:192.0.2.1]:7", Some("192.0.2.1:7")),
            (
                Family::Dual,
                "[2001:db8::1]:65535",
                Some("[2001:db8::1]:65535"),
            ),
            (Family::Dual, "[fe80::1%3]:9", Some("[fe80::1%3]:9")),
            (Family::V4, "192.0.2.1:7", Some("192.0.2.1:7")),
            (Family::V4, "[2001:db8::1]:7", None),
        ] {
            let decoded = encode(family, addr.parse().unwrap()).and_then(|(raw, _)| decode(&raw));
            assert_eq!(decoded, back.map(|back| back.parse().unwrap()), "{addr}");
        }
        assert_eq!(decode(&empty()), None);
    }
}
