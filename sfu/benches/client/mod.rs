//! A call of `str0m` clients: real ICE, DTLS and SRTP in memory, until media flows. Then the relay
//! sends to real sockets, which nobody but the bench reads.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tertulia_sfu::rtp::rtcp::{TICKS_PER_SECOND, write_feedback};
use tertulia_sfu::testing::floor::{Sink, bind_sinks};
use tertulia_sfu::testing::network::Datagram;
use tertulia_sfu::testing::{Sent, SimRelay, TurnSocket};
use tertulia_sfu::{Limits, PeerId, RoomId};

use crate::{TURN, epoch};

/// A call in which everybody is connected and every viewer is being sent every publisher's tracks.
pub(crate) struct Call {
    now: Instant,
    relay: SimRelay,
    room: RoomId,
    clients: Vec<Client>,
    by_addr: HashMap<SocketAddr, usize>,
    sinks: Vec<Sink>,
    socket: TurnSocket,
    publishers: usize,
    viewers: usize,
    /// The client that sent the last frame.
    speaker: usize,
    /// Turns since all clients last did their due work.
    settled: u32,
    /// Turns since viewers last sent feedback.
    unacknowledged: u32,
    /// Turns after which they send feedback.
    acknowledge_every: u32,
}

struct Client {
    peer: PeerId,
    /// The time of each turn since the last feedback, with the last transport-wide number sent in it.
    arrivals: Vec<(Instant, u16)>,
    /// The first number without feedback so far.
    acknowledged: u16,
    feedbacks: u8,
    /// The time of the first packet of media: `str0m` counts arrivals from it, and the bench goes on with it.
    hears_since: Option<Instant>,
    rtc: Rtc,
    addr: SocketAddr,
    /// The stream that it publishes.
    audio: Option<Mid>,
    video: Option<Mid>,
    connected: bool,
    heard: u64,
    out: Vec<Datagram>,
    /// Sequence numbers of audio and of video.
    sequences: [u64; 2],
    picture: u16,
}

/// Turns between the clients' due work: all answer keepalives twice within the 30 s of consent (RFC 7675), and a turn
/// is 10 ms.
const SETTLE_EVERY: u32 = 400;
/// Bytes that `str0m` adds to a payload: RTP's fixed header, two extensions, and the tag of AES-128-GCM.
const AROUND: usize = 12 + 4 + 8 + 16;

impl Call {
    /// Connects `publishers` who are viewers too if there are as many of both, and `viewers`.
    pub(crate) fn begin(publishers: usize, viewers: usize) -> io::Result<Self> {
        let meeting = publishers == viewers;
        let count = if meeting {
            viewers
        } else {
            publishers + viewers
        };
        let sinks = bind_sinks(count)?;
        let socket = TurnSocket::bind()?;
        let now = epoch();
        let mut limits = Limits::default();
        limits.peers_per_room = 2_000;
        let mut relay = SimRelay::new(now, socket.addr(), 1, limits);
        let room = relay.create_room();
        let mut call = Self {
            now,
            relay,
            room,
            clients: Vec::new(),
            by_addr: HashMap::new(),
            sinks,
            socket,
            publishers,
            viewers: if meeting { viewers - 1 } else { viewers },
            speaker: 0,
            settled: 0,
            unacknowledged: 0,
            acknowledge_every: 5,
        };
        for index in 0..count {
            let publishes = index < publishers;
            let receives = if meeting {
                publishers - 1
            } else if publishes {
                0
            } else {
                publishers
            };
            call.join(index, publishes, receives);
        }
        call.connect();
        Ok(call)
    }

    /// Viewers of each packet.
    pub(crate) fn destinations(&self) -> usize {
        self.viewers
    }

    fn join(&mut self, index: usize, publishes: bool, receives: usize) {
        let addr = self.sinks[index].addr();
        let mut rtc = RtcConfig::new().set_rtp_mode(true).build(self.now);
        rtc.add_local_candidate(Candidate::host(addr, "udp").expect("a candidate"));
        let mut api = rtc.sdp_api();
        let kinds = [MediaKind::Audio, MediaKind::Video];
        let [audio, video] = kinds.map(|kind| {
            publishes.then(|| api.add_media(kind, Direction::SendOnly, None, None, None))
        });
        for _ in 0..receives {
            for kind in kinds {
                api.add_media(kind, Direction::RecvOnly, None, None, None);
            }
        }
        let (offer, pending) = api.apply().expect("something to offer");
        let offer = offer.to_sdp_string();
        let joined = self.relay.join(self.now, self.room, &offer, true);
        let (peer, answer) = joined.expect("the relay answers");
        let answer = SdpAnswer::from_sdp_string(&answer.sdp).expect("str0m reads the answer");
        rtc.sdp_api()
            .accept_answer(pending, answer)
            .expect("str0m takes the answer");
        self.by_addr.insert(addr, index);
        self.clients.push(Client {
            peer,
            arrivals: Vec::new(),
            acknowledged: 0,
            feedbacks: 0,
            hears_since: None,
            rtc,
            addr,
            audio,
            video,
            connected: false,
            heard: 0,
            out: Vec::new(),
            sequences: [1; 2],
            picture: 0,
        });
    }

