//! Data channels: SCTP over DTLS (RFC 8261) and the protocol that opens channels (RFC 8832).
//!
//! The client initiates the association and opens both channels in band; the server accepts exactly these two and
//! resets any other. A channel with the expected label but other properties is refused as well: messages would be lost,
//! or late, where they must not be. Each refusal is an event with its reason.
//!
//! A channel whose protocol field (RFC 8832 section 5.1) is [`SENDER_PROTOCOL`] carries messages to the client that
//! begin with their sender's name and a line feed. Other channels carry the bare messages, as in the first version, so
//! that a client that does not know the field sees no difference.
//!
//! A client that replaces its transport begins its association anew. Chromium aborts the old one first; others need not
//! (RFC 9260 section 5.2.2). The client keeps its channels without saying so, and so does the server.
//!
//! A client that closes a channel may open it again. rtc-sctp sends the reset that answers the client's only once: if
//! it is lost, the client's channel stays closing.
//!
//! rtc-sctp does the association. It reads no clock, but draws its verification tag, first TSN and cookie from the
//! operating system's randomness: a simulation sees the same messages at the same times, under different numbers.

mod memory;
mod packet;
mod reassembly;
mod restart;
mod screen;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rtc_datachannel::message::message_channel_open::{ChannelType, DataChannelOpen};
use rtc_sctp::{
    Association, AssociationHandle, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier, ReliabilityType, ServerConfig, Stream, TimerConfig, TransportConfig,
    max_payload_size_for_mtu,
};
use rtc_shared::TransportProtocol;
use rtc_shared::marshal::Unmarshal;

#[cfg(any(test, feature = "testing"))]
pub(crate) use packet::{fuzz_answer, fuzz_cookie, fuzz_packet};

use packet::{Chunk, Packet, kind};
use reassembly::{BUFFER_BYTES, Message, STREAMS};
use screen::{Init, SINK, Screen, admit_init};

use crate::cache::{CacheShare, Held};
use crate::event::DataRefusal;

/// One of a participant's two channels.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum DataChannel {
    /// Ordered, and retransmitted until it arrives: label `reliable`.
    Reliable,
    /// Unordered and never retransmitted: label `unreliable`.
    Unreliable,
}

/// Protocol of the channels on which messages to the client name their sender.
pub const SENDER_PROTOCOL: &str = "tertulia.sender";
/// Bytes that a sender's name may have: some twenty are usual, and each message carries them.
pub(crate) const SENDER_BYTES: usize = 64;

/// A message on its way to a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataMessage<'a> {
    /// The message as it was sent.
    pub(crate) payload: &'a [u8],
    /// The message after its sender's name and a line feed.
    pub(crate) named: &'a [u8],
    /// Whether it was sent as bytes; otherwise it is UTF-8.
    pub(crate) binary: bool,
}

/// The reason that a message was not accepted for sending.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum SendDataError {
    /// The client has not opened the channel, or has closed it.
    #[error("the data channel is not open")]
    NotOpen,
    /// Larger than the configured limit.
    #[error("the message is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The client does not keep up.
    #[error("the data channel's send buffer is full")]
    BufferFull,
}

/// An event of the association.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum SctpEvent {
    /// The client opened a channel. It may do so again after closing it.
    Opened(DataChannel),
    /// A message came.
    Message {
        /// The channel it came on.
        channel: DataChannel,
        /// Whether it was sent as bytes; otherwise the payload is UTF-8.
        binary: bool,
        /// Its bytes, possibly none.
        payload: Vec<u8>,
    },
    /// A channel or a message was refused.
    Refused(DataRefusal),
    /// The association ended; nothing comes any more.
    Closed,
}

/// Counters of drops since the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct SctpDrops {
    /// Messages larger than the limit.
    pub(crate) oversized: u64,
    /// Packets, chunks and messages no sender that follows the protocol sends.
    pub(crate) malformed: u64,
    /// Channels refused for their label, their properties, or because there was one already.
    pub(crate) refused: u64,
    /// Messages on channels that are not open.
    pub(crate) unopened: u64,
    /// Messages to send on the unreliable channel that found its buffer full.
    pub(crate) unsent: u64,
    /// Packets to send that did not fit a datagram or a full queue.
    pub(crate) untransmitted: u64,
}

