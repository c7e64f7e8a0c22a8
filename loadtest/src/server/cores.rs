//! The processors that a process may use.
//!
//! A thread inherits the affinity of the one that starts it, and so does a process. So a server is
//! pinned by starting it from a pinned thread: it is pinned at all times, it sees its true number
//! of cores when it sizes itself, and no other program is needed.

use std::fmt;
use std::io;
use std::str::FromStr;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Processors by number, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cores(pub Vec<usize>);

impl FromStr for Cores {
    type Err = String;

    /// Parses a list as `taskset` does: `0`, `0,2`, `1-3`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no list of cores: write 0 or 0,1 or 0-3");
        let mut cores = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
            let (first, last) = (number(first)?, number(last)?);
            if first > last || last >= CpuSet::MAX_CPU {
                return Err(wrong());
            }
            cores.extend(first..=last);
        }
        cores.sort_unstable();
        cores.dedup();
        Ok(Self(cores))
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&names.join(","))
    }
}

/// Processors that a process (0: the calling thread) may use now.
pub fn allowed(pid: u32) -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(i32::try_from(pid).ok().and_then(Pid::from_raw))?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|&core| set.is_set(core))
        .collect())
}

/// Pins the calling thread.
pub fn pin_thread(cores: &[usize]) -> io::Result<()> {
    pin(None, cores)
}

/// Pins every thread of this process; those started later inherit it.
pub fn pin_process(cores: &[usize]) -> io::Result<()> {
    for thread in std::fs::read_dir("/proc/self/task")? {
        let id = thread?.file_name();
        let id = id.to_str().and_then(|id| id.parse().ok());
        if let Some(id) = id.and_then(Pid::from_raw) {
            match pin(Some(id), cores) {
                // The thread has ended meanwhile.
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
                pinned => pinned?,
            }
        }
    }
    Ok(())
}

fn pin(thread: Option<Pid>, cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|&core| set.set(core));
    sched_setaffinity(thread, &set).map_err(|error| {
        let cores = Cores(cores.to_vec());
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("cannot use cores {cores}: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        for (text, cores) in [
            ("0", vec![0]),
            ("0,2", vec![0, 2]),
            ("1-3", vec![1, 2, 3]),
            ("3,1-2,1", vec![1, 2, 3]),
        ] {
            assert_eq!(text.parse(), Ok(Cores(cores)), "{text}");
        }
        for text in ["", "x", "1-", "-1", "2-1", "1,,2", "5000"] {
            assert!(text.parse::<Cores>().is_err(), "{text}");
        }
        assert_eq!(Cores(vec![0, 2]).to_string(), "0,2");
    }

    #[test]
    fn a_pinned_thread_has_pinned_children() {
        let before = allowed(0).unwrap();
        let first = before[0];
        let cores = std::thread::spawn(move || {
            pin_thread(&[first]).unwrap();
            let child = std::process::Command::new("cat")
                .arg("/proc/self/status")
                .output()
                .unwrap();
            let status = String::from_utf8(child.stdout).unwrap();
            let line = status
                .lines()
                .find(|line| line.starts_with("Cpus_allowed_list"));
            (allowed(0).unwrap(), line.map(str::to_owned))
        });
        let (thread, child) = cores.join().unwrap();
        assert_eq!(thread, [first]);
        let child = child.unwrap();
        assert_eq!(child.split_whitespace().last(), Some(&*first.to_string()));
        assert_eq!(allowed(0).unwrap(), before, "others are as they were");
        assert!(pin_thread(&[1_000]).is_err());
    }
}
