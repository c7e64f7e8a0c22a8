//! A process's use of the machine, as the kernel tells it.

use std::collections::HashMap;
use std::sync::Mutex;

use procfs::process::Process as Kernel;

use crate::bot::tap::lock;

/// A process under observation.
#[derive(Debug)]
pub struct Process {
    pub pid: u32,
    /// The process itself: a later one of the same number is not taken for it.
    kernel: Kernel,
    /// Processor time of every thread ever seen, in nanoseconds: the time of a thread that ends would be lost.
    threads: Mutex<HashMap<i32, u64>>,
}

impl Process {
    /// Observes a process; none if there is no such process, or no `/proc`.
    pub fn observe(pid: u32) -> Option<Self> {
        let kernel = Kernel::new(i32::try_from(pid).ok()?).ok()?;
        Some(Self {
            pid,
            kernel,
            threads: Mutex::default(),
        })
    }

    /// Whether it is running still. A zombie has ended, and waits for its parent to notice.
    pub fn alive(&self) -> bool {
        self.kernel.stat().is_ok_and(|stat| stat.state != 'Z')
    }

    /// Processor time used so far, in seconds. To the nanosecond where the kernel tells, else to
    /// the hundredth of a second (USER_HZ on every Linux).
    pub fn cpu_seconds(&self) -> Option<f64> {
        let mut threads = lock(&self.threads);
        for task in self.kernel.tasks().into_iter().flatten().flatten() {
            if let Ok(used) = task.schedstat() {
                threads.insert(task.tid, used.sum_exec_runtime);
            }
        }
        if threads.is_empty() {
            let stat = self.kernel.stat().ok()?;
            return Some((stat.utime + stat.stime) as f64 / 100.0);
        }
        Some(threads.values().sum::<u64>() as f64 / 1e9)
    }

    /// Resident memory in bytes, from counters that may lag by some pages for each thread.
    pub fn rss_quick(&self) -> Option<u64> {
        Some(self.kernel.status().ok()?.vmrss? * 1_024)
    }

    /// Resident memory in bytes, counted page by page where the kernel does that.
    pub fn rss(&self) -> Option<u64> {
        let rollup = self.kernel.smaps_rollup().ok();
        let maps = rollup
            .into_iter()
            .flat_map(|rollup| rollup.memory_map_rollup);
        let mut exact = maps.filter_map(|map| map.extension.map.get("Rss").copied());
        exact.next().or_else(|| self.rss_quick())
    }

    /// The cores it may use.
    pub fn cores(&self) -> Vec<usize> {
        super::cores::allowed(self.pid).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process() {
        let this = Process::observe(std::process::id()).unwrap();
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
