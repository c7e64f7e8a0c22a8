//! `GET /healthz`, for load balancers and people.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;

use crate::room::Rooms;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    rooms: usize,
    participants: usize,
    version: &'static str,
}

/// 503 while shutting down, so that nothing new is sent here.
pub(super) async fn healthz(State(rooms): State<Rooms>) -> impl IntoResponse {
    let counts = rooms.counts();
    let (code, status) = if rooms.is_stopping() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting_down")
    } else {
        (StatusCode::OK, "ok")
    };
    let health = Health {
        status,
        rooms: counts.rooms,
        participants: counts.participants,
        version: env!("CARGO_PKG_VERSION"),
    };
    (code, [(header::CACHE_CONTROL, "no-store")], Json(health))
}
