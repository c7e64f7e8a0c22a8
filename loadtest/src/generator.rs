//! The load generator's own losses, so that a report does not blame the server for them.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use procfs::{CpuInfo, Current, Meminfo};

/// Datagrams the kernel dropped on this machine's UDP sockets bound to `ports`, because their
/// owner did not read in time. None where there is no `/proc` (other systems than Linux).
pub fn socket_drops(ports: &[u16]) -> Option<u64> {
    let ports: HashSet<u16> = ports.iter().copied().collect();
    let tables: Vec<_> = ["/proc/net/udp", "/proc/net/udp6"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .collect();
    (!tables.is_empty()).then(|| tables.iter().map(|table| drops(table, &ports)).sum())
}

fn drops(table: &str, ports: &HashSet<u16>) -> u64 {
    let row = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (_, port) = words.get(1)?.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let drops: u64 = words.last()?.parse().ok()?;
        ports.contains(&port).then_some(drops)
    };
    table.lines().skip(1).filter_map(row).sum()
}

/// The whole machine's count of UDP datagrams dropped for want of a buffer, the server's own
/// included when it runs here; since boot.
pub fn machine_buffer_errors() -> Option<u64> {
    Some(procfs::net::snmp().ok()?.udp_rcvbuf_errors)
}

/// This machine in a line: processor and count, memory, kernel.
pub fn machine() -> String {
    let cpu = CpuInfo::current().ok();
    // All cores count, not only those this process is pinned to.
    let cores = cpu.as_ref().map_or(0, CpuInfo::num_cores);
    let processor = cpu.as_ref().and_then(|cpu| cpu.model_name(0));
    let memory = Meminfo::current().map_or(0, |memory| memory.mem_total >> 30);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} x {}, {memory} GiB, {} {}",
        processor.unwrap_or("cpu"),
        std::env::consts::OS,
        kernel.trim()
    )
}

/// The address of this machine that packets to `server` leave from. Bots bind it, so that a server
/// on loopback is reached over loopback. No packet is sent.
pub fn address_towards(server: std::net::SocketAddr) -> IpAddr {
    let any: IpAddr = match server {
        std::net::SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    std::net::UdpSocket::bind((any, 0))
        .and_then(|socket| {
            socket.connect(server)?;
            Ok(socket.local_addr()?.ip())
        })
        .unwrap_or(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_sockets_are_counted() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            1: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0 5\n\
            2: 00000000000000000000000000000000:1F91 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 1 2 0 7\n\
            junk\n";
        for (ports, count) in [(vec![], 0), (vec![8080], 5), (vec![8080, 8081, 1], 12)] {
            assert_eq!(drops(table, &ports.into_iter().collect()), count);
        }
    }

    #[test]
    fn the_machine_is_told_of() {
        let told = machine();
        assert!(
            !told.starts_with("0 x") && !told.contains(" 0 GiB"),
            "{told}"
        );
        assert!(machine_buffer_errors().is_some());
    }

    #[test]
    fn loopback_is_reached_from_loopback() {
        let server = "127.0.0.1:9".parse().unwrap();
        assert_eq!(address_towards(server), IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
}
