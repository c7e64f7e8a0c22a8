//! A server with users of its own: they log in, it decides who joins which call and as whom, and it puts people out.

use axum::extract::{Path, Request};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::response::{IntoResponse, Redirect};
use axum::{Router, middleware::map_request, routing::get};
use tertulia_signaling::hooks::{Admission, Denial, Hooks, JoinRequest, Permissions};
use tertulia_signaling::{Config, Node};

#[derive(Clone)]
struct User(String);

/// `/login/Ada`. A real one asks for a password, and its cookie is a secret.
async fn log_in(Path(user): Path<String>) -> impl IntoResponse {
    let cookie = format!("user={user}; Path=/; HttpOnly; SameSite=Strict");
    ([(SET_COOKIE, cookie)], Redirect::to("/call/?room=lobby"))
}

/// Finds the user of every request, those for calls included.
async fn find_user(mut request: Request) -> Request {
    let cookie = request.headers().get(COOKIE);
    let user = cookie.and_then(|cookie| cookie.to_str().ok()?.strip_prefix("user="));
    if let Some(user) = user.map(str::to_owned) {
        request.extensions_mut().insert(User(user));
    }
    request
}

struct Members;

impl Hooks for Members {
    async fn authorize(&self, request: JoinRequest) -> Result<Admission, Denial> {
        let User(user) = request.extension().ok_or(Denial::new("Log in first."))?;
        let rights = Permissions::all().update(false).screen(user == "Ada");
        let admission = Admission::new().identity(user).name(user);
        Ok(admission.permissions(rights))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config {
        media_port: 0,
        ..Config::default()
    };
    let node = Node::builder().config(config).hooks(Members).build()?;
    let rooms = node.rooms().clone();
    let kick = move |Path((room, who)): Path<(String, String)>| async move {
        rooms.kick(&room, &who, "Please be kind.").await
    };
    let app = Router::new()
        .route("/login/{user}", get(log_in))
        .route("/kick/{room}/{who}", get(kick))
        .nest_service("/call", node.router())
        .layer(map_request(find_user));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("open http://{}/login/Ada", listener.local_addr()?);
    match node.serve_app(listener, app).await {}
}
