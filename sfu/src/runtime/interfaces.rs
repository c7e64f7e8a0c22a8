//! The machine's own addresses.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::net::{IpAddr, Ipv6Addr};

use super::address::{self, RawAddr};

/// An address of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct InterfaceAddress {
    /// The name of its network interface.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
}

impl InterfaceAddress {
    /// An address of an interface.
    pub fn new(interface: impl Into<String>, ip: IpAddr) -> Self {
        let interface = interface.into();
        Self { interface, ip }
    }
}

/// The addresses of this machine that clients can be told, loopback last: see [`interfaces`].
pub fn interface_addresses() -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for InterfaceAddress { ip, .. } in interfaces() {
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    addresses
}

/// The addresses of this machine's interfaces that are up, loopback last. Empty if the kernel refuses. Left out are
///
/// - link-local IPv6 addresses: they mean nothing without a scope, which a candidate cannot carry;
/// - temporary IPv6 addresses (RFC 8981) and deprecated ones (RFC 4862 section 5.5.4): they end while the server runs, and
///   the interface has a stable one beside them;
/// - link-local IPv4 addresses (RFC 3927), unless the machine has no other IPv4 address but loopback.
pub fn interfaces() -> Vec<InterfaceAddress> {
    let passing = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let passing = passing_addresses(&passing);
    let mut addresses = all_addresses();
    addresses.retain(|it| !matches!(it.ip, IpAddr::V6(ip) if passing.contains(&ip)));
    without_makeshift(&mut addresses);
    addresses.sort_by_key(|it| it.ip.is_loopback());
    addresses
}

/// The addresses in the kernel's list that are temporary, deprecated, or another machine's as well: flags in its fifth
/// column (`linux/if_addr.h`).
fn passing_addresses(list: &str) -> Vec<Ipv6Addr> {
    const TEMPORARY: u8 = 0x01;
    const DAD_FAILED: u8 = 0x08;
    const DEPRECATED: u8 = 0x20;
    let passing = list.lines().filter_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let address = u128::from_str_radix(columns.next()?, 16).ok()?;
        let flags = u8::from_str_radix(columns.nth(3)?, 16).ok()?;
        let passes = flags & (TEMPORARY | DAD_FAILED | DEPRECATED) != 0;
        passes.then(|| Ipv6Addr::from_bits(address))
    });
    passing.collect()
}

/// Takes away the addresses that interfaces have made up for want of others.
fn without_makeshift(addresses: &mut Vec<InterfaceAddress>) {
    let is_makeshift = |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if ip.is_link_local());
    let is_good = |ip: IpAddr| ip.is_ipv4() && !ip.is_loopback() && !is_makeshift(ip);
    if addresses.iter().any(|it| is_good(it.ip)) {
        addresses.retain(|it| !is_makeshift(it.ip));
    }
}

fn all_addresses() -> Vec<InterfaceAddress> {
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
        {
            // SAFETY: ifa_name is a string that lives as long as the list.
            let name = unsafe { CStr::from_ptr(entry.ifa_name) };
            let interface = name.to_string_lossy().into_owned();
            addresses.push(InterfaceAddress { interface, ip });
        }
    }
    // SAFETY: `list` came from getifaddrs and nothing borrows from it any more.
    unsafe { libc::freeifaddrs(list) };
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

    #[test]
    fn addresses_that_end_while_the_server_runs_are_told_by_their_flags() {
        let list = "\
            00000000000000000000000000000001 01 80 10 80       lo\n\
            20010db8000000000000000000000001 02 40 00 80     eth0\n\
            20010db8000000000000000000000002 02 40 00 01     eth0\n\
            20010db8000000000000000000000003 02 40 00 21     eth0\n\
            20010db8000000000000000000000004 02 40 00 a0     eth0\n\
            20010db8000000000000000000000005 02 40 00 40     eth0\n\
            20010db8000000000000000000000006 02 40 00 88     eth0\n\
            fd000000000000000000000000000007 02 40 00 00     eth0\n\
            no line of it\n";
        let passing = [2, 3, 4, 6].map(|at| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, at));
        assert_eq!(passing_addresses(list), passing);
    }

    #[test]
    fn a_made_up_address_is_told_for_want_of_another() {
        for (given, expected) in [
            ("169.254.1.1 127.0.0.1 ::1", "169.254.1.1 127.0.0.1 ::1"),
            ("169.254.1.1 2001:db8::1", "169.254.1.1 2001:db8::1"),
            ("169.254.1.1 10.0.0.1 127.0.0.1", "10.0.0.1 127.0.0.1"),
        ] {
            let addresses = given.split(' ').map(|ip| InterfaceAddress {
                interface: "eth0".into(),
                ip: ip.parse().unwrap(),
            });
            let mut addresses: Vec<_> = addresses.collect();
            without_makeshift(&mut addresses);
            let left: Vec<String> = addresses.iter().map(|it| it.ip.to_string()).collect();
            assert_eq!(left.join(" "), expected);
        }
    }
}
