//! `GET /healthz`, for load balancers and people.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;

use crate::media::Workers;
use crate::room::Rooms;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    /// The reason that it is not `ok`, and the remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    rooms: usize,
    participants: usize,
    version: &'static str,
}

/// Answers 503 while shutting down, so that no new calls are sent here, and from the failure of a media worker on, so
/// that a supervisor replaces the process.
pub(super) async fn healthz(State(rooms): State<Rooms>) -> impl IntoResponse {
    let counts = rooms.counts();
    let (code, status, reason) = if rooms.is_stopping() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting_down", None)
    } else if let Some(reason) = failure(&rooms.workers()) {
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        (unavailable, "worker_failed", Some(reason))
    } else {
        (StatusCode::OK, "ok", None)
    };
    let health = Health {
        status,
        reason,
        rooms: counts.rooms,
        participants: counts.participants,
        version: env!("CARGO_PKG_VERSION"),
    };
    (code, [(header::CACHE_CONTROL, "no-store")], Json(health))
}

fn failure(workers: &Workers) -> Option<String> {
    if workers.failed.is_empty() {
        return None;
    }
    let Workers { count, failed } = workers;
    let numbers: Vec<String> = failed.iter().map(ToString::to_string).collect();
    let (lost, numbers) = (failed.len(), numbers.join(", "));
    let rest = if lost < *count {
        "Calls go on at the others. Restart this server to have all of them."
    } else {
        "Restart this server."
    };
    Some(format!(
        "{lost} of {count} media workers failed (number {numbers}), by a fault that the log tells. {rest}"
    ))
}
