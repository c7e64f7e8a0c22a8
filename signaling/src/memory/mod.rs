//! The process's memory: one setting, and the budgets derived from it.
//!
//! Each participant, room and connection has its own bounds (`limits`), but their sum over all of them exceeds any
//! machine's memory. So everything that can grow large also counts for the whole process, each kind against its own
//! budget: when it is used up, the largest users lose memory first. The rest is watched: while the process holds as
//! much as allowed, sessions give up what they keep, and it lets nobody in. Before that, it does not let in more of the
//! address that holds most.

#[cfg(test)]
pub(crate) mod allocated;
mod budget;
mod machine;
mod unread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

pub(crate) use budget::{Account, Budget};
use machine::{Machine, Used};
pub(crate) use unread::Unread;

use crate::clients::ClientAddress;
use crate::config::ConfigError;

/// Bytes that each connection may hold without being counted: the usual messages.
pub(crate) const UNCOUNTED: usize = 16 << 10;
const MB: u64 = 1 << 20;
/// Least memory: with less no call is possible.
const LEAST: u64 = 64 * MB;
/// Quarters of the machine's memory used without a setting: other processes need some, too.
const OF_FOUR: u64 = 3;
/// Interval of the checks of the process's memory. At 1 Gbit/s 30 MB come in that time.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Tenths of the bound below which memory is no longer short. Between them and the bound the address that holds most gets
/// no more: the last tenth is for others.
const CALM_OF_TEN: u64 = 9;
/// Shortest time between two looks at which sessions give up what they keep: the allocator gives memory back some seconds
/// after it is free.
const RELIEVE_EVERY: Duration = Duration::from_secs(2);
/// Bytes of a participant beside its name and metadata, as measured: its connection, transport and subscriptions.
pub(crate) const PERSON: usize = 60_000;

/// The sharing of the process's memory, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub(crate) all: u64,
    /// Packets kept for retransmission.
    pub(crate) caches: usize,
    /// Messages that clients have not finished.
    messages: usize,
    /// Messages that clients have not read.
    outboxes: usize,
    /// Messages that wait for memory in which to be sent.
    waiting: usize,
    /// Chat that rooms keep.
    chat: usize,
    /// Events that wait for participants, or that sessions keep.
    events: usize,
}

impl Plan {
    /// A plan for so many MB; 0 takes three quarters of the machine's memory for the process.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Value`]: it is more than the machine has, or too little to serve anybody.
    pub(crate) fn new(memory_mb: u64) -> Result<Self, ConfigError> {
        Self::on(&Machine::read(), memory_mb)
    }

    fn on(machine: &Machine, memory_mb: u64) -> Result<Self, ConfigError> {
        let there = machine.bytes();
        let all = match memory_mb {
            0 => there / 4 * OF_FOUR,
            mb => mb.saturating_mul(MB),
        };
        let (has, why) = (there / MB, machine.why());
        if all > there {
            let sentence = format!("memory_mb is {memory_mb}, but there are {has} ({why})");
            return Err(ConfigError::Value(sentence));
        }
        if all < LEAST {
            let least = LEAST / MB;
            let sentence = match memory_mb {
                0 => format!(
                    "there are {has} MB of memory ({why}), too few for a server: it takes {least} and a third"
                ),
                _ => format!("memory_mb must be at least {least}"),
            };
            return Err(ConfigError::Value(sentence));
        }
        let tenths = |tenths: u64| usize::try_from(all / 10 * tenths).unwrap_or(usize::MAX);
        Ok(Self {
            all,
            caches: tenths(4),
            messages: tenths(1),
            outboxes: tenths(1),
            waiting: tenths(1) / 4,
            chat: tenths(1),
            events: tenths(2),
        })
    }
}

/// The budgets of a node. Cheap to clone.
#[derive(Clone)]
pub struct Memory {
    pub(crate) messages: Budget,
    pub(crate) outboxes: Budget,
    pub(crate) waiting: Budget,
    pub(crate) chat: Budget,
    pub(crate) events: Budget,
    /// People in rooms and before them, with their names and metadata. It has no part of its own: people are bounded by
    /// joins, and are counted to find the address that holds most.
    pub(crate) people: Budget,
    bytes: u64,
    watch: Arc<Watch>,
}

#[derive(Default)]
struct Watch {
    is_short: AtomicBool,
    refused: AtomicU64,
    resident: AtomicU64,
}

/// The memory figures of `/stats`, in bytes.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(crate) struct MemoryStats {
    bytes: u64,
    resident: u64,
    short: bool,
    refused: u64,
    messages: usize,
    outboxes: usize,
    chat: usize,
    events: usize,
    messages_ended: u64,
    outboxes_ended: u64,
    chats_shortened: u64,
    events_ended: u64,
}

