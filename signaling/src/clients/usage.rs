//! The connections, rooms and joins of each address, and the limits of these.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::ClientAddress;
use crate::config::Limits;

/// Addresses are looked through for those that have nothing when there are so many, and twice those that are left.
const SWEEP_AT: usize = 1_024;
const MINUTE: Duration = Duration::from_secs(60);

/// One count for all protocols. Cheap to clone. It holds only addresses with connections, rooms, or joins within the
/// last minute.
#[derive(Clone)]
pub(crate) struct Clients {
    limits: [usize; 3],
    usages: Arc<Mutex<Usages>>,
}

struct Usages {
    by_address: HashMap<ClientAddress, Usage>,
    sweep_at: usize,
}

struct Usage {
    connections: usize,
    rooms: usize,
    /// Joins that may come now.
    joins: f64,
    filled: Instant,
}

/// A limit that is reached. Its code is that of the refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exceeded {
    Connections,
    Rooms,
    Joins,
}

/// A connection or a room of an address, until dropped.
pub(crate) struct Held {
    clients: Clients,
    address: ClientAddress,
    what: Exceeded,
}

impl Exceeded {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Connections => "connections_per_address",
            Self::Rooms => "rooms_per_address",
            Self::Joins => "joins_per_address",
        }
    }
}

