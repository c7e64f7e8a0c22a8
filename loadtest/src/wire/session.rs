//! One bot's media: ICE, DTLS and SRTP towards the server, and the packets that use them. Sans I/O: datagrams and times
//! come in, datagrams go out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tertulia_sfu::rtp::rtcp::{self, Rtcp};
use tokio::sync::mpsc;

use super::dtls::{Dtls, DtlsEvent, Identity};
use super::ice::{Credentials, Ice, IceEvent};
use super::offer::Answer;
use super::outbox::Outbox;
use super::publisher::Publisher;
use super::receiver::{Receiver, Shares};
use super::search::Search;
use super::srtp::Srtp;
use crate::bot::native::MediaEvent;
use crate::bot::plan::Plan;
use crate::bot::state::BotState;
use crate::bot::tap::lock;
use crate::measure::{Phases, Second};

/// Interval of transport-wide feedback; libwebrtc's is 50 to 250 ms.
const FEEDBACK_INTERVAL: Duration = Duration::from_millis(100);
/// Interval of the checks for missing packets; libwebrtc's.
const ASK_INTERVAL: Duration = Duration::from_millis(20);
/// Interval of receiver reports, times 0.5 to 1.5 (RFC 3550 section 6.3.1).
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// The SSRC for reports of a receiver that sends nothing; libwebrtc's choice.
const REPORTER_SSRC: u32 = 1;

/// The start values of a session.
pub(super) struct Start {
    /// The server's latest answer.
    pub(super) answer: Box<Answer>,
    /// The server's candidates that are to be tried, the likeliest first.
    pub(super) candidates: Vec<SocketAddr>,
    pub(super) ours: Credentials,
    pub(super) identity: Arc<Identity>,
    pub(super) shares: Shares,
    pub(super) plans: Vec<Plan>,
    pub(super) state: Arc<BotState>,
    /// The time at which the bot opened its WebSocket.
    pub(super) opened: Instant,
    pub(super) events: mpsc::Sender<MediaEvent>,
}

/// The buffers that all sessions of a thread write to.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) second: Second,
    pub(super) out: Outbox,
}

/// The way to the server.
enum Way {
    Sought(Search),
    Found(Box<Ice>),
}

/// One bot's media.
pub(super) struct Session {
    start: Start,
    way: Way,
    dtls: Option<Dtls>,
    srtp: Option<Box<Srtp>>,
    receiver: Receiver,
    publisher: Option<Publisher>,
    phases: Phases,
    feedback_at: Option<Instant>,
    ask_at: Option<Instant>,
    report_at: Option<Instant>,
}

impl Session {
    pub(super) fn new(now: Instant, start: Start) -> Self {
        let mut receiver = Receiver::new(now, start.shares);
        receiver.learn(&start.answer.sections, &start.answer.extensions);
        let (theirs, candidates) = (&start.answer.ice, &start.candidates);
        Self {
            way: Way::Sought(Search::new(now, &start.ours, theirs, candidates)),
            start,
            dtls: None,
            srtp: None,
            receiver,
            publisher: None,
            phases: Phases::default(),
            feedback_at: None,
            ask_at: None,
            report_at: None,
        }
    }

    /// Applies a later answer.
    pub(super) fn learn(&mut self, answer: Box<Answer>) {
        self.receiver.learn(&answer.sections, &answer.extensions);
        self.start.answer = answer;
    }

    /// Begins to publish; the first frames are due at `start`.
    pub(super) fn publish(&mut self, start: Instant) {
        let Start {
            answer,
            plans,
            state,
            ..
        } = &self.start;
        let publisher = Publisher::new(plans, &answer.extensions, &state.name, start);
        self.publisher = Some(publisher);
    }

    /// Does something with what it publishes, if it does.
    pub(super) fn publisher(&mut self, act: impl FnOnce(&mut Publisher)) {
        self.publisher.as_mut().map(act);
    }

    /// Whether no candidate has answered yet. Until then [`search`](Self::search) handles datagrams, and
    /// [`poll_checks`](Self::poll_checks) returns the checks to send.
    pub(super) fn is_searching(&self) -> bool {
        matches!(self.way, Way::Sought(_))
    }

    /// Hands over the checks that are due, each with the candidate it goes to.
    pub(super) fn poll_checks(&mut self, now: Instant, checks: &mut Vec<(SocketAddr, Vec<u8>)>) {
        if let Way::Sought(search) = &mut self.way {
            search.handle_timeout(now, checks);
        }
    }

