//! The HTTP half of a session: offer, answer, candidates, goodbye.

use std::fmt;
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, StatusCode};
use url::Url;

use super::problem;
use crate::http;

/// RFC 9725 section 4.2.
const SDP: &str = "application/sdp";
/// RFC 8840 section 9.2.
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// A load balancer in front of a load balancer is plausible, more is a loop.
const MAX_REDIRECTS: usize = 5;

/// An endpoint at which sessions are made.
#[derive(Clone, Debug)]
pub struct Endpoint {
    client: Client,
    url: Url,
    token: Option<HeaderValue>,
}

/// An endpoint's answer to an offer.
#[derive(Clone, Debug)]
pub struct Negotiation {
    pub session: Session,
    pub sdp: String,
    /// The description is an offer of the server's own, in place of ours: a WHEP endpoint may do
    /// so. [`Session::answer`] is next.
    pub counter_offer: bool,
}

/// A session at the server, until it is deleted.
#[derive(Clone, Debug)]
pub struct Session {
    /// The session's own URL, with the client and the token of its endpoint.
    at: Endpoint,
    /// Names the ICE session. A server that takes no trickled candidates has none.
    entity_tag: Option<String>,
}

/// The reason that there is no session.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct HttpError {
    text: String,
    /// After this time the server asked to be asked again: it has no publisher yet (WHEP, 409), or too much to do
    /// (503).
    pub(crate) retry_after: Option<Duration>,
}

impl HttpError {
    fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            retry_after: None,
        }
    }
}

impl Endpoint {
    /// The endpoint at `url`. The token is sent as `Authorization: Bearer` (RFC 9725 section 4.7.1).
    ///
    /// # Errors
    ///
    /// The token has characters that no header takes.
    pub fn new(client: Client, url: Url, token: Option<&str>) -> Result<Self, HttpError> {
        let bearer = |token| {
            let value = HeaderValue::try_from(format!("Bearer {token}"));
            value.map_err(|_| HttpError::new("the token has characters no header takes"))
        };
        let mut token = token.map(bearer).transpose()?;
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        Ok(Self { client, url, token })
    }

    /// Offers (RFC 9725 section 4.2). `counter_offers`: the endpoint is one of WHEP, which may refuse the offer and
    /// make its own.
    ///
    /// # Errors
    ///
    /// There is no session: the server was not reached, refused, or gave an answer without meaning.
    pub async fn offer(&self, sdp: &str, counter_offers: bool) -> Result<Negotiation, HttpError> {
        let reply = self.send(Method::POST, None, Some((SDP, sdp))).await?;
        // A plain refusal comes without a description.
        let counter_offer = counter_offers
            && reply.status == StatusCode::NOT_ACCEPTABLE
            && reply.media_type() == SDP;
        if reply.status != StatusCode::CREATED && !counter_offer {
            return Err(match reply.status.is_success() {
                true => reply.unusable("201 is what creates a session"),
                false => reply.refusal(),
            });
        }
        let session = Session {
            at: Self {
                url: reply.location("it has no Location")?,
                ..self.clone()
            },
            entity_tag: reply.header(header::ETAG).map(str::to_owned),
        };
        if reply.media_type() != SDP {
            // The session exists all the same, and would be left behind.
            let _ = session.delete().await;
            let what = format!("its answer is `{}`, not {SDP}", reply.media_type());
            return Err(reply.unusable(what));
        }
        let sdp = String::from_utf8_lossy(&reply.body).into_owned();
        Ok(Negotiation {
            session,
            sdp,
            counter_offer,
        })
    }

