//! A value that may be replaced while the server runs.

use std::sync::{Arc, PoisonError, RwLock};

/// A setting in use. Clones share it: what is set by one is read by all. `T` is cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live<T>(Arc<RwLock<T>>);

impl<T: Clone> Live<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(value)))
    }

    pub(crate) fn get(&self) -> T {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}
