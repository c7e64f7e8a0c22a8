//! Other load of the machine.

use std::collections::HashMap;

/// Processor time spent on each core since boot, in seconds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Busy {
    cores: HashMap<usize, f64>,
}

impl Busy {
    /// Reads the times; none where there is no `/proc`.
    pub fn now() -> Option<Self> {
        Some(Self::parse(&std::fs::read_to_string("/proc/stat").ok()?))
    }

    /// The time of `cores`.
    pub fn of(&self, cores: &[usize]) -> f64 {
        cores.iter().filter_map(|core| self.cores.get(core)).sum()
    }

    fn parse(stat: &str) -> Self {
        let row = |line: &str| {
            let mut words = line.strip_prefix("cpu")?.split(' ');
            let core = words.next()?.parse().ok()?;
            let ticks: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
            // user, nice, system, idle, iowait, irq, softirq, steal: without idle and iowait; and
            // without interrupts, in which packets of ours are delivered.
            let busy = [0, 1, 2, 7].map(|field| ticks.get(field).copied().unwrap_or(0));
            Some((core, busy.iter().sum::<u64>() as f64 / 100.0))
        };
        Self {
            cores: stat.lines().filter_map(row).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_told_apart() {
        let busy = Busy::parse(
            "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 1 50 9999 8 7 6 49 0 0\ncpu1 1 0 0 5 0 0 0 0 0 0\nintr 5\n",
        );
        assert_eq!(busy.of(&[0]), 2.0);
        assert_eq!(busy.of(&[0, 1, 7]), 2.01);
        assert_eq!(busy.of(&[]), 0.0);
        assert!(Busy::now().unwrap().of(&[0]) > 0.0);
    }
}
