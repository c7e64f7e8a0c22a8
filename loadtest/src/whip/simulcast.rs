//! Test: a publisher at an endpoint that takes simulcast. aiortc knows no RIDs, so that the other end
//! is the crate's own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::routing::post;
use tokio::sync::watch;

use super::Whip;
use crate::bot::publish::Video;
use crate::bot::state::BotState;
use crate::bot::testing::{Side, side};
use crate::bot::{BotConfig, Phase};

/// An endpoint for one publisher: its URL. `edit` has the last word on the answer.
async fn endpoint(server: Arc<Side>, edit: fn(String) -> String) -> String {
    let offered = async move |offer: String| {
        let answer = edit(server.answer(offer).await);
        let headers = [(CONTENT_TYPE, "application/sdp"), (LOCATION, "session")];
        (StatusCode::CREATED, headers, answer)
    };
    let router = Router::new().route("/whip/hall", post(offered));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/whip/{{room}}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// The number of streams of video that arrive at an endpoint that answers so.
async fn streams(edit: fn(String) -> String, enough: u64) -> usize {
    let server = Arc::new(side("server", Video::None, false).await);
    let url = endpoint(Arc::clone(&server), edit).await;
    let whip = Arc::new(Whip::new(Some(url.parse().unwrap()), None, None));
    let bot = Arc::new(BotState::new("publisher-1".into(), "hall".into(), true));
    let config = BotConfig {
        url: Default::default(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        video: Video::P720Simulcast,
        audio: false,
        tiles: None,
        talks: true,
        join_timeout: Duration::from_secs(10),
        stagger: Duration::ZERO,
    };
    let (phase, phases) = watch::channel(Phase::Call);
    let running = tokio::spawn(whip.run(config, Arc::clone(&bot), phases, Box::new(|| {})));
    server
        .until("media", |totals| totals.packets >= enough)
        .await;
    phase.send_replace(Phase::Leave);
    running.await.unwrap();
    assert_eq!(bot.call().failure, None);
    assert_eq!(bot.call().published.len(), 1);
    let outcomes = crate::bot::tap::lock(&server.receiver).finish();
    outcomes.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_layers_an_answer_takes_are_sent() {
    assert_eq!(streams(|answer| answer, 600).await, 3);
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
    assert_eq!(streams(fewer, 300).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_takes_none_gets_the_largest() {
    let none = |answer: String| {
        let simulcast =
            |line: &&str| line.starts_with("a=simulcast:") || line.starts_with("a=rid:");
        let lines = answer.split_inclusive("\r\n");
        lines.filter(|line| !simulcast(line)).collect()
    };
    assert_eq!(streams(none, 300).await, 1);
}
