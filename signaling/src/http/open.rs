//! The HTTP connections that are open, and those of them that give way to others.
//!
//! Where there are too many, the address that has most of them gives up its oldest. So whoever opens a thousand and asks
//! for nothing closes their own, and a person with one slow connection keeps it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::clients::ClientAddress;

/// A connection is at least this old before it gives way to another: most have had their answer by then. Until
/// it is there may be more of them, which is what storms need.
const LEAST_AGE: Duration = Duration::from_secs(2);

/// Connections that are served, those no longer that have become WebSockets.
#[derive(Clone, Default)]
pub(super) struct Open(Arc<Mutex<Connections>>);

#[derive(Default)]
struct Connections {
    made: u64,
    count: usize,
    /// Each address that has any, with its connections by their age. The peer's address counts: the header that names
    /// another one comes later, in a request. Behind a proxy all are the proxy's.
    by_address: HashMap<ClientAddress, BTreeMap<u64, Connection>>,
}

struct Connection {
    since: Instant,
    /// None until its task is known.
    task: Option<AbortHandle>,
}

/// A connection's place. Dropped, even when its task panics or is ended, it is free.
struct Place {
    open: Open,
    address: ClientAddress,
    number: u64,
}

impl Open {
    /// Serves a connection of this address.
    pub(super) fn spawn(
        &self,
        address: ClientAddress,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let number = self.with(|open| open.add(address));
        let place = Place {
            open: self.clone(),
            address,
            number,
        };
        let task = tokio::spawn(async move {
            connection.await;
            drop(place);
        });
        self.with(|open| {
            if let Some(connection) = open.get_mut(address, number) {
                connection.task = Some(task.abort_handle());
            }
        });
    }

    /// Closes connections until there are fewer than `most`, and at least one may be open. Returns whether there are too
    /// many still, as those that would give way are too young.
    pub(super) fn close_old(&self, most: usize) -> bool {
        self.with(|open| {
            while open.count >= most.max(1) {
                if !open.close_one() {
                    return true;
                }
            }
            false
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Connections) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Connections {
    fn add(&mut self, address: ClientAddress) -> u64 {
        self.made += 1;
        self.count += 1;
        let connection = Connection {
            since: Instant::now(),
            task: None,
        };
        let of_address = self.by_address.entry(address).or_default();
        of_address.insert(self.made, connection);
        self.made
    }

    fn get_mut(&mut self, address: ClientAddress, number: u64) -> Option<&mut Connection> {
        self.by_address.get_mut(&address)?.get_mut(&number)
    }

    fn remove(&mut self, address: ClientAddress, number: u64) {
        let Some(connections) = self.by_address.get_mut(&address) else {
            return;
        };
        if connections.remove(&number).is_some() {
            self.count -= 1;
        }
        if connections.is_empty() {
            self.by_address.remove(&address);
        }
    }

    /// Closes the oldest connection of the address that has most; of several such addresses, the oldest of all. False if
    /// that one is too young.
    fn close_one(&mut self) -> bool {
        let most = self
            .by_address
            .iter()
            .filter_map(|(address, connections)| {
                let (number, connection) = connections.first_key_value()?;
                Some((connections.len(), *number, *address, connection))
            })
            .max_by_key(|(count, number, ..)| (*count, std::cmp::Reverse(*number)));
        let Some((_, number, address, connection)) = most else {
            return false;
        };
        let is_old = connection.since.elapsed() >= LEAST_AGE;
        let Some(task) = connection.task.as_ref().filter(|_| is_old).cloned() else {
            return false;
        };
        self.remove(address, number);
        task.abort();
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open
            .with(|open| open.remove(self.address, self.number));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::sync::oneshot;
    use tokio::time::advance;

    use super::*;

    fn address(last: u8) -> ClientAddress {
        IpAddr::from(Ipv4Addr::new(192, 0, 2, last)).into()
    }

    /// A connection that is open until it is closed by others: the result is an error then.
    fn connect(open: &Open, last: u8) -> oneshot::Receiver<()> {
        let (closed, told) = oneshot::channel();
        open.spawn(address(last), async move {
            std::future::pending::<()>().await;
            let _ = closed.send(());
        });
        told
    }

    async fn closed(connections: &mut [oneshot::Receiver<()>]) -> Vec<usize> {
        tokio::task::yield_now().await;
        let ended = |it: &mut oneshot::Receiver<()>| {
            matches!(it.try_recv(), Err(oneshot::error::TryRecvError::Closed))
        };
        let closed = connections.iter_mut().enumerate();
        closed
            .filter_map(|(at, it)| ended(it).then_some(at))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_most_gives_way_and_not_who_came_first() {
        let open = Open::default();
        let mut connections = vec![connect(&open, 1), connect(&open, 2)];
        for _ in 0..5 {
            connections.push(connect(&open, 3));
        }
        connections.push(connect(&open, 2));
        assert!(!open.close_old(9), "there are fewer");
        assert!(open.close_old(6), "all are too young");
        assert!(closed(&mut connections).await.is_empty());
        advance(LEAST_AGE).await;
        assert!(!open.close_old(6));
        assert_eq!(closed(&mut connections).await, [2, 3, 4]);
        assert!(!open.close_old(2));
        // 1 has one; 2 and 3 had two each, of which the older ones went, and then, of three addresses with one each,
        // those that came first.
        assert_eq!(closed(&mut connections).await, [0, 1, 2, 3, 4, 5, 6]);
        assert!(!open.close_old(0));
        assert_eq!(
            open.with(|open| (open.count, open.by_address.len())),
            (0, 0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_old_ones_of_others_do_not_give_way_to_a_storm() {
        let open = Open::default();
        let mut slow = vec![connect(&open, 1)];
        advance(LEAST_AGE).await;
        let _storm: Vec<_> = (0..9).map(|_| connect(&open, 2)).collect();
        assert!(open.close_old(5), "the storm's are too young");
        assert!(closed(&mut slow).await.is_empty());
        advance(LEAST_AGE).await;
        assert!(!open.close_old(5));
        assert!(closed(&mut slow).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_by_itself_leaves_nothing() {
        let open = Open::default();
        open.spawn(address(1), async {});
        tokio::task::yield_now().await;
        assert_eq!(
            open.with(|open| (open.count, open.by_address.len())),
            (0, 0)
        );
    }
}
