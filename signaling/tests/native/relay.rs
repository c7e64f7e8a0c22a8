//! The protocol in front of the real relay: offers as browsers write them and as they must not.

use std::net::{IpAddr, Ipv4Addr};

use tertulia_signaling::protocol::native::{
    Answer, CarriedTrack, ClientMessage, MediaKind, MediaState, Offer, ServerMessage, Source, Track,
};
use tertulia_signaling::{Config, Node};
use tokio::net::TcpListener;

use crate::client::Client;

/// Chromium's: an audio and a video m-line, both `sendrecv`.
const CHROMIUM: &str = include_str!("../../../sfu/src/transport/sdp/fixtures/chromium-publish.sdp");

struct Server {
    url: String,
    /// The relay runs as long as this.
    _node: Node,
}

impl Server {
    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            media_ip: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            media_port: 0,
            workers: 1,
            ..Config::default()
        };
        change(&mut config);
        let node = Node::start(config).expect("node");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bind");
        let addr = listener.local_addr().expect("address");
        let server = node.clone();
        tokio::spawn(async move { server.serve(listener).await });
        Self {
            url: format!("ws://{addr}/v1/ws"),
            _node: node,
        }
    }

    async fn join(&self, name: &str) -> Client {
        let mut client = Client::connect(&self.url).await;
        client.join("room", name).await;
        client
    }
}

/// A session description in parts, to put together otherwise.
struct Sdp {
    session: String,
    /// Audio, then video.
    media: Vec<String>,
}

impl Sdp {
    fn chromium() -> Self {
        let mut parts = CHROMIUM.split("\nm=");
        Self {
            session: parts.next().expect("session").to_owned(),
            media: parts.map(|part| part.trim_end().to_owned()).collect(),
        }
    }

    fn write(&self) -> String {
        let mut text = self.session.clone();
        for media in &self.media {
            text.push_str("\nm=");
            text.push_str(media);
        }
        text.push('\n');
        text
    }

    /// The offer with this many sending audio m-lines instead.
    fn audio(count: usize) -> String {
        let mut sdp = Self::chromium();
        let mids: Vec<String> = (0..count).map(|mid| mid.to_string()).collect();
        let group = format!("BUNDLE {}", mids.join(" "));
        sdp.session = sdp.session.replace("BUNDLE 0 1", &group);
        let audio = without(&sdp.media[0], &["a=ssrc:"]);
        let with_mid = |mid| audio.replace("a=mid:0", &format!("a=mid:{mid}"));
        sdp.media = mids.iter().map(with_mid).collect();
        sdp.write()
    }
}

fn without(text: &str, starts: &[&str]) -> String {
    let kept = |line: &&str| !starts.iter().any(|start| line.starts_with(start));
    text.lines().filter(kept).collect::<Vec<_>>().join("\n")
}

fn offer(sdp: impl Into<String>) -> ClientMessage {
    let carried = |mid: &str, source| CarriedTrack {
        mid: mid.to_owned(),
        source,
        muted: false,
    };
    ClientMessage::Offer(Offer {
        sdp: sdp.into(),
        tracks: vec![
            carried("0", Source::Microphone),
            carried("1", Source::Camera),
        ],
    })
}

async fn answer(client: &mut Client, sdp: &str) -> Answer {
    match client.request(offer(sdp)).await {
        ServerMessage::Answer(answer) => answer,
        other => panic!("{other:?} instead of an answer"),
    }
}

