//! Requests of one client over one connection, which is kept alive between them.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::browser::Page;
use super::traffic::Traffic;

/// Longest answer that is read, in bytes: a welcome to a large room is less. A longer one is an error.
const MAX_ANSWER: usize = 4 << 20;

/// A way for one request at a time.
pub(super) struct Requests {
    page: Arc<Page>,
    traffic: Arc<Traffic>,
    kept: Option<SendRequest<Full<Bytes>>>,
}

impl Requests {
    /// Opens no connection yet.
    pub(super) fn new(page: &Arc<Page>, traffic: &Arc<Traffic>) -> Self {
        Self {
            page: Arc::clone(page),
            traffic: Arc::clone(traffic),
            kept: None,
        }
    }

    /// The whole answer to `POST /v1/http/NAME`.
    ///
    /// # Errors
    ///
    /// It is no success, or too long; in words.
    pub(super) async fn answer(&mut self, name: &str, body: String) -> Result<Bytes, String> {
        let response = self.begin(name, body).await?;
        whole(response.into_body()).await
    }

    /// The head of the answer to `POST /v1/http/NAME`, whose body comes in pieces.
    ///
    /// # Errors
    ///
    /// It is no success; in words.
    pub(super) async fn begin(
        &mut self,
        name: &str,
        body: String,
    ) -> Result<Response<Incoming>, String> {
        let body = Bytes::from(body);
        loop {
            let (mut sender, was_kept) = match self.kept().await {
                Some(kept) => (kept, true),
                None => (self.connect().await?, false),
            };
            self.traffic.request();
            let request = self.page.post(name, body.clone());
            match sender.send_request(request).await {
                Ok(response) if response.status() == StatusCode::OK => {
                    self.kept = Some(sender);
                    return Ok(response);
                }
                Ok(response) => {
                    let status = response.status();
                    let said = whole(response.into_body()).await?;
                    let said = String::from_utf8_lossy(&said).into_owned();
                    return Err(format!("{name}: the server answered with {status}: {said}"));
                }
                // The server may close a connection that is kept just when the next request comes. Browsers send it again.
                Err(_) if was_kept => {}
                Err(error) => return Err(format!("{name}: {error}")),
            }
        }
    }

    /// The connection of the last request, if the server has not closed it.
    async fn kept(&mut self) -> Option<SendRequest<Full<Bytes>>> {
        let mut kept = self.kept.take()?;
        kept.ready().await.ok()?;
        Some(kept)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = self.page.connect(&self.traffic).await;
        let stream = TokioIo::new(stream.map_err(|error| error.to_string())?);
        let (sender, connection) = http1::handshake(stream)
            .await
            .map_err(|error| error.to_string())?;
        // It ends with the sender and the last answer; whoever waits for that is told of an error.
        tokio::spawn(connection);
        Ok(sender)
    }
}

async fn whole(body: Incoming) -> Result<Bytes, String> {
    let whole = Limited::new(body, MAX_ANSWER).collect().await;
    let whole = whole.map_err(|error| format!("the answer broke off: {error}"))?;
    Ok(whole.to_bytes())
}
