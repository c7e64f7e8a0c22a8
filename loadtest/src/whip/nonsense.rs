//! A test with any contents of a server's description: a bot ends with an error or without one.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tertulia_signaling::protocol::native::Needs;

use crate::bot::native::Media;
use crate::bot::publish::Video;
use crate::bot::testing::side;
use crate::sdp::Description;

/// A change that may happen to a description on its way.
#[derive(Clone, Debug)]
enum Damage {
    Cut(usize),
    Drop(usize),
    Double(usize),
    Swap(usize, usize),
    /// A line's value, from a place on, becomes something else.
    Replace(usize, usize, String),
}

fn damage() -> impl Strategy<Value = Damage> {
    let line = 0..80usize;
    prop_oneof![
        (0..4_000usize).prop_map(Damage::Cut),
        line.clone().prop_map(Damage::Drop),
        line.clone().prop_map(Damage::Double),
        (line.clone(), line.clone()).prop_map(|(one, other)| Damage::Swap(one, other)),
        (
            line,
            2..40usize,
            "(-?[0-9]{1,20}|[ :;/*~=]|[a-z]{1,8}|\u{e9}){0,4}"
        )
            .prop_map(|(line, at, text)| Damage::Replace(line, at, text)),
    ]
}

fn damaged(sdp: &str, damages: &[Damage]) -> String {
    let mut lines: Vec<String> = sdp.lines().map(str::to_owned).collect();
    for damage in damages {
        let count = lines.len().max(1);
        match damage {
            Damage::Cut(at) => {
                let whole = lines.join("\r\n");
                let kept: String = whole.chars().take(*at).collect();
                lines = kept.lines().map(str::to_owned).collect();
            }
            Damage::Drop(line) if !lines.is_empty() => {
                lines.remove(line % count);
            }
            Damage::Double(line) if !lines.is_empty() => {
                lines.insert(line % count, lines[line % count].clone());
            }
            Damage::Swap(one, other) if !lines.is_empty() => lines.swap(one % count, other % count),
            Damage::Replace(line, at, text) if !lines.is_empty() => {
                let line = &mut lines[line % count];
                let kept: String = line.chars().take(*at).collect();
                *line = kept + text;
            }
            _ => {}
        }
    }
    lines
        .iter()
        .flat_map(|line| [line.as_str(), "\r\n"])
        .collect()
}

#[test]
fn damaged_descriptions_are_no_more_than_an_error() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    // There is one connection for each case, and the same one answers all of them first.
    let answer = runtime.block_on(async {
        let mut bot = side("bot", Video::P720Simulcast, true).await;
        let server = side("server", Video::None, false).await;
        let offer = bot.peer.offer(Needs::default()).await.unwrap();
        server.answer(offer.sdp).await
    });
    let mut runner = TestRunner::new(Config {
        cases: 256,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&proptest::collection::vec(damage(), 1..4), |damages| {
        let sdp = damaged(&answer, &damages);
        Description::read(&sdp).payload_types();
        runtime.block_on(async {
            let mut publisher = side("bot", Video::P720Simulcast, true).await;
            publisher.peer.offer(Needs::default()).await.unwrap();
            let _ = publisher.peer.accept(&sdp).await;
            publisher.peer.leave().await;
            let mut viewer = side("bot", Video::None, false).await;
            let _ = viewer.peer.answer(&sdp).await;
            viewer.peer.leave().await;
        });
        Ok(())
    });
    outcome.unwrap();
}
