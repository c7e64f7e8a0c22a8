//! `GET /stats?room=NAME` and `GET /timeline?room=NAME`: one room in depth.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Stats;
use crate::media::SfuError;
use crate::protocol::native::refused;

/// The query of both pages. A key that is misspelt is refused: the answer would be about all rooms.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    pub(super) room: Option<String>,
}

/// Answers 400 without a room's name, 404 without such a room, 503 when the media workers do not answer.
pub(super) async fn timeline(
    State(stats): State<Arc<Stats>>,
    query: Result<Query<Which>, QueryRejection>,
) -> Response {
    match query {
        Ok(Query(Which { room: Some(room) })) => reply(stats.rooms.timeline(&room).await),
        Ok(Query(Which { room: None })) => {
            bad_query("The query names no room: `/timeline?room=NAME`.")
        }
        Err(_) => unreadable(),
    }
}

/// The answer to a query that has other keys, says two things about one, or is not text.
pub(super) fn unreadable() -> Response {
    bad_query("The query cannot be read: it takes one `room=NAME`, in UTF-8, and nothing else.")
}

fn bad_query(message: &str) -> Response {
    refused(StatusCode::BAD_REQUEST, "bad_query", message.to_owned()).into_response()
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
            let message = "There is no such room.".to_owned();
            refused(StatusCode::NOT_FOUND, "no_such_room", message).into_response()
        }
    }
}
