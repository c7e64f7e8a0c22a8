//! The bytes that may go over a path before the client has proved to be there.
//!
//! A check can be sent from another's address. Until that is settled, no more than [three times](AMPLIFICATION) the
//! bytes that came from there go back, so that forging an address is not worth the trouble.

/// Bytes that came and went while a path was not validated.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    received: usize,
    sent: usize,
}

/// Ratio of bytes sent to bytes received before proof, as for QUIC (RFC 9000 section 8.1).
const AMPLIFICATION: usize = 3;

impl Allowance {
    /// Counts bytes that came.
    pub(super) fn received(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(bytes);
    }

    /// Whether so many bytes may go; they are counted if so.
    pub(super) fn admits(&mut self, bytes: usize) -> bool {
        let sent = self.sent.saturating_add(bytes);
        let admits = sent <= self.received.saturating_mul(AMPLIFICATION);
        if admits {
            self.sent = sent;
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_times_the_bytes_that_came_may_go() {
        let mut allowance = Allowance::default();
        assert!(!allowance.admits(1));
        allowance.received(100);
        // A refused datagram uses nothing up.
        for (bytes, admitted) in [(200, true), (101, false), (100, true), (1, false)] {
            assert_eq!(allowance.admits(bytes), admitted, "{bytes}");
        }
        allowance.received(usize::MAX);
        assert!(allowance.admits(1_000_000));
    }
}
