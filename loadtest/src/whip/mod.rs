//! Bots that speak WHIP and WHEP, so that servers of any make can be measured.
//!
//! The media half of such a bot is that of a [native one](crate::bot): same clips, same peer connection, same oracle.
//! Only its way to a session differs: one HTTP POST.
//!
//! # What is implemented
//!
//! WHIP, RFC 9725:
//! - 4.2 offer, `201` with `Location` (resolved against the endpoint, after redirects) and answer;
//!   `DELETE` at the end, also of a session whose transport never came up.
//! - 4.3 ICE: candidates are gathered before the offer, so that it is complete. Candidates that come
//!   later are sent by `PATCH` if the server has named the ICE session by an `ETag` (4.3.2). No
//!   ICE restart (4.3.3): a load test that loses its transport should say so.
//! - 4.4.3 an answer that rejects an m-line is an error.
//! - 4.5 redirects by 307 and 308, five at most; `Retry-After` of a 503.
//! - 4.6 `Link: rel="ice-server"` is not read: bots reach servers directly.
//! - 4.7.1 bearer token, in every request, to whichever host redirects lead.
//! - 4.8 simulcast is offered by RID; what is sent are the layers the answer accepts by
//!   `a=simulcast:recv`, or the largest alone when it accepts none.
//!
//! WHEP, draft-ietf-wish-whep-03, held against its editors' copy of April 2026:
//! - the player's offer and the endpoint's `201` with an answer;
//! - the endpoint's `406` with a counter-offer and the player's answer by `PATCH`. `valid-until` is
//!   not looked at: bots answer at once. (That an empty POST asks for an offer was in drafts before
//!   the working group's, and is not implemented.)
//! - `409` with `Retry-After` while nobody publishes, until the time to join is up.
//! - No server-sent events, no layer selection: extensions, which no measurement needs.
//!
//! # Who receives what
//!
//! A publisher receives nothing. A viewer watches one stream, that of one publisher: one audio and
//! one video m-line of its own offer, as far as the publisher sends them. Viewers wait until the
//! publisher they watch is connected before they begin to join, because most servers know no stream
//! without publisher.

mod bot;
mod client;
#[cfg(test)]
mod nonsense;
mod problem;
#[cfg(test)]
mod simulcast;
mod template;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use reqwest::Client;
use tokio::sync::watch;

pub use client::{Endpoint, HttpError, Negotiation, Session};
pub use template::Template;

use crate::bot::state::BotState;
use crate::bot::tap::lock;
use crate::bot::{BotConfig, Phase, Settled, course};
use crate::http::{self, Trust};

/// The endpoints of a run.
#[derive(Debug, Default)]
pub struct Whip {
    /// Publishers need it.
    pub publish: Option<Template>,
    /// Viewers need it.
    pub view: Option<Template>,
    /// The bearer token.
    pub token: Option<String>,
    /// A PEM file with the certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    client: OnceLock<Result<Client, String>>,
    /// By room and number: whether the publisher is connected, or will not be.
    publishers: Mutex<HashMap<(String, usize), watch::Receiver<bool>>>,
}

impl Whip {
    /// Publishers need the first URL, viewers the second.
    pub fn new(publish: Option<Template>, view: Option<Template>, token: Option<String>) -> Self {
        Self {
            publish,
            view,
            token,
            ..Self::default()
        }
    }

    /// Whether there is neither endpoint nor token nor certificate.
    pub(crate) fn says_nothing(&self) -> bool {
        let endpoints = self.publish.is_some() || self.view.is_some();
        !endpoints && self.token.is_none() && self.ca_file.is_none()
    }

    /// The client of all bots.
    fn client(&self) -> Result<Client, String> {
        let secure = [&self.publish, &self.view]
            .into_iter()
            .flatten()
            .any(Template::is_secure);
        let trust = match &self.ca_file {
            Some(path) => Trust::File(path),
            None if secure => Trust::System,
            None => Trust::Nothing,
        };
        self.client.get_or_init(|| http::client(trust)).clone()
    }

    /// Checks that there is an endpoint for publishers, if a room has any, and one for viewers likewise.
    pub(crate) fn check(&self, publishers: usize, viewers: bool) -> Result<(), String> {
        let sides = [
            ("publishers", "--whip-url", &self.publish, publishers > 0),
            ("subscribers", "--whep-url", &self.view, viewers),
        ];
        for (who, flag, url, needed) in sides {
            match url {
                None if needed => return Err(format!("{who} need {flag}")),
                Some(url) if publishers > 1 && !url.is_numbered() => {
                    return Err(format!(
                        "{flag} needs {{publisher}}: with several publishers each is a stream of its own"
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The address of the first endpoint's host.
    pub(crate) async fn resolve(&self) -> std::io::Result<SocketAddr> {
        let endpoint = self.publish.as_ref().or(self.view.as_ref());
        let url = endpoint
            .ok_or_else(|| "no URL".to_owned())
            .and_then(|template| template.url("room", 1));
        http::resolve(&url.map_err(std::io::Error::other)?).await
    }

    /// Runs a bot until `phase` says to leave. Its observations go into `state`.
    ///
    /// Its viewers know a publisher from the call on, not from the first poll.
    pub(crate) fn run(
        self: &Arc<Self>,
        config: BotConfig,
        state: Arc<BotState>,
        phase: watch::Receiver<Phase>,
        settled: Settled,
    ) -> impl Future<Output = ()> + Send + use<> {
        let n = state.stream.unwrap_or(1);
        let endpoint = if state.publishes {
            &self.publish
        } else {
            &self.view
        };
        let endpoint = endpoint
            .as_ref()
            .ok_or_else(|| "it has no URL to go to".to_owned());
        let endpoint = endpoint.and_then(|template| {
            let url = template.url(&state.room, n)?;
            let endpoint = Endpoint::new(self.client()?, url, self.token.as_deref());
            endpoint.map_err(|error| error.to_string())
        });
        let stream = (state.room.clone(), n);
        let (live, becomes_live) = watch::channel(false);
        let before = if state.publishes {
            lock(&self.publishers).insert(stream, becomes_live);
            None
        } else {
            lock(&self.publishers).get(&stream).cloned()
        };
        // Once it has joined or will not, those who watch it need not wait any more.
        let settled: Settled = Box::new(move || {
            live.send_replace(true);
            settled();
        });
        let mut waits = phase.clone();
        async move {
            if let Some(mut publisher) = before {
                tokio::select! {
                    _ = publisher.wait_for(|there| *there) => {}
                    _ = waits.wait_for(|phase| *phase > Phase::Call) => {}
                }
            }
            let opening = bot::Bot::open(endpoint, config.clone(), Arc::clone(&state));
            course(opening, &config, &state, phase, settled).await;
        }
    }
}

impl fmt::Display for Whip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.publish, &self.view) {
            (Some(publish), Some(view)) => write!(f, "{publish} {view}"),
            (Some(one), None) | (None, Some(one)) => one.fmt(f),
            (None, None) => Ok(()),
        }
    }
}
