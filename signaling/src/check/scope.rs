//! How far an address reaches.

use std::net::IpAddr;

/// The narrower first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Scope {
    /// The address is of this machine alone, or of nobody.
    Loopback,
    /// One link: RFC 3927, RFC 4291 section 2.5.6.
    Link,
    /// A network of its own: RFC 1918, RFC 6598, RFC 4193.
    Private,
    Public,
}

impl Scope {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(it) if it.is_loopback() || it.is_unspecified() => Self::Loopback,
            IpAddr::V4(it) if it.is_link_local() => Self::Link,
            IpAddr::V4(it) if it.is_private() => Self::Private,
            IpAddr::V4(it) if it.octets()[0] == 100 && it.octets()[1] & 0xc0 == 64 => Self::Private,
            IpAddr::V6(it) if it.is_loopback() || it.is_unspecified() => Self::Loopback,
            IpAddr::V6(it) if it.is_unicast_link_local() => Self::Link,
            IpAddr::V6(it) if it.is_unique_local() => Self::Private,
            _ => Self::Public,
        }
    }

    /// The kind of such an address, for a sentence.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Loopback => "a loopback address",
            Self::Link => "a link-local address",
            Self::Private => "a private address",
            Self::Public => "a public address",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_scope() {
        for (address, scope) in [
            ("127.0.0.1", Scope::Loopback),
            ("0.0.0.0", Scope::Loopback),
            ("::1", Scope::Loopback),
            ("::", Scope::Loopback),
            ("::ffff:127.0.0.1", Scope::Loopback),
            ("169.254.1.1", Scope::Link),
            ("fe80::1", Scope::Link),
            ("10.1.2.3", Scope::Private),
            ("172.17.0.2", Scope::Private),
            ("192.168.0.1", Scope::Private),
            ("100.64.0.1", Scope::Private),
            ("100.127.255.255", Scope::Private),
            ("100.128.0.1", Scope::Public),
            ("100.63.0.1", Scope::Public),
            ("fd00::1", Scope::Private),
            ("203.0.113.7", Scope::Public),
            ("2001:db8::1", Scope::Public),
        ] {
            let parsed = address.parse().expect("an address");
            assert_eq!(Scope::of(parsed), scope, "{address}");
        }
        assert!(Scope::Loopback < Scope::Link && Scope::Private < Scope::Public);
    }
}
