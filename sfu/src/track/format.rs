//! The payload type of a layer's packets. Its publisher may change to another negotiated one at any time (RFC 3550
//! section 5.1).

use std::time::{Duration, Instant};

/// Average interval of the changes that are followed at once. Each costs a decision for each viewer. Publishers change
/// a few times in a call; more frequent changes are followed late.
const SPACING: Duration = Duration::from_millis(500);
/// Changes in a row that are followed at once.
const BURST: u32 = 4;

/// The payload type of one layer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Format {
    /// Payload type of the last packet.
    payload_type: Option<u8>,
    /// Other payload types were negotiated since.
    is_outdated: bool,
    /// Unwrapped sequence number of the newest packet. Older packets that come late do not count.
    newest: u64,
    /// The time at which the changes so far no longer count against a further one.
    paid_at: Option<Instant>,
}

/// The change that a packet brings to the payload type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Observed {
    /// The payload type is the same.
    Same,
    /// The payload type was not known before.
    Known,
    /// The payload type is another one.
    Another,
}

impl Format {
    /// Takes the payload type of a packet.
    pub(crate) fn observe(&mut self, now: Instant, sequence: u64, payload_type: u8) -> Observed {
        if sequence < self.newest {
            return Observed::Same;
        }
        self.newest = sequence;
        if self
            .payload_type
            .is_some_and(|before| before != payload_type)
        {
            let paid_at = self.paid_at.map_or(now, |at| at.max(now));
            if paid_at > now + SPACING * (BURST - 1) {
                return Observed::Same;
            }
            self.paid_at = Some(paid_at + SPACING);
        }
        self.set(payload_type)
    }

    fn set(&mut self, payload_type: u8) -> Observed {
        let was_outdated = std::mem::take(&mut self.is_outdated);
        match self.payload_type.replace(payload_type) {
            Some(before) if before != payload_type => Observed::Another,
            Some(_) if !was_outdated => Observed::Same,
            _ => Observed::Known,
        }
    }

    /// The payload type; none before the first packet since it was negotiated.
    pub(crate) fn payload_type(&self) -> Option<u8> {
        self.payload_type.filter(|_| !self.is_outdated)
    }

    /// Records the payload type that the publisher's worker reports.
    pub(crate) fn follow(&mut self, payload_type: Option<u8>) -> Observed {
        match payload_type {
            Some(payload_type) => self.set(payload_type),
            None if self.payload_type().is_none() => Observed::Same,
            None => {
                self.outdate();
                Observed::Known
            }
        }
    }

    /// Records that other payload types were negotiated: the next packet tells which is used.
    pub(crate) fn outdate(&mut self) {
        self.is_outdated = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Observed::{Another, Known, Same};

    #[test]
    fn the_newest_packet_tells_and_changes_are_bounded() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut format = Format::default();
        for (ms, sequence, payload_type, expected) in [
            (0, 10, 96, Known),
            (1, 11, 96, Same),
            (2, 12, 98, Another),
            // Late, from before.
            (3, 9, 96, Same),
            (4, 13, 98, Same),
            (5, 14, 96, Another),
            (6, 15, 98, Another),
            (7, 16, 96, Another),
            // Too often.
            (8, 17, 98, Same),
            (501, 18, 96, Same),
            (502, 19, 98, Another),
            (503, 20, 96, Same),
            (60_000, 21, 96, Another),
        ] {
            let observed = format.observe(at(ms), sequence, payload_type);
            assert_eq!(observed, expected, "{ms} ms");
        }
        assert_eq!(format.payload_type(), Some(96));
        format.outdate();
        assert_eq!(format.payload_type(), None);
        assert_eq!(format.observe(at(61_000), 22, 96), Known);
        format.outdate();
        assert_eq!(format.observe(at(61_000), 23, 98), Another);
    }

    #[test]
    fn another_worker_is_believed() {
        let mut format = Format::default();
        for (said, expected) in [
            (None, Same),
            (Some(98), Known),
            (Some(98), Same),
            (None, Known),
            (None, Same),
            (Some(96), Another),
        ] {
            assert_eq!(format.follow(said), expected, "{said:?}");
            assert_eq!(format.payload_type(), said);
        }
    }
}
