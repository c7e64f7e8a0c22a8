//! A peer with valid credentials and bad intentions. It joins as a wire bot does, and then sends anything its owner
//! says, under its own keys and from any socket. It never sends media by itself, and counts the packets it receives.
//!
//! Only the WebSocket runs by itself: [`Media::pump`] reads datagrams and answers the server's checks, without which
//! the server sends no media.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ring::hmac;
use tertulia_loadtest::bot::signaling::{ServerUrl, Signaling, SignalingError};
use tertulia_loadtest::wire::candidates;
use tertulia_loadtest::wire::dtls::{Dtls, DtlsEvent, Identity};
use tertulia_loadtest::wire::ice::{Check, Credentials, Ice, IceEvent};
use tertulia_loadtest::wire::offer::{Answer, Line, Offerer, Sending};
use tertulia_loadtest::wire::srtp::Srtp;
use tertulia_sfu::rtp::extension::{ExtensionKind, ExtensionMap};
use tertulia_sfu::rtp::rtcp::{self, Rtcp};
use tertulia_sfu::rtp::{HeaderWriter, OutHeader, RtpHeader};
use tertulia_signaling::protocol::native::{
    CarriedTrack, ClientMessage, IceServer, MediaKind, Offer, ServerMessage, Source,
};
use tokio::sync::oneshot;

/// Payload types that bots offer.
const OPUS: u8 = 111;
const VP8: u8 = 96;
/// The time that a join may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Interval of the checks of the socket while it joins.
const LOOK: Duration = Duration::from_millis(2);
/// Messages of the server kept, and messages to it that may wait.
const MESSAGES: usize = 4_096;
/// The room a sealed header takes at most: as much as a publisher of ours writes.
const MAX_HEADER: usize = 128;

/// The settings of a hostile peer.
#[derive(Clone, Debug)]
pub(crate) struct HostileConfig {
    pub(crate) url: ServerUrl,
    /// The address its media leaves from.
    pub(crate) address: IpAddr,
    pub(crate) room: String,
    pub(crate) name: String,
    /// The number of video tracks that it publishes.
    pub(crate) videos: usize,
    /// The encodings of each; one without a name is no simulcast.
    pub(crate) rids: Vec<&'static str>,
    /// Whether it publishes sound.
    pub(crate) audio: bool,
    /// The number of m-lines for other people's sound, and for their videos.
    pub(crate) receives: [usize; 2],
    /// Whether it offers data channels.
    pub(crate) data: bool,
}

impl HostileConfig {
    /// A peer that publishes and receives nothing, from the loopback address.
    pub(crate) fn new(url: ServerUrl, room: &str, name: &str) -> Self {
        Self {
            url,
            address: IpAddr::from([127, 0, 0, 1]),
            room: room.to_owned(),
            name: name.to_owned(),
            videos: 0,
            rids: vec![""],
            audio: false,
            receives: [1, 0],
            data: false,
        }
    }

    fn lines(&self) -> Vec<Line> {
        let sending = |kind, payload_type, rids: &[&'static str]| Line {
            kind,
            sending: Some(Sending::new(payload_type, rids)),
        };
        let video = || sending(MediaKind::Video, VP8, &self.rids);
        let sound = || sending(MediaKind::Audio, OPUS, &[""]);
        let receiving = |kind| Line {
            kind,
            sending: None,
        };
        let mut lines: Vec<Line> = std::iter::repeat_with(video).take(self.videos).collect();
        lines.extend(self.audio.then(sound));
        let [sounds, videos] = self.receives;
        lines.extend(std::iter::repeat_n(receiving(MediaKind::Audio), sounds));
        lines.extend(std::iter::repeat_n(receiving(MediaKind::Video), videos));
        lines
    }
}

/// One stream that a hostile peer has offered.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// Its m-line.
    pub(crate) mid: String,
    pub(crate) rid: &'static str,
    pub(crate) ssrc: u32,
    pub(crate) payload_type: u8,
}

/// An RTP packet to be sealed.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) payload_type: u8,
    pub(crate) marker: bool,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    /// The m-line's name, if it is to be in the packet.
    pub(crate) mid: Option<&'a str>,
    /// The encoding's.
    pub(crate) rid: Option<&'a str>,
    pub(crate) payload: &'a [u8],
}

/// A joined peer.
#[derive(Debug)]
pub(crate) struct Hostile {
    /// The media half, which may be sent to a thread of its own.
    pub(crate) media: Media,
    /// The TURN of the server, if it has that.
    pub(crate) turn: Option<IceServer>,
    /// The WebSocket is open for as long as this is.
    _open: oneshot::Sender<()>,
    heard: Arc<Mutex<Vec<ServerMessage>>>,
}

