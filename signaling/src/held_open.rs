//! HTTP connections that are held open on purpose: a stream of events, or a poll that waits. They are no idle visitors, who
//! give way to others.

use std::sync::Arc;

use crate::clients::ClientAddress;

/// The list of a listener's connections that may have to give way.
pub(crate) trait Visitors: Send + Sync {
    /// Takes a connection out of the list.
    fn take_out(&self, number: u64);
    /// Puts it back, as the youngest of them.
    fn put_back(&self, number: u64);
    /// Counts a connection as one of this client's from now on.
    fn is_of(&self, number: u64, client: ClientAddress);
    /// Closes a connection at once, with whatever it has not written.
    fn close(&self, number: u64);
}

/// A connection's place in the list, which each of its requests carries.
#[derive(Clone)]
pub(crate) struct Place {
    visitors: Arc<dyn Visitors>,
    number: u64,
}

/// A connection that is not in the list, until this is dropped.
pub(crate) struct Aside(Place);

impl Place {
    pub(crate) fn new(visitors: Arc<dyn Visitors>, number: u64) -> Self {
        Self { visitors, number }
    }

    pub(crate) fn set_aside(&self) -> Aside {
        self.visitors.take_out(self.number);
        Aside(self.clone())
    }

    /// Says whose the connection is, which its other end does not show.
    pub(crate) fn is_of(&self, client: ClientAddress) {
        self.visitors.is_of(self.number, client);
    }

    /// Closes the connection: what it has not written holds memory that others need.
    pub(crate) fn close(&self) {
        self.visitors.close(self.number);
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let Place { visitors, number } = &self.0;
        visitors.put_back(*number);
    }
}
