//! One HTTP request at a time, over a connection of its own.
//!
//! A session is a POST now and a DELETE minutes later, so that a pool would keep nothing. Plain
//! http only, like the rest of the load tester.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

use super::problem;

/// Far more than any answer or problem is; a server that sends more is not listened to.
const MAX_BODY: usize = 1 << 20;

/// A load balancer in front of a load balancer is plausible, more is a loop.
const MAX_REDIRECTS: usize = 5;

/// A request that may be sent several times, because of redirects.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) token: Option<&'a str>,
    pub(crate) if_match: Option<&'a str>,
    /// Media type and body.
    pub(crate) content: Option<(&'static str, &'a str)>,
}

/// The response that came back.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The URL that it came from, after redirects.
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// The reason that there is no session.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("{0}")]
    Url(String),
    #[error("no HTTP with {url}: {reason}")]
    Unreachable { url: Url, reason: String },
    #[error("more than {MAX_REDIRECTS} redirects, the last one to {0}")]
    Redirects(Url),
    #[error(transparent)]
    Refused(Box<Refusal>),
    #[error("{url} answered {status} but {what}")]
    Unusable {
        url: Url,
        status: StatusCode,
        what: String,
    },
}

/// The server said no.
#[derive(Debug, thiserror::Error)]
#[error("{method} {url}: {status}{detail}")]
pub struct Refusal {
    pub method: Method,
    pub url: Url,
    pub status: StatusCode,
    /// RFC 9457, or whatever text the server sent instead. Empty, or begins with `: `.
    pub detail: String,
    /// Asked to come again after this.
    pub retry_after: Option<Duration>,
}

impl HttpError {
    /// After which time the server asked to be asked again: it has no publisher yet (WHEP, 409), or
    /// too much to do (503).
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let Self::Refused(refusal) = self else {
            return None;
        };
        [StatusCode::CONFLICT, StatusCode::SERVICE_UNAVAILABLE]
            .contains(&refusal.status)
            .then_some(refusal.retry_after)?
    }
}

impl Reply {
    /// The header, if it is text.
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type, without parameters, in lower case.
    pub(crate) fn media_type(&self) -> String {
        let content_type = self.header(header::CONTENT_TYPE).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default();
        media_type.trim().to_ascii_lowercase()
    }

    /// The error for a status other than the expected one.
    pub(crate) fn refusal(&self, method: &Method) -> HttpError {
        let seconds = self.header(header::RETRY_AFTER);
        HttpError::Refused(Box::new(Refusal {
            method: method.clone(),
            url: self.url.clone(),
            status: self.status,
            detail: problem::detail(&self.media_type(), &self.body),
            retry_after: seconds
                .and_then(|text| text.trim().parse().ok())
                .map(Duration::from_secs),
        }))
    }

    /// Its status is fine, the rest is not.
    pub(crate) fn unusable(&self, what: impl Into<String>) -> HttpError {
        HttpError::Unusable {
            url: self.url.clone(),
            status: self.status,
            what: what.into(),
        }
    }
}

impl Call<'_> {
    /// Sends the request, and again where a 307 or 308 says so (RFC 9725 section 4.5). The token is
    /// sent to another host too: section 4.7.1 wants it in every request to endpoint and session,
    /// and redirects here balance load between hosts.
    pub(crate) async fn send(&self, url: &Url) -> Result<Reply, HttpError> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let reply = self.send_once(&url).await?;
            let again = [
                StatusCode::TEMPORARY_REDIRECT,
                StatusCode::PERMANENT_REDIRECT,
            ];
            if !again.contains(&reply.status) {
                return Ok(reply);
            }
            let location = reply
                .header(header::LOCATION)
                .ok_or_else(|| reply.unusable("it does not say where to go"))?;
            url = reply
                .url
                .join(location)
                .map_err(|error| reply.unusable(format!("`{location:.200}` is no URL: {error}")))?;
        }
        Err(HttpError::Redirects(url))
    }

    async fn send_once(&self, url: &Url) -> Result<Reply, HttpError> {
        let failed = |error: &dyn std::fmt::Display| HttpError::Unreachable {
            url: url.clone(),
            reason: error.to_string(),
        };
        let request = self.request(url)?;
        let stream = TcpStream::connect(authority(url)?).await;
        let stream = stream.map_err(|error| failed(&error))?;
        // A request and an answer: Nagle's algorithm would only add to join times.
        let _ = stream.set_nodelay(true);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        let exchange = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| failed(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY).collect().await;
            Ok(Reply {
                url: url.clone(),
                status: head.status,
                headers: head.headers,
                body: body.map_err(|error| failed(&error))?.to_bytes(),
            })
        };
        // The connection ends with the exchange, by `Connection: close` or by being dropped.
        tokio::pin!(exchange, connection);
        tokio::select! {
            biased;
            reply = &mut exchange => reply,
            _ = connection => exchange.await,
        }
    }

    fn request(&self, url: &Url) -> Result<Request<Full<Bytes>>, HttpError> {
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = Request::builder()
            .method(&self.method)
            .uri(target)
            .header(header::HOST, host)
            .header(header::CONNECTION, "close")
            .header(
                header::USER_AGENT,
                concat!("tertulia-loadtest/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(token) = self.token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| HttpError::Url("the token has characters no header takes".into()))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(tag) = self.if_match {
            request = request.header(header::IF_MATCH, tag);
        }
        let mut body = Bytes::new();
        if let Some((media_type, content)) = self.content {
            request = request.header(header::CONTENT_TYPE, media_type);
            body = Bytes::copy_from_slice(content.as_bytes());
        }
        request
            .body(Full::new(body))
            .map_err(|error| HttpError::Url(format!("{url}: {error}")))
    }
}

/// Host and port, as the resolver wants them.
pub(crate) fn authority(url: &Url) -> Result<String, HttpError> {
    match (url.scheme(), url.host(), url.port_or_known_default()) {
        ("http", Some(host), Some(port)) => Ok(format!("{host}:{port}")),
        ("https", ..) => Err(HttpError::Url(format!("{url}: bots speak plain http only"))),
        _ => Err(HttpError::Url(format!("{url} is no http URL"))),
    }
}