async fn published(client: &mut Client) -> Track {
    client
        .find(|message| match message {
            ServerMessage::TrackPublished { track, .. } => Some(track.clone()),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn a_bad_offer_is_refused_by_its_code_and_the_session_goes_on() {
    let server = Server::with(|_| {}).await;
    let mut viewer = server.join("Viewer").await;
    let mut ada = server.join("Ada").await;
    let first_offers = [
        ("sdp_syntax", "hello".to_owned()),
        ("sdp_syntax", String::new()),
        (
            "sdp_no_ice",
            without(CHROMIUM, &["a=ice-ufrag:", "a=ice-pwd:"]),
        ),
        ("sdp_no_fingerprint", without(CHROMIUM, &["a=fingerprint:"])),
        ("sdp_too_many_media", Sdp::audio(257)),
        ("too_many_tracks", Sdp::audio(9)),
    ];
    for (code, sdp) in first_offers {
        let refusal = ada.refusal(offer(sdp)).await;
        let got = (refusal.code.as_str(), refusal.fatal);
        assert_eq!(got, (code, false), "{}", refusal.message);
        assert!(refusal.message.ends_with('.'), "{}", refusal.message);
    }

    let first = answer(&mut ada, CHROMIUM).await.published;
    let mids: Vec<_> = first.iter().map(|track| track.mid.as_str()).collect();
    assert_eq!(mids, ["0", "1"]);
    let expected = [
        (MediaKind::Audio, Source::Microphone, "opus"),
        (MediaKind::Video, Source::Camera, "VP8"),
    ];
    for ((kind, source, codec), announced) in expected.into_iter().zip(&first) {
        let track = published(&mut viewer).await;
        let got = (track.kind, track.source, track.codec.as_str());
        assert_eq!(got, (kind, source, codec));
        assert_eq!(track.id, announced.track);
    }

    let mut reordered = Sdp::chromium();
    reordered.media.reverse();
    let mut shortened = Sdp::chromium();
    shortened.media.truncate(1);
    shortened.session = shortened.session.replace("BUNDLE 0 1", "BUNDLE 0");
    for (code, sdp) in [
        ("sdp_bad_order", reordered.write()),
        ("sdp_bad_order", shortened.write()),
        ("sdp_syntax", "hello".to_owned()),
    ] {
        let refusal = ada.refusal(offer(sdp)).await;
        let got = (refusal.code.as_str(), refusal.fatal);
        assert_eq!(got, (code, false), "{}", refusal.message);
    }
    // Nothing has changed.
    assert_eq!(answer(&mut ada, CHROMIUM).await.published, first);
    let told = viewer.told().await;
    let unpublished = |message: &_| matches!(message, ServerMessage::TrackUnpublished { .. });
    assert!(!told.iter().any(unpublished), "{told:?}");
}

/// The rest of the offer is used (RFC 8829 section 5.3.1).
#[tokio::test]
async fn an_m_line_that_cannot_be_used_is_refused_alone_with_the_reason() {
    let server = Server::with(|_| {}).await;
    let mut foreign = Sdp::chromium();
    foreign.media[0] = without(
        &foreign.media[0].replace("SAVPF 111 63 9 0 8 13 110 126", "SAVPF 9 0 8 13"),
        &["a=rtpmap:1", "a=rtpmap:63", "a=fmtp:", "a=rtcp-fb:"],
    );
    let no_mux = [("0", "sdp_no_rtcp_mux"), ("1", "sdp_no_rtcp_mux")];
    for (sdp, refused, published) in [
        (
            foreign.write(),
            &[("0", "sdp_no_common_codec")][..],
            &["1"][..],
        ),
        (
            without(CHROMIUM, &["a=group:"]),
            &[("1", "sdp_no_bundle")],
            &["0"],
        ),
        (without(CHROMIUM, &["a=rtcp-mux"]), &no_mux, &[]),
        (CHROMIUM.to_owned(), &[], &["0", "1"]),
    ] {
        let mut ada = server.join("Ada").await;
        let answer = answer(&mut ada, &sdp).await;
        let codes: Vec<_> = answer
            .refused
            .iter()
            .map(|line| (line.mid.as_str(), line.code.as_str()))
            .collect();
        assert_eq!(codes, refused);
        for line in &answer.refused {
            assert!(line.message.ends_with('.'), "{}", line.message);
        }
        let mids: Vec<_> = answer
            .published
            .iter()
            .map(|track| track.mid.as_str())
            .collect();
        assert_eq!(mids, published);
    }
}

/// A lone m-line without `a=mid` is called by its place, until another m-line has that for a name.
#[tokio::test]
async fn an_m_line_that_gets_a_name_later_keeps_its_track() {
    let server = Server::with(|_| {}).await;
    let mut viewer = server.join("Viewer").await;
    let mut ada = server.join("Ada").await;
    let mut sdp = Sdp::chromium();
    let video = sdp.media.pop().expect("video");
    let named = sdp.media[0].clone();
    sdp.session = without(&sdp.session, &["a=group:"]);
    sdp.media[0] = without(&named, &["a=mid:"]);
    let mids = |answer: &Answer| {
        let published = answer.published.iter();
        let tracks = published.map(|track| (track.mid.clone(), track.track.clone()));
        tracks.collect::<Vec<_>>()
    };
    let first = answer(&mut ada, &sdp.write()).await;
    let [(mid, track)] = &mids(&first)[..] else {
        panic!("{first:?}");
    };
    assert_eq!(mid, "0");

    sdp.media.push(video.replace("a=mid:1", "a=mid:0"));
    let second = answer(&mut ada, &sdp.write()).await;
    assert_eq!(mids(&second), [("0_".to_owned(), track.clone())]);
    let refused = second.refused.iter().map(|line| (&*line.mid, &*line.code));
    assert_eq!(refused.collect::<Vec<_>>(), [("0", "sdp_no_bundle")]);

    sdp.session += "\na=group:BUNDLE sound 0";
    sdp.media[0] = named.replace("a=mid:0", "a=mid:sound");
    let third = answer(&mut ada, &sdp.write()).await;
    let [(sound, same), (other, camera)] = &mids(&third)[..] else {
        panic!("{third:?}");
    };
    assert_eq!((&**sound, same, &**other), ("sound", track, "0"));
    assert_ne!(camera, track);
    assert!(third.refused.is_empty(), "{:?}", third.refused);
    let told = viewer.told().await;
    let unpublished = |message: &_| matches!(message, ServerMessage::TrackUnpublished { .. });
    assert!(!told.iter().any(unpublished), "{told:?}");
}

#[tokio::test]
async fn an_answer_says_where_the_relay_is_and_stats_what_it_does() {
    let server = Server::with(|_| {}).await;
    let mut ada = server.join("Ada").await;
    let sdp = answer(&mut ada, CHROMIUM).await.sdp;
    for line in ["a=ice-lite", "a=setup:passive", "a=group:BUNDLE 0 1"] {
        assert!(sdp.lines().any(|is| is == line), "{line} is not in {sdp}");
    }
    let candidate = |line: &str| line.starts_with("a=candidate:") && line.contains(" 127.0.0.1 ");
    assert!(sdp.lines().any(candidate), "{sdp}");
    let ServerMessage::Stats {
        peer: Some(peer), ..
    } = ada.request(ClientMessage::Stats).await
    else {
        panic!("no stats");
    };
    assert_eq!(peer["connected"], false);
    let codecs: Vec<_> = peer["published"]
        .as_array()
        .expect("tracks")
        .iter()
        .collect();
    assert_eq!(codecs.len(), 2);
    assert_eq!(codecs[1]["codec"], "VP8");
}

#[tokio::test]
async fn a_transport_that_never_connects_fails_and_may_be_replaced() {
    let server = Server::with(|config| config.limits.connect_timeout_ms = 200).await;
    let mut viewer = server.join("Viewer").await;
    let mut ada = server.join("Ada").await;
    let mut before = Vec::new();
    for _ in 0..2 {
        let now = answer(&mut ada, CHROMIUM).await.published;
        assert!(!now.iter().any(|track| before.contains(track)));
        for track in &now {
            assert_eq!(published(&mut viewer).await.id, track.track);
        }
        let failed = ada.find(|message| match message {
            ServerMessage::Media { state, reason } => Some((*state, reason.clone())),
            _ => None,
        });
        let never = (MediaState::Failed, Some("never_connected".to_owned()));
        assert_eq!(failed.await, never);
        for track in &now {
            let gone = viewer.find(|message| match message {
                ServerMessage::TrackUnpublished { track, .. } => Some(track.clone()),
                _ => None,
            });
            assert_eq!(gone.await, track.track);
        }
        let stats = ada.request(ClientMessage::Stats).await;
        assert!(
            matches!(stats, ServerMessage::Stats { peer: None, .. }),
            "{stats:?}"
        );
        before = now;
    }
}
