//! The memory that the machine has for the process, and the memory that the process uses.

use std::fs;
use std::path::Path;

use rustix::param::page_size;
use rustix::process::{Resource, getrlimit};

/// Taken for what cannot be read: a machine as small as they come.
const UNKNOWN: u64 = 1 << 30;

/// Bounds of the process's memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    pub(super) memory: u64,
    /// Limit of its control group (a container, a unit).
    pub(super) group: Option<u64>,
    /// Limit of its address space (`ulimit -v`), less the memory mapped and not used.
    pub(super) addresses: Option<u64>,
}

/// Memory of the process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    pub(super) resident: u64,
    /// Bytes mapped, used or not.
    pub(super) addresses: u64,
}

impl Machine {
    pub(super) fn read() -> Self {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let used = Used::read();
        let unused = used.addresses.saturating_sub(used.resident);
        Self {
            memory: total(&meminfo).unwrap_or(UNKNOWN),
            group: group(),
            addresses: addresses().map(|all| all.saturating_sub(unused)),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        let bounds = [Some(self.memory), self.group, self.addresses];
        bounds.into_iter().flatten().min().unwrap_or(self.memory)
    }

    /// The name of the lowest of these limits.
    pub(super) fn why(&self) -> &'static str {
        match Some(self.bytes()) {
            least if least == self.addresses => "ulimit -v, less what is mapped",
            least if least == self.group => "memory.max of the control group",
            _ => "the machine's memory",
        }
    }
}

impl Used {
    pub(super) fn read() -> Self {
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let mut pages = statm.split(' ').map(|pages| pages.parse().unwrap_or(0));
        let mut bytes = || pages.next().unwrap_or(0) * page_size() as u64;
        let addresses = bytes();
        Self {
            addresses,
            resident: bytes(),
        }
    }
}

/// The bound of the address space.
fn addresses() -> Option<u64> {
    getrlimit(Resource::As).current
}

/// `MemTotal` of /proc/meminfo.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kb: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kb << 10)
}

/// The least `memory.max` of the process's control group and those it is in (cgroup v2).
fn group() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let group = root.join(path);
    let within = group
        .ancestors()
        .take_while(|place| place.starts_with(root));
    let bounds = within.filter_map(|place| fs::read_to_string(place.join("memory.max")).ok());
    bounds.filter_map(|bound| bound.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_and_this_process_some_of_it() {
        let (machine, used) = (Machine::read(), Used::read());
        assert!(
            used.resident > 1 << 20 && used.resident <= used.addresses,
            "{used:?}"
        );
        assert!(used.resident < machine.bytes(), "{machine:?}");
    }

    #[test]
    fn the_kernels_words_are_read() {
        let meminfo = "MemTotal:       24576000 kB\nMemFree:        1 kB\n";
        assert_eq!(total(meminfo), Some(24_576_000 << 10));
        for broken in ["", "MemTotal: many", "MemFree: 1 kB"] {
            assert_eq!(total(broken), None);
        }
    }
}
