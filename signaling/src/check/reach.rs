//! Connections to the port, and why there is none.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::report::{Row, Step};

/// The reason that there is no connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Unreached {
    /// The machine answers that nobody listens.
    Refused,
    /// Nothing came back.
    Silent,
    /// This machine has no route to an address of this family.
    NoRoute,
    /// A router on the way says that there is no such host or network.
    Unreachable(String),
}

impl Unreached {
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::TimedOut => Self::Silent,
            ErrorKind::NetworkUnreachable
            | ErrorKind::AddrNotAvailable
            | ErrorKind::Unsupported => Self::NoRoute,
            _ => Self::Unreachable(error.to_string()),
        }
    }
}

pub(super) async fn connect(to: SocketAddr, within: Duration) -> Result<TcpStream, Unreached> {
    match timeout(within, TcpStream::connect(to)).await {
        Ok(connected) => connected.map_err(|error| Unreached::of(&error)),
        Err(_) => Err(Unreached::Silent),
    }
}

/// The family of an address, for a sentence.
pub(super) fn family(of: SocketAddr) -> &'static str {
    match of.is_ipv4() {
        true => "IPv4",
        false => "IPv6",
    }
}

pub(super) fn row(to: SocketAddr, reached: &Result<(), Unreached>) -> Row {
    let step = Step::Tcp;
    let (ip, port) = (to.ip(), to.port());
    let Err(unreached) = reached else {
        return Row::ok(step, to.to_string());
    };
    let row = match unreached {
        Unreached::Refused => Row::failed(
            step,
            "tcp_refused",
            format!(
                "Nothing listens on TCP port {port} of {ip}: start the server or the proxy before it, and look whether `listen` is another port or loopback alone."
            ),
        ),
        Unreached::Silent => Row::failed(
            step,
            "tcp_timed_out",
            format!(
                "TCP port {port} of {ip} does not answer, so a firewall probably drops it: open it in the server's firewall and in its provider's security group, and see that the name has the server's address."
            ),
        ),
        Unreached::NoRoute => Row::skipped(
            step,
            "no_route",
            format!(
                "This machine has no route over {}: check from one that has it.",
                family(to)
            ),
        ),
        Unreached::Unreachable(said) => Row::failed(
            step,
            "tcp_unreachable",
            format!(
                "The network says that {ip} cannot be reached ({said}): see that the server runs and that the name has its address."
            ),
        ),
    };
    row.found(to.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_silent_and_unreachable_are_told_apart() {
        let of = |kind: ErrorKind| Err(Unreached::of(&io::Error::from(kind)));
        for (reached, address, code, words) in [
            (Ok(()), "192.0.2.1:443", "ok", "192.0.2.1:443"),
            (
                of(ErrorKind::ConnectionRefused),
                "192.0.2.1:443",
                "tcp_refused",
                "Nothing listens on TCP port 443",
            ),
            (
                of(ErrorKind::TimedOut),
                "192.0.2.1:443",
                "tcp_timed_out",
                "firewall",
            ),
            (
                of(ErrorKind::HostUnreachable),
                "192.0.2.1:443",
                "tcp_unreachable",
                "192.0.2.1 cannot",
            ),
            (
                of(ErrorKind::NetworkUnreachable),
                "[2001:db8::1]:443",
                "no_route",
                "IPv6",
            ),
            (
                of(ErrorKind::AddrNotAvailable),
                "192.0.2.1:443",
                "no_route",
                "IPv4",
            ),
        ] {
            let to: SocketAddr = address.parse().expect("an address");
            let row = row(to, &reached);
            assert_eq!((row.code, &*row.found), (code, address));
            let said = row.advice.unwrap_or(row.found);
            assert!(said.contains(words), "{said}");
        }
    }
}
