//! The host's name, and its addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::report::{Row, Step};
use super::target::Target;

/// Addresses that are tried. Few names have more, and each is a connection.
const MOST: usize = 4;

/// The answer of the machine's resolver.
#[derive(Debug)]
pub(super) enum Looked {
    /// The URL has an address in place of a name.
    Literal(IpAddr),
    Found(Vec<IpAddr>),
    Unknown,
    /// The name server failed, in the system's words.
    Broken(String),
    TimedOut(Duration),
}

impl Looked {
    pub(super) fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Literal(address) => std::slice::from_ref(address),
            Self::Found(addresses) => addresses,
            _ => &[],
        }
    }
}

pub(super) async fn look_up(target: &Target, within: Duration) -> Looked {
    if let Some(address) = target.literal() {
        return Looked::Literal(address);
    }
    match timeout(within, lookup_host((target.host(), target.port()))).await {
        Ok(Ok(found)) => some(found),
        Ok(Err(error)) => failed(&error),
        Err(_) => Looked::TimedOut(within),
    }
}

/// The first few of each family.
fn some(found: impl Iterator<Item = SocketAddr>) -> Looked {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map(|address| address.ip()) {
        let same = addresses
            .iter()
            .filter(|it| it.is_ipv4() == address.is_ipv4());
        if same.count() < MOST / 2 && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => Looked::Unknown,
        false => Looked::Found(addresses),
    }
}

/// `getaddrinfo` tells its reasons in words alone.
fn failed(error: &io::Error) -> Looked {
    let said = error.to_string();
    let unknown = ["not known", "No address", "nodename", "does not exist"];
    match unknown.iter().any(|words| said.contains(words)) {
        true => Looked::Unknown,
        false => Looked::Broken(said),
    }
}

pub(super) fn row(target: &Target, looked: &Looked) -> Row {
    let step = Step::Name;
    let host = target.host();
    match looked {
        Looked::Literal(address) => Row::ok(step, format!("{address}, without a name")),
        Looked::Found(addresses) => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            Row::ok(step, addresses.join(", "))
        }
        Looked::Unknown => Row::failed(
            step,
            "name_unknown",
            format!(
                "The name {host} has no address: correct it here, or give it an A or AAAA record where the domain's records are kept."
            ),
        ),
        Looked::Broken(said) => Row::failed(
            step,
            "name_server_failed",
            format!(
                "This machine's name server does not resolve {host} ({said}): mend that one, or check from another machine."
            ),
        ),
        Looked::TimedOut(within) => Row::failed(
            step,
            "name_timed_out",
            format!(
                "This machine's name server did not answer within {} s: mend that one, or check from another machine.",
                within.as_secs_f32()
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::report::Verdict;

    #[test]
    fn each_outcome_has_its_row() {
        let target: Target = "https://call.example.org".parse().expect("a target");
        let found = |addresses: &[&str]| {
            some(
                addresses
                    .iter()
                    .map(|it| SocketAddr::new(it.parse().expect("an address"), 1)),
            )
        };
        for (looked, code, words) in [
            (
                Looked::Literal([192, 0, 2, 1].into()),
                "ok",
                "192.0.2.1, without",
            ),
            (
                found(&[
                    "192.0.2.1",
                    "192.0.2.1",
                    "2001:db8::1",
                    "192.0.2.2",
                    "192.0.2.3",
                ]),
                "ok",
                "192.0.2.1, 2001:db8::1, 192.0.2.2",
            ),
            (
                found(&[]),
                "name_unknown",
                "call.example.org has no address",
            ),
            (
                failed(&io::Error::other(
                    "failed to lookup address information: Name or service not known",
                )),
                "name_unknown",
                "A or AAAA",
            ),
            (
                failed(&io::Error::other("Temporary failure in name resolution")),
                "name_server_failed",
                "(Temporary failure in name resolution)",
            ),
            (
                Looked::TimedOut(Duration::from_secs(2)),
                "name_timed_out",
                "2 s",
            ),
        ] {
            let row = row(&target, &looked);
            assert_eq!(row.code, code);
            assert_eq!(row.verdict == Verdict::Ok, row.advice.is_none());
            let said = row.advice.unwrap_or(row.found);
            assert!(said.contains(words), "{said}");
        }
    }
}
