//! Counts by code, for `/stats`. The codes are few and fixed, whatever strangers send.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count for each of `N` codes.
pub(crate) struct Tally<const N: usize> {
    codes: [&'static str; N],
    counts: [AtomicU64; N],
}

impl<const N: usize> Tally<N> {
    pub(crate) fn new(codes: [&'static str; N]) -> Self {
        Self {
            codes,
            counts: [const { AtomicU64::new(0) }; N],
        }
    }

    /// Counts one. A code that is not listed is counted elsewhere, or is a fault of the server.
    pub(crate) fn count(&self, code: &str) {
        let at = self.codes.iter().position(|known| *known == code);
        if let Some(count) = at.map(|at| &self.counts[at]) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn by_code(&self) -> BTreeMap<&'static str, u64> {
        let counts = self.counts.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        self.codes.into_iter().zip(counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_counted_by_itself() {
        let tally = Tally::new(["token_expired", "room_locked", "not_allowed"]);
        for code in ["token_expired", "token_expired", "not_allowed", "internal"] {
            tally.count(code);
        }
        let expected = [("not_allowed", 1), ("room_locked", 0), ("token_expired", 2)];
        assert_eq!(tally.by_code(), expected.into());
    }
}
