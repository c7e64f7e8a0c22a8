//! The pages of the HTTP port beside the WebSocket.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tertulia_signaling::access::{Keys, new_key_set};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::Client;
use crate::server::Server;

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

pub(crate) async fn get(addr: SocketAddr, path: &str) -> Reply {
    get_with(addr, path, "").await
}

async fn get_with(addr: SocketAddr, path: &str, headers: &str) -> Reply {
    ask(addr, "GET", path, headers).await
}

async fn ask(addr: SocketAddr, method: &str, path: &str, headers: &str) -> Reply {
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{headers}\r\n");
    let mut stream = TcpStream::connect(addr).await.expect("connect");
    stream.write_all(request.as_bytes()).await.expect("request");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("reply");
    parse(&text)
}

/// The status of a reply to `request`, which may leave the connection open.
pub(crate) async fn status(server: &Server, request: &str) -> u16 {
    let mut stream = TcpStream::connect(server.addr).await.expect("connect");
    stream.write_all(request.as_bytes()).await.expect("request");
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.expect("reply");
    std::str::from_utf8(&start[9..])
        .expect("text")
        .parse()
        .expect("status")
}

#[tokio::test]
async fn a_head_that_is_too_long_is_not_read_to_its_end() {
    let server = Server::start().await;
    for (bytes, serves) in [(30 << 10, true), (1 << 20, false)] {
        let head = format!(
            "GET /healthz HTTP/1.1\r\nHost: {}\r\nX-Long: {}\r\n\r\n",
            server.addr,
            "x".repeat(bytes)
        );
        let mut stream = TcpStream::connect(server.addr).await.expect("connect");
        // The server closes the connection before it has read everything, and the kernel resets it then.
        let sent = stream.write_all(head.as_bytes()).await;
        let mut start = [0; 12];
        let read = stream.read_exact(&mut start).await;
        let status = read
            .is_ok()
            .then(|| String::from_utf8_lossy(&start[9..]).into_owned());
        match serves {
            true => assert_eq!(status.as_deref(), Some("200")),
            false => assert!(
                matches!(status.as_deref(), None | Some("431")),
                "{sent:?} {status:?}"
            ),
        }
    }
}

pub(crate) fn parse(text: &str) -> Reply {
    let (head, body) = text.split_once("\r\n\r\n").expect("head");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let headers = lines.filter_map(|line| line.split_once(": "));
    Reply {
        status: status.expect("status").parse().expect("number"),
        headers: headers
            .map(|(k, v)| (k.to_lowercase(), v.to_owned()))
            .collect(),
        body: body.to_owned(),
    }
}

#[tokio::test]
async fn health_counts_rooms_and_participants() {
    let server = Server::start().await;
    let _ada = server.join("Ada").await;
    let _grace = server.join("Grace").await;
    let reply = get(server.addr, "/healthz").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["content-type"], "application/json");
    let health: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
    let expected = serde_json::json!({
        "status": "ok", "rooms": 1, "participants": 2, "version": env!("CARGO_PKG_VERSION"),
    });
    assert_eq!(health, expected);
}