/// One peer's data channels. Plain SCTP packets go in and out; DTLS is the caller's.
pub(crate) struct Sctp {
    max_message: usize,
    state: State,
    /// The association that begins in the place of the one that is up.
    restart: Option<Box<Peering>>,
    restarts: u32,
    /// Channels in the order of [`DataChannel`].
    channels: [Option<OpenChannel>; 2],
    opens: u32,
    outgoing: VecDeque<Bytes>,
    events: VecDeque<SctpEvent>,
    drops: SctpDrops,
    memory: Held,
    /// Upper bound of the messages that may not have arrived.
    sent: usize,
    #[cfg(any(test, feature = "testing"))]
    panicked: bool,
}

#[derive(Clone, Copy, Debug)]
struct OpenChannel {
    stream: u16,
    /// Messages to the client name their sender.
    names_senders: bool,
    /// The channel was opened in an earlier association. The client may open it again.
    is_inherited: bool,
}

enum State {
    /// Waits for the client's INIT.
    Waiting,
    Up(Box<Peering>),
    Closed,
}

struct Peering {
    endpoint: Endpoint,
    handle: AssociationHandle,
    association: Association,
    screen: Screen,
    /// The client's tag, and the answer to its INIT.
    init: Init,
    init_ack: Bytes,
}

/// Largest SCTP packet. A datagram of 1,200 bytes is what every path carries, and DTLS 1.2 takes 37
/// (record header, explicit nonce, tag).
const MTU: usize = 1_160;
/// Browsers send at most their path MTU, 1,200 bytes or so.
const MAX_INCOMING: usize = 2_048;
/// A reliable sender is told when this much waits: 16 of the largest messages.
const RELIABLE_BUFFER: usize = 256 * 1_024;
/// An unreliable message that waits behind more than this is late anyway.
const UNRELIABLE_BUFFER: usize = 64 * 1_024;
/// Channels a client may open in a connection's life. Each may cost a reset to be remembered.
const MAX_OPENS: u32 = 64;
/// Packets waiting for [`Sctp::poll_transmit`]; a full congestion window of the largest buffer.
const MAX_OUTGOING: usize = 512;
/// Events waiting for [`Sctp::poll_event`]. Past it packets are dropped, and sent again by the peer.
const MAX_EVENTS: usize = 1_024;
/// DCEP's DATA_CHANNEL_OPEN (RFC 8832 section 5.1).
const DCEP_OPEN: u8 = 3;
/// DCEP's DATA_CHANNEL_ACK (RFC 8832 section 5.2).
const DCEP_ACK: [u8; 1] = [2];
/// Payload protocol identifiers (RFC 8831 section 8).
const PPID_DCEP: u32 = 50;
const PPID_STRING: u32 = 51;
const PPID_BINARY: u32 = 53;
const PPID_STRING_EMPTY: u32 = 56;
const PPID_BINARY_EMPTY: u32 = 57;
/// rtc-sctp wants addresses; there are none under DTLS.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 5_000);

impl Sctp {
    /// Waits for the client. Messages of more than `max_message` bytes are neither taken nor sent.
    pub(crate) fn new(max_message: usize, caches: &CacheShare) -> Self {
        Self {
            max_message,
            state: State::Waiting,
            restart: None,
            restarts: 0,
            channels: [None; 2],
            opens: 0,
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
            drops: SctpDrops::default(),
            memory: caches.nothing(),
            sent: 0,
            #[cfg(any(test, feature = "testing"))]
            panicked: false,
        }
    }

    /// A packet came out of DTLS.
    pub(crate) fn handle_packet(&mut self, now: Instant, bytes: &[u8]) {
        if self.events.len() >= MAX_EVENTS {
            return;
        }
        let packet = Some(bytes)
            .filter(|bytes| bytes.len() <= MAX_INCOMING)
            .and_then(Packet::parse);
        let Some(packet) = packet else {
            self.drops.malformed += 1;
            return;
        };
        // RFC 9260 section 8.5.1 A: an INIT is alone, and names no association yet.
        let mut chunks = packet.chunks();
        match (chunks.next(), chunks.next(), packet.tag()) {
            (Some(chunk), None, 0) if chunk.kind == kind::INIT => {
                self.handle_init(now, &packet, &chunk);
            }
            _ => self.handle_chunks(now, &packet),
        }
        self.count();
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.guarded(|peering| peering.association.handle_timeout(now));
        self.collect_events();
        self.count();
    }

