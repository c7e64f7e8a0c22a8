//! WHIP and WHEP bots against an implementation that shares no code with them: aiortc, behind a few
//! lines of HTTP in `whip_server.py`.
//!
//! Needs a Python with `requirements.txt`, named by `TERTULIA_AIORTC_PYTHON`; `.ci/test` makes one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tertulia_loadtest::bot::publish::Video;
use tertulia_loadtest::http::{self, Trust};
use tertulia_loadtest::protocol::Protocol;
use tertulia_loadtest::report::Report;
use tertulia_loadtest::scenario::{self, Scenario};
use tertulia_loadtest::whip::{Endpoint, Template, Whip};

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// Starts the server; without a named Python it prints a notice and returns none.
    fn start() -> Option<Self> {
        let Some(python) = std::env::var_os("TERTULIA_AIORTC_PYTHON") else {
            eprintln!("skipped: TERTULIA_AIORTC_PYTHON names no Python with aiortc");
            return None;
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/whip_server.py");
        let mut process = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("TERTULIA_AIORTC_PYTHON starts");
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut port)
            .unwrap();
        let port = port.trim().parse().expect("the server prints its port");
        Some(Self { process, port })
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn template(&self, path: &str) -> Option<Template> {
        (!path.is_empty()).then(|| self.url(path).parse().unwrap())
    }

    fn stats(&self) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream
            .write_all(b"GET /stats HTTP/1.0\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (_, body) = reply.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    fn scenario(&self, publish: &str, view: &str, token: Option<&str>) -> Scenario {
        Scenario {
            protocol: Protocol::Whip(Arc::new(Whip::new(
                self.template(publish),
                self.template(view),
                token.map(str::to_owned),
            ))),
            publishers: usize::from(!publish.is_empty()),
            subscribers: 0,
            video: Video::P180,
            audio: true,
            duration: Duration::from_secs(4),
            room: "hall".into(),
            ..Scenario::default()
        }
    }

    /// The reason that the only bot failed.
    async fn failure(&self, publish: &str, view: &str) -> String {
        let scenario = Scenario {
            subscribers: usize::from(!view.is_empty()),
            join_timeout: Duration::from_secs(3),
            ..self.scenario(publish, view, None)
        };
        let report = run(&scenario).await;
        assert_eq!((report.joined, report.join_failed), (0, 1), "{report:#?}");
        assert!(!report.passed);
        report.failures[0].reason.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn run(scenario: &Scenario) -> Report {
    let report = scenario::run(scenario, std::future::pending(), |_| {}).await;
    report.unwrap()
}

fn lost_nothing(report: &Report) {
    assert!(report.passed, "{report:#?}");
    assert_eq!(report.oracle_violations, 0);
    assert_eq!(report.packets_unknown, 0);
    if report.generator.socket_drops == Some(0) {
        assert_eq!(report.packets_lost, 0, "{report:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_publisher_sends_is_decoded() {
    let Some(server) = Server::start() else {
        return;
    };
    // aiortc takes no RIDs: of the three layers it gets the largest.
    let scenario = Scenario {
        video: Video::P720Simulcast,
        ..server.scenario("/whip/{room}", "", None)
    };
    let report = run(&scenario).await;
    lost_nothing(&report);
    assert_eq!((report.joined, report.tracks_expected), (1, 0));
    let stats = server.stats();
    let seen = &stats["rooms"]["hall"];
    assert_eq!(seen["size"], serde_json::json!([1280, 720]), "{stats}");
    // At most 120 and 200: decoding on a busy machine is late, and ends with the call.
    assert!(seen["video"].as_u64() > Some(40), "{stats}");
    assert!(seen["audio"].as_u64() > Some(100), "{stats}");
    assert_eq!(
        (&stats["deleted"], &stats["sessions"]),
        (&1.into(), &0.into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_receives_what_the_server_encodes() {
    let Some(server) = Server::start() else {
        return;
    };
    let scenario = Scenario {
        subscribers: 1,
        ..server.scenario("", "/test", None)
    };
    let report = run(&scenario).await;
    lost_nothing(&report);
    assert_eq!((report.joined, report.foreign_tracks_receiving), (1, 2));
    assert!(report.frames_decodable > 20, "{report:#?}");
    assert_eq!(server.stats()["deleted"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_is_relayed_to_two_viewers() {
    let Some(server) = Server::start() else {
        return;
    };
    for (view, counter_offers) in [("/whep/{room}", 0), ("/counter/{room}", 2)] {
        let scenario = Scenario {
            subscribers: 2,
            ..server.scenario("/whip/{room}", view, None)
        };
        let report = run(&scenario).await;
        lost_nothing(&report);
        assert_eq!(report.joined, 3);
        assert_eq!((report.tracks_expected, report.tracks_receiving), (4, 4));
        assert!(report.frames_decodable > 2 * 60, "{report:#?}");
        assert!(report.first_frame_ms.max.is_some());
        let stats = server.stats();
        assert_eq!(stats["counter_offers_answered"], counter_offers, "{stats}");
        assert_eq!(stats["sessions"], 0);
    }
}

#[tokio::test]
async fn the_command_line_does_the_same() {
    let Some(server) = Server::start() else {
        return;
    };
    let output = tokio::task::spawn_blocking(move || {
        let (whip, whep) = (server.url("/whip/{room}"), server.url("/whep/{room}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_tertulia-loadtest"));
        command.args(["run", "--protocol", "whip", "--whip-url", &whip]);
        command.args([
            "--whep-url",
            &whep,
            "--publishers",
            "1",
            "--subscribers",
            "2",
        ]);
        command.args(["--video", "180p", "--audio", "--duration", "3s"]);
        command.args(["--quiet", "--json", "-"]).output().unwrap()
    });
    let output = output.await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // 3: passed, but so short, or on so busy a machine, that the figures do not count.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["passed"], true, "{report}");
    assert_eq!(report["tracks_receiving"], 4, "{report}");
    assert_eq!(report["joined"], 3, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_streams_have_a_viewer_each() {
    let Some(server) = Server::start() else {
        return;
    };
    let scenario = Scenario {
        publishers: 2,
        subscribers: 2,
        video: Video::None,
        ..server.scenario("/whip/{room}-{publisher}", "/whep/{room}-{publisher}", None)
    };
    let report = run(&scenario).await;
    lost_nothing(&report);
    assert_eq!((report.tracks_expected, report.tracks_receiving), (2, 2));
    let stats = server.stats();
    for room in ["hall-1", "hall-2"] {
        assert!(stats["rooms"][room]["audio"].as_u64() > Some(50), "{stats}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_are_followed_and_tokens_sent() {
    let Some(server) = Server::start() else {
        return;
    };
    for (path, token) in [
        ("/redirect/{room}", None),
        ("/private/{room}", Some("open-sesame")),
    ] {
        let scenario = Scenario {
            video: Video::None,
            duration: Duration::from_secs(1),
            ..server.scenario(path, "", token)
        };
        lost_nothing(&run(&scenario).await);
    }
    let requests = server.stats()["requests"].clone();
    let tokens: Vec<_> = (0..2)
        .map(|n| requests[n]["Authorization"].clone())
        .collect();
    assert_eq!(tokens, [Value::Null, "Bearer open-sesame".into()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_comes_again_until_somebody_publishes() {
    let Some(server) = Server::start() else {
        return;
    };
    let viewer = Scenario {
        subscribers: 1,
        duration: Duration::from_secs(2),
        ..server.scenario("", "/whep/{room}", None)
    };
    let publisher = Scenario {
        duration: Duration::from_secs(8),
        ..server.scenario("/whip/{room}", "", None)
    };
    let early = async {
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        while server.stats()["conflicts"] == 0 {
            looks.tick().await;
        }
        run(&publisher).await
    };
    let (viewed, published) = tokio::join!(run(&viewer), early);
    lost_nothing(&published);
    lost_nothing(&viewed);
    assert_eq!(viewed.foreign_tracks_receiving, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_reported_in_the_server_s_words() {
    let Some(server) = Server::start() else {
        return;
    };
    for (publish, view, words) in [
        (
            "/private/{room}",
            "",
            "401 Unauthorized: Unauthorized: That is no token of mine.",
        ),
        ("/refuse/404", "", "404 Not Found: no such stream"),
        ("/refuse/409", "", "409 Conflict: Refused: On purpose: 409."),
        (
            "/refuse/415",
            "",
            "415 Unsupported Media Type: Refused: On purpose: 415.",
        ),
        ("/refuse/406", "", "406 Not Acceptable: Refused"),
        ("", "/refuse/406", "406 Not Acceptable: Refused"),
        ("/refuse/500", "", "500 Internal Server Error"),
        ("/nowhere/else/at/all", "", "404 Not Found"),
        ("/loop", "", "more than 5 redirects"),
        ("", "/whep/{room}", "not joined within 3s: POST"),
        (
            "",
            "/whep/{room}",
            "409 Conflict: Conflict: Nobody publishes.",
        ),
    ] {
        let failure = server.failure(publish, view).await;
        assert!(failure.contains(words), "{publish}{view}: {failure}");
    }
    drop(server);
    let nobody = Scenario {
        protocol: Protocol::Whip(Arc::new(Whip::new(
            Some("http://127.0.0.1:1/{room}".parse().unwrap()),
            None,
            None,
        ))),
        publishers: 1,
        subscribers: 0,
        ..Scenario::default()
    };
    let report = run(&nobody).await;
    let reason = &report.failures[0].reason;
    assert!(
        reason.starts_with("no HTTP with http://127.0.0.1:1/loadtest: "),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_answer_is_said_to_be_none() {
    let Some(server) = Server::start() else {
        return;
    };
    let cases = [
        ("no-location", "201 Created but it has no Location"),
        ("bad-location", "`http://[x` is no URL"),
        ("html", "its answer is `text/html`, not application/sdp"),
        ("200", "200 OK but 201 is what creates a session"),
        ("empty", "the answer rejects the audio"),
        ("garbage", "the answer rejects the audio"),
        ("cut", ""),
        ("headless", "peer connection: "),
        ("no-fingerprint", ""),
        ("other-fingerprint", ""),
        ("rejected", "the answer rejects the video"),
        ("no-codec", "the answer has no VP8 for the video"),
        ("swapped", "the answer rejects the audio"),
    ];
    for (how, words) in cases {
        let failure = server.failure(&format!("/broken/{how}"), "").await;
        assert!(!failure.contains("panicked"), "{how}: {failure}");
        assert!(failure.contains(words), "{how}: {failure}");
    }
    // Every session with an address was deleted.
    assert_eq!(server.stats()["deleted"], cases.len() as u64 - 3);
}

/// An offer of a client that gathers late, without candidates.
const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\n\
    a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=setup:actpass\r\n\
    a=fingerprint:sha-256 DA:7B:57:DC:28:CE:04:4F:31:79:85:C4:31:67:EB:27:58:29:ED:77:2A:0D:24:AE:ED:AD:30:BC:BD:F1:9C:02\r\n\
    a=rtpmap:111 opus/48000/2\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_takes_candidates_until_it_is_deleted() {
    let Some(server) = Server::start() else {
        return;
    };
    let url = server.url("/whip/hall").parse().unwrap();
    let endpoint = Endpoint::new(http::client(Trust::Nothing).unwrap(), url, None).unwrap();
    let made = endpoint.offer(OFFER, false).await.unwrap();
    let session = made.session;
    assert!(made.sdp.contains("m=audio") && !made.counter_offer);
    assert!(session.trickles());
    assert_eq!(session.url().as_str(), server.url("/session/1"));
    let fragment = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
        a=candidate:1 1 udp 2122260223 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n";
    session.trickle(fragment).await.unwrap();
    assert_eq!(server.stats()["trickled"], 1);
    session.delete().await.unwrap();
    for gone in [session.delete().await, session.trickle(fragment).await] {
        let said = gone.unwrap_err().to_string();
        assert!(
            said.ends_with("404 Not Found: Not Found: There is no such session."),
            "{said}"
        );
    }
}