    /// Handles a datagram from a candidate; returns that candidate if it is the one to use.
    pub(super) fn search(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Outbox,
    ) -> Option<SocketAddr> {
        let Way::Sought(search) = &mut self.way else {
            return None;
        };
        match search.handle(now, from, datagram)? {
            Ok((to, ice)) => {
                self.way = Way::Found(ice);
                self.ice_event(now, Some(IceEvent::Connected), out);
                Some(to)
            }
            Err(why) => {
                self.ice_event(now, Some(IceEvent::Failed(why)), out);
                None
            }
        }
    }

    /// Handles a datagram that came at `at`, which since the Unix epoch is `wall` (RFC 7983).
    pub(super) fn handle(
        &mut self,
        now: Instant,
        datagram: &mut [u8],
        at: Instant,
        wall: Duration,
        desk: &mut Desk,
    ) {
        match datagram.first() {
            Some(0..=3) => {
                if let Way::Found(ice) = &mut self.way {
                    let event = ice.handle(now, datagram);
                    desk.out.push(|bytes| ice.answer(datagram, bytes));
                    self.ice_event(now, event, &mut desk.out);
                }
            }
            Some(20..=63) => {
                let event = self
                    .dtls
                    .as_mut()
                    .and_then(|dtls| dtls.handle(now, datagram));
                self.dtls_event(now, event, &mut desk.out);
            }
            Some(128..=191) if tertulia_sfu::rtp::is_rtcp(datagram) => {
                self.rtcp(at, datagram, &mut desk.out);
            }
            Some(128..=191) => self.rtp(now, datagram, at, wall, &mut desk.second),
            _ => {}
        }
    }

    fn ice_event(&mut self, now: Instant, event: Option<IceEvent>, out: &mut Outbox) {
        match event {
            Some(IceEvent::Connected) => {
                self.phases.ice = Some(now.saturating_duration_since(self.start.opened));
                let fingerprint = &self.start.answer.fingerprint;
                match Dtls::connect(now, &self.start.identity, fingerprint) {
                    Ok(dtls) => self.dtls = Some(dtls),
                    Err(error) => self.fail(error),
                }
                self.flush_dtls(out);
            }
            Some(IceEvent::Failed(why)) => self.fail(format!("ICE: {why}")),
            None => {}
        }
    }

    fn dtls_event(&mut self, now: Instant, event: Option<DtlsEvent>, out: &mut Outbox) {
        self.flush_dtls(out);
        match event {
            Some(DtlsEvent::Connected(srtp)) => {
                self.phases.dtls = Some(now.saturating_duration_since(self.start.opened));
                self.srtp = Some(srtp);
                self.report_at = Some(now + REPORT_INTERVAL.mul_f64(rand::random()));
                self.tell_phases();
                self.tell(MediaEvent::Connected);
            }
            Some(DtlsEvent::Failed(why)) => self.fail(why),
            None => {}
        }
    }

    fn flush_dtls(&mut self, out: &mut Outbox) {
        while let Some(datagram) = self.dtls.as_mut().and_then(Dtls::poll_transmit) {
            out.push(|bytes| bytes.extend_from_slice(&datagram));
        }
    }

    fn rtp(
        &mut self,
        now: Instant,
        packet: &mut [u8],
        at: Instant,
        wall: Duration,
        second: &mut Second,
    ) {
        let Some(srtp) = &mut self.srtp else {
            // The packet overtook the end of the handshake; it will be asked for.
            return;
        };
        if self.receiver.receive(packet, at, wall, srtp, second) {
            self.ask_at.get_or_insert(now);
        }
        if self.feedback_at.is_none() && !self.receiver.arrivals.is_empty() {
            self.feedback_at = Some(now + FEEDBACK_INTERVAL);
        }
        if self.phases.first_packet.is_none() && self.receiver.totals.packets > 0 {
            // The packet may have waited in the socket during the end of the handshake; it could be read from then on.
            let arrived = at.saturating_duration_since(self.start.opened);
            self.phases.first_packet = self.phases.dtls.max(Some(arrived));
            self.tell_phases();
        }
    }