    /// The time at which to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Up(peering) => peering.association.poll_timeout(),
            State::Waiting | State::Closed => None,
        }
    }

    /// The next packet to write into DTLS.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.outgoing.is_empty() {
            self.collect_packets(now);
        }
        self.outgoing.pop_front().map(Vec::from)
    }

    /// The next event.
    pub(crate) fn poll_event(&mut self) -> Option<SctpEvent> {
        self.events.pop_front()
    }

    /// Queues a message.
    ///
    /// # Errors
    ///
    /// A full buffer of the unreliable channel is no error: the message is dropped and counted.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        channel: DataChannel,
        message: DataMessage<'_>,
    ) -> Result<(), SendDataError> {
        let open = self.channels[channel as usize].ok_or(SendDataError::NotOpen)?;
        if message.payload.len() > self.max_message {
            let limit = self.max_message;
            return Err(SendDataError::TooLarge { limit });
        }
        let id = open.stream;
        let binary = message.binary;
        let payload = match open.names_senders {
            true => message.named,
            false => message.payload,
        };
        // RFC 8831 section 6.6: SCTP carries no empty messages.
        let (payload, ppid) = match (payload.is_empty(), binary) {
            (false, false) => (payload, PayloadProtocolIdentifier::String),
            (false, true) => (payload, PayloadProtocolIdentifier::Binary),
            (true, false) => (&[0][..], PayloadProtocolIdentifier::StringEmpty),
            (true, true) => (&[0][..], PayloadProtocolIdentifier::BinaryEmpty),
        };
        let room = match channel {
            DataChannel::Reliable => RELIABLE_BUFFER,
            DataChannel::Unreliable => UNRELIABLE_BUFFER,
        };
        let fits = self.has_room_for(payload.len());
        self.guarded(|peering| {
            let mut stream = peering.association.stream(id).ok()?;
            if !fits || stream.buffered_amount().ok()? + payload.len() > room {
                return Some(false);
            }
            stream.write_with_ppi(now, payload, ppid).ok()?;
            Some(true)
        })
        .flatten()
        .ok_or(SendDataError::NotOpen)
        .and_then(|taken| match (taken, channel) {
            (true, _) => Ok(()),
            (false, DataChannel::Reliable) => Err(SendDataError::BufferFull),
            (false, DataChannel::Unreliable) => {
                self.drops.unsent += 1;
                Ok(())
            }
        })
    }

    /// Whether rtc-sctp did.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn has_panicked(&self) -> bool {
        self.panicked
    }

    /// Counters of drops so far.
    pub(crate) fn drops(&self) -> SctpDrops {
        let mut drops = self.drops;
        if let State::Up(peering) = &self.state {
            drops.oversized += peering.screen.oversized();
            drops.malformed += peering.screen.malformed();
        }
        drops
    }

    /// RFC 9260 section 5.1 and 5.2. rtc-sctp knows a repeated INIT for another peer's, and keeps
    /// something for each; so it never sees more than one.
    fn handle_init(&mut self, now: Instant, packet: &Packet<'_>, chunk: &Chunk<'_>) {
        let (Some(init), Some(admitted)) = (Init::parse(chunk), admit_init(packet, chunk)) else {
            self.drops.malformed += 1;
            return;
        };
        match &self.state {
            State::Up(peering) if peering.init == init => {
                if peering.association.is_handshaking() {
                    let again = peering.init_ack.clone();
                    self.queue(again);
                }
            }
            State::Up(peering) if peering.association.is_handshaking() => {
                self.begin(now, admitted, init);
            }
            State::Waiting => self.begin(now, admitted, init),
            State::Up(_) | State::Closed => self.handle_restart(now, admitted, init),
        }
    }

    fn begin(&mut self, now: Instant, admitted: Bytes, init: Init) {
        if let Some(peering) = self.accept(now, admitted, init) {
            self.state = State::Up(peering);
        }
    }

    /// An association, whose answer is on its way.
    fn accept(&mut self, now: Instant, admitted: Bytes, init: Init) -> Option<Box<Peering>> {
        let max_message = self.max_message;
        let peering = catch_unwind(AssertUnwindSafe(|| {
            Peering::accept(now, admitted, init, max_message)
        }));
        match peering {
            Ok(Some(peering)) => {
                self.queue(peering.init_ack.clone());
                Some(Box::new(peering))
            }
            Ok(None) => {
                self.drops.malformed += 1;
                None
            }
            Err(_) => {
                self.fail();
                None
            }
        }
    }

    fn handle_chunks(&mut self, now: Instant, packet: &Packet<'_>) {
        let restarted = self.take_over(packet);
        let State::Up(peering) = &mut self.state else {
            return;
        };
        let mut open = [0; 2];
        let mut count = 0;
        for channel in self.channels.iter().flatten() {
            open[count] = channel.stream;
            count += 1;
        }
        let oversized = peering.screen.oversized();
        let admitted = peering.screen.admit(packet, &open[..count]);
        // Several in one packet are told as one.
        if peering.screen.oversized() > oversized {
            self.events
                .push_back(SctpEvent::Refused(DataRefusal::TooLarge));
        }
        let Some(admitted) = admitted else {
            return;
        };
        self.guarded(|peering| peering.handle(now, admitted));
        if restarted {
            self.inherit_channels();
        }
        self.collect_events();
        while let State::Up(peering) = &mut self.state {
            let Some(message) = peering.screen.poll() else {
                break;
            };
            self.handle_message(now, message);
        }
    }

    fn handle_message(&mut self, now: Instant, message: Message) {
        if message.ppid == PPID_DCEP {
            self.handle_dcep(now, message.stream, &message.payload);
            return;
        }
        let channel = match self.channels {
            [Some(open), _] if open.stream == message.stream => DataChannel::Reliable,
            [_, Some(open)] if open.stream == message.stream => DataChannel::Unreliable,
            _ => {
                self.drops.unopened += 1;
                return;
            }
        };
        let (binary, payload) = match message.ppid {
            PPID_BINARY => (true, message.payload),
            PPID_BINARY_EMPTY => (true, Vec::new()),
            // A browser that is handed other bytes as text fails the channel.
            PPID_STRING if std::str::from_utf8(&message.payload).is_ok() => {
                (false, message.payload)
            }
            PPID_STRING_EMPTY => (false, Vec::new()),
            _ => {
                self.drops.malformed += 1;
                return;
            }
        };
        self.events.push_back(SctpEvent::Message {
            channel,
            binary,
            payload,
        });
    }

    fn handle_dcep(&mut self, now: Instant, stream: u16, payload: &[u8]) {
        // The server opens none, so there is nothing to acknowledge. `rtc-datachannel` reads messages of its
        // own under other types, and panics where they are cut short.
        let open = match payload.split_first() {
            Some((&DCEP_OPEN, mut open)) => DataChannelOpen::unmarshal(&mut open).ok(),
            _ => None,
        };
        let Some(open) = open else {
            self.drops.malformed += 1;
            return;
        };
        self.opens += 1;
        let reset = self.opens <= MAX_OPENS;
        let matched = match_channel(&open).and_then(|channel| match self.channels {
            _ if !reset => Err(DataRefusal::TooManyChannels),
            channels if channels[channel as usize].is_some_and(|open| !open.is_inherited) => {
                Err(DataRefusal::AlreadyOpen)
            }
            _ => Ok(channel),
        });
        let channel = matched.ok();
        let accepted = self.guarded(|peering| match channel {
            Some(channel) => {
                let mut opened = peering.open(stream, channel)?;
                opened
                    .write_with_ppi(now, &DCEP_ACK, PayloadProtocolIdentifier::Dcep)
                    .ok()?;
                Some(channel)
            }
            None if reset => {
                let binary = PayloadProtocolIdentifier::Binary;
                let mut opened = peering.association.open_stream(stream, binary).ok()?;
                // RFC 8831 section 6.7: closing is a reset of the outgoing stream.
                let _ = opened.close(now);
                None
            }
            None => None,
        });
        match accepted.flatten() {
            Some(channel) => {
                self.channels[channel as usize] = Some(OpenChannel {
                    stream,
                    names_senders: open.protocol == SENDER_PROTOCOL.as_bytes(),
                    is_inherited: false,
                });
                self.events.push_back(SctpEvent::Opened(channel));
            }
            None => {
                self.drops.refused += 1;
                if let Err(refusal) = matched {
                    self.events.push_back(SctpEvent::Refused(refusal));
                }
            }
        }
    }

    fn collect_events(&mut self) {
        let State::Up(peering) = &mut self.state else {
            return;
        };
        let mut closed = peering.association.is_closed() && !peering.association.is_handshaking();
        while let Some(event) = peering.association.poll() {
            match event {
                // All streams are lost with an association, but the next one's client counts on them.
                Event::AssociationLost { .. } if closed => {}
                Event::AssociationLost { id, .. } => {
                    for channel in &mut self.channels {
                        channel.take_if(|open| open.stream == id);
                    }
                }
                Event::HandshakeFailed { .. } => closed = true,
                _ => {}
            }
        }
        if closed {
            self.close();
        }
    }

    fn collect_packets(&mut self, now: Instant) {
        let Some(Some(transmit)) = self.guarded(|peering| peering.association.poll_transmit(now))
        else {
            return;
        };
        if let Payload::RawEncode(packets) = transmit.message {
            for packet in packets {
                self.queue(packet);
            }
        }
        // Sending too may find the association at its end.
        self.collect_events();
    }

    fn queue(&mut self, packet: Bytes) {
        if packet.len() > MTU || self.outgoing.len() >= MAX_OUTGOING {
            self.drops.untransmitted += 1;
        } else {
            self.outgoing.push_back(packet);
        }
    }

    /// Calls rtc-sctp. A panic there, reached by one client's packets, must not end the worker and
    /// every other client's call: it ends this association.
    fn guarded<T>(&mut self, call: impl FnOnce(&mut Peering) -> T) -> Option<T> {
        let State::Up(peering) = &mut self.state else {
            return None;
        };
        match catch_unwind(AssertUnwindSafe(|| call(peering))) {
            Ok(value) => Some(value),
            Err(_) => {
                self.fail();
                None
            }
        }
    }

    fn fail(&mut self) {
        tracing::error!("rtc-sctp panicked; this peer's data channels are closed");
        #[cfg(any(test, feature = "testing"))]
        {
            self.panicked = true;
        }
        self.close();
        self.no_restart();
    }

    fn close(&mut self) {
        self.drops = self.drops();
        self.state = State::Closed;
        self.restart = None;
        self.events.push_back(SctpEvent::Closed);
    }
}

