//! A participant that joins a room, offers, and leaves: over a WebSocket, or over polls where there is none.

use std::time::Duration;

use axum::http::{HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt, StreamExt};
use rand::distr::{Alphanumeric, SampleString};
use serde::Deserialize;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::answer::{Answer, USER_AGENT, Unanswered};
use super::connection::{Boxed, Way};
use super::health;
use super::offer::{Offer, Ways};
use super::over_http::{Polls, of_answer};
use super::report::{NEEDS_TOKEN, Row, Step};
use super::target::Target;
use crate::access::{ROOM_ANY, Token};
use crate::protocol::native::{
    self, Audience, ClientFrame, ClientMessage, IceServer, Join, Refusal, ServerMessage, VERSION,
};

/// Bytes of a message: those of a welcome to a full room with much chat.
const MESSAGE_BYTES: usize = 4 << 20;
/// Messages that are read before the answer.
const MESSAGES: usize = 1_000;
/// Time for the farewell.
const GOODBYE: Duration = Duration::from_millis(500);

/// The way that messages take.
pub(super) enum Socket {
    WebSocket(Box<WebSocketStream<Boxed>>),
    Polls(Polls),
}

/// Makes a WebSocket as the page does.
pub(super) async fn upgrade(
    way: &Way,
    within: Duration,
) -> Result<Box<WebSocketStream<Boxed>>, Result<Answer, Unanswered>> {
    let target = &way.target;
    let no_request = |said: String| Err(Unanswered::NotHttp(said));
    let url = format!("ws://{}{}", target.authority(), target.path("v1/ws"));
    let request = url.into_client_request();
    let mut request = request.map_err(|error| no_request(error.to_string()))?;
    let origin = HeaderValue::from_str(&target.origin());
    let origin = origin.map_err(|error| no_request(error.to_string()))?;
    let headers = request.headers_mut();
    headers.insert(header::ORIGIN, origin);
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    let stream = way.open(within).await;
    let stream = stream.ok_or(Err(Unanswered::NoConnection))?;
    let mut config = WebSocketConfig::default();
    config.max_message_size = Some(MESSAGE_BYTES);
    config.max_frame_size = Some(MESSAGE_BYTES);
    let upgrading = client_async_with_config(request, stream, Some(config));
    match timeout(within, upgrading).await {
        Err(_) => Err(Err(Unanswered::Silent)),
        Ok(Ok((socket, _))) => Ok(Box::new(socket)),
        Ok(Err(Error::Http(response))) => {
            let field = |name| {
                let value: Option<&HeaderValue> = response.headers().get(name);
                String::from_utf8_lossy(value.map(HeaderValue::as_bytes).unwrap_or_default())
                    .into_owned()
            };
            Err(Ok(Answer {
                status: response.status().as_u16(),
                server: field(header::SERVER),
                location: field(header::LOCATION),
                content_type: field(header::CONTENT_TYPE),
                body: response.body().clone().unwrap_or_default(),
            }))
        }
        Ok(Err(Error::Io(_) | Error::ConnectionClosed)) => Err(Err(Unanswered::Closed)),
        Ok(Err(error)) => Err(Err(Unanswered::NotHttp(error.to_string()))),
    }
}

/// The row of an upgrade that failed.
pub(super) fn upgrade_row(target: &Target, outcome: &Result<Answer, Unanswered>) -> Row {
    let step = Step::WebSocket;
    match outcome {
        Ok(answer) => match (answer.status, of_answer(target, step, answer)) {
            // Somebody who knows the path and no WebSockets.
            (200 | 400 | 426, row) if row.code == "not_tertulia" => Row::failed(
                step,
                "no_upgrade",
                "A proxy takes the upgrade to a WebSocket away, so that clients use slower ways: let it pass the headers Upgrade and Connection on, over HTTP/1.1.",
            )
            .found(row.found),
            (_, row) => row,
        },
        Err(unanswered) => health::of_none(target, step, unanswered),
    }
}

/// The outcome of a join.
#[derive(Debug)]
pub(super) enum Entered {
    /// The answer to the offer, and what the welcome before it says of TURN.
    Answered(String, Vec<IceServer>),
    Refused(Refusal),
    /// A moderator has to let in.
    Waits,
    /// Nothing of it came in time, or something else.
    Unanswered,
}

impl Socket {
    /// Joins and offers.
    pub(super) async fn join(
        &mut self,
        way: &Way,
        room: String,
        token: Option<Token>,
        offer: &Offer,
        within: Duration,
    ) -> Entered {
        let until = Instant::now() + within;
        let message = ClientMessage::Join(Join {
            version: VERSION,
            room,
            name: "Tertulia check".into(),
            metadata: None,
            auto_subscribe: false,
            token,
            batch: false,
            // Little is told to it, and large rooms hear nothing of it.
            audience: Some(Audience::Always),
            resumable: false,
            session: None,
            offer: Some(native::Offer {
                sdp: offer.sdp.clone(),
                tracks: Vec::new(),
            }),
            views: Vec::new(),
        });
        let mut entered = Entered::Unanswered;
        let mut servers = Vec::new();
        match self {
            Self::WebSocket(socket) => {
                let frame = ClientFrame {
                    id: Some(1),
                    message,
                };
                let text = Message::text(frame.write());
                if !matches!(timeout_at(until, socket.send(text)).await, Ok(Ok(()))) {
                    return entered;
                }
                for _ in 0..MESSAGES {
                    let Ok(Some(Ok(message))) = timeout_at(until, socket.next()).await else {
                        break;
                    };
                    let Message::Text(text) = message else {
                        continue;
                    };
                    // What is no message of this version is passed over.
                    let message = ServerMessage::read(&text).unwrap_or(ServerMessage::Unknown);
                    if entered.take(message, &mut servers) {
                        break;
                    }
                }
            }
            Self::Polls(polls) => {
                let is_last = |message: &ServerMessage| {
                    Entered::Unanswered.take(message.clone(), &mut Vec::new())
                };
                for message in polls.exchange(way, message, until, is_last).await {
                    if entered.take(message, &mut servers) {
                        break;
                    }
                }
            }
        }
        entered
    }

