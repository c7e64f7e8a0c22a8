//! Users at TURN servers that each participant is given for a time.

use std::time::Duration;

use tertulia_signaling::Config;
use tertulia_signaling::config::IceServer;
use tertulia_signaling::protocol::native::{self, ServerMessage};
use tokio::time;

use crate::client::chat;
use crate::server::Server;
use crate::sessions::{Member, resumable, welcomed};

const TTL: Duration = Duration::from_secs(60);

fn with_a_secret(config: &mut Config) {
    config.ice_servers = vec![
        IceServer {
            urls: vec!["stun:stun.example.org".into()],
            ..IceServer::default()
        },
        IceServer {
            urls: vec!["turn:turn.example.org".into()],
            secret: Some("north".into()),
            ttl_s: Some(TTL.as_secs()),
            ..IceServer::default()
        },
    ];
    // Time is put forward.
    config.limits.silence_ms = 1_000_000;
    config.limits.ping_interval_ms = 900_000;
}

/// Asserts that the second server has a user of this participant.
fn assert_user(servers: &[native::IceServer], participant: &str) {
    let [stun, turn] = servers else {
        panic!("{servers:?}");
    };
    assert_eq!((&stun.username, &stun.credential), (&None, &None));
    let user = turn.username.as_ref().and_then(|user| user.split_once(':'));
    let (expiry, name) = user.expect("a time and a name");
    assert_eq!(name, participant);
    let now = std::time::UNIX_EPOCH.elapsed().expect("a time").as_secs();
    let left = expiry.parse::<u64>().expect("a time") - now;
    assert!((1..=TTL.as_secs()).contains(&left), "{left}");
    let credential = turn.credential.as_ref().expect("a password");
    assert!(credential.ends_with('=') && !credential.contains("north"));
}

fn renewed(message: &ServerMessage) -> Option<Vec<native::IceServer>> {
    match message {
        ServerMessage::IceServers { ice_servers } => Some(ice_servers.clone()),
        _ => None,
    }
}

#[tokio::test]
async fn everybody_is_given_a_user_and_another_before_that_ends() {
    let server = Server::with(with_a_secret).await;
    let mut ada = server.connect().await;
    let mut bob = server.connect().await;
    for (client, name) in [(&mut ada, "Ada"), (&mut bob, "Bob")] {
        let welcome = client.join("room", name).await;
        assert_user(&welcome.ice_servers, &client.id);
    }
    for _ in 0..2 {
        time::pause();
        time::advance(TTL / 2).await;
        time::resume();
        for client in [&mut ada, &mut bob] {
            let told = client.find(renewed).await;
            assert_user(&told, &client.id);
        }
    }
}

#[tokio::test]
async fn who_comes_back_is_given_another_user_at_once() {
    let server = Server::with(with_a_secret).await;
    let mut ada = Member::join(&server, "Ada").await;
    let id = ada.client.id.clone();
    for _ in 0..2 {
        ada.come_back(&server).await;
        let told = renewed(&ada.next().await);
        assert_user(&told.expect("the first message"), &id);
    }
    ada.client.expect_ok(chat("counted")).await;
}

#[tokio::test]
async fn without_a_secret_nothing_is_told_again() {
    let server = Server::with(|config| {
        with_a_secret(config);
        config.ice_servers.truncate(1);
    })
    .await;
    let mut client = server.connect().await;
    let welcome = welcomed(&mut client, resumable("room", "Ada")).await;
    assert_eq!(welcome.ice_servers.len(), 1);
    time::pause();
    time::advance(TTL).await;
    time::resume();
    assert_eq!(client.told().await, []);
}

#[tokio::test]
async fn no_counter_shows_the_secret() {
    let server = Server::with(with_a_secret).await;
    let _ada = server.join("Ada").await;
    let admin = server.admin().await;
    for path in ["/stats", "/stats?room=room", "/timeline?room=room"] {
        let reply = crate::http::get(admin, path).await;
        assert!(!reply.body.contains("north"), "{}", reply.body);
    }
}