#[tokio::test]
async fn counters_are_served_apart_from_the_page() {
    let server = Server::start().await;
    let admin = server.admin().await;
    let mut ada = server.join("Ada").await;
    ada.offer("send 0 audio").await;
    let _grace = server.join("Grace").await;
    let reply = get(admin, "/stats").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["content-type"], "application/json");
    assert_eq!(reply.headers["cache-control"], "no-store");
    let mut stats: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
    let uptime = stats["uptime_s"].take();
    assert!(uptime.as_f64().is_some_and(|s| s >= 0.0), "{uptime}");
    // There is no TLS.
    let handshakes = stats
        .as_object_mut()
        .and_then(|all| all.remove("tls_handshakes"));
    assert_eq!(handshakes, Some(serde_json::Value::Null));
    // Nor ICE-TCP.
    let ice_tcp = stats.as_object_mut().and_then(|all| all.remove("ice_tcp"));
    assert_eq!(ice_tcp, Some(serde_json::Value::Null));
    // Nor a proxy that sends a header.
    let proxies = stats
        .as_object_mut()
        .and_then(|all| all.remove("proxy_protocol"));
    assert_eq!(proxies, Some(serde_json::Value::Null));
    // Nor TURN.
    let turn = stats.as_object_mut().and_then(|all| all.remove("turn"));
    assert_eq!(turn, Some(serde_json::Value::Null));
    let mut memory = stats["memory"].take();
    for machines in ["bytes", "resident"] {
        assert!(memory[machines].take().is_u64());
    }
    let nothing = serde_json::json!({
        "bytes": null, "resident": null, "short": false, "refused": 0, "messages": 0, "outboxes": 0,
        "chat": 0, "events": 0, "messages_ended": 0, "outboxes_ended": 0, "chats_shortened": 0, "events_ended": 0,
    });
    assert_eq!(memory, nothing);
    let workers = serde_json::json!([
        {
            "index": 0, "failed": false, "datagrams_received": 0, "datagrams_sent": 0, "messages_sent": 0,
            "bytes_received": 0, "bytes_sent": 0, "padding_bytes": 0, "packets_forwarded": 0,
            "run_lengths": {"1": 0, "2-3": 0, "4-7": 0, "8-15": 0, "16+": 0},
            "coalescing_us": 0.0, "peers": 0, "subscriptions": 0,
            "relayed_tracks": 0, "relay_packets_out": 0, "relay_packets_in": 0,
            "address_claims_refused": 0, "addresses_proven": 0, "addresses_unproven": 0, "addresses_rebound": 0, "stun_answers": 0,
            "media_held": {},
            "drops": {"unknown_address": 1},
        },
        {
            "index": 1, "failed": false, "datagrams_received": 10, "datagrams_sent": 66, "messages_sent": 20,
            "bytes_received": 12_000, "bytes_sent": 70_000, "padding_bytes": 7,
            "packets_forwarded": 60,
            "run_lengths": {"1": 5, "2-3": 4, "4-7": 3, "8-15": 2, "16+": 1},
            "coalescing_us": 250.5, "peers": 1, "subscriptions": 0,
            "relayed_tracks": 8, "relay_packets_out": 9, "relay_packets_in": 11,
            "address_claims_refused": 12, "addresses_proven": 13, "addresses_unproven": 14, "addresses_rebound": 16, "stun_answers": 17,
            "media_held": {"silent": 15},
            "drops": {"srtp_auth_failed": 3, "unknown_address": 2},
        },
    ]);
    let mut expected = serde_json::json!({
        "uptime_s": null, "memory": null, "cache_bytes": 16, "cache_bytes_most": 17, "caches_refused": 18, "rooms": 1, "participants": 2, "media_never_connected": 0, "cipher": "ring",
        "linked_workers": 3, "links_refused": 2, "failed_workers": 0,
        "log_lines_lost": 0, "log_lines_left_out": 0,
        "workers": workers,
        "drops": {"srtp_auth_failed": 3, "unknown_address": 3},
    });
    expected["sockets"] = serde_json::json!({"websocket": 2, "sse": 0, "polling": 0});
    expected["sessions"] = serde_json::json!({
        "open": 0, "away": 0, "resumed": 0,
        "refused": {"no_such_session": 0, "session_used": 0, "session_gap": 0, "overloaded": 0, "rate_limited": 0},
    });
    let door = serde_json::json!({
        "not_allowed": 0, "token_expired": 0, "token_revoked": 0, "token_invalid": 0, "token_not_yet_valid": 0, "token_required": 0,
        "token_wrong_room": 0, "room_locked": 0, "banned": 0, "denied": 0, "waiting_room_full": 0,
        "waiting_timeout": 0, "room_closed": 0, "connections_per_address": 0, "joins_per_address": 0,
        "rooms_per_address": 0, "room_full": 0, "server_full": 0, "server_memory": 0, "authorize_timeout": 0,
        "overloaded": 0, "worker_failed": 0, "shutting_down": 0, "internal": 0, "bad_field": 0, "bad_version": 0,
    });
    expected["requests_refused"] = serde_json::json!({"host_refused": 0, "origin_refused": 0});
    assert_eq!(
        (stats["access"].take(), stats["joins_refused"].take()),
        ("open".into(), door)
    );
    expected["access"] = serde_json::Value::Null;
    expected["joins_refused"] = serde_json::Value::Null;
    for (counts, code) in [("moderated", "mute"), ("moderation_refused", "not_allowed")] {
        assert_eq!(stats[counts].take()[code], 0, "{counts}");
        expected[counts] = serde_json::Value::Null;
    }
    assert_eq!(stats, expected);

    let health = get(admin, "/healthz").await;
    assert_eq!(health.body, get(server.addr, "/healthz").await.body);
    assert_eq!(get(admin, "/none").await.status, 404);
    assert_eq!(get(server.addr, "/stats").await.status, 404);
    server.media.books().overloaded = 1;
    assert_eq!(get(admin, "/stats").await.status, 503);
}