impl Memory {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            messages: Budget::new(plan.messages),
            outboxes: Budget::new(plan.outboxes),
            waiting: Budget::new(plan.waiting),
            chat: Budget::new(plan.chat),
            events: Budget::new(plan.events),
            people: Budget::new(usize::MAX),
            bytes: plan.all,
            watch: Arc::default(),
        }
    }

    /// Watches the process from now on, for as long as anybody has its memory. Must run within a tokio runtime.
    pub(crate) fn watch(&self) {
        let (watched, bytes) = (Arc::downgrade(&self.watch), self.bytes);
        let events = self.events.clone();
        tokio::spawn(async move {
            let mut every = interval(LOOK_EVERY);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut relieved: Option<Instant> = None;
            loop {
                every.tick().await;
                let Some(watch) = watched.upgrade() else {
                    return;
                };
                let over = watch.look(Used::read().resident, bytes);
                if over > 0 && relieved.is_none_or(|at| at.elapsed() >= RELIEVE_EVERY) {
                    events.relieve(usize::try_from(over).unwrap_or(usize::MAX));
                    relieved = Some(Instant::now());
                }
            }
        });
    }

    /// Whether one more of this address would be too many; then that is counted.
    pub(crate) fn refuses(&self, client: Option<ClientAddress>) -> bool {
        let resident = self.watch.resident.load(Ordering::Relaxed);
        let is_tight = resident >= self.bytes / 10 * CALM_OF_TEN;
        // A newcomer's buffers would be added to those that its address holds, or messages leave no room for them.
        let short = resident >= self.bytes
            || is_tight && client.is_some_and(|it| self.is_most_of(it))
            || self.messages.refuses(client);
        if short {
            self.watch.refused.fetch_add(1, Ordering::Relaxed);
        }
        short
    }

    /// Whether an address holds more than half of what is counted.
    fn is_most_of(&self, client: ClientAddress) -> bool {
        let budgets = [
            &self.messages,
            &self.outboxes,
            &self.waiting,
            &self.chat,
            &self.events,
            &self.people,
        ];
        let all: usize = budgets.iter().map(|it| it.used()).sum();
        let own: usize = budgets.iter().map(|it| it.used_by(client)).sum();
        own > all / 2
    }

    pub(crate) fn stats(&self) -> MemoryStats {
        let watch = &self.watch;
        MemoryStats {
            bytes: self.bytes,
            resident: watch.resident.load(Ordering::Relaxed),
            short: watch.is_short.load(Ordering::Relaxed),
            refused: watch.refused.load(Ordering::Relaxed),
            messages: self.messages.used(),
            outboxes: self.outboxes.used(),
            chat: self.chat.used(),
            events: self.events.used(),
            messages_ended: self.messages.evicted(),
            outboxes_ended: self.outboxes.evicted(),
            chats_shortened: self.chat.evicted(),
            events_ended: self.events.evicted(),
        }
    }
}

/// Memory without a bound, and unwatched: for rooms without a node.
impl Default for Memory {
    fn default() -> Self {
        Self::new(Plan {
            all: u64::MAX,
            caches: usize::MAX,
            messages: usize::MAX,
            outboxes: usize::MAX,
            waiting: usize::MAX,
            chat: usize::MAX,
            events: usize::MAX,
        })
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Watch {
    /// Checks resident memory. Returns by how much it is above what is calm, if it is short. Mapped memory does not count:
    /// the allocator keeps addresses whose memory it gave back.
    fn look(&self, resident: u64, bytes: u64) -> u64 {
        self.resident.store(resident, Ordering::Relaxed);
        let was = self.is_short.load(Ordering::Relaxed);
        let calm = bytes / 10 * CALM_OF_TEN;
        let bound = if was { calm } else { bytes };
        let is_short = resident >= bound;
        let over = if is_short {
            (resident - calm).max(1)
        } else {
            0
        };
        if was == is_short {
            return over;
        }
        self.is_short.store(is_short, Ordering::Relaxed);
        let (resident_mb, memory_mb) = (resident / MB, bytes / MB);
        match is_short {
            true => warn!(resident_mb, memory_mb, "memory is short: nobody is let in"),
            false => info!(resident_mb, memory_mb, "memory is no longer short"),
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_checked_against_the_machine() {
        let machine = Machine {
            memory: 8_000 * MB,
            group: Some(2_000 * MB),
            addresses: None,
        };
        for (mb, all) in [
            (0, Some(1_500)),
            (64, Some(64)),
            (2_000, Some(2_000)),
            (2_001, None),
            (63, None),
        ] {
            let plan = Plan::on(&machine, mb);
            assert_eq!(plan.as_ref().ok().map(|plan| plan.all / MB), all, "{mb}");
            if let Err(error) = plan {
                assert!(error.to_string().contains("memory_mb"), "{error}");
            }
        }
        let plan = Plan::on(&machine, 1_000).expect("it fits");
        let counted = plan.caches + plan.messages + plan.outboxes + plan.waiting + plan.chat;
        let counted = counted + plan.events;
        assert!(
            (counted as u64) < plan.all * 95 / 100,
            "the rest is for participants"
        );
    }

    #[test]
    fn it_is_short_at_the_bound_and_until_well_under_it() {
        let watch = Watch::default();
        for (resident, short, over) in [
            (99, false, 0),
            (100, true, 10),
            (95, true, 5),
            (89, false, 0),
            (95, false, 0),
        ] {
            assert_eq!(watch.look(resident * MB, 100 * MB), over * MB);
            assert_eq!(watch.is_short.load(Ordering::Relaxed), short, "{resident}");
        }
    }

    #[test]
    fn the_address_that_holds_most_is_refused_before_others_are() {
        let machine = Machine {
            memory: 8_000 * MB,
            group: None,
            addresses: None,
        };
        let memory = Memory::new(Plan::on(&machine, 100).expect("it fits"));
        let address = |last| ClientAddress::from(std::net::IpAddr::from([192, 0, 2, last]));
        let mut people = memory.people.open(Some(address(1)), || {});
        let mut kept = memory.events.open(Some(address(1)), || {});
        let mut others = memory.people.open(Some(address(2)), || {});
        assert!(people.set(30_000) && kept.set(30_000) && others.set(50_000));
        for (resident, refused) in [
            (89, [false; 3]),
            (90, [true, false, false]),
            (99, [true, false, false]),
            (100, [true; 3]),
            (95, [true, false, false]),
            (80, [false; 3]),
        ] {
            memory.watch.look(resident * MB, 100 * MB);
            let clients = [Some(address(1)), Some(address(2)), None];
            assert_eq!(clients.map(|it| memory.refuses(it)), refused, "{resident}");
        }
    }
}
