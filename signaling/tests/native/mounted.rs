//! The pages where an embedder puts them: under a path, with and without a slash at its end.

use crate::client::Client;
use crate::http::get;
use crate::server::Server;

#[tokio::test]
async fn the_page_is_under_its_prefix_and_finds_its_files() {
    let server = Server::start().await;
    let addr = server.mounted().await;
    for (path, base) in [
        ("/call", Some("./call/")),
        ("/call?room=x", Some("./call/")),
        ("/talk", Some("./talk/")),
        ("/talk/", None),
        ("/talk/?room=x", None),
        ("/deep/down", Some("./down/")),
        ("/deep/down/", None),
    ] {
        let reply = get(addr, path).await;
        assert_eq!(reply.status, 200, "{path}");
        let found = reply.body.split("<base href=\"").nth(1);
        let found = found.and_then(|rest| rest.split('"').next());
        assert_eq!(found, base, "{path}");
        assert!(reply.headers.contains_key("content-security-policy"));
    }
    for (path, status) in [
        // axum's `nest` has nothing there; `nest_service` has.
        ("/call/", 404),
        ("/", 404),
        ("/v1/ws", 404),
        ("/call/healthz", 200),
        ("/talk/client/room.js", 200),
        ("/deep/down/healthz", 200),
        ("/talk/../Cargo.toml", 404),
        ("/call/v1/ws", 426),
        ("/talk/v1/ws", 426),
    ] {
        assert_eq!(get(addr, path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_call_under_one_prefix_is_the_call_under_another() {
    let server = Server::start().await;
    let addr = server.mounted().await;
    let mut ada = Client::connect_asking(&format!("ws://{addr}/call/v1/ws"), &[]).await;
    ada.join("room", "Ada").await;
    let mut grace = Client::connect_asking(&format!("ws://{addr}/deep/down/v1/ws"), &[]).await;
    let welcome = grace.join("room", "Grace").await;
    assert_eq!(welcome.participants[0].id, ada.id);
}
