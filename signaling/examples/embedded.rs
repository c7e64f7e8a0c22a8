//! A server with users of its own: they log in, it decides who joins which call and as whom, hears what happens there,
//! and puts people out.

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::middleware::map_request;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use tertulia_signaling::hooks::{Admission, Denial, Hooks, JoinRequest, Permissions};
use tertulia_signaling::room::OperateError;
use tertulia_signaling::{Config, Node};
use tokio::net::TcpListener;

#[derive(Clone, serde::Deserialize)]
struct User {
    user: String,
}

/// `/login?user=Ada`. A real one asks for a password, and its cookie is a secret.
async fn log_in(Query(User { user }): Query<User>) -> impl IntoResponse {
    let cookie = format!("user={user}; Path=/; HttpOnly; SameSite=Strict");
    ([(SET_COOKIE, cookie)], Redirect::to("/call/?room=lobby"))
}

/// Finds the user of every request, those for calls included.
async fn find_user(mut request: Request) -> Request {
    let cookie = request.headers().get(COOKIE);
    let user = cookie.and_then(|cookie| cookie.to_str().ok()?.strip_prefix("user="));
    if let Some(user) = user.map(str::to_owned) {
        request.extensions_mut().insert(User { user });
    }
    request
}

struct Members;

impl Hooks for Members {
    async fn authorize(&self, request: JoinRequest) -> Result<Admission, Denial> {
        let User { user } = request.extension().ok_or(Denial::new("Log in first."))?;
        let rights = Permissions::all().update(false).screen(user == "Ada");
        let admission = Admission::new().identity(user).name(user);
        Ok(admission.permissions(rights))
    }
}

/// `/kick/lobby/pa_...`
async fn kick(
    State(node): State<Node>,
    Path((room, participant)): Path<(String, String)>,
) -> Result<&'static str, OperateError> {
    let rooms = node.rooms();
    rooms.kick(&room, &participant, "Please be kind.").await?;
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
            println!("{heard:?}");
        }
    });
    let app = Router::new()
        .route("/login", get(log_in))
        .route("/kick/{room}/{participant}", get(kick))
        .with_state(node.clone())
        .nest_service("/call", node.router())
        .layer(map_request(find_user));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("open http://{}/login?user=Ada", listener.local_addr()?);
    match node.serve_app(listener, app).await {}
}
