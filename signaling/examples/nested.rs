//! A server of your own that has calls under paths of its own.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use tertulia_signaling::{Config, Node};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let node = Node::start(Config {
        media_port: 0,
        workers: 1,
        ..Config::default()
    })?;
    let front = Html("<a href=\"call?room=lobby\">Talk to us</a>");
    let app = Router::new()
        .route("/", get(front))
        .nest("/call", node.router())
        // It also works with a slash at the end.
        .nest_service("/talk", node.router());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("open http://{}/call", listener.local_addr()?);
    match node.serve_app(listener, app).await {}
}
