//! Tests of offers and answers alone.

use crate::config::Limits;
use crate::event::Answer;
use crate::id::{PeerId, RoomId};
use crate::testing::{SimRelay, SimSharing, epoch};

const ORIENTATION: &str = "a=extmap:13 urn:3gpp:video-orientation\r\n";

struct Call {
    relay: SimRelay,
    room: RoomId,
}

impl Call {
    fn new(workers: u16) -> Self {
        let addrs: Vec<_> = (0..workers)
            .map(|at| ([10, 0, 0, 1], 1 + at).into())
            .collect();
        let limits = Limits::default();
        let mut relay = SimRelay::with_workers(epoch(), &addrs, 1, limits, SimSharing::default());
        let room = relay.create_room();
        Self { relay, room }
    }

    fn join(&mut self, direction: &str, turns: bool) -> (PeerId, Answer) {
        let offer = offer(direction, turns);
        let joined = self.relay.join(epoch(), self.room, &offer, true);
        joined.expect("joins")
    }

    fn again(&mut self, peer: PeerId, direction: &str, turns: bool) -> Answer {
        let offer = offer(direction, turns);
        self.relay.offer(epoch(), peer, &offer).expect("an answer")
    }
}

fn offer(direction: &str, turns: bool) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=ice-ufrag:Wj1g\r\n\
         a=ice-pwd:YIeTuvxYyPudqoT4P6vMAjRk\r\na=setup:actpass\r\na=fingerprint:sha-256 \
         05:5E:B5:FD:A2:A4:2F:6C:59:02:BE:36:5E:68:81:72:34:7F:E8:34:4F:15:3F:CC:90:C7:BA:64:2B:46:D8:A9\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=mid:0\r\na={direction}\r\n\
         {}a=rtpmap:96 VP8/90000\r\n",
        if turns { ORIENTATION } else { "" }
    )
}

fn agrees(answer: &Answer) -> bool {
    answer.sdp.contains(ORIENTATION)
}

#[test]
fn it_is_agreed_on_while_all_viewers_turn_on_whatever_worker() {
    for workers in [1, 2] {
        let mut call = Call::new(workers);
        let (publisher, answer) = call.join("sendonly", true);
        assert!(agrees(&answer), "nobody is there");
        let (_, answer) = call.join("recvonly", true);
        assert!(agrees(&answer), "viewers may always");
        assert!(agrees(&call.again(publisher, "sendonly", true)));

        let (viewer, _) = call.join("recvonly", false);
        assert!(!agrees(&call.again(publisher, "sendonly", true)));
        assert!(!agrees(&call.join("sendonly", true).1), "{workers} workers");

        // It goes, or negotiates it.
        call.again(viewer, "recvonly", true);
        assert!(agrees(&call.again(publisher, "sendonly", true)));
        call.again(viewer, "recvonly", false);
        assert!(!agrees(&call.again(publisher, "sendonly", true)));
        call.relay.close_peer(epoch(), viewer);
        assert!(
            agrees(&call.again(publisher, "sendonly", true)),
            "{workers} workers"
        );
    }
}

#[test]
fn a_part_that_is_opened_later_knows_of_viewers_that_do_not_turn() {
    let mut call = Call::new(2);
    call.join("recvonly", false);
    let (publisher, answer) = call.join("sendonly", true);
    assert_eq!(call.relay.worker_of(publisher), 1);
    assert!(!agrees(&answer));
}