impl Peering {
    /// An association from the client's INIT, with the answer already made.
    fn accept(now: Instant, bytes: Bytes, init: Init, max_message: usize) -> Option<Self> {
        let mut config = EndpointConfig::new();
        config.max_payload_size(max_payload_size_for_mtu(MTU as u32));
        // A sender's name and a line feed stand before it.
        let longest = max_message.saturating_add(SENDER_BYTES + 1);
        let transport = TransportConfig::default()
            .with_max_receive_buffer_size(BUFFER_BYTES as u32)
            .with_max_message_size(u32::try_from(longest).unwrap_or(u32::MAX).max(1))
            .with_max_num_inbound_streams(STREAMS)
            .with_max_num_outbound_streams(STREAMS)
            .with_timer_config(TimerConfig {
                max_t2_shutdown_retrans: 8,
                // ICE consent decides when a peer is gone. This timer does not end the association,
                // it only stops retransmitting.
                max_t3_rtx_retrans: usize::MAX,
                ..TimerConfig::default()
            });
        let server = ServerConfig::new(transport);
        let mut endpoint = Endpoint::new(
            NOWHERE,
            TransportProtocol::UDP,
            Arc::new(config),
            Some(Arc::new(server)),
        );
        let (handle, event) = endpoint.handle(now, NOWHERE, None, bytes)?;
        let DatagramEvent::NewAssociation(mut association) = event else {
            return None;
        };
        let Payload::RawEncode(packets) = association.poll_transmit(now)?.message else {
            return None;
        };
        let init_ack = packets.into_iter().next()?;
        let answer = Packet::parse(&init_ack)?
            .chunks()
            .next()
            .filter(|chunk| chunk.kind == kind::INIT_ACK)?;
        let screen = Screen::new(Init::parse(&answer)?.tag, init.tsn, max_message);
        Some(Self {
            endpoint,
            handle,
            association,
            screen,
            init,
            init_ack,
        })
    }

