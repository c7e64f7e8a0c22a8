//! The HTTP connections that are open, and those of them that give way to others.
//!
//! Where there are too many, the address that has most of them gives up its oldest. So whoever opens a thousand and asks
//! for nothing closes their own, and a person with one slow connection keeps it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::clients::ClientAddress;
use crate::held_open::{Place, Visitors};

/// A connection is at least this old before it gives way to another: most have had their answer by then. Until
/// it is there may be more of them, which is what storms need.
const LEAST_AGE: Duration = Duration::from_secs(2);

/// Connections that are served, those no longer that have become WebSockets.
#[derive(Clone, Default)]
pub(super) struct Open(Arc<Mutex<Connections>>);

#[derive(Default)]
struct Connections {
    made: u64,
    by_number: HashMap<u64, Connection>,
    /// The connections of each address that may have to give way. The peer's address counts, or the one that its header of the
    /// PROXY protocol names: `X-Forwarded-For` comes later, in a request. Behind a proxy for HTTP all are the proxy's.
    may_give_way: HashMap<ClientAddress, BTreeSet<Age>>,
    /// The addresses of `may_give_way`, the last of which gives way next. A storm of thousands makes one look for each of its
    /// connections: it must not take a look at all of them.
    by_rank: BTreeMap<Rank, ClientAddress>,
    /// Connections that may have to give way.
    waiting: usize,
}

/// When a connection was made, or was held open last, and its number, by which no two are equal.
type Age = (Instant, u64);
/// How many an address has, and the age of its oldest: of those that have most, the one with the oldest is last.
type Rank = (usize, Reverse<Age>);

struct Connection {
    address: ClientAddress,
    /// When it was made, or was held open last.
    since: Instant,
    /// Requests that hold it open on purpose: they hold other places, and it gives way to nobody.
    holding: usize,
    /// None until its task is known.
    task: Option<AbortHandle>,
}

/// A connection in the list. Dropped, even when its task panics or is ended, it is out.
struct Listed {
    open: Open,
    number: u64,
}

