//! A server with users of its own: they log in, it decides who joins which call and as whom, hears what happens there,
//! and puts people out.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tertulia_signaling::hooks::{Admission, Denial, Hooks, JoinRequest, Permissions};
use tertulia_signaling::room::Heard;
use tertulia_signaling::{Config, Node};
use tokio::net::TcpListener;

#[derive(Clone, Deserialize)]
struct User {
    user: String,
}

/// `/login?user=Ada`. A real one asks for a password, and its cookie is a secret.
async fn log_in(Query(User { user }): Query<User>) -> impl IntoResponse {
    let cookie = format!("user={user}; Path=/; HttpOnly; SameSite=Strict");
    (
        [(header::SET_COOKIE, cookie)],
        Redirect::to("/call/?room=lobby"),
    )
}

/// Finds the user of every request, those for calls included.
async fn known(mut request: Request, next: Next) -> Response {
    let cookie = request.headers().get(header::COOKIE);
    let user = cookie.and_then(|cookie| cookie.to_str().ok()?.strip_prefix("user="));
    if let Some(user) = user.map(str::to_owned) {
        request.extensions_mut().insert(User { user });
    }
    next.run(request).await
}

struct Members;

impl Hooks for Members {
    fn authorize(&self, request: JoinRequest) -> BoxFuture<'_, Result<Admission, Denial>> {
        Box::pin(async move {
            let User { user } = request.extension().ok_or(Denial::new("Log in first."))?;
            let mut permissions = Permissions::all();
            permissions.update = false;
            permissions.screen = user == "Ada";
            Ok(Admission::new()
                .identity(user)
                .name(user)
                .permissions(permissions))
        })
    }
}

/// `/kick/lobby/pa_...`
async fn kick(
    State(node): State<Node>,
    Path((room, participant)): Path<(String, String)>,
) -> Result<&'static str, (StatusCode, String)> {
    let kicked = node
        .rooms()
        .kick(&room, &participant, "Please be kind.")
        .await;
    kicked.map_err(|error| (StatusCode::NOT_FOUND, error.to_string()))?;
    Ok("gone\n")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config {
        media_port: 0,
        workers: 1,
        ..Config::default()
    };
    let node = Node::builder().config(config).hooks(Members).build()?;
    let mut events = node.events();
    tokio::spawn(async move {
        while let Some(heard) = events.next().await {
            match heard {
                Heard::Event(event) => println!("{}: {:?}", event.room, event.change),
                Heard::Missed(count) => println!("{count} events came too fast"),
            }
        }
    });
    let app = Router::new()
        .route("/login", get(log_in))
        .route("/kick/{room}/{participant}", get(kick))
        .with_state(node.clone())
        .nest_service("/call", node.router())
        .layer(from_fn(known));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("open http://{}/login?user=Ada", listener.local_addr()?);
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).await?;
    Ok(())
}
