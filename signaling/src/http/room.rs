//! `GET /stats?room=NAME` and `GET /timeline?room=NAME`: one room in depth.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Stats;
use crate::media::SfuError;

#[derive(Deserialize)]
pub(super) struct Which {
    pub(super) room: String,
}

/// 404 without such a room, 503 when the media workers do not answer.
pub(super) async fn timeline(
    State(stats): State<Arc<Stats>>,
    Query(Which { room }): Query<Which>,
) -> Response {
    reply(stats.rooms.timeline(&room).await)
}

pub(super) fn reply<T: Serialize>(found: Option<Result<T, SfuError>>) -> Response {
    let uncached = [(header::CACHE_CONTROL, "no-store")];
    match found {
        Some(Ok(value)) => (uncached, Json(value)).into_response(),
        Some(Err(error)) => {
            let text = format!("{error}\n");
            (StatusCode::SERVICE_UNAVAILABLE, uncached, text).into_response()
        }
        None => {
            let text = "There is no such room.\n";
            (StatusCode::NOT_FOUND, uncached, text).into_response()
        }
    }
}
