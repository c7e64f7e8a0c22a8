//! Counts of requests that are refused before anything is done about them, by the name or the origin that they have.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::Method;

use crate::room::Tally;

/// Codes of such requests, of either listener.
pub(crate) const CODES: [&str; 2] = ["host_refused", "origin_refused"];

/// The counts of one server, for `/stats`. Cheap to clone; clones share them.
#[derive(Clone)]
pub(crate) struct RequestsRefused(Arc<Tally<{ CODES.len() }>>);

impl Default for RequestsRefused {
    fn default() -> Self {
        Self(Arc::new(Tally::new(CODES)))
    }
}

impl RequestsRefused {
    pub(super) fn host(&self, request: &Request) {
        self.count(CODES[0], request);
    }

    pub(super) fn origin(&self, request: &Request) {
        self.count(CODES[1], request);
    }

    pub(super) fn by_code(&self) -> BTreeMap<&'static str, u64> {
        self.0.by_code()
    }

    /// A page asks for the reason by `POST /v1/ws`, wherever the router is mounted: it was refused, and counted, before.
    fn count(&self, code: &'static str, request: &Request) {
        if request.method() != Method::POST || !request.uri().path().ends_with("/ws") {
            self.0.count(code);
        }
    }
}