    /// Leaves the room and ends the connection.
    pub(super) async fn leave(self, way: &Way) {
        match self {
            Self::WebSocket(mut socket) => {
                let frame = ClientFrame {
                    id: None,
                    message: ClientMessage::Leave,
                };
                let goodbye = async {
                    socket.send(Message::text(frame.write())).await.ok()?;
                    // The server closes after `bye`.
                    while let Some(Ok(_)) = socket.next().await {}
                    Some(())
                };
                let _ = timeout(GOODBYE, goodbye).await;
            }
            Self::Polls(polls) => polls.close(way, GOODBYE).await,
        }
    }
}

impl Entered {
    /// Takes a message of the server; true for the last one.
    fn take(&mut self, message: ServerMessage, servers: &mut Vec<IceServer>) -> bool {
        *self = match message {
            ServerMessage::Welcome(welcome) => {
                *servers = welcome.ice_servers;
                return false;
            }
            ServerMessage::Answer(answer) => Self::Answered(answer.sdp, std::mem::take(servers)),
            ServerMessage::Error(refusal) => Self::Refused(refusal),
            ServerMessage::Wait => Self::Waits,
            _ => return false,
        };
        true
    }
}

/// The row about a join into `room`, and the ways that its answer names.
pub(super) fn row(room: &str, had_token: bool, entered: &Entered) -> (Row, Option<Ways>) {
    let step = Step::Join;
    let failed = |code, advice: &str| (Row::failed(step, code, advice), None);
    match entered {
        Entered::Answered(sdp, _) => match Ways::read(sdp) {
            Some(ways) if ways.candidates.is_empty() => failed(
                "no_candidates",
                "The server announces no address for media: set media_ip to the address that clients reach.",
            ),
            Some(ways) => {
                let count = ways.candidates.len();
                let found = format!("room {room}, addresses for media: {count}");
                (Row::ok(step, found), Some(ways))
            }
            None => failed(
                "bad_answer",
                "The answer to the offer names no way for media: look whether the server is a Tertulia of this version.",
            ),
        },
        Entered::Refused(refusal) => (refused(had_token, refusal), None),
        Entered::Waits => failed(
            "waits",
            "A moderator has to let people into this room: give a token that brings the right to pass (tertulia token --invited).",
        ),
        Entered::Unanswered => failed(
            "no_answer",
            "The join was not answered in time: look into the server's log, and whether something on the way holds messages back.",
        ),
    }
}

fn refused(had_token: bool, refusal: &Refusal) -> Row {
    let step = Step::Join;
    let found = format!("{}: {}", refusal.code, refusal.message);
    let row = match refusal.code.as_str() {
        NEEDS_TOKEN if !had_token => Row::skipped(
            step,
            NEEDS_TOKEN,
            "A join needs an access token, without which media cannot be tried: print one where the keys are (tertulia token --room check --publish none --keys FILE), and give it by --token.",
        ),
        code if code.starts_with("token_") => Row::failed(
            step,
            "token_refused",
            "The server does not take the access token: print another one with the keys that this server has (tertulia token).",
        ),
        "not_allowed" => Row::failed(
            step,
            "not_allowed",
            "The server does not let this user in: give a token of one whom it lets in, if the operator's own program decides.",
        ),
        code if code.starts_with("sdp_") || code == "bad_sdp" || code == "bad_version" => {
            Row::failed(
                step,
                "other_version",
                "The server does not read this program's messages: check with the version that the server has.",
            )
        }
        code => Row::failed(
            step,
            "join_refused",
            format!(
                "The server refuses the join with `{code:.40}`: look that code up in PROTOCOL.md, and into the server's log."
            ),
        ),
    };
    row.found(found)
}

/// The room to join: that of the token, or one that nobody else is in.
pub(super) fn room(token: Option<&Token>) -> String {
    let of_token = token.and_then(|token| claimed(token.as_str()));
    of_token.filter(|room| room != ROOM_ANY).unwrap_or_else(|| {
        let unique = Alphanumeric.sample_string(&mut rand::rng(), 12);
        format!("tertulia-check-{unique}")
    })
}

/// The room that a token is for. The server verifies it.
fn claimed(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        tertulia: Grants,
    }
    #[derive(Deserialize)]
    struct Grants {
        room: String,
    }
    let claims = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    Some(claims.tertulia.room)
}
