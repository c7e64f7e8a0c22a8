//! A client by server-sent events, and POSTs.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::super::books::Ear;
use super::super::browser::Page;
use super::super::requests::Requests;
use super::super::traffic::Traffic;
use super::posts::Posts;

/// Interval of the messages `ping`, as the protocol asks for: a stream of events is no sign of life of its client.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(5);

/// Longest event, in bytes. A longer one is an error.
const MAX_EVENT: usize = 4 << 20;

/// A client by server-sent events, which is in a room.
pub(super) struct Events {
    stream: Stream,
    posts: Posts,
    ear: Ear,
}

/// The stream, of which events are cut.
struct Stream {
    body: Incoming,
    cutter: Cutter,
}

/// Cuts a stream into the data of its events (WHATWG HTML section 9.2.6, with the line ends and fields that our server uses).
#[derive(Default)]
struct Cutter {
    rest: Vec<u8>,
}

/// The first event.
#[derive(Deserialize)]
struct Open {
    connection: String,
}

impl Events {
    /// Opens the stream, and joins by the request that does.
    ///
    /// # Errors
    ///
    /// The server refuses; in words.
    pub(super) async fn enter(
        page: &Arc<Page>,
        traffic: &Arc<Traffic>,
        join: String,
        mut ear: Ear,
    ) -> Result<Self, String> {
        let body = format!(r#"{{"messages":[{join}]}}"#);
        let response = Requests::new(page, traffic).begin("events", body).await?;
        let mut stream = Stream {
            body: response.into_body(),
            cutter: Cutter::default(),
        };
        let open = stream.next().await?;
        let open: Open = serde_json::from_str(&open)
            .map_err(|error| format!("the first event is {open:.100}: {error}"))?;
        while !ear.hear(&stream.next().await?)? {}
        Ok(Self {
            stream,
            posts: Posts::new(page, traffic, open.connection, Some(PING_EVERY)),
            ear,
        })
    }

    /// Hears and says, until there is nothing more to say.
    ///
    /// # Errors
    ///
    /// The stream ends, or a request fails; in words.
    pub(super) async fn stay(self, said: mpsc::Receiver<String>) -> Result<(), String> {
        let Self {
            mut stream,
            posts,
            mut ear,
        } = self;
        let hearing = async {
            loop {
                ear.hear(&stream.next().await?)?;
            }
        };
        tokio::select! {
            ended = hearing => ended,
            ended = posts.run(said) => ended,
        }
    }
}

impl Stream {
    /// The data of the next event. Comments are passed over.
    async fn next(&mut self) -> Result<String, String> {
        loop {
            if let Some(event) = self.cutter.next()? {
                return Ok(event);
            }
            let frame = self.body.frame().await.ok_or("the stream ended")?;
            let frame = frame.map_err(|error| format!("the stream broke off: {error}"))?;
            if let Some(bytes) = frame.data_ref() {
                self.cutter.rest.extend_from_slice(bytes);
            }
        }
    }
}

impl Cutter {
    fn next(&mut self) -> Result<Option<String>, String> {
        while let Some(end) = self.rest.windows(2).position(|pair| pair == b"\n\n") {
            let event: Vec<u8> = self.rest.drain(..end + 2).collect();
            if let Some(data) = event.strip_prefix(b"data: ") {
                let data = data.trim_ascii_end().to_vec();
                let text = String::from_utf8(data).map_err(|error| error.to_string());
                return text.map(Some);
            }
        }
        match self.rest.len() > MAX_EVENT {
            true => Err(format!("an event is longer than {MAX_EVENT} bytes")),
            false => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_wherever_the_stream_is() {
        let text = "data: {\"a\":1}\n\n:\n\ndata: {\"b\":\"\u{e9}\"}\n\n:\n\n".as_bytes();
        for size in 1..text.len() {
            let mut cutter = Cutter::default();
            let mut events = Vec::new();
            for piece in text.chunks(size) {
                cutter.rest.extend_from_slice(piece);
                while let Some(event) = cutter.next().unwrap() {
                    events.push(event);
                }
            }
            assert_eq!(events, ["{\"a\":1}", "{\"b\":\"\u{e9}\"}"], "{size}");
        }
        let mut cutter = Cutter {
            rest: vec![b'x'; MAX_EVENT + 1],
        };
        assert!(cutter.next().is_err());
    }
}