impl Open {
    /// Serves a connection of this address.
    pub(super) fn spawn<C: Future<Output = ()> + Send + 'static>(
        &self,
        address: ClientAddress,
        serve: impl FnOnce(Place) -> C,
    ) {
        let number = self.with(|open| open.add(address));
        let listed = Listed {
            open: self.clone(),
            number,
        };
        let connection = serve(Place::new(Arc::new(self.clone()), number));
        let task = tokio::spawn(async move {
            connection.await;
            drop(listed);
        });
        self.with(|open| {
            if let Some(connection) = open.by_number.get_mut(&number) {
                connection.task = Some(task.abort_handle());
            }
        });
    }

    /// Closes connections until there are fewer than `most`, and at least one may be open. Returns whether there are too
    /// many still, as those that would give way are too young.
    pub(super) fn close_old(&self, most: usize) -> bool {
        self.with(|open| {
            while open.waiting >= most.max(1) {
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
        let connection = Connection {
            address,
            since: Instant::now(),
            holding: 0,
            task: None,
        };
        let age = (connection.since, self.made);
        self.by_number.insert(self.made, connection);
        self.list(address, age);
        self.made
    }

    fn remove(&mut self, number: u64) {
        if let Some(connection) = self.by_number.remove(&number)
            && connection.holding == 0
        {
            self.unlist(connection.address, (connection.since, number));
        }
    }

    /// Counts a connection as one that may have to give way.
    fn list(&mut self, address: ClientAddress, age: Age) {
        self.change(address, |ages| ages.insert(age));
        self.waiting += 1;
    }

    /// Counts it no more.
    fn unlist(&mut self, address: ClientAddress, age: Age) {
        self.change(address, |ages| ages.remove(&age));
        self.waiting -= 1;
    }

    /// Changes the connections of an address, and its rank with them.
    fn change(&mut self, address: ClientAddress, change: impl FnOnce(&mut BTreeSet<Age>) -> bool) {
        let ages = self.may_give_way.entry(address).or_default();
        if let Some(rank) = rank(ages) {
            self.by_rank.remove(&rank);
        }
        change(ages);
        match rank(ages) {
            Some(rank) => _ = self.by_rank.insert(rank, address),
            None => _ = self.may_give_way.remove(&address),
        }
    }

    /// Closes the oldest connection of the addresses that have most. False if that one is too young.
    fn close_one(&mut self) -> bool {
        let Some(((_, Reverse((since, number))), _)) = self.by_rank.last_key_value() else {
            return false;
        };
        let (number, is_old) = (*number, since.elapsed() >= LEAST_AGE);
        let oldest = self.by_number.get(&number);
        let task = oldest.and_then(|it| it.task.clone());
        let Some(task) = task.filter(|_| is_old) else {
            return false;
        };
        self.remove(number);
        task.abort();
        true
    }
}

/// The rank of an address with these connections; none without any.
fn rank(ages: &BTreeSet<Age>) -> Option<Rank> {
    Some((ages.len(), Reverse(*ages.first()?)))
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.open.with(|open| open.remove(self.number));
    }
}

impl Visitors for Open {
    fn take_out(&self, number: u64) {
        self.with(|open| {
            let Some(connection) = open.by_number.get_mut(&number) else {
                return;
            };
            connection.holding += 1;
            if connection.holding == 1 {
                let (address, age) = (connection.address, (connection.since, number));
                open.unlist(address, age);
            }
        });
    }

    fn put_back(&self, number: u64) {
        self.with(|open| {
            let Some(connection) = open.by_number.get_mut(&number) else {
                return;
            };
            connection.holding -= 1;
            if connection.holding == 0 {
                connection.since = Instant::now();
                let (address, age) = (connection.address, (connection.since, number));
                open.list(address, age);
            }
        });
    }

    fn is_of(&self, number: u64, client: ClientAddress) {
        self.with(|open| {
            let Some(connection) = open.by_number.get_mut(&number) else {
                return;
            };
            let before = std::mem::replace(&mut connection.address, client);
            if connection.holding == 0 {
                let age = (connection.since, number);
                open.unlist(before, age);
                open.list(client, age);
            }
        });
    }

    fn close(&self, number: u64) {
        // It leaves the list when its task has ended.
        let task = self.with(|open| open.by_number.get(&number)?.task.clone());
        if let Some(task) = task {
            task.abort();
        }
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
        open.spawn(address(last), |_| async move {
            std::future::pending::<()>().await;
            let _ = closed.send(());
        });
        told
    }

    /// Connections, and addresses that have any which may give way.
    fn left(open: &Open) -> (usize, usize) {
        open.with(|open| {
            let ages = open.may_give_way.values();
            assert_eq!(ages.map(BTreeSet::len).sum::<usize>(), open.waiting);
            assert_eq!(open.may_give_way.len(), open.by_rank.len());
            (open.by_number.len(), open.may_give_way.len())
        })
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
        assert_eq!(left(&open), (0, 0));
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
        open.spawn(address(1), |_| async {});
        tokio::task::yield_now().await;
        assert_eq!(left(&open), (0, 0));
    }

    #[tokio::test]
    async fn a_connection_is_closed_by_its_place() {
        let open = Open::default();
        let (sender, places) = std::sync::mpsc::channel();
        for _ in 0..2 {
            open.spawn(address(1), |place| {
                let _ = sender.send(place);
                std::future::pending()
            });
        }
        let places: Vec<Place> = places.try_iter().collect();
        let aside = places[1].set_aside();
        places[1].close();
        tokio::task::yield_now().await;
        assert_eq!(left(&open), (1, 1));
        drop(aside);
        places[1].close();
        assert_eq!(left(&open), (1, 1), "it is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn connections_of_a_proxy_count_as_those_of_its_clients() {
        let open = Open::default();
        let (sender, places) = std::sync::mpsc::channel();
        for _ in 0..3 {
            open.spawn(address(1), |place| {
                let _ = sender.send(place);
                std::future::pending()
            });
        }
        let places: Vec<Place> = places.try_iter().collect();
        places[0].is_of(address(2));
        let aside = places[1].set_aside();
        places[1].is_of(address(3));
        places[2].is_of(address(3));
        assert_eq!(left(&open), (3, 2));
        drop(aside);
        advance(LEAST_AGE).await;
        // One of the two of 3 goes, though the one of 2 is as old.
        assert!(!open.close_old(3));
        tokio::task::yield_now().await;
        assert_eq!(left(&open), (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_held_open_gives_way_to_nobody() {
        let open = Open::default();
        let (sender, places) = std::sync::mpsc::channel();
        for _ in 0..3 {
            open.spawn(address(1), |place| {
                let _ = sender.send(place);
                std::future::pending()
            });
        }
        let places: Vec<Place> = places.try_iter().collect();
        let asides = [places[0].set_aside(), places[0].set_aside()];
        advance(2 * LEAST_AGE).await;
        assert!(!open.close_old(1), "the two others are closed");
        tokio::task::yield_now().await;
        assert_eq!(left(&open), (1, 0));
        drop(asides);
        assert_eq!(left(&open), (1, 1));
        // It is as young as one that has just come.
        assert!(open.close_old(1));
        advance(LEAST_AGE).await;
        assert!(!open.close_old(1));
        tokio::task::yield_now().await;
        assert_eq!(left(&open), (0, 0));
    }
}