impl Clients {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            limits: [
                limits.connections_per_address,
                limits.rooms_per_address,
                limits.joins_per_minute_per_address,
            ],
            usages: Arc::new(Mutex::new(Usages {
                by_address: HashMap::new(),
                sweep_at: SWEEP_AT,
            })),
        }
    }

    /// A sentence for people.
    pub(crate) fn sentence(&self, exceeded: Exceeded) -> String {
        let limit = self.limit(exceeded);
        match exceeded {
            Exceeded::Connections => {
                format!("There are {limit} connections from your address already.")
            }
            Exceeded::Rooms => format!("There are {limit} rooms from your address already."),
            Exceeded::Joins => {
                format!("Your address has joined {limit} times within a minute. Try again later.")
            }
        }
    }

    /// The time after which an address has less again, if that comes by itself.
    pub(crate) fn retry_after(&self, exceeded: Exceeded) -> Option<Duration> {
        match (exceeded, u32::try_from(self.limit(exceeded))) {
            (Exceeded::Joins, Ok(limit @ 1..)) => Some(MINUTE / limit),
            _ => None,
        }
    }

    /// Checks whether another connection is allowed, without taking it.
    ///
    /// # Errors
    ///
    /// The address has its largest number of connections.
    pub(crate) fn may_connect(&self, address: ClientAddress) -> Result<(), Exceeded> {
        self.with(address, |clients, usage| {
            clients.check(Exceeded::Connections, usage.connections)
        })
    }

    /// # Errors
    ///
    /// The address has its largest number of connections.
    pub(crate) fn connect(&self, address: ClientAddress) -> Result<Held, Exceeded> {
        self.with(address, |clients, usage| {
            clients.check(Exceeded::Connections, usage.connections)?;
            usage.connections += 1;
            Ok(clients.held(address, Exceeded::Connections))
        })
    }

    /// # Errors
    ///
    /// The address has made its largest number of rooms.
    pub(crate) fn room(&self, address: ClientAddress) -> Result<Held, Exceeded> {
        self.with(address, |clients, usage| {
            clients.check(Exceeded::Rooms, usage.rooms)?;
            usage.rooms += 1;
            Ok(clients.held(address, Exceeded::Rooms))
        })
    }

    /// # Errors
    ///
    /// The address has joined too often lately.
    pub(crate) fn join(&self, address: ClientAddress) -> Result<(), Exceeded> {
        self.with(address, |clients, usage| {
            if clients.limit(Exceeded::Joins) == 0 {
                return Ok(());
            }
            clients.fill(usage);
            if usage.joins < 1.0 {
                return Err(Exceeded::Joins);
            }
            usage.joins -= 1.0;
            Ok(())
        })
    }

    fn held(&self, address: ClientAddress, what: Exceeded) -> Held {
        Held {
            clients: self.clone(),
            address,
            what,
        }
    }

    fn limit(&self, exceeded: Exceeded) -> usize {
        let [connections, rooms, joins] = self.limits;
        match exceeded {
            Exceeded::Connections => connections,
            Exceeded::Rooms => rooms,
            Exceeded::Joins => joins,
        }
    }

    /// A limit of 0 is none.
    fn check(&self, exceeded: Exceeded, count: usize) -> Result<(), Exceeded> {
        match self.limit(exceeded) {
            0 => Ok(()),
            limit if count < limit => Ok(()),
            _ => Err(exceeded),
        }
    }

    fn fill(&self, usage: &mut Usage) {
        let most = self.limit(Exceeded::Joins) as f64;
        let now = Instant::now();
        let minutes = (now - usage.filled).as_secs_f64() / MINUTE.as_secs_f64();
        usage.joins = (usage.joins + most * minutes).min(most);
        usage.filled = now;
    }

    fn with<T>(&self, address: ClientAddress, change: impl FnOnce(&Self, &mut Usage) -> T) -> T {
        let mut usages = self.usages.lock().unwrap_or_else(PoisonError::into_inner);
        if usages.by_address.len() >= usages.sweep_at {
            usages.by_address.retain(|_, usage| {
                usage.connections > 0 || usage.rooms > 0 || usage.filled.elapsed() < MINUTE
            });
            usages.sweep_at = SWEEP_AT.max(2 * usages.by_address.len());
        }
        let usage = usages.by_address.entry(address).or_insert_with(|| Usage {
            connections: 0,
            rooms: 0,
            joins: self.limit(Exceeded::Joins) as f64,
            filled: Instant::now(),
        });
        change(self, usage)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let what = self.what;
        self.clients.with(self.address, |_, usage| match what {
            Exceeded::Connections => usage.connections -= 1,
            Exceeded::Rooms => usage.rooms -= 1,
            Exceeded::Joins => {}
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn clients(most: usize) -> Clients {
        Clients::new(&Limits {
            connections_per_address: most,
            rooms_per_address: most,
            joins_per_minute_per_address: most,
            ..Limits::default()
        })
    }

    fn address(number: u32) -> ClientAddress {
        IpAddr::from(Ipv4Addr::from_bits(number)).into()
    }

    #[tokio::test(start_paused = true)]
    async fn each_address_has_its_own_and_has_it_back() {
        let clients = clients(2);
        let held: Vec<Held> = (0..2)
            .map(|_| clients.connect(address(1)).expect("held"))
            .collect();
        assert_eq!(
            clients.connect(address(1)).err(),
            Some(Exceeded::Connections)
        );
        assert_eq!(clients.may_connect(address(1)), Err(Exceeded::Connections));
        assert!(clients.connect(address(2)).is_ok() && clients.room(address(1)).is_ok());
        drop(held);
        assert!(clients.connect(address(1)).is_ok());

        let joins = |number| {
            (0..9)
                .filter(|_| clients.join(address(number)).is_ok())
                .count()
        };
        assert_eq!((joins(1), joins(1), joins(2)), (2, 0, 2));
        let wait = clients.retry_after(Exceeded::Joins);
        assert_eq!(
            (wait, clients.retry_after(Exceeded::Rooms)),
            (Some(MINUTE / 2), None)
        );
        tokio::time::advance(MINUTE / 2).await;
        assert_eq!(joins(1), 1);
        tokio::time::advance(MINUTE * 9).await;
        assert_eq!(joins(1), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn zero_is_no_limit() {
        let clients = clients(0);
        let held: Vec<Held> = (0..100)
            .flat_map(|_| [clients.connect(address(1)), clients.room(address(1))])
            .map(|held| held.expect("no limit"))
            .collect();
        assert!((0..100).all(|_| clients.join(address(1)).is_ok()));
        drop(held);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_have_nothing_are_forgotten() {
        let clients = clients(1);
        let held = clients.room(address(0)).expect("held");
        for number in 0..100_000 {
            assert!(clients.join(address(number)).is_ok());
            if number % 1_000 == 0 {
                tokio::time::advance(MINUTE).await;
            }
        }
        let known = clients
            .usages
            .lock()
            .expect("not poisoned")
            .by_address
            .len();
        assert!(known <= 4 * SWEEP_AT, "{known}");
        assert_eq!(clients.room(address(0)).err(), Some(Exceeded::Rooms));
        drop(held);
        assert!(clients.room(address(0)).is_ok());
    }
}
