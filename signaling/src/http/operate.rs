//! The answer to a request whose order to a room was not carried out: an embedder's handler returns the error.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::protocol::native::refused;
use crate::room::OperateError;

/// 404 for a room or participant that is not there, 409 without a transport, 400 for a bad value, 503 when the media
/// plane refuses. The body is JSON with a stable `code` and a `message`.
impl IntoResponse for OperateError {
    fn into_response(self) -> Response {
        let (status, code) = match &self {
            Self::NoSuchRoom => (StatusCode::NOT_FOUND, "no_such_room"),
            Self::NoSuchParticipant => (StatusCode::NOT_FOUND, "no_such_participant"),
            Self::NoTransport => (StatusCode::CONFLICT, "no_transport"),
            Self::BadValue(_) => (StatusCode::BAD_REQUEST, "bad_value"),
            Self::Media(_) => (StatusCode::SERVICE_UNAVAILABLE, "media_refused"),
        };
        refused(status, code, self.to_string()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::{Value, json};
    use tertulia_sfu::SfuError;

    use super::*;

    #[tokio::test]
    async fn an_error_says_what_is_wrong_by_status_code_and_sentence() {
        for (error, status, code) in [
            (OperateError::NoSuchRoom, 404, "no_such_room"),
            (OperateError::NoSuchParticipant, 404, "no_such_participant"),
            (OperateError::NoTransport, 409, "no_transport"),
            (
                OperateError::BadValue("`text` is empty.".into()),
                400,
                "bad_value",
            ),
            (
                OperateError::Media(SfuError::Overloaded),
                503,
                "media_refused",
            ),
        ] {
            let message = error.to_string();
            let response = error.into_response();
            assert_eq!(response.status(), status);
            let body = to_bytes(response.into_body(), 1_000).await.expect("a body");
            let said: Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(said, json!({ "code": code, "message": message }));
        }
    }
}