    /// Sends a request, and again where a 307 or 308 says so (RFC 9725 section 4.5). The token is
    /// sent to another host too: section 4.7.1 wants it in every request to endpoint and session,
    /// and redirects here balance load between hosts.
    async fn send(
        &self,
        method: Method,
        if_match: Option<&str>,
        content: Option<(&'static str, &str)>,
    ) -> Result<Reply, HttpError> {
        const ELSEWHERE: [StatusCode; 2] = [
            StatusCode::TEMPORARY_REDIRECT,
            StatusCode::PERMANENT_REDIRECT,
        ];
        let mut url = self.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.client.request(method.clone(), url.clone());
            if let Some(token) = &self.token {
                request = request.header(header::AUTHORIZATION, token);
            }
            if let Some(tag) = if_match {
                request = request.header(header::IF_MATCH, tag);
            }
            if let Some((media_type, body)) = content {
                request = request.header(header::CONTENT_TYPE, media_type);
                request = request.body(body.to_owned());
            }
            let unreachable = |reason| HttpError::new(format!("no HTTP with {url}: {reason}"));
            let sent = request.send().await;
            let mut response = sent.map_err(|error| unreachable(http::reason(&error)))?;
            let reply = Reply {
                body: http::body(&mut response).await.map_err(unreachable)?,
                method: method.clone(),
                url,
                status: response.status(),
                headers: std::mem::take(response.headers_mut()),
            };
            if !ELSEWHERE.contains(&reply.status) {
                return Ok(reply);
            }
            url = reply.location("it does not say where to go")?;
        }
        let text = format!("more than {MAX_REDIRECTS} redirects, the last one to {url}");
        Err(HttpError::new(text))
    }

    /// Sends a request that has no answer but success. The drafts name 200 and 204, and ask clients to go by the
    /// hundreds (RFC 9725 section 4.1).
    async fn tell(
        &self,
        method: Method,
        if_match: Option<&str>,
        content: Option<(&'static str, &str)>,
    ) -> Result<(), HttpError> {
        let reply = self.send(method, if_match, content).await?;
        match reply.status.is_success() {
            true => Ok(()),
            false => Err(reply.refusal()),
        }
    }
}

impl Session {
    /// Its URL.
    pub fn url(&self) -> &Url {
        &self.at.url
    }

    /// Whether the server takes candidates after the offer. One that does names the ICE session by
    /// an entity tag (RFC 9725 section 4.3.1).
    pub fn trickles(&self) -> bool {
        self.entity_tag.is_some()
    }

    /// Answers the server's counter-offer.
    ///
    /// # Errors
    ///
    /// The server did not take it.
    pub async fn answer(&self, sdp: &str) -> Result<(), HttpError> {
        self.at.tell(Method::PATCH, None, Some((SDP, sdp))).await
    }

    /// Sends candidates after the offer (RFC 9725 section 4.3.2).
    ///
    /// # Errors
    ///
    /// The server did not take them.
    pub async fn trickle(&self, fragment: &str) -> Result<(), HttpError> {
        let tag = self.entity_tag.as_deref();
        let content = Some((FRAGMENT, fragment));
        self.at.tell(Method::PATCH, tag, content).await
    }

    /// Ends it (RFC 9725 section 4.2).
    ///
    /// # Errors
    ///
    /// The server does not say that it is gone.
    pub async fn delete(&self) -> Result<(), HttpError> {
        self.at.tell(Method::DELETE, None, None).await
    }
}

/// The response that came back.
struct Reply {
    method: Method,
    /// The URL that it came from, after redirects.
    url: Url,
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    /// The header, if it is text.
    fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type, without parameters, in lower case.
    fn media_type(&self) -> String {
        let content_type = self.header(header::CONTENT_TYPE).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default();
        media_type.trim().to_ascii_lowercase()
    }

    /// The URL that it refers to, relative to its own (RFC 3986 section 5).
    fn location(&self, missing: &str) -> Result<Url, HttpError> {
        let location = self.header(header::LOCATION);
        let location = location.ok_or_else(|| self.unusable(missing))?;
        let wrong = |error| self.unusable(format!("`{location:.200}` is no URL: {error}"));
        self.url.join(location).map_err(wrong)
    }

    /// The error for a status other than the expected one: RFC 9457, or whatever text the server sent instead.
    fn refusal(&self) -> HttpError {
        let Self {
            method,
            url,
            status,
            ..
        } = self;
        let again = [StatusCode::CONFLICT, StatusCode::SERVICE_UNAVAILABLE].contains(status);
        let seconds = self.header(header::RETRY_AFTER).filter(|_| again);
        let detail = problem::detail(&self.media_type(), &self.body);
        HttpError {
            text: format!("{method} {url}: {status}{detail}"),
            retry_after: seconds
                .and_then(|text| text.trim().parse().ok())
                .map(Duration::from_secs),
        }
    }

    /// Its status is fine, the rest is not.
    fn unusable(&self, what: impl fmt::Display) -> HttpError {
        HttpError::new(format!("{} answered {} but {what}", self.url, self.status))
    }
}
