//! Indexes into a worker's tables, each of a type of its own, so that no index is used with the wrong table.
//!
//! An index names its entry only while the entry exists: a later entry may get the same index. Names that are never
//! reused are in [`id`](crate::id).

use std::fmt;
use std::marker::PhantomData;

use slab::Slab;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident($number:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub(crate) struct $name($number);

        impl From<usize> for $name {
            fn from(index: usize) -> Self {
                // A table with more entries does not fit into memory, and no more than 1,024 workers are started.
                Self(index as $number)
            }
        }

        impl From<$name> for usize {
            fn from(index: $name) -> Self {
                index.0 as Self
            }
        }
    };
}

index!(
    /// A peer among a worker's.
    PeerIx(u32)
);
index!(
    /// A slot among a peer's.
    SlotIx(u32)
);
index!(
    /// A track among a worker's, published there or elsewhere.
    TrackIx(u32)
);
index!(
    /// A worker among the process's. It stands in the top 16 bits of each id that the worker gives
    /// ([`id`](crate::id)). Unlike others, it always names the same one.
    WorkerIx(u16)
);

impl fmt::Display for WorkerIx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A table whose entries have indexes of their own type.
#[derive(Debug)]
pub(crate) struct Table<I, T> {
    entries: Slab<T>,
    index: PhantomData<I>,
}

impl<I, T> Default for Table<I, T> {
    fn default() -> Self {
        Self {
            entries: Slab::new(),
            index: PhantomData,
        }
    }
}

impl<I: From<usize> + Into<usize>, T> Table<I, T> {
    /// Adds an entry.
    pub(crate) fn insert(&mut self, entry: T) -> I {
        self.entries.insert(entry).into()
    }

    /// Removes an entry.
    pub(crate) fn remove(&mut self, index: I) -> Option<T> {
        self.entries.try_remove(index.into())
    }

    /// One entry.
    pub(crate) fn get(&self, index: impl Into<I>) -> Option<&T> {
        let index: I = index.into();
        self.entries.get(index.into())
    }

    /// One entry, mutable.
    pub(crate) fn get_mut(&mut self, index: impl Into<I>) -> Option<&mut T> {
        let index: I = index.into();
        self.entries.get_mut(index.into())
    }

    /// Every entry with its index, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (I, &T)> {
        let entries = self.entries.iter();
        entries.map(|(index, entry)| (index.into(), entry))
    }

    /// Every entry with its index, in their order, mutable.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (I, &mut T)> {
        let entries = self.entries.iter_mut();
        entries.map(|(index, entry)| (index.into(), entry))
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_names_its_entry_until_that_is_removed() {
        let mut table = Table::<TrackIx, char>::default();
        let (a, b) = (table.insert('a'), table.insert('b'));
        assert_eq!((table.get(a), table.get(b)), (Some(&'a'), Some(&'b')));
        assert_eq!((table.remove(a), table.remove(a)), (Some('a'), None));
        assert_eq!((table.get(a), table.len()), (None, 1));
        let listed: Vec<_> = table.iter().map(|(index, entry)| (index, *entry)).collect();
        assert_eq!(listed, [(b, 'b')]);
    }
}