/// A folder that is removed again.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("tertulia-test-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(path.join("web/ui")).expect("folder");
        std::fs::write(path.join("secret.txt"), "secret").expect("file");
        std::fs::write(path.join("web/index.html"), "<!doctype html>").expect("file");
        std::fs::write(path.join("web/ui/main.js"), "export {}").expect("file");
        std::fs::write(path.join("web/.hidden"), "secret").expect("file");
        std::os::unix::fs::symlink(path.join("secret.txt"), path.join("web/link.txt"))
            .expect("link");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn the_page_is_served_from_a_folder() {
    let folder = Folder::new("page");
    let server = Server::with(|config| config.web_dir = Some(folder.0.join("web"))).await;
    let page = get(server.addr, "/").await;
    assert_eq!((page.status, page.body.as_str()), (200, "<!doctype html>"));
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let script = get(server.addr, "/ui/main.js?v=1").await;
    assert_eq!(
        script.headers["content-type"],
        "text/javascript; charset=utf-8"
    );

    assert_eq!(get(server.addr, "/ui/").await.status, 404, "no page in it");
    std::fs::write(folder.0.join("web/ui/index.html"), "<!doctype x>").expect("file");
    let inner = get(server.addr, "/ui/").await;
    assert_eq!((inner.status, inner.body.as_str()), (200, "<!doctype x>"));
    assert_eq!(inner.headers["content-type"], "text/html; charset=utf-8");

    let tag = &script.headers["etag"];
    let again = get_with(
        server.addr,
        "/ui/main.js",
        &format!("If-None-Match: {tag}\r\n"),
    )
    .await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    std::fs::write(folder.0.join("web/ui/main.js"), "export default 1").expect("file");
    let changed = get_with(
        server.addr,
        "/ui/main.js",
        &format!("If-None-Match: {tag}\r\n"),
    )
    .await;
    assert_eq!(
        (changed.status, changed.body.as_str()),
        (200, "export default 1")
    );
}

