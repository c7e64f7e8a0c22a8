//! Counts of joins that the door has refused, by code.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::access::TokenFault;

/// Counts of joins that access tokens or hooks have refused. The codes are few and fixed, whatever strangers send.
#[derive(Default)]
pub(super) struct JoinsRefused {
    /// Counts in the order of [`TokenFault::CODES`]. A denial of a hook is `not_allowed`, too.
    counts: [AtomicU64; TokenFault::CODES.len()],
}

impl JoinsRefused {
    /// Other codes are counted elsewhere, or are faults of the server.
    pub(super) fn count(&self, code: &str) {
        let at = TokenFault::CODES.iter().position(|known| *known == code);
        if let Some(count) = at.map(|at| &self.counts[at]) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn by_code(&self) -> BTreeMap<&'static str, u64> {
        let counts = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        TokenFault::CODES.into_iter().zip(counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_counted_by_itself() {
        let refused = JoinsRefused::default();
        for code in ["token_expired", "token_expired", "not_allowed", "internal"] {
            refused.count(code);
        }
        let mut expected: BTreeMap<_, _> = TokenFault::CODES.map(|code| (code, 0)).into();
        expected.extend([("token_expired", 2), ("not_allowed", 1)]);
        assert_eq!(refused.by_code(), expected);
    }
}
