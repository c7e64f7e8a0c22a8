//! Media workers that ended without being asked to.
//!
//! A worker that panics, or whose socket fails for good, takes its state with it. Its thread is not started again: the
//! cause may have broken more. The other workers go on. Its peers fail with
//! [`PeerFailure::WorkerFailed`](crate::PeerFailure::WorkerFailed), and no room or peer is placed on it any more. A
//! room that had all its parts there goes on at another worker with its next peer.

use std::sync::atomic::Ordering;

use super::{Sfu, WorkerHandle};
use crate::error::SfuError;
use crate::index::WorkerIx;

impl Sfu {
    /// The workers that have failed, in order: no room is placed on them any more. Empty once
    /// [`shutdown`](Self::shutdown) was called.
    pub fn failed_workers(&self) -> Vec<usize> {
        let workers = self.inner.indexes();
        let failed = workers.filter(|worker| self.has_failed(*worker));
        failed.map(usize::from).collect()
    }

    /// Whether a worker has ended by a fault. Its thread closes its queue before it tells anybody.
    pub(super) fn has_failed(&self, worker: WorkerIx) -> bool {
        let queue = self.inner.worker(worker);
        queue.is_some_and(WorkerHandle::has_ended) && !self.is_stopping()
    }

    /// The workers' loads, in order; none for one that has failed.
    pub(super) fn loads(&self) -> Vec<Option<usize>> {
        let workers = self.inner.indexes().zip(&self.inner.workers);
        let load = |(worker, handle): (WorkerIx, &WorkerHandle)| {
            (!self.has_failed(worker)).then(|| handle.load.weight())
        };
        workers.map(load).collect()
    }

    /// The error that explains why a worker does not answer.
    pub(super) fn end_reason(&self) -> SfuError {
        if self.is_stopping() {
            SfuError::Stopped
        } else {
            SfuError::WorkerFailed
        }
    }

    fn is_stopping(&self) -> bool {
        self.inner.stopping.load(Ordering::Acquire)
    }

    /// Makes a worker panic, for tests of failures.
    #[cfg(any(test, feature = "testing"))]
    #[doc(hidden)]
    pub fn fail_worker(&self, worker: usize) {
        let handle = &self.inner.workers[worker];
        let _ = handle.commands.try_send(super::driver::Request::Fail);
        handle.waker.wake();
    }
}

impl WorkerHandle {
    fn has_ended(&self) -> bool {
        self.commands.is_closed()
    }
}

/// Turns the failure of a worker into success, where the failure has already ended the thing to be ended.
pub(super) fn or_failed(result: Result<(), SfuError>) -> Result<(), SfuError> {
    match result {
        Err(SfuError::WorkerFailed) => Ok(()),
        result => result,
    }
}
