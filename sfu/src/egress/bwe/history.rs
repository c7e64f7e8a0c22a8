//! What was sent, until the viewer has told what became of it.

use std::collections::VecDeque;
use std::time::Instant;

use crate::rtp::rtcp::TransportFeedback;
use crate::rtp::sequence::Extender;

/// Packets remembered at most: at 100 Mbit/s a second and a half. 24 bytes each: 400 KB for such a
/// viewer, 2 KB for one who only listens. What is pushed out counts as neither arrived nor lost.
const PACKETS: usize = 16_384;

/// A packet sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    bytes: u16,
    probe: u8,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Unknown,
    Lost,
    Arrived,
}

/// A packet of which feedback says for the first time that it arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    pub(super) sent_at: Instant,
    /// On the viewer's clock, in microseconds since an epoch of its own.
    pub(super) arrived_us: i64,
    pub(super) bytes: u32,
    pub(super) probe: Option<u8>,
}

/// What one feedback packet tells.
#[derive(Debug, Default)]
pub(super) struct News {
    /// In the order sent.
    pub(super) arrived: Vec<Arrived>,
    /// Packets that now count as lost, less those that did and arrived after all.
    pub(super) lost: i64,
    /// When the last packet was sent that the viewer knows of.
    pub(super) newest_sent_at: Option<Instant>,
}

/// What was sent.
#[derive(Debug, Default)]
pub(super) struct History {
    packets: VecDeque<Sent>,
    /// The unwrapped number of the first.
    first: u64,
    numbers: Extender,
    clock: ArrivalClock,
    news: News,
}

impl History {
    /// Notes a packet.
    pub(super) fn sent(&mut self, now: Instant, number: u16, bytes: usize, probe: Option<u8>) {
        let number = self.numbers.extend(number);
        if self.packets.is_empty() {
            self.first = number;
        }
        if number != self.first + self.packets.len() as u64 {
            // Numbers are given one after another; if not, nothing before can be told apart.
            self.packets.clear();
            self.first = number;
        }
        if self.packets.len() == PACKETS {
            self.packets.pop_front();
            self.first += 1;
        }
        self.packets.push_back(Sent {
            at: now,
            bytes: bytes.min(usize::from(u16::MAX)) as u16,
            probe: probe.map_or(0, |id| id.wrapping_add(1).max(1)),
            fate: Fate::Unknown,
        });
    }

    /// Whether anything is under way, and since when.
    pub(super) fn oldest_unknown(&self) -> Option<Instant> {
        let unknown = self.packets.iter().find(|sent| sent.fate == Fate::Unknown);
        unknown.map(|sent| sent.at)
    }

    /// Takes feedback; what it tells that was not known.
    pub(super) fn feedback(&mut self, feedback: &TransportFeedback) -> &News {
        self.news.arrived.clear();
        self.news.lost = 0;
        self.news.newest_sent_at = None;
        for (number, arrival) in &feedback.statuses {
            let number = self.numbers.peek(*number);
            let Some(index) = number.checked_sub(self.first) else {
                continue;
            };
            let Some(sent) = self.packets.get_mut(index as usize) else {
                continue;
            };
            self.news.newest_sent_at = self.news.newest_sent_at.max(Some(sent.at));
            match (arrival, sent.fate) {
                (None, Fate::Unknown) => {
                    sent.fate = Fate::Lost;
                    self.news.lost += 1;
                }
                (Some(ticks), Fate::Unknown | Fate::Lost) => {
                    self.news.lost -= i64::from(sent.fate == Fate::Lost);
                    sent.fate = Fate::Arrived;
                    self.news.arrived.push(Arrived {
                        sent_at: sent.at,
                        arrived_us: self.clock.microseconds(*ticks),
                        bytes: u32::from(sent.bytes),
                        probe: (sent.probe > 0).then(|| sent.probe - 1),
                    });
                }
                _ => {}
            }
        }
        self.forget();
        &self.news
    }

    /// What is known to have arrived is of no more use, nor what was lost long before.
    fn forget(&mut self) {
        let keep = self.packets.len().min(512);
        while self.packets.len() > keep
            && self
                .packets
                .front()
                .is_some_and(|sent| sent.fate != Fate::Unknown)
        {
            self.packets.pop_front();
            self.first += 1;
        }
    }
}

/// Ticks of three thousand years: sums and differences of such times fit.
const FAR: i64 = 1 << 48;

/// Ticks of 250 us that wrap at 2^32, unwrapped.
#[derive(Debug, Default)]
struct ArrivalClock {
    last: Option<i64>,
}

impl ArrivalClock {
    fn microseconds(&mut self, ticks: i64) -> i64 {
        let last = *self.last.get_or_insert(i64::from(ticks as u32));
        let difference = (ticks as i32).wrapping_sub(last as i32);
        // A clock that runs away stops at the bound: it tells nothing then, but does no harm.
        let unwrapped = (last + i64::from(difference)).clamp(-FAR, FAR);
        self.last = Some(last.max(unwrapped));
        unwrapped * 250
    }
}