    /// Opens a channel's stream, if it is not open already.
    fn open(&mut self, stream: u16, channel: DataChannel) -> Option<Stream<'_>> {
        let binary = PayloadProtocolIdentifier::Binary;
        let mut opened = match self.association.stream(stream).is_ok() {
            true => self.association.stream(stream).ok()?,
            false => self.association.open_stream(stream, binary).ok()?,
        };
        if channel == DataChannel::Unreliable {
            opened
                .set_reliability_params(true, ReliabilityType::Rexmit, 0)
                .ok()?;
        }
        Some(opened)
    }

    fn handle(&mut self, now: Instant, packet: Bytes) {
        match self.endpoint.handle(now, NOWHERE, None, packet) {
            Some((handle, DatagramEvent::AssociationEvent(event))) if handle == self.handle => {
                self.association.handle_event(event);
            }
            _ => return,
        }
        if let Ok(mut sink) = self.association.stream(SINK) {
            while let Ok(Some(_)) = sink.read() {}
        }
    }
}

fn match_channel(open: &DataChannelOpen) -> Result<DataChannel, DataRefusal> {
    match (
        &open.label[..],
        open.channel_type,
        open.reliability_parameter,
    ) {
        (b"reliable", ChannelType::Reliable, _) => Ok(DataChannel::Reliable),
        (b"unreliable", ChannelType::PartialReliableRexmitUnordered, 0) => {
            Ok(DataChannel::Unreliable)
        }
        (b"reliable" | b"unreliable", ..) => Err(DataRefusal::WrongProperties),
        _ => Err(DataRefusal::UnknownLabel),
    }
}
