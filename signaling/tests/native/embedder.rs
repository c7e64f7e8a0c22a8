//! A server of somebody else's, with users of its own: its middleware knows them, and its hooks decide.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::COOKIE;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::{Extension, Router};
use futures_util::future::pending;
use serde_json::{Map, json};
use tertulia_signaling::NodeBuilder;
use tertulia_signaling::hooks::{Admission, Denial, Hooks, JoinRequest, Permissions};
use tertulia_signaling::room::{Change, Events, Heard, RoomEvent};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::client::DEADLINE;
use crate::server::Server;

/// A user, as the middleware of this embedder finds them by their cookie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct User(String);

/// Decides by the name that is asked for, or by the [`User`] if there is one.
pub(crate) struct Door;

impl Hooks for Door {
    async fn authorize(&self, request: JoinRequest) -> Result<Admission, Denial> {
        if let Some(User(user)) = request.extension() {
            assert!(request.header(COOKIE).is_some_and(|it| it.contains(user)));
            return Ok(as_user(user, &request));
        }
        match request.name.as_str() {
            "nobody" => Err(Denial::new("Log in first.")),
            "pending" => pending().await,
            "panic" => panic!("of the test's hook"),
            "ill-named" => Ok(Admission::new().name("a\nb")),
            name => Ok(Admission::new()
                .identity(format!("id of {name}"))
                .permissions(rights(name))),
        }
    }
}

fn as_user(user: &str, request: &JoinRequest) -> Admission {
    let metadata = Map::from_iter([
        ("room".to_owned(), json!(request.room)),
        ("asked".to_owned(), json!(request.name)),
        ("brought".to_owned(), json!(request.metadata)),
        (
            "client".to_owned(),
            json!(request.client.map(|it| it.to_string())),
        ),
    ]);
    let identity = format!("id of {user}");
    let name = format!("The real {user}");
    Admission::new()
        .identity(identity)
        .name(name)
        .metadata(metadata)
}

fn rights(name: &str) -> Permissions {
    let listener = Permissions::listener();
    match name {
        "Listener" => listener,
        "Screen" => listener.screen(true),
        "Silent" => Permissions::all().microphone(false),
        "Writer" => listener.chat(true),
        "Speaker" => listener.microphone(true),
        _ => Permissions::all(),
    }
}

impl Server {
    pub(crate) async fn with_door() -> Self {
        Self::with_hooks(|builder| builder).await
    }

    pub(crate) async fn with_hooks(build: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Self {
        Self::built(|_| {}, |builder| build(builder.hooks(Door))).await
    }

    /// Mounts the node beside a middleware that knows users by their cookie: by `nest` at `/call`, by `nest_service` at
    /// `/talk`, and further down at `/deep/down`.
    pub(crate) async fn mounted(&self) -> SocketAddr {
        let router = || self.node.router();
        let app = Router::new()
            .nest("/call", router())
            .nest_service("/talk", router())
            .nest("/deep", Router::new().nest_service("/down", router()))
            .layer(from_fn(log_in))
            .layer(Extension("another value of the embedder's"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let addr = listener.local_addr().expect("address");
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        addr
    }
}

/// The embedder's own login.
async fn log_in(mut request: Request, next: Next) -> Response {
    let cookie = request.headers().get(COOKIE);
    let cookie = cookie.and_then(|cookie| cookie.to_str().ok());
    let user = cookie.and_then(|cookie| cookie.strip_prefix("user="));
    if let Some(user) = user.map(str::to_owned) {
        request.extensions_mut().insert(User(user));
    }
    next.run(request).await
}

/// The next event of the node.
pub(crate) async fn heard(events: &mut Events) -> RoomEvent {
    let heard = timeout(DEADLINE, events.next()).await;
    match heard.expect("an event in time") {
        Some(Heard::Event(event)) => RoomEvent::clone(&event),
        other => panic!("{other:?} instead of an event"),
    }
}

pub(crate) async fn change(events: &mut Events) -> Change {
    heard(events).await.change
}

/// Longer than any decision of [`Door`] that comes.
pub(crate) const SHORT: Duration = Duration::from_millis(100);
