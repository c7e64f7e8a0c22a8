//! The rights of the page, as its headers tell a browser; and the one header that other answers need.

use axum::extract::Request;
use axum::http::HeaderName;
use axum::http::HeaderValue;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;

const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// Content comes from this server and nowhere else. `connect-src 'self'` covers the WebSocket of the same host (CSP
/// level 3); blobs are pictures and sounds that the page makes itself. The hash is that of the script in
/// `web/index.html`; if it is wrong, browsers report the right one.
const CONTENT_SECURITY: &str = "default-src 'self'; \
     script-src 'self' 'sha256-Cuyhy3GGaiJ786TqL/woJQUoCg73y3jrceB7j/qCQIo='; connect-src 'self'; img-src 'self' data: blob:; \
     media-src 'self' blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

/// The rights that a call needs, for this page and no frame in it; nothing else.
const PERMISSIONS: &str = "camera=(self), microphone=(self), display-capture=(self), \
     speaker-selection=(self), autoplay=(self), fullscreen=(self), picture-in-picture=(self), \
     screen-wake-lock=(self), geolocation=(), payment=(), usb=(), serial=()";

/// Headers of all that a browser may show as a document.
pub(super) async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY),
        (PERMISSIONS_POLICY, PERMISSIONS),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Addresses contain room names, which other sites should not see.
        (header::REFERRER_POLICY, "no-referrer"),
        (OPENER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The header of answers that only programs read: no document is made of them, which the others are about. Clients that
/// poll get such an answer every second or so.
pub(super) async fn plain(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let nosniff = HeaderValue::from_static("nosniff");
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}
