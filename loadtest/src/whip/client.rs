//! The HTTP half of a session: offer, answer, candidates, goodbye.

use hyper::header::{self, HeaderValue};
use hyper::{Method, StatusCode};
use url::Url;

use super::http::{Call, HttpError, Reply};
use super::link::{self, IceServer};

/// RFC 9725 section 4.2.
const SDP: &str = "application/sdp";
/// RFC 8840 section 9.2.
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// An endpoint at which sessions are made.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub url: Url,
    /// Sent as `Authorization: Bearer` (RFC 9725 section 4.7.1).
    pub token: Option<String>,
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
    url: Url,
    token: Option<String>,
    /// Names the ICE session. A server that takes no trickled candidates has none.
    entity_tag: Option<String>,
    /// The ICE servers that the server recommends. Bots do not use them: they reach servers directly.
    pub ice_servers: Vec<IceServer>,
}

impl Endpoint {
    /// Offers (RFC 9725 section 4.2). `counter_offers`: the endpoint is one of WHEP, which may refuse the offer and
    /// make its own.
    ///
    /// # Errors
    ///
    /// There is no session: the server was not reached, refused, or gave an answer without meaning.
    pub async fn offer(&self, sdp: &str, counter_offers: bool) -> Result<Negotiation, HttpError> {
        let call = Call {
            method: Method::POST,
            token: self.token.as_deref(),
            if_match: None,
            content: Some((SDP, sdp)),
        };
        let reply = call.send(&self.url).await?;
        // A plain refusal comes without a description.
        let counter_offer = counter_offers
            && reply.status == StatusCode::NOT_ACCEPTABLE
            && reply.media_type() == SDP;
        if reply.status != StatusCode::CREATED && !counter_offer {
            return Err(match reply.status.is_success() {
                true => reply.unusable("201 is what creates a session"),
                false => reply.refusal(&call.method),
            });
        }
        let session = self.session(&reply)?;
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

    fn session(&self, reply: &Reply) -> Result<Session, HttpError> {
        let location = reply
            .header(header::LOCATION)
            .ok_or_else(|| reply.unusable("it has no Location"))?;
        let url = reply.url.join(location);
        let url =
            url.map_err(|error| reply.unusable(format!("`{location:.200}` is no URL: {error}")))?;
        let links = reply.headers.get_all(header::LINK);
        Ok(Session {
            url,
            token: self.token.clone(),
            entity_tag: reply.header(header::ETAG).map(str::to_owned),
            ice_servers: link::ice_servers(links.iter().filter_map(text)),
        })
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

impl Session {
    /// Its URL.
    pub fn url(&self) -> &Url {
        &self.url
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
        self.patch(None, (SDP, sdp)).await
    }

    /// Sends candidates after the offer (RFC 9725 section 4.3.2).
    ///
    /// # Errors
    ///
    /// The server did not take them.
    pub async fn trickle(&self, fragment: &str) -> Result<(), HttpError> {
        let tag = self.entity_tag.as_deref();
        self.patch(tag, (FRAGMENT, fragment)).await
    }

    /// Ends it (RFC 9725 section 4.2).
    ///
    /// # Errors
    ///
    /// The server does not say that it is gone.
    pub async fn delete(&self) -> Result<(), HttpError> {
        let call = Call {
            method: Method::DELETE,
            token: self.token.as_deref(),
            if_match: None,
            content: None,
        };
        done(&call, call.send(&self.url).await?)
    }

    async fn patch(
        &self,
        if_match: Option<&str>,
        content: (&'static str, &str),
    ) -> Result<(), HttpError> {
        let call = Call {
            method: Method::PATCH,
            token: self.token.as_deref(),
            if_match,
            content: Some(content),
        };
        done(&call, call.send(&self.url).await?)
    }
}

/// The drafts name 200 and 204, and ask clients to go by the hundreds (RFC 9725 section 4.1).
fn done(call: &Call<'_>, reply: Reply) -> Result<(), HttpError> {
    match reply.status.is_success() {
        true => Ok(()),
        false => Err(reply.refusal(&call.method)),
    }
}