impl Hostile {
    /// Joins, and connects its media.
    ///
    /// # Errors
    ///
    /// The server refuses something, or does not answer within 20 s; in words.
    pub(crate) async fn join(config: &HostileConfig) -> Result<Self, String> {
        let joining = tokio::time::timeout(PATIENCE, Self::open(config));
        joining.await.map_err(|_| "not joined in time".to_owned())?
    }

    async fn open(config: &HostileConfig) -> Result<Self, String> {
        let text = |error: SignalingError| error.to_string();
        let joining = Signaling::join(&config.url, &config.room, &config.name, None);
        let (mut signaling, welcome) = joining.await.map_err(text)?;
        let socket = UdpSocket::bind((config.address, 0)).map_err(|error| error.to_string())?;
        socket
            .set_nonblocking(true)
            .map_err(|error| error.to_string())?;
        let ours = Credentials::random();
        let identity = Identity::generate()?;
        let lines = config.lines();
        let offer = offer(config, &lines, &socket, &ours, &identity)?;
        signaling.send(offer).await.map_err(text)?;
        let answer = loop {
            if let ServerMessage::Answer(answer) = signaling.next_good().await.map_err(text)? {
                break answer;
            }
        };
        let answer = Answer::read(&answer.sdp)?;
        let server = *candidates::fitting(&answer.candidates, config.address)?
            .first()
            .ok_or("no candidate")?;
        let published = published(&lines);
        let mut media = Media {
            ice: Ice::new(Instant::now(), server, &ours, &answer.ice),
            key: hmac::Key::new(
                hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                answer.ice.pwd.as_bytes(),
            ),
            username: format!("{}:{}", answer.ice.ufrag, ours.ufrag),
            socket,
            server,
            dtls: None,
            srtp: None,
            extensions: answer.extensions,
            published,
            heard: Heard::default(),
            answers: true,
            buffer: vec![0; 65_536],
        };
        while media.srtp.is_none() {
            media.connect(&identity, &answer.fingerprint)?;
            tokio::time::sleep(LOOK).await;
        }
        let (open, heard) = listen(signaling);
        Ok(Self {
            media,
            turn: welcome.ice_servers.into_iter().next(),
            _open: open,
            heard,
        })
    }

    /// Hands over the messages that came since the last time, the first 4,096 of them.
    pub(crate) fn heard(&self) -> Vec<ServerMessage> {
        std::mem::take(&mut self.heard.lock().expect("no panic"))
    }
}

/// Runs the WebSocket until either side ends it.
fn listen(mut signaling: Signaling) -> (oneshot::Sender<()>, Arc<Mutex<Vec<ServerMessage>>>) {
    let (open, mut closed) = oneshot::channel();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = &mut closed => return,
                message = signaling.next() => {
                    let Ok(message) = message else { return };
                    let mut log = log.lock().expect("no panic");
                    if log.len() < MESSAGES {
                        log.push(message);
                    }
                }
            }
        }
    });
    (open, heard)
}

fn published(lines: &[Line]) -> Vec<Published> {
    let sending = lines
        .iter()
        .enumerate()
        .filter_map(|(mid, line)| Some((mid, line.sending.as_ref()?)));
    let streams = sending.flat_map(|(mid, sending)| {
        sending.encodings.iter().map(move |encoding| Published {
            mid: mid.to_string(),
            rid: encoding.rid,
            ssrc: encoding.ssrc,
            payload_type: sending.payload_type,
        })
    });
    streams.collect()
}

fn offer(
    config: &HostileConfig,
    lines: &[Line],
    socket: &UdpSocket,
    ours: &Credentials,
    identity: &Identity,
) -> Result<ClientMessage, String> {
    let address = socket.local_addr().map_err(|error| error.to_string())?;
    let offerer = Offerer {
        session: 1,
        version: 1,
        ice: ours,
        fingerprint: identity.fingerprint(),
        address,
        cname: &config.name,
    };
    let mut sdp = offerer.write(lines);
    if config.data {
        let mid = lines.len();
        sdp = sdp.replacen(
            "\r\na=extmap-allow-mixed",
            &format!(" {mid}\r\na=extmap-allow-mixed"),
            1,
        );
        let Credentials { ufrag, pwd } = ours;
        let fingerprint = identity.fingerprint();
        sdp.push_str(&format!(
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:{ufrag}\r\n\
             a=ice-pwd:{pwd}\r\na=fingerprint:sha-256 {fingerprint}\r\na=setup:active\r\na=mid:{mid}\r\n\
             a=sctp-port:5000\r\na=max-message-size:262144\r\n"
        ));
    }
    let sending = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.sending.is_some());
    let tracks = sending.map(|(mid, line)| CarriedTrack {
        mid: mid.to_string(),
        source: match line.kind {
            MediaKind::Audio => Source::Microphone,
            MediaKind::Video => Source::Camera,
        },
        muted: false,
    });
    Ok(ClientMessage::Offer(Offer {
        sdp,
        tracks: tracks.collect(),
    }))
}