    /// Runs until every viewer hears every track, and a while longer: reports are sent every second, after which
    /// streams need no names.
    fn connect(&mut self) {
        let everybody = |call: &Self| call.clients.iter().all(|client| client.connected);
        while !everybody(self) {
            self.settle();
            self.now += TURN;
        }
        for _ in 0..300 {
            for publisher in 0..self.publishers {
                for bytes in [100, 1_200] {
                    let mut datagrams = self.seal(publisher, bytes, 2);
                    for datagram in &mut datagrams {
                        self.relay.handle_datagram(self.now, datagram);
                    }
                }
            }
            self.settle();
            self.now += TURN;
        }
        let heard = self.clients.iter().filter(|client| client.heard > 100);
        assert!(heard.count() >= self.viewers, "every viewer is sent media");
        while self.relay.poll_event().is_some() {}
        // From here on the bench reports arrivals for them.
        for client in &mut self.clients {
            client.acknowledged = self.relay.transport_sequence(client.peer).unwrap_or(0);
        }
    }

    /// Lets all clients do their due work, in memory.
    fn settle(&mut self) {
        for _ in 0..4 {
            for client in &mut self.clients {
                for mut datagram in client.drive(self.now) {
                    self.relay.handle_datagram(self.now, &mut datagram);
                }
            }
            if self
                .relay
                .poll_timeout(self.now)
                .is_some_and(|at| at <= self.now)
            {
                self.relay.handle_timeout(self.now);
            }
            let datagrams = self.relay.flush(self.now);
            if datagrams.is_empty() {
                return;
            }
            for datagram in datagrams {
                if let Some(client) = self.by_addr.get(&datagram.to) {
                    self.clients[*client].receive(self.now, &datagram);
                }
            }
        }
    }

    /// A frame of `count` sealed packets of the publisher whose turn it is.
    pub(crate) fn frame(&mut self, bytes: usize, count: usize) -> Vec<Datagram> {
        self.speaker = (self.speaker + 1) % self.publishers;
        self.acknowledge_every = if bytes < 500 { 14 } else { 5 };
        self.seal(self.speaker, bytes, count)
    }

    fn seal(&mut self, publisher: usize, bytes: usize, count: usize) -> Vec<Datagram> {
        let client = &mut self.clients[publisher];
        for packet in 1..=count {
            client.write(self.now, bytes, packet == count);
        }
        let (media, control): (Vec<_>, Vec<_>) = client
            .drive(self.now)
            .into_iter()
            .partition(|datagram| matches!(datagram.payload.first(), Some(128..=191)));
        // Keepalives are answered in memory: the packets of the relay's socket are not read.
        if !control.is_empty() {
            for mut datagram in control {
                self.relay.handle_datagram(self.now, &mut datagram);
            }
            self.settle();
        }
        media
    }

    /// One turn of the media thread.
    pub(crate) fn turn(&mut self, frame: &mut [Datagram]) -> Sent {
        self.now += TURN;
        self.settled += 1;
        self.relay.turn(self.now, &mut self.socket, frame)
    }

    /// Feedback of the viewers for the turns since their last: everything arrived, a millisecond after it was sent. The
    /// interval is libwebrtc's: reports take a twentieth of the rate they report on, every 50 to 250 ms. For the packet
    /// sizes here that is 140 ms for audio and 50 ms for video.
    pub(crate) fn feedback(&mut self) -> Vec<(PeerId, Vec<u8>)> {
        self.unacknowledged += 1;
        for client in &mut self.clients {
            let sequence = self.relay.transport_sequence(client.peer).unwrap_or(0);
            client.arrivals.push((self.now, sequence));
        }
        if self.unacknowledged < self.acknowledge_every {
            return Vec::new();
        }
        self.unacknowledged = 0;
        let clients = self.clients.iter_mut();
        clients.filter_map(Client::feedback).collect()
    }

    /// Hands the relay what viewers say.
    pub(crate) fn acknowledge(&mut self, feedback: &[(PeerId, Vec<u8>)]) {
        for (peer, rtcp) in feedback {
            self.relay.handle_rtcp(self.now, *peer, rtcp);
        }
    }

    /// Does the due work after a turn: reports, decisions, probes.
    pub(crate) fn timers(&mut self) -> Sent {
        self.relay.timers(self.now, &mut self.socket)
    }

