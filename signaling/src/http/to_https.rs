//! The answer to plain HTTP where TLS is spoken: a browser whose user typed an address without `https://`.

use axum::Router;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{Method, StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};

use super::headers;

const SENTENCE: &str = "This server speaks HTTPS. Ask again with https:// before its name.\n";

/// Leads each page to the same one over TLS. Nothing else is served: what a browser would send in the clear is refused.
pub(super) fn router() -> Router {
    Router::new().fallback(lead).layer(from_fn(headers::secure))
}

async fn lead(request: Request) -> Response {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    // A name with a user in it is no `Host` (RFC 9110 section 7.2).
    let host = host.filter(|host| !host.as_str().contains('@'));
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match (host, request.uri().path_and_query()) {
        (Some(host), Some(path)) if reads => {
            let place = [(header::LOCATION, format!("https://{host}{path}"))];
            (StatusCode::TEMPORARY_REDIRECT, place, SENTENCE).into_response()
        }
        _ => (StatusCode::BAD_REQUEST, SENTENCE).into_response(),
    }
}
