//! Connections that carry media, by ICE-TCP or TURN: how many there may be, in all and of each client's address.
//!
//! Each holds a descriptor and its buffers for as long as a call lasts, and gives way to nobody. A person can join as
//! several participants, so that what one participant may have says little about what one client holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clients::ClientAddress;

/// The places for such connections. Cheap to clone; clones share them.
#[derive(Clone)]
pub(crate) struct Seats(Arc<Shared>);

struct Shared {
    most: usize,
    /// 0: no limit.
    most_of_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// Only addresses that have any.
    of: HashMap<ClientAddress, usize>,
}

/// One place, until this is dropped.
pub(super) struct Seat {
    seats: Seats,
    address: ClientAddress,
}

impl Seats {
    /// So many in all, and so many of each address; 0 of each is no limit.
    pub(crate) fn new(most: usize, most_of_address: usize) -> Self {
        Self(Arc::new(Shared {
            most,
            most_of_address,
            taken: Mutex::default(),
        }))
    }

    /// Takes a place; none if there are too many.
    pub(super) fn take(&self, address: ClientAddress) -> Option<Seat> {
        let mut taken = self.taken();
        let of_address = taken.of.get(&address).copied().unwrap_or_default();
        let most_of_address = match self.0.most_of_address {
            0 => usize::MAX,
            most => most,
        };
        if taken.all >= self.0.most || of_address >= most_of_address {
            return None;
        }
        taken.all += 1;
        taken.of.insert(address, of_address + 1);
        Some(Seat {
            seats: self.clone(),
            address,
        })
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        let taken = self.0.taken.lock();
        taken.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.all -= 1;
        if let Some(of_address) = taken.of.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.of.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn one_address_leaves_places_for_others_and_gives_back_what_it_had() {
        let address = |text: &str| ClientAddress::from(text.parse::<IpAddr>().expect("an address"));
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let seats = Seats::new(5, 3);
        let mut held: Vec<_> = (0..3).map(|_| seats.take(one).expect("a seat")).collect();
        assert!(seats.take(one).is_none(), "it has its share");
        held.push(seats.take(other).expect("a seat"));
        held.push(seats.take(other).expect("a seat"));
        assert!(seats.take(other).is_none(), "there are no more");
        held.truncate(2);
        assert!(seats.take(one).is_some());
        held.clear();
        assert!(seats.taken().of.is_empty());
        assert_eq!(seats.taken().all, 0);

        // Of one network of IPv6, and without a limit for each.
        let seats = Seats::new(5, 1);
        let _held = seats.take(address("2001:db8::1")).expect("a seat");
        assert!(seats.take(address("2001:db8::2")).is_none());
        let seats = Seats::new(5, 0);
        let held: Vec<_> = (0..5).map(|_| seats.take(one)).collect();
        assert!(held.iter().all(Option::is_some) && seats.take(one).is_none());
    }
}