    /// Empties the receivers, and has the relay's STUN checks answered: without consent it sends nothing (RFC 7675). Now
    /// and then everybody sends their own.
    pub(crate) fn drain(&mut self) {
        let from = self.socket.addr();
        for (sink, client) in self.sinks.iter().zip(&mut self.clients) {
            sink.read(|datagram| {
                if matches!(datagram.first(), Some(0..=3)) {
                    let check = Datagram {
                        from,
                        to: client.addr,
                        payload: datagram.to_vec(),
                    };
                    client.receive(self.now, &check);
                }
            });
            for mut answer in std::mem::take(&mut client.out) {
                self.relay.handle_datagram(self.now, &mut answer);
            }
        }
        if self.settled > SETTLE_EVERY {
            self.settled = 0;
            self.settle();
        }
    }
}

impl Client {
    /// The packets that it received, as transport-wide feedback.
    fn feedback(&mut self) -> Option<(PeerId, Vec<u8>)> {
        let mut statuses = Vec::new();
        let base = self.acknowledged;
        for (at, until) in self.arrivals.drain(..) {
            let began = self.hears_since.unwrap_or_else(epoch);
            let since = at.saturating_duration_since(began) + Duration::from_millis(1);
            let ticks = (since.as_micros() * TICKS_PER_SECOND as u128 / 1_000_000) as i64;
            let count = until.wrapping_sub(self.acknowledged);
            statuses.extend((0..count).map(|_| Some(ticks)));
            self.acknowledged = until;
        }
        let mut rtcp = Vec::new();
        let (mut base, mut rest) = (base, statuses.as_slice());
        while !rest.is_empty() {
            let told = write_feedback(&mut rtcp, 1, 2, self.feedbacks, base, rest);
            self.feedbacks = self.feedbacks.wrapping_add(1);
            base = base.wrapping_add(told as u16);
            rest = &rest[told.max(1).min(rest.len())..];
        }
        (!rtcp.is_empty()).then_some((self.peer, rtcp))
    }

    /// Sends a packet of the size, as the next.
    fn write(&mut self, now: Instant, bytes: usize, marker: bool) {
        let (codec, mid, sequence) = match (bytes < 500, &mut self.sequences) {
            (true, [sound, _]) => (str0m::format::Codec::Opus, self.audio, sound),
            (false, [_, picture]) => (str0m::format::Codec::Vp8, self.video, picture),
        };
        let number = *sequence;
        *sequence += 1;
        let mid = mid.expect("it publishes");
        let media = self.rtc.media(mid).expect("negotiated");
        let remote = media.remote_pts().to_vec();
        let config = self.rtc.codec_config().params().iter();
        let pt = config
            .filter(|params| params.spec().codec == codec && remote.contains(&params.pt()))
            .map(|params| params.pt())
            .next()
            .expect("a codec in common");
        let mut payload = vec![0x5a; bytes - AROUND];
        if codec == str0m::format::Codec::Vp8 {
            // A descriptor with a 15-bit picture id (RFC 7741 section 4.2); every frame's first
            // packet begins a keyframe (S, and P clear), so that a switch never waits.
            let [high, low] = (self.picture | 0x8000).to_be_bytes();
            payload[..5].copy_from_slice(&[0x90, 0x80, high, low, 0x00]);
            if marker {
                self.picture = (self.picture + 1) & 0x7fff;
            }
        }
        let timestamp = number as u32 * 900;
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx_by_mid(mid, None).expect("a stream");
        let write = RtpWrite::new(pt, number.into(), timestamp, now, payload.as_slice());
        stream.write_rtp(write.marker(marker));
    }

    /// The packets that it sends now.
    fn drive(&mut self, now: Instant) -> Vec<Datagram> {
        let _ = self.rtc.handle_input(Input::Timeout(now));
        self.collect();
        std::mem::take(&mut self.out)
    }

    /// `str0m` wants its output taken before it is given more.
    fn collect(&mut self) {
        while let Ok(output) = self.rtc.poll_output() {
            match output {
                Output::Timeout(_) => break,
                Output::Transmit(transmit) => self.out.push(Datagram {
                    from: self.addr,
                    to: transmit.destination,
                    payload: transmit.contents.to_vec(),
                }),
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(Event::RtpPacket(_)) => self.heard += 1,
                Output::Event(_) => {}
            }
        }
    }

    fn receive(&mut self, now: Instant, datagram: &Datagram) {
        if let [128..=191, 0..=191 | 224.., ..] = datagram.payload.as_slice() {
            self.hears_since.get_or_insert(now);
        }
        let Ok(contents) = datagram.payload.as_slice().try_into() else {
            return;
        };
        let receive = Receive {
            proto: Protocol::Udp,
            source: datagram.from,
            destination: self.addr,
            contents,
        };
        let _ = self.rtc.handle_input(Input::Receive(now, receive));
        self.collect();
    }
}
