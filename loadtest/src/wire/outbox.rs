//! Datagrams gathered for one socket, and the runs they make.

/// An IPv4 datagram without its headers.
const MAX_RUN_BYTES: usize = 65_507;

/// Datagrams to send from one socket, in order, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// The place up to which the runs have been taken.
#[derive(Default)]
pub(super) struct Cursor {
    next: usize,
    offset: usize,
}

impl Outbox {
    /// Adds a datagram, written by `write` at the end of the buffer it is given. One that turns
    /// out empty is none.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.bytes.len();
        write(&mut self.bytes);
        if self.bytes.len() > before {
            self.ends.push(self.bytes.len());
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// The next run, of `most` datagrams at most, and its datagrams' size.
    pub(super) fn run(&self, at: &mut Cursor, most: usize) -> Option<(&[u8], usize)> {
        let start = at.offset;
        let mut end = *self.ends.get(at.next)?;
        let segment = end - start;
        at.next += 1;
        let mut count = 1;
        while count < most {
            let Some(&next) = self.ends.get(at.next) else {
                break;
            };
            if next - end > segment || next - start > MAX_RUN_BYTES {
                break;
            }
            let shorter = next - end < segment;
            (end, count) = (next, count + 1);
            at.next += 1;
            if shorter {
                break;
            }
        }
        at.offset = end;
        Some((&self.bytes[start..end], segment))
    }

    #[cfg(test)]
    pub(super) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.bytes[start..*end])
    }
}
