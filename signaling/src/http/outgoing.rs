//! Bytes on their way to a client.

use tokio::time::Instant;

/// Bytes that are written piece by piece, as the client takes them.
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
    /// The time at which the client last took some of it, or at which there was something to take again.
    taken_at: Instant,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            written: 0,
            taken_at: Instant::now(),
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
    }

    /// The buffer, to which more is appended.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.is_empty() {
            self.bytes.clear();
            self.written = 0;
            self.taken_at = Instant::now();
        }
        &mut self.bytes
    }
}