/// Counters of the packets that a peer received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) datagrams: u64,
    pub(crate) bytes: u64,
    /// Packets and the newest sequence number of each SSRC, not authenticated.
    pub(crate) rtp: BTreeMap<u32, (u64, u16)>,
    /// PLI and FIR for its own streams.
    pub(crate) keyframe_requests: u64,
    /// Packets of its own asked for again.
    pub(crate) nacks: u64,
    /// STUN errors.
    pub(crate) stun_errors: u64,
}

/// Keys, sockets and counts of a joined peer.
pub(crate) struct Media {
    /// Its own socket, which its checks come from.
    pub(crate) socket: UdpSocket,
    /// The server's media address.
    pub(crate) server: SocketAddr,
    /// The streams that it has offered.
    pub(crate) published: Vec<Published>,
    pub(crate) heard: Heard,
    /// Whether it answers the server's checks.
    pub(crate) answers: bool,
    username: String,
    key: hmac::Key,
    ice: Ice,
    dtls: Option<Dtls>,
    srtp: Option<Box<Srtp>>,
    extensions: ExtensionMap,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Media {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Media")
            .field("server", &self.server)
            .field("heard", &self.heard)
            .finish_non_exhaustive()
    }
}

impl Media {
    fn connect(&mut self, identity: &Identity, fingerprint: &str) -> Result<(), String> {
        let now = Instant::now();
        let event = self.pump_at(now);
        if let Some(why) = event.failed {
            return Err(why);
        }
        if event.found {
            self.dtls = Some(Dtls::connect(now, identity, fingerprint)?);
            self.flush();
        }
        Ok(())
    }

    /// Handles everything that has come: checks are answered, media and requests are counted. Does everything that is
    /// due.
    pub(crate) fn pump(&mut self) {
        // An end is noticed by counters that no longer grow.
        let _ = self.pump_at(Instant::now());
    }

    fn pump_at(&mut self, now: Instant) -> Turn {
        let mut turn = Turn::default();
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Ok((len, _)) = self.socket.recv_from(&mut buffer) {
            self.take(now, &mut buffer[..len], &mut turn);
        }
        self.buffer = buffer;
        let mut check = Vec::new();
        let event = self.ice.handle_timeout(now, &mut check);
        turn.note_ice(event);
        self.send(&check);
        let event = self.dtls.as_mut().and_then(|dtls| dtls.handle_timeout(now));
        self.note_dtls(event, &mut turn);
        self.flush();
        turn
    }

    fn take(&mut self, now: Instant, datagram: &mut [u8], turn: &mut Turn) {
        self.heard.datagrams += 1;
        self.heard.bytes += datagram.len() as u64;
        match datagram.first() {
            Some(0..=3) => {
                self.heard.stun_errors += u64::from(datagram.starts_with(&[1, 0x11]));
                turn.note_ice(self.ice.handle(now, datagram));
                let mut answer = Vec::new();
                if self.answers {
                    self.ice.answer(datagram, &mut answer);
                }
                self.send(&answer);
            }
            Some(20..=63) => {
                let event = self
                    .dtls
                    .as_mut()
                    .and_then(|dtls| dtls.handle(now, datagram));
                self.note_dtls(event, turn);
            }
            Some(128..=191) if tertulia_sfu::rtp::is_rtcp(datagram) => self.take_rtcp(datagram),
            Some(128..=191) => {
                if let Ok(header) = RtpHeader::parse_sealed(datagram) {
                    let (count, newest) = self.heard.rtp.entry(header.ssrc).or_default();
                    *count += 1;
                    *newest = header.sequence;
                }
            }
            _ => {}
        }
    }

