//! The events that wait for a participant, and what later ones make needless.
//!
//! A client that keeps up is told everything. For one that is [`BEHIND`], an event that tells a whole state takes the
//! place of an older one that still waits, and the end of a thing takes away what waits about it. So the events that
//! wait are bounded by the state of the room, replies and chat apart, and the client ends with the same picture.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::mem;

/// Events that wait before older ones are left out. A client that keeps up has fewer, and no use of the bookkeeping.
pub(crate) const BEHIND: usize = 16;

/// Coalesce tells a queue of an event what it makes needless, and what makes it needless.
pub(crate) trait Coalesce: Clone + Send + Sync + 'static {
    /// Names a state that events tell as a whole.
    type State: Clone + Eq + Hash + Send + Sync + 'static;
    /// Names a thing that begins and ends.
    type Thing: Clone + Eq + Hash + Send + Sync + 'static;

    /// The events that it holds; none if it is one event.
    fn parts(&self) -> Option<&[Self]>;
    /// Calls `each` with every state that it tells.
    fn states(&self, each: &mut dyn FnMut(Self::State));
    /// Calls `each` with every thing that it is about, and how. Not with the one that ends by it.
    fn things(&self, each: &mut dyn FnMut(Self::Thing, Role));
    /// The thing that ends by it.
    fn ends(&self) -> Option<Self::Thing>;
    /// The event without one of its states; none if nothing is left of it.
    fn without(&self, state: &Self::State) -> Option<Self>;
    /// The event without a thing; none if nothing is left of it.
    fn forget(&self, thing: &Self::Thing) -> Option<Self>;
}

/// The way in which an event is about a thing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// The client hears of the thing by it for the first time.
    Begins,
    /// It tells something that is void when the thing has ended.
    Tells,
    /// It names the thing beside others. A client that knows the thing is told so even when it has ended.
    Names,
}

/// Events in their order, each with its bytes.
pub(crate) struct Queue<T: Coalesce> {
    events: BTreeMap<u64, (T, usize)>,
    /// The number of the next one.
    next: u64,
    bytes: usize,
    /// The places of what may become needless, once the client is behind.
    index: Option<Index<T>>,
    /// Events that wait before there is an index.
    behind: usize,
}

struct Index<T: Coalesce> {
    states: HashMap<T::State, u64>,
    things: HashMap<T::Thing, Vec<(u64, Role)>>,
}

