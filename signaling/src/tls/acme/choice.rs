//! The certificate for a handshake: the one in use, or the one that an authority looks for.

use std::sync::{Arc, Mutex, PoisonError};

use rustls_acme::{ResolvesServerCertAcme, is_tls_alpn_challenge};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// The choice of the orders that run. What earlier orders have brought stays in use until these have something.
#[derive(Debug, Default)]
pub(super) struct Choice(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    orders: Option<Arc<ResolvesServerCertAcme>>,
    last: Option<Arc<CertifiedKey>>,
}

impl Choice {
    /// Other orders run from now on.
    pub(super) fn set(&self, orders: Arc<ResolvesServerCertAcme>) {
        self.with(|inner| inner.orders = Some(orders));
    }

    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_look = is_tls_alpn_challenge(&hello);
        self.with(|inner| {
            let chosen = inner.orders.as_ref()?.resolve(hello);
            if is_look {
                return chosen;
            }
            if chosen.is_some() {
                inner.last = chosen;
            }
            inner.last.clone()
        })
    }
}