    fn take_rtcp(&mut self, datagram: &mut [u8]) {
        let opened = self.srtp.as_mut().and_then(|srtp| srtp.open_rtcp(datagram));
        let Some(len) = opened else { return };
        for message in rtcp::parse_compound(&datagram[..len]).flatten() {
            match message {
                Rtcp::Pli { .. } => self.heard.keyframe_requests += 1,
                Rtcp::Fir { entries, .. } => {
                    self.heard.keyframe_requests += entries.len() as u64;
                }
                Rtcp::Nack { lost, .. } => self.heard.nacks += lost.len() as u64,
                _ => {}
            }
        }
    }

    fn note_dtls(&mut self, event: Option<DtlsEvent>, turn: &mut Turn) {
        match event {
            Some(DtlsEvent::Connected(srtp)) => self.srtp = Some(srtp),
            Some(DtlsEvent::Failed(why)) => turn.failed = Some(why),
            None => {}
        }
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(datagram) = self.dtls.as_mut().and_then(Dtls::poll_transmit) {
            self.send(&datagram);
        }
    }

    /// Sends a datagram to the server from its own socket; an empty one is not sent. A datagram that the kernel has no
    /// room for is lost, as on a network.
    pub(crate) fn send(&self, datagram: &[u8]) {
        if !datagram.is_empty() {
            let _ = self.socket.send_to(datagram, self.server);
        }
    }

    /// The answer to a check of the server's, from whatever socket that came to; empty if it is none.
    pub(crate) fn answer(&self, datagram: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        self.ice.answer(datagram, &mut answer);
        answer
    }

    /// A check with its own credentials, new each time.
    pub(crate) fn check(&self, nominates: bool) -> Vec<u8> {
        self.check_with(&self.username, &self.key, nominates)
    }

    /// A check signed with a password that nobody has.
    pub(crate) fn forged_check(&self) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"nobody's password");
        self.check_with(&self.username, &key, true)
    }

    fn check_with(&self, username: &str, key: &hmac::Key, nominates: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let check = Check {
            username,
            transaction: rand::random(),
            tie_breaker: rand::random(),
            nominates,
        };
        check.write(key, &mut out);
        out
    }

    /// An RTP packet under its own keys. None before it is connected.
    pub(crate) fn rtp(&mut self, outgoing: &Outgoing<'_>) -> Option<Vec<u8>> {
        let header = OutHeader {
            marker: outgoing.marker,
            payload_type: outgoing.payload_type,
            sequence: outgoing.sequence,
            timestamp: outgoing.timestamp,
            ssrc: outgoing.ssrc,
        };
        let mut bytes = vec![0; MAX_HEADER];
        let mut writer = HeaderWriter::new(&mut bytes, &header);
        let names = [
            (ExtensionKind::Mid, outgoing.mid),
            (ExtensionKind::Rid, outgoing.rid),
        ];
        for (kind, name) in names {
            if let (Some(id), Some(name)) = (self.extensions.id(kind), name) {
                writer.extension(id, name.as_bytes());
            }
        }
        let len = writer.finish();
        bytes.truncate(len);
        bytes.extend_from_slice(outgoing.payload);
        self.srtp.as_mut()?.seal_rtp(&mut bytes, 0)?;
        Some(bytes)
    }

    /// An RTCP compound under its own keys. None before it is connected.
    pub(crate) fn rtcp(&mut self, mut plain: Vec<u8>) -> Option<Vec<u8>> {
        self.srtp.as_mut()?.seal_rtcp(&mut plain, 0)?;
        Some(plain)
    }

    /// Sends application data over DTLS: what data channels are made of.
    pub(crate) fn write_data(&mut self, data: &[u8]) {
        if let Some(dtls) = &mut self.dtls {
            dtls.write(Instant::now(), data);
        }
        self.flush();
    }

    /// The application data that came; of one that offered data channels.
    pub(crate) fn take_data(&mut self) -> Vec<BytesMut> {
        let dtls = self.dtls.as_mut();
        dtls.map(Dtls::take_data).unwrap_or_default()
    }

    /// Another socket on its address, for packets that must not come from its own.
    ///
    /// # Errors
    ///
    /// The system has no port left.
    pub(crate) fn another_socket(&self) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind((self.socket.local_addr()?.ip(), 0))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

/// The outcome of one turn.
#[derive(Default)]
struct Turn {
    found: bool,
    failed: Option<String>,
}

impl Turn {
    fn note_ice(&mut self, event: Option<IceEvent>) {
        match event {
            Some(IceEvent::Connected) => self.found = true,
            Some(IceEvent::Failed(why)) => self.failed = Some(why.to_owned()),
            None => {}
        }
    }
}
