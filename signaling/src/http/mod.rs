//! Everything served on the HTTP port.

mod assets;
mod headers;
mod health;
mod origin;
mod serve;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;

pub(crate) use assets::Assets;
pub(crate) use origin::Origins;
pub(crate) use serve::serve;

use crate::protocol::native::{self, Native};
use crate::room::Rooms;

pub(crate) fn router(
    native: Arc<Native>,
    rooms: Rooms,
    origins: Origins,
    assets: Assets,
) -> Router {
    let sockets = Router::new()
        .route("/v1/ws", get(native::upgrade))
        .with_state(native)
        .layer(from_fn_with_state(Arc::new(origins), origin::check));
    Router::new()
        .route("/healthz", get(health::healthz))
        .with_state(rooms)
        .merge(sockets)
        .fallback_service(get(assets::serve).with_state(Arc::new(assets)))
        .layer(from_fn(headers::secure))
}
