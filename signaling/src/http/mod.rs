//! Everything served over HTTP.

mod assets;
mod frames;
mod front;
#[cfg(any(test, feature = "testing"))]
mod front_fuzz;
mod headers;
mod health;
mod host;
mod ice_tcp;
mod open;
mod operate;
mod origin;
mod outgoing;
mod over_tcp;
mod patient;
mod proxied;
mod refused;
mod rewound;
mod room;
mod seats;
mod seldom;
mod serve;
mod stats;
mod tls;
mod to_https;
mod turn;
mod unread;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

pub(crate) use assets::Assets;
#[cfg(feature = "testing")]
pub(crate) use frames::fuzz as fuzz_frames;
pub(crate) use front::Front;
#[cfg(feature = "testing")]
pub(crate) use front_fuzz::front as fuzz_front;
pub(crate) use host::Hosts;
pub(crate) use ice_tcp::IceTcp;
pub(crate) use origin::Origins;
pub(crate) use over_tcp::OverTcp;
pub(crate) use proxied::ProxyProtocol;
#[cfg(feature = "testing")]
pub(crate) use proxied::fuzz as fuzz_proxy_header;
pub(crate) use refused::RequestsRefused;
pub(crate) use seats::Seats;
pub(crate) use serve::{Bounds, serve};
pub(crate) use stats::Stats;
pub(crate) use tls::Tls;
pub(crate) use turn::TurnFront;

use crate::protocol::native::{self, Native};
use crate::room::Rooms;

pub(crate) fn router(
    native: Arc<Native>,
    rooms: Rooms,
    origins: Origins,
    hosts: Option<Hosts>,
    assets: Assets,
) -> Router {
    let mut sockets = Router::new()
        .route("/v1/ws", get(native::upgrade).post(native::ask))
        .route(
            "/v1/http/events",
            post(native::events).options(native::preflight),
        )
        .route(
            "/v1/http/poll",
            post(native::poll).options(native::preflight),
        )
        .route(
            "/v1/http/send",
            post(native::send).options(native::preflight),
        )
        .with_state(native);
    if let Some(hosts) = hosts {
        sockets = sockets.layer(from_fn_with_state(Arc::new(hosts), host::check));
    }
    // Asked first: where a proxy asks by another name than the page's, that is what its operator has to know.
    sockets = sockets.layer(from_fn_with_state(Arc::new(origins), origin::check));
    Router::new()
        .route("/healthz", get(health::healthz))
        .with_state(rooms)
        .fallback_service(get(assets::serve).with_state(Arc::new(assets)))
        .layer(from_fn(headers::secure))
        .merge(sockets.layer(from_fn(headers::plain)))
}

/// The list of pages at `/`, for who opens the admin listener in a browser.
const ADMIN_PAGES: &str = "\
The counters of a Tertulia server. operating.md explains them.

/healthz               whether it is well
/stats                 counters of the whole server
/stats?room=NAME       a room's participants, with what each sends and receives
/timeline?room=NAME    the latest decisions about what the room's viewers are sent, with their reasons
";

/// The pages that operators and their tools read. No part of [`router`]: it is not for the public.
pub(crate) fn admin_router(rooms: Rooms, stats: Stats, hosts: Hosts) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .with_state(rooms)
        .merge(
            Router::new()
                .route("/", get(ADMIN_PAGES))
                .route("/stats", get(stats::stats))
                .route("/timeline", get(room::timeline))
                .with_state(Arc::new(stats))
                .layer(from_fn_with_state(Arc::new(hosts), host::check)),
        )
        .layer(from_fn(headers::secure))
}
