//! The machine's own addresses.

#![allow(unsafe_code)]

use std::net::IpAddr;

use super::address::{self, RawAddr};

/// The addresses of this machine's interfaces that are up, loopback last. Link-local IPv6 ones are left out:
/// they mean nothing without a scope, which a candidate cannot carry. Empty if the kernel refuses.
pub fn interface_addresses() -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `list` is a valid place for the result, freed below.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return addresses;
    }
    let mut at = list;
    // SAFETY: `at` is null or an element of the list, which lives until freeifaddrs.
    while let Some(entry) = unsafe { at.as_ref() } {
        at = entry.ifa_next;
        if entry.ifa_flags & libc::IFF_UP as libc::c_uint == 0 || entry.ifa_addr.is_null() {
            continue;
        }
        // SAFETY: ifa_addr is not null and begins with its family.
        let family = i32::from(unsafe { (*entry.ifa_addr).sa_family });
        let len = match family {
            libc::AF_INET => size_of::<libc::sockaddr_in>(),
            libc::AF_INET6 => size_of::<libc::sockaddr_in6>(),
            _ => continue,
        };
        let mut raw: RawAddr = address::empty();
        // SAFETY: an address of this family has `len` bytes, and a RawAddr holds either.
        unsafe {
            std::ptr::copy_nonoverlapping(
                entry.ifa_addr.cast::<u8>(),
                (&raw mut raw).cast::<u8>(),
                len,
            );
        }
        if let Some(ip) = address::decode(&raw).map(|addr| addr.ip())
            && announceable(ip)
            && !addresses.contains(&ip)
        {
            addresses.push(ip);
        }
    }
    // SAFETY: `list` came from getifaddrs and nothing borrows from it any more.
    unsafe { libc::freeifaddrs(list) };
    addresses.sort_by_key(IpAddr::is_loopback);
    addresses
}

fn announceable(ip: IpAddr) -> bool {
    !ip.is_unspecified()
        && !ip.is_multicast()
        && match ip {
            IpAddr::V4(_) => true,
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_and_is_last() {
        let addresses = interface_addresses();
        assert!(addresses.last().is_some_and(IpAddr::is_loopback));
        let first_loopback = addresses.iter().position(IpAddr::is_loopback).unwrap();
        assert!(addresses[first_loopback..].iter().all(IpAddr::is_loopback));
    }

    #[test]
    fn what_a_candidate_cannot_carry_is_left_out() {
        for (ip, expected) in [
            ("192.0.2.1", true),
            ("::1", true),
            ("2001:db8::1", true),
            ("fe80::1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
        ] {
            assert_eq!(announceable(ip.parse().unwrap()), expected, "{ip}");
        }
    }
}
