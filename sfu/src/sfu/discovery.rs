//! The workers' addresses as others see them.

use std::net::SocketAddr;

use super::Sfu;
use crate::error::SfuError;
use crate::transport::{Candidate, Path};
use crate::worker::Command;

impl Sfu {
    /// Asks a STUN server (RFC 8489) from each worker's own socket which address it sees: behind a NAT, another than that of
    /// any interface. Who joins from then on is told it, beside the addresses that were announced before, in the place of
    /// one of the same family that was discovered earlier.
    ///
    /// Returns what each worker was told. None: no answer came within 16 s, to it or to one before it, or the worker has
    /// failed.
    ///
    /// # Errors
    ///
    /// [`SfuError::Overloaded`], [`SfuError::Stopped`].
    pub async fn discover(&self, server: SocketAddr) -> Result<Vec<Option<SocketAddr>>, SfuError> {
        let server = Path::Udp(server);
        let mut told = vec![None; self.inner.workers.len()];
        for (worker, told) in self.inner.indexes().zip(&mut told) {
            let asked = self.ask(worker, |reply| Command::Discover { server, reply });
            match asked.await {
                Ok(Some(Candidate::Udp(address))) => *told = Some(address),
                // A server that is silent to one is silent to all, and each would wait for it.
                Ok(_) => break,
                Err(SfuError::WorkerFailed) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(told)
    }
}