    fn rtcp(&mut self, at: Instant, packet: &mut [u8], out: &mut Outbox) {
        let Some(srtp) = &mut self.srtp else { return };
        let Some(len) = srtp.open_rtcp(packet) else {
            self.receiver.totals.unknown += 1;
            return;
        };
        for message in rtcp::parse_compound(&packet[..len]).flatten() {
            if let Rtcp::SenderReport { ssrc, ntp, .. } = message {
                self.receiver.sender_report(ssrc, ntp, at);
            }
            let Some(publisher) = &mut self.publisher else {
                continue;
            };
            match message {
                Rtcp::SenderReport { reports, .. } | Rtcp::ReceiverReport { reports, .. } => {
                    reports
                        .iter()
                        .for_each(|block| publisher.confirm(block.ssrc));
                }
                Rtcp::Nack { media, lost, .. } => publisher.repeat(media, &lost, srtp, out),
                Rtcp::Pli { media, .. } => publisher.want_keyframe(media),
                Rtcp::Fir { entries, .. } => {
                    entries
                        .iter()
                        .for_each(|(ssrc, _)| publisher.want_keyframe(*ssrc));
                }
                _ => {}
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let publisher = self.publisher.as_ref().filter(|_| self.srtp.is_some());
        [
            match &self.way {
                Way::Sought(search) => search.poll_timeout(),
                Way::Found(ice) => ice.poll_timeout(),
            },
            self.dtls.as_ref().and_then(Dtls::poll_timeout),
            publisher.and_then(Publisher::poll_timeout),
            self.feedback_at,
            self.ask_at,
            self.report_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, desk: &mut Desk) {
        if let Way::Found(ice) = &mut self.way {
            let mut failed = None;
            desk.out
                .push(|bytes| failed = ice.handle_timeout(now, bytes));
            self.ice_event(now, failed, &mut desk.out);
        }
        let event = self.dtls.as_mut().and_then(|dtls| dtls.handle_timeout(now));
        self.dtls_event(now, event, &mut desk.out);
        let Some(srtp) = &mut self.srtp else { return };
        let Way::Found(ice) = &self.way else { return };
        if let Some(publisher) = &mut self.publisher {
            publisher.handle_timeout(now, srtp, &mut desk.second, &mut desk.out);
        }
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let receiver = &mut self.receiver;
        let media = receiver.any_ssrc();
        desk.out.push(|bytes| {
            let start = bytes.len();
            if due(self.report_at) {
                self.report_at = Some(now + REPORT_INTERVAL.mul_f64(rand::random_range(0.5..1.5)));
                let blocks = receiver.report_blocks(now);
                rtcp::receiver_report(bytes, REPORTER_SSRC, &blocks);
                rtcp::sdes_cname(bytes, REPORTER_SSRC, &self.start.state.name);
            }
            if due(self.feedback_at) {
                self.feedback_at = None;
                receiver.arrivals.report(REPORTER_SSRC, media, bytes);
            }
            if due(self.ask_at) {
                let round_trip = ice.round_trip();
                let again = receiver.ask(now, REPORTER_SSRC, round_trip, &mut desk.second, bytes);
                self.ask_at = again.then(|| now + ASK_INTERVAL);
            }
            seal(srtp, bytes, start);
        });
    }

    /// Leaves.
    pub(super) fn leave(&mut self, now: Instant, out: &mut Outbox) {
        if let (Some(srtp), Some(publisher)) = (&mut self.srtp, &self.publisher) {
            out.push(|bytes| {
                let start = bytes.len();
                // A compound begins with a report (RFC 3550 section 6.1).
                rtcp::receiver_report(bytes, REPORTER_SSRC, &[]);
                rtcp::bye(bytes, &publisher.ssrcs());
                seal(srtp, bytes, start);
            });
        }
        if let Some(dtls) = &mut self.dtls {
            dtls.close(now);
        }
        self.flush_dtls(out);
    }

    /// Writes the running counts where others can read them; with `outcomes`, ends the streams and
    /// writes how they fared.
    pub(super) fn observe(&mut self, now: Instant, outcomes: bool, second: &mut Second) {
        let totals = self.receiver.totals;
        let streams = outcomes.then(|| self.receiver.outcomes(now, second));
        let mut observed = lock(&self.start.state.observed);
        if let Some(publisher) = &self.publisher {
            observed.sent = publisher.sent;
            observed.encodings = publisher.encodings();
        }
        observed.at = Some(now);
        observed.received = self.receiver.received();
        observed.totals = totals;
        if let Some(streams) = streams {
            observed.streams = streams;
        }
    }

    fn tell_phases(&self) {
        let mut observed = lock(&self.start.state.observed);
        observed.phases = Phases {
            signaling: observed.phases.signaling,
            ..self.phases
        };
    }

    /// The session cannot go on.
    pub(super) fn fail(&mut self, why: String) {
        self.tell(MediaEvent::Failed(why));
    }

    fn tell(&self, event: MediaEvent) {
        // The receiver has left, or has been told already.
        let _ = self.start.events.try_send(event);
    }
}

/// Seals the compound that begins at `start`, if there is one.
fn seal(srtp: &mut Srtp, bytes: &mut Vec<u8>, start: usize) {
    if bytes.len() > start && srtp.seal_rtcp(bytes, start).is_none() {
        bytes.truncate(start);
    }
}