impl<T: Coalesce> Queue<T> {
    pub(crate) fn new(behind: usize) -> Self {
        Self {
            events: BTreeMap::new(),
            next: 0,
            bytes: 0,
            index: None,
            behind,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// The bytes of all of them.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends an event.
    pub(crate) fn push(&mut self, event: T, bytes: usize) {
        if self.index.is_none() && self.events.len() >= self.behind {
            self.index = Some(Index::default());
            for (event, bytes) in mem::take(&mut self.events).into_values() {
                self.bytes -= bytes;
                self.merge(event, bytes);
            }
        }
        match self.index {
            Some(_) => self.merge(event, bytes),
            None => self.append(event, bytes),
        }
    }

    /// Takes the last one back, which there was no room for.
    pub(crate) fn pop_last(&mut self) {
        if let Some((&last, _)) = self.events.last_key_value() {
            self.remove(last);
        }
    }

    /// Takes the first one.
    pub(crate) fn pop(&mut self) -> Option<(T, usize)> {
        let (&first, _) = self.events.first_key_value()?;
        let taken = self.remove(first);
        if self.events.is_empty() {
            self.index = None;
        }
        taken
    }

    /// Puts events that were taken before all others, in their order.
    pub(crate) fn put_back(&mut self, taken: impl IntoIterator<Item = (T, usize)>) {
        let later = mem::take(&mut self.events);
        self.index = None;
        for (event, bytes) in taken {
            self.append(event, bytes);
        }
        for entry in later.into_values() {
            self.events.insert(self.next, entry);
            self.next += 1;
        }
    }

    /// Appends an event, or its parts, to those that are indexed.
    fn merge(&mut self, event: T, bytes: usize) {
        let Some(parts) = event.parts() else {
            return self.merge_one(event, bytes);
        };
        let share = bytes.div_ceil(parts.len().max(1));
        for part in parts {
            self.merge_one(part.clone(), share);
        }
    }

    fn merge_one(&mut self, event: T, bytes: usize) {
        event.states(&mut |state| self.leave_out(&state));
        let told = event.ends().is_none_or(|thing| !self.end(&thing));
        if told {
            self.append(event, bytes);
        }
    }

    fn append(&mut self, event: T, bytes: usize) {
        let number = self.next;
        self.next += 1;
        self.bytes += bytes;
        if let Some(index) = &mut self.index {
            index.add(number, &event);
        }
        self.events.insert(number, (event, bytes));
    }

    /// Takes a state that is told anew out of the event that tells it now.
    fn leave_out(&mut self, state: &T::State) {
        let number = self.index.as_ref().and_then(|it| it.states.get(state));
        if let Some(&number) = number {
            self.rewrite(number, |event| event.without(state));
        }
    }

    /// Takes away what waits about a thing that ends. True if the client has not heard of the thing, and needs not.
    fn end(&mut self, thing: &T::Thing) -> bool {
        let index = self.index.as_ref();
        let Some(about) = index.and_then(|it| it.things.get(thing)).cloned() else {
            return false;
        };
        let is_unknown = about.iter().any(|(_, role)| *role == Role::Begins);
        let mut inner = Vec::new();
        for (number, role) in about {
            if !is_unknown && role == Role::Names {
                continue;
            }
            // One that tells of other things besides is kept without this one.
            if let Some((event, _)) = self.events.get(&number)
                && event.forget(thing).is_none()
            {
                event.things(&mut |other, role| {
                    if role == Role::Begins && other != *thing {
                        inner.push(other);
                    }
                });
            }
            self.rewrite(number, |event| event.forget(thing));
        }
        // What began within the thing has ended with it.
        for thing in inner {
            let index = self.index.as_ref();
            let about = index.and_then(|it| it.things.get(&thing)).cloned();
            for (number, _) in about.unwrap_or_default() {
                self.rewrite(number, |event| event.forget(&thing));
            }
        }
        is_unknown
    }

    fn rewrite(&mut self, number: u64, change: impl FnOnce(&T) -> Option<T>) {
        let Some((event, _)) = self.events.get(&number) else {
            return;
        };
        let changed = change(event);
        let Some((_, bytes)) = self.remove(number) else {
            return;
        };
        if let Some(event) = changed {
            if let Some(index) = &mut self.index {
                index.add(number, &event);
            }
            self.bytes += bytes;
            self.events.insert(number, (event, bytes));
        }
    }

    fn remove(&mut self, number: u64) -> Option<(T, usize)> {
        let (event, bytes) = self.events.remove(&number)?;
        self.bytes -= bytes;
        if let Some(index) = &mut self.index {
            index.remove(number, &event);
        }
        Some((event, bytes))
    }
}

impl<T: Coalesce> Default for Index<T> {
    fn default() -> Self {
        Self {
            states: HashMap::new(),
            things: HashMap::new(),
        }
    }
}

impl<T: Coalesce> Index<T> {
    fn add(&mut self, number: u64, event: &T) {
        event.states(&mut |state| _ = self.states.insert(state, number));
        event.things(&mut |thing, role| self.things.entry(thing).or_default().push((number, role)));
    }

    fn remove(&mut self, number: u64, event: &T) {
        event.states(&mut |state| {
            if self.states.get(&state) == Some(&number) {
                self.states.remove(&state);
            }
        });
        event.things(&mut |thing, _| {
            if let Some(about) = self.things.get_mut(&thing) {
                about.retain(|(other, _)| *other != number);
                if about.is_empty() {
                    self.things.remove(&thing);
                }
            }
        });
    }
}

/// The events that are left of these for a client that is told all of them at once.
pub(crate) fn coalesced<T: Coalesce>(events: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut waiting = Queue::new(0);
    for event in events {
        waiting.push(event, 0);
    }
    waiting
        .events
        .into_values()
        .map(|(event, _)| event)
        .collect()
}
