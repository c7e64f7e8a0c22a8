//! One UDP port, IPv4 and IPv6.

#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::address::{self, Family};
use super::interfaces::interface_addresses;
use super::receive::Receiver;
use super::send::{Sender, Source};
use crate::transmit::{SendReport, Transmits};

/// A worker's socket, bound to one port on every address of the machine.
#[derive(Debug)]
pub(crate) struct MediaSocket {
    fd: OwnedFd,
    port: u16,
    /// Bytes that the kernel has granted for receiving and for sending.
    granted: [libc::c_int; 2],
    receiver: Receiver,
    sender: Sender,
}

/// Buffer asked of the kernel for each direction; it grants at most `net.core.rmem_max` and `wmem_max`. A room of 50
/// publishers at 2.5 Mbit/s brings 12,500 packets a second, and a packet takes about 2 KiB of kernel memory: 4 MiB
/// (which the kernel doubles) outlast a stall of 300 ms.
const BUFFER_BYTES: libc::c_int = 4 << 20;
/// The settings of the kernel that bound them: for receiving, and for sending.
const BUFFER_LIMITS: [&str; 2] = ["net.core.rmem_max", "net.core.wmem_max"];

impl MediaSocket {
    /// Binds `port` for both families, or for IPv4 if the kernel has no IPv6; 0 lets the kernel choose.
    pub(crate) fn bind(port: u16) -> io::Result<Self> {
        match Self::bind_family(Family::Dual, port) {
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
                ) =>
            {
                Self::bind_family(Family::V4, port)
            }
            result => result,
        }
    }

    /// The port bound.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Pins the source to the announced address if that is the machine's only own one of its family; otherwise the
    /// route decides (the module's documentation says why).
    pub(crate) fn answer_from(&mut self, announced: &[IpAddr]) {
        self.sender
            .set_source(pinned(announced, &interface_addresses()));
    }

    /// Delivers at most `budget` datagrams; fewer mean that the socket is drained. Addresses are
    /// plain: IPv4 is never IPv4-mapped IPv6.
    pub(crate) fn recv_batch(
        &mut self,
        budget: usize,
        deliver: impl FnMut(SocketAddr, &mut [u8]),
    ) -> io::Result<usize> {
        self.receiver.receive(self.fd.as_fd(), budget, deliver)
    }

    /// Hands every packet to the kernel, runs of equal ones as one message. Packets that the kernel does not take
    /// within a millisecond or so are dropped and counted: late media is worth nothing.
    pub(crate) fn send(&mut self, transmits: &Transmits) -> SendReport {
        self.sender.send(self.fd.as_fd(), transmits)
    }

    fn bind_family(family: Family, port: u16) -> io::Result<Self> {
        let domain = match family {
            Family::V4 => libc::AF_INET,
            Family::Dual => libc::AF_INET6,
        };
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: takes no pointers.
        let fd = unsafe { libc::socket(domain, kind, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor just made, owned by no one else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let any: IpAddr = match family {
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::Dual => {
                set_option(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
                Ipv6Addr::UNSPECIFIED.into()
            }
        };
        let (raw, len) = address::encode(family, SocketAddr::new(any, port))
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        // SAFETY: `raw` holds an address of `len` bytes.
        if unsafe { libc::bind(fd.as_raw_fd(), (&raw const raw).cast(), len) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let port = bound_port(fd.as_fd())?;

        let mut granted = [0; 2];
        for (option, granted) in [libc::SO_RCVBUF, libc::SO_SNDBUF]
            .into_iter()
            .zip(&mut granted)
        {
            set_option(fd.as_fd(), libc::SOL_SOCKET, option, BUFFER_BYTES)?;
            // The kernel reports twice what it granted.
            *granted = option_value(fd.as_fd(), libc::SOL_SOCKET, option)? / 2;
        }
        // Kernels before 4.18 and 5.0 lack these: it is slower there, and nothing else changes.
        let _ = set_option(fd.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1);
        let gso = set_option(fd.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        Ok(Self {
            fd,
            port,
            granted,
            receiver: Receiver::new(),
            sender: Sender::new(family, gso),
        })
    }

    /// A socket as on a kernel without `UDP_SEGMENT`.
    #[cfg(test)]
    pub(super) fn without_gso(mut self) -> Self {
        self.sender = Sender::new(Family::Dual, false);
        self
    }

    /// A socket as on a kernel without IPv6.
    #[cfg(test)]
    pub(super) fn bind_v4(port: u16) -> io::Result<Self> {
        Self::bind_family(Family::V4, port)
    }

    #[cfg(test)]
    pub(super) fn pin(&mut self, v4: Ipv4Addr) {
        let source = Source {
            v4: Some(v4),
            v6: None,
        };
        self.sender.set_source(source);
    }

    /// The kernel refuses segmentation, and only that, on a socket that sends no checksums.
    #[cfg(test)]
    pub(super) fn refuse_segments(&self) {
        set_option(self.fd.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    }

    #[cfg(test)]
    pub(super) fn segments(&self) -> bool {
        self.sender.segments()
    }
}

impl AsFd for MediaSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Warns once for all sockets of buffers that the kernel has made smaller than they should be.
pub(crate) fn warn_of_buffers(sockets: &[MediaSocket]) {
    let smallest = |at: usize| sockets.iter().map(|socket| socket.granted[at]).min();
    let granted = [0, 1].map(|at| smallest(at).unwrap_or(BUFFER_BYTES));
    for sentence in buffers_cut(granted) {
        tracing::warn!("{sentence}");
    }
}

/// A sentence for each direction in which less was granted than asked for.
fn buffers_cut(granted: [libc::c_int; 2]) -> Vec<String> {
    let cut = BUFFER_LIMITS.iter().zip(granted);
    let cut = cut.filter(|(_, granted)| *granted < BUFFER_BYTES);
    cut.map(|(limit, granted)| {
        format!(
            "the kernel gives the media sockets buffers of {} KiB instead of {}, so that bursts may be lost: \
             sysctl -w {limit}={BUFFER_BYTES} (and in /etc/sysctl.d for the next start of the machine)",
            granted >> 10,
            BUFFER_BYTES >> 10,
        )
    })
    .collect()
}

fn pinned(announced: &[IpAddr], own: &[IpAddr]) -> Source {
    let mut source = Source::default();
    for v4 in [true, false] {
        let mut ours = announced
            .iter()
            .filter(|ip| ip.is_ipv4() == v4 && own.contains(ip));
        match (ours.next(), ours.next()) {
            // Loopback too: a browser on this machine sends to it from another of its addresses,
            // and without pinning would be answered from that one.
            (Some(IpAddr::V4(ip)), None) => source.v4 = Some(*ip),
            (Some(IpAddr::V6(ip)), None) => source.v6 = Some(*ip),
            _ => {}
        }
    }
    source
}

fn bound_port(fd: BorrowedFd<'_>) -> io::Result<u16> {
    let mut raw = address::empty();
    let mut len = size_of_val(&raw) as libc::socklen_t;
    // SAFETY: `raw` and `len` outlive the call, and `len` is the size of `raw`.
    if unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut raw).cast(), &raw mut len) } != 0 {
        return Err(io::Error::last_os_error());
    }
    address::decode(&raw)
        .map(|addr| addr.port())
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

pub(super) fn set_option(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` outlives the call and `len` is its size.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn option_value(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` and `len` outlive the call, and `len` is the size of `value`.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    if result == 0 {
        Ok(value)
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_pinned_to_the_only_own_address_announced() {
        let addresses = |text: &str| -> Vec<IpAddr> {
            text.split_whitespace()
                .map(|ip| ip.parse().unwrap())
                .collect()
        };
        let own = addresses("192.0.2.1 192.0.2.2 2001:db8::1 127.0.0.1 ::1");
        for (announced, v4, v6) in [
            ("", None, None),
            ("192.0.2.2", Some("192.0.2.2"), None),
            (
                "192.0.2.2 2001:db8::1",
                Some("192.0.2.2"),
                Some("2001:db8::1"),
            ),
            ("192.0.2.2 127.0.0.1", None, None),
            ("192.0.2.1 192.0.2.2", None, None),
            ("127.0.0.1 ::1", Some("127.0.0.1"), Some("::1")),
            ("203.0.113.7", None, None),
            ("203.0.113.7 192.0.2.1", Some("192.0.2.1"), None),
        ] {
            let expected = Source {
                v4: v4.map(|ip| ip.parse().unwrap()),
                v6: v6.map(|ip| ip.parse().unwrap()),
            };
            assert_eq!(pinned(&addresses(announced), &own), expected, "{announced}");
        }
    }

    #[test]
    fn buffers_that_were_cut_are_told_with_the_setting() {
        assert_eq!(buffers_cut([BUFFER_BYTES; 2]), Vec::<String>::new());
        let said = buffers_cut([212_992, BUFFER_BYTES]);
        assert_eq!(said.len(), 1);
        for part in [
            "208 KiB instead of 4096",
            "sysctl -w net.core.rmem_max=4194304",
        ] {
            assert!(said[0].contains(part), "{said:?}");
        }
        let said = buffers_cut([BUFFER_BYTES, BUFFER_BYTES - 1]);
        assert!(
            said.len() == 1 && said[0].contains("net.core.wmem_max"),
            "{said:?}"
        );
    }

    #[test]
    fn a_port_in_use_is_refused_for_both_families() {
        let socket = MediaSocket::bind(0).unwrap();
        let error = MediaSocket::bind(socket.port()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(std::net::UdpSocket::bind(("127.0.0.1", socket.port())).is_err());
    }
}
