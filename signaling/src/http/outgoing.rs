//! Bytes on their way to a client.
//!
//! Sound that comes later is behind them, so that they are few where a connection is slow: the queue is the relay's, which
//! knows what is worth sending.

use std::time::Duration;

use tokio::time::Instant;

/// Bytes that are written piece by piece, as the client takes them.
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
    /// The time at which the client last took some of it, or at which there was something to take again.
    taken_at: Instant,
    filled_at: Instant,
    /// The last ones did not leave at once.
    is_slow: bool,
}

/// Bytes taken from the relay at a time: a record's worth.
const MOST: usize = 16 << 10;
/// Bytes taken at a time where the client does not take them at once: 0.1 s at 300 kbit/s, and still two calls a
/// millisecond at 64 Mbit/s.
const FEW: usize = 4 << 10;
/// Time in which bytes leave at once.
const AT_ONCE: Duration = Duration::from_millis(5);

impl Outgoing {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            written: 0,
            taken_at: Instant::now(),
            filled_at: Instant::now(),
            is_slow: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// Bytes that are not written yet.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    pub(super) fn taken_at(&self) -> Instant {
        self.taken_at
    }

    /// The client has taken so many bytes.
    pub(super) fn wrote(&mut self, written: usize) {
        self.written += written;
        self.taken_at = Instant::now();
        if self.is_empty() {
            self.is_slow = self.taken_at > self.filled_at + AT_ONCE;
        }
    }

    /// Bytes to take from the relay at a time.
    pub(super) fn most(&self) -> usize {
        match self.is_slow {
            true => FEW,
            false => MOST,
        }
    }

    /// The buffer, to which more is appended.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.is_empty() {
            self.bytes.clear();
            self.written = 0;
            self.taken_at = Instant::now();
            self.filled_at = self.taken_at;
        }
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_given_little_at_a_time() {
        let mut out = Outgoing::new();
        assert_eq!(out.most(), MOST);
        for (waits, most) in [(0, MOST), (40, FEW), (40, FEW), (1, MOST)] {
            out.buffer().extend([7; 100]);
            out.wrote(30);
            advance(Duration::from_millis(waits)).await;
            out.wrote(70);
            assert!(out.is_empty());
            assert_eq!(out.most(), most, "after {waits} ms");
        }
    }
}
