//! Tests of a publisher at an endpoint that takes simulcast, by http and by https. aiortc knows no RIDs, so that the other
//! end is the crate's own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::routing::post;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::Whip;
use crate::bot::publish::Video;
use crate::bot::state::BotState;
use crate::bot::testing::{Side, side};
use crate::bot::{BotConfig, Phase};

/// An endpoint for one publisher. `edit` has the last word on the answer.
async fn endpoint(server: Arc<Side>, edit: fn(String) -> String) -> SocketAddr {
    let offered = async move |offer: String| {
        let answer = edit(server.answer(offer).await);
        let headers = [(CONTENT_TYPE, "application/sdp"), (LOCATION, "session")];
        (StatusCode::CREATED, headers, answer)
    };
    let router = Router::new().route("/whip/hall", post(offered));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Puts TLS before a server. Returns where, and the certificate in PEM.
async fn secure(server: SocketAddr) -> (SocketAddr, String) {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut client = acceptor.accept(stream).await?;
                let mut server = TcpStream::connect(server).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (address, own.cert.pem())
}

/// A publisher under way, and its end.
fn publish(whip: Whip) -> (Arc<BotState>, watch::Sender<Phase>, JoinHandle<()>) {
    let whip = Arc::new(whip);
    let bot = Arc::new(BotState::new("publisher-1".into(), "hall".into(), true));
    let config = BotConfig {
        url: Default::default(),
        token: None,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        video: Video::P720Simulcast,
        audio: false,
        tiles: None,
        talks: true,
        join_timeout: Duration::from_secs(10),
        stagger: Duration::ZERO,
        path: Default::default(),
        stalls: false,
        is_timed: true,
    };
    let (phase, phases) = watch::channel(Phase::Call);
    let running = whip.run(config, Arc::clone(&bot), phases, Box::new(|| {}));
    (bot, phase, tokio::spawn(running))
}

/// The number of streams of video that arrive at an endpoint that answers so, over TLS or not.
async fn streams(edit: fn(String) -> String, enough: u64, tls: bool) -> usize {
    let server = Arc::new(side("server", Video::None, false).await);
    let mut address = endpoint(Arc::clone(&server), edit).await;
    let mut scheme = "http";
    let mut whip = Whip::default();
    let file = std::env::temp_dir().join(format!("loadtest-ca-{}.pem", std::process::id()));
    if tls {
        let pem;
        (address, pem) = secure(address).await;
        std::fs::write(&file, pem).unwrap();
        scheme = "https";
        whip.ca_file = Some(file.clone());
    }
    let url = format!("{scheme}://localhost:{}/whip/{{room}}", address.port());
    whip.publish = Some(url.parse().unwrap());
    let (bot, phase, running) = publish(whip);
    server
        .until("media", |totals| totals.packets >= enough)
        .await;
    phase.send_replace(Phase::Leave);
    running.await.unwrap();
    let _ = std::fs::remove_file(file);
    assert_eq!(bot.call().failure, None);
    assert_eq!(bot.call().published.len(), 1);
    let outcomes = crate::bot::tap::lock(&server.receiver).finish();
    outcomes.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_https_endpoint_is_reached_with_its_certificate() {
    assert_eq!(streams(|answer| answer, 600, true).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let server = Arc::new(side("server", Video::None, false).await);
    let (address, _) = secure(endpoint(server, |answer| answer).await).await;
    let url = format!("https://localhost:{}/whip/hall", address.port());
    // Trusts another certificate.
    let other = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let file = std::env::temp_dir().join(format!("loadtest-other-{}.pem", std::process::id()));
    std::fs::write(&file, other.cert.pem()).unwrap();
    let (bot, _phase, running) = publish(Whip {
        publish: Some(url.parse().unwrap()),
        ca_file: Some(file.clone()),
        ..Whip::default()
    });
    let failed = async {
        while bot.call().failure.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), failed)
        .await
        .unwrap();
    running.abort();
    std::fs::remove_file(file).unwrap();
    let failure = bot.call().failure.clone().unwrap();
    assert!(
        failure.starts_with("no HTTP with https://localhost:"),
        "{failure}"
    );
    assert!(failure.contains("certificate"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_layers_an_answer_takes_are_sent() {
    assert_eq!(streams(|answer| answer, 600, false).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_takes_fewer_gets_fewer() {
    let fewer = |answer: String| {
        assert!(answer.contains("a=simulcast:recv "), "{answer}");
        let lines = answer.split_inclusive("\r\n").map(|line| match line {
            line if line.starts_with("a=simulcast:") => "a=simulcast:recv q;h\r\n",
            line if line.starts_with("a=rid:f") => "",
            line => line,
        });
        lines.collect()
    };
    assert_eq!(streams(fewer, 300, false).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_takes_none_gets_the_largest() {
    let none = |answer: String| {
        let simulcast =
            |line: &&str| line.starts_with("a=simulcast:") || line.starts_with("a=rid:");
        let lines = answer.split_inclusive("\r\n");
        lines.filter(|line| !simulcast(line)).collect()
    };
    assert_eq!(streams(none, 300, false).await, 1);
}