#[tokio::test]
async fn nothing_outside_the_folder_is_served() {
    let folder = Folder::new("outside");
    let server = Server::with(|config| config.web_dir = Some(folder.0.join("web"))).await;
    for path in [
        "/none.html",
        "/ui",
        "/ui/",
        "/../secret.txt",
        "/ui/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/link.txt",
        "/.hidden",
        "//etc/passwd",
    ] {
        let reply = get(server.addr, path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(!reply.body.contains("secret"), "{path}");
    }
}

#[tokio::test]
async fn all_of_the_page_is_served_in_types_that_browsers_take() {
    let server = Server::start().await;
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web");
    let mut paths: Vec<PathBuf> = ["index.html", "check.html", "client", "ui"]
        .map(|name| web.join(name))
        .into();
    while let Some(path) = paths.pop() {
        if let Ok(entries) = std::fs::read_dir(&path) {
            paths.extend(entries.map(|entry| entry.expect("entry").path()));
        } else if path
            .extension()
            .is_some_and(|kind| kind != "md" && kind != "json")
        {
            let name = path.strip_prefix(&web).expect("inside").display();
            let reply = get(server.addr, &format!("/{name}")).await;
            assert_eq!(reply.status, 200, "{name}");
            let kind = &reply.headers["content-type"];
            assert_ne!(kind, "application/octet-stream", "{name}");
        }
    }
}

#[tokio::test]
async fn the_check_is_beside_the_page() {
    let server = Server::start().await;
    let reply = get(server.addr, "/check").await;
    assert_eq!(reply.status, 200);
    assert!(reply.headers["content-type"].starts_with("text/html"));
    assert!(reply.body.contains("ui/check.js"));
    // Its addresses are relative: those of a folder would lead nowhere.
    let reply = get(server.addr, "/check/").await;
    assert_eq!(
        (reply.status, &*reply.headers["location"]),
        (308, "../check")
    );
}

#[tokio::test]
async fn the_embedded_page_leaves_tests_and_tools_out() {
    let server = Server::start().await;
    for path in [
        "/package.json",
        "/node_modules/ws/package.json",
        "/test/unit/x.js",
        "/client/README.md",
        "/client/package.json",
    ] {
        assert_eq!(get(server.addr, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn browsers_are_told_what_the_page_may_do() {
    let server = Server::start().await;
    for path in ["/healthz", "/none.html"] {
        let headers = get(server.addr, path).await.headers;
        assert!(headers["content-security-policy"].contains("default-src 'self'"));
        let permissions = &headers["permissions-policy"];
        for feature in [
            "camera=(self)",
            "microphone=(self)",
            "display-capture=(self)",
        ] {
            assert!(permissions.contains(feature), "{permissions}");
        }
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
    }
}

#[tokio::test]
async fn the_page_works_wherever_its_router_is_nested() {
    let server = Server::start().await;
    let outer = axum::Router::new()
        .nest("/call", server.node.router())
        .nest("/of/{team}/talk", server.node.router())
        .nest_service("/served", server.node.router());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
    let addr = listener.local_addr().expect("address");
    tokio::spawn(async move { axum::serve(listener, outer).await });
    for (place, base) in [
        ("/call", Some("./call/")),
        ("/of/red/talk", Some("./talk/")),
        ("/served", Some("./served/")),
        ("/served/", None),
    ] {
        let page = get(addr, &format!("{place}?room=standup")).await;
        assert_eq!(page.status, 200, "{place}");
        let (_, rest) = page.body.split_once("<base href=\"").unzip();
        assert_eq!(rest.and_then(|rest| rest.split('"').next()), base);
        let prefix = place.trim_end_matches('/');
        let mut relative = 0;
        for part in page.body.split([' ', '>']) {
            let address = part.strip_prefix("src=").or(part.strip_prefix("href="));
            let Some(address) = address.map(|address| address.trim_matches('"')) else {
                continue;
            };
            if Some(address) != base {
                relative += 1;
                let asset = get(addr, &format!("{prefix}/{address}")).await;
                assert_eq!(asset.status, 200, "{prefix}/{address}");
            }
        }
        assert!(relative > 3, "{}", page.body);
        assert_eq!(get(addr, &format!("{prefix}/healthz")).await.status, 200);
        let mut client = Client::try_connect(&format!("ws://{addr}{prefix}/v1/ws"))
            .await
            .expect("upgrade");
        client.join("room", "Ada").await;
    }
    assert!(!get(server.addr, "/").await.body.contains("<base"));
}

/// Its name leads here (DNS rebinding).
#[tokio::test]
async fn no_page_of_a_site_reads_counters_or_holds_calls_where_names_are_set() {
    let ask_as = async |addr: SocketAddr, method: &str, path: &str, host: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(addr).await.expect("connect");
        stream.write_all(request.as_bytes()).await.expect("request");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("reply");
        parse(&text).status
    };
    let server = Server::start().await;
    let admin = server.admin().await;
    let port = admin.port();
    let evil = format!("evil.example.org:{port}");
    for path in ["/stats", "/stats?room=room", "/timeline?room=room"] {
        assert_eq!(ask_as(admin, "GET", path, &evil).await, 421, "{path}");
    }
    let here = format!("localhost:{port}");
    assert_eq!(ask_as(admin, "GET", "/stats", &here).await, 200);
    assert_eq!(ask_as(admin, "GET", "/healthz", &evil).await, 200);
    // Everybody may join an open server that is for this machine alone: no site may.
    assert_eq!(ask_as(server.addr, "POST", "/v1/ws", &evil).await, 421);
    assert_eq!(ask_as(server.addr, "POST", "/v1/ws", &here).await, 200);
    let poll = ask_as(server.addr, "POST", "/v1/http/poll", &evil).await;
    assert_eq!(poll, 421);
    assert_eq!(ask_as(server.addr, "GET", "/healthz", &evil).await, 200);
    let proxied = Server::behind_proxy(|_| {}).await;
    assert_eq!(ask_as(proxied.addr, "POST", "/v1/ws", &evil).await, 200);
    let keys = Keys::from_json(&new_key_set("1")).expect("keys");
    let with_keys = Server::with(|config| config.keys = Some(keys)).await;
    assert_eq!(ask_as(with_keys.addr, "POST", "/v1/ws", &evil).await, 200);
    let named = Server::with(|config| config.allowed_hosts = vec!["call.example.org".into()]).await;
    for (host, status) in [
        (evil.as_str(), 421),
        ("call.example.org", 200),
        (&here, 200),
    ] {
        assert_eq!(
            ask_as(named.addr, "POST", "/v1/ws", host).await,
            status,
            "{host}"
        );
    }
}

const FOREIGN: &str = "Origin: https://evil.example.org\r\nContent-Length: 0\r\n";

#[tokio::test]
async fn a_page_may_ask_why_its_websocket_is_refused() {
    let server = Server::with(|config| {
        config.limits.connections = 1;
        config.allowed_origins = vec!["https://app.example.org".into()];
    })
    .await;
    let answer = async |headers: &str| {
        let reply = ask(server.addr, "POST", "/v1/ws", headers).await;
        assert_eq!(reply.headers["access-control-allow-origin"], "*");
        let body: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
        let text = |key: &str| body[key].as_str().expect(key).to_owned();
        (reply.status, text("code"), text("message"))
    };
    let own = format!("Origin: http://{}\r\nContent-Length: 0\r\n", server.addr);
    let allowed = "Origin: https://app.example.org\r\nContent-Length: 0\r\n";
    for headers in [own.as_str(), allowed, "Content-Length: 0\r\n"] {
        let (status, code, _) = answer(headers).await;
        assert_eq!((status, code.as_str()), (200, "ok"), "{headers}");
    }
    let (status, code, message) = answer(FOREIGN).await;
    assert_eq!((status, code.as_str()), (403, "origin_refused"));
    let addr = server.addr.to_string();
    for word in ["https://evil.example.org", &addr, "allowed_origins", "Host"] {
        assert!(message.contains(word), "{message}");
    }
    let _ada = server.join("Ada").await;
    let (status, code, _) = answer(&own).await;
    assert_eq!((status, code.as_str()), (503, "server_full"));
    server.node.shutdown().await;
    let (status, code, _) = answer(&own).await;
    assert_eq!((status, code.as_str()), (503, "shutting_down"));
}

#[tokio::test]
async fn what_asks_for_no_websocket_is_told_what_it_lacks() {
    let server = Server::start().await;
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let (upgrade, version) = ("Upgrade: websocket\r\n", "Sec-WebSocket-Version: 13\r\n");
    let listed = "Connection: keep-alive, Upgrade\r\n";
    for (headers, status) in [
        (String::new(), 426),
        (format!("{upgrade}{version}{key}"), 426),
        (format!("{listed}{upgrade}{key}"), 426),
        (format!("{listed}{upgrade}{version}"), 400),
    ] {
        let reply = get_with(server.addr, "/v1/ws", &headers).await;
        assert_eq!(reply.status, status, "{headers}");
        assert!(reply.body.contains("bad_upgrade"), "{}", reply.body);
    }
}
