//! A process's use of the machine, as the kernel tells it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A process under observation.
#[derive(Debug)]
pub struct Process {
    pub pid: u32,
    directory: PathBuf,
    /// Start in clock ticks since boot: tells the process from a later one of the same number.
    started: u64,
    /// Processor time of every thread ever seen, in nanoseconds: the time of a thread that ends would be lost.
    threads: HashMap<u32, u64>,
}

impl Process {
    /// Observes a process; none if there is no such process, or no `/proc`.
    pub fn observe(pid: u32) -> Option<Self> {
        let directory = PathBuf::from(format!("/proc/{pid}"));
        let stat = std::fs::read_to_string(directory.join("stat")).ok()?;
        Some(Self {
            pid,
            directory,
            started: started(&stat)?,
            threads: HashMap::new(),
        })
    }

    /// Whether it is the same process still, and running.
    pub fn alive(&self) -> bool {
        let stat = std::fs::read_to_string(self.directory.join("stat"));
        stat.is_ok_and(|stat| started(&stat) == Some(self.started) && !ended(&stat))
    }

    /// Processor time used so far, in seconds. To the nanosecond where the kernel tells, else to
    /// the hundredth of a second.
    pub fn cpu_seconds(&mut self) -> Option<f64> {
        if let Some(threads) = threads(&self.directory) {
            for (id, used) in threads {
                self.threads.insert(id, used);
            }
        }
        if self.threads.is_empty() {
            let stat = std::fs::read_to_string(self.directory.join("stat")).ok()?;
            return ticks(&stat);
        }
        Some(self.threads.values().sum::<u64>() as f64 / 1e9)
    }

    /// Resident memory in bytes, from counters that may lag by some pages for each thread.
    pub fn rss_quick(&self) -> Option<u64> {
        let status = std::fs::read_to_string(self.directory.join("status")).ok()?;
        kib(&status, "VmRSS:")
    }

    /// Resident memory in bytes, counted page by page where the kernel does that.
    pub fn rss(&self) -> Option<u64> {
        let rollup = std::fs::read_to_string(self.directory.join("smaps_rollup"));
        let exact = rollup.ok().as_deref().and_then(rss);
        exact.or_else(|| self.rss_quick())
    }

    /// The cores it may use.
    pub fn cores(&self) -> Vec<usize> {
        super::cores::allowed(self.pid).unwrap_or_default()
    }
}

fn threads(directory: &Path) -> Option<Vec<(u32, u64)>> {
    let tasks = std::fs::read_dir(directory.join("task")).ok()?;
    let used = |task: std::io::Result<std::fs::DirEntry>| {
        let task = task.ok()?;
        let id = task.file_name().to_str()?.parse().ok()?;
        let schedstat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        Some((id, on_cpu(&schedstat)?))
    };
    Some(tasks.filter_map(used).collect())
}

/// The first field of `schedstat`: nanoseconds on a processor.
fn on_cpu(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    // The second field is the program's name in parentheses, spaces and all; this begins with the third.
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace())
}

/// User and system time, the 14th and 15th field, in hundredths of a second on every Linux (USER_HZ).
fn ticks(stat: &str) -> Option<f64> {
    let mut times = fields(stat)?.skip(11).map(str::parse::<u64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some(ticks as f64 / 100.0)
}

fn started(stat: &str) -> Option<u64> {
    fields(stat)?.nth(19)?.parse().ok()
}

/// A zombie has ended, and waits for its parent to notice.
fn ended(stat: &str) -> bool {
    fields(stat).and_then(|mut fields| fields.next()) == Some("Z")
}

fn rss(smaps_rollup: &str) -> Option<u64> {
    kib(smaps_rollup, "Rss:")
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_proc() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 5 0 4242 1 2";
        assert_eq!(ticks(stat), Some(1.75));
        assert_eq!((started(stat), ended(stat)), (Some(4242), false));
        assert!(ended("7 (x) Z 1"));
        assert_eq!((ticks("7 (a) S 1"), started("junk")), (None, None));
        assert_eq!(on_cpu("418398 81841 2\n"), Some(418_398));
        assert_eq!(on_cpu(""), None);
        let rollup = "55-7f ---p 0 00:00 0 [rollup]\nRss:                2048 kB\nPss:   7 kB\n";
        assert_eq!(rss(rollup), Some(2 << 20));
        assert_eq!(kib("VmPeak: 1 kB\nVmRSS:\t   3 kB\n", "VmRSS:"), Some(3072));
        assert_eq!(rss("Rss:\n"), None);
    }

    #[test]
    fn this_process() {
        let mut this = Process::observe(std::process::id()).unwrap();
        assert!(this.alive());
        assert!(this.rss().unwrap() > 1 << 20);
        assert!(!this.cores().is_empty());
        let before = this.cpu_seconds().unwrap();
        let mut sum = 0u64;
        while this.cpu_seconds().unwrap() - before < 0.02 {
            sum = std::hint::black_box(sum.wrapping_mul(31) + 7);
        }
        assert!(Process::observe(u32::MAX).is_none());
    }
}
