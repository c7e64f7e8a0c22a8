//! The server's end against rtc-sctp's client end, over a lossy network in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rtc_datachannel::message::Message as Dcep;
use rtc_sctp::{ClientConfig, StreamEvent};
use rtc_shared::marshal::Marshal;

mod memory;

use super::packet::{array, packet};
use super::*;

mod restart;

const MAX: usize = 16 * 1_024;

/// A browser's end.
struct Client {
    endpoint: Endpoint,
    association: Association,
    connected: bool,
    /// Messages that came, with the stream and whether each was text, bytes or DCEP.
    got: Vec<(u16, PayloadProtocolIdentifier, Vec<u8>)>,
    reset: Vec<u16>,
}

impl Client {
    fn new(now: Instant) -> Self {
        let mut endpoint = Endpoint::new(
            NOWHERE,
            TransportProtocol::UDP,
            Arc::new(EndpointConfig::new()),
            None,
        );
        let (_, association) = endpoint
            .connect(now, ClientConfig::default(), NOWHERE)
            .unwrap();
        Self {
            endpoint,
            association,
            connected: false,
            got: Vec::new(),
            reset: Vec::new(),
        }
    }

    fn handle(&mut self, now: Instant, bytes: Vec<u8>) {
        if let Some((_, DatagramEvent::AssociationEvent(event))) =
            self.endpoint.handle(now, NOWHERE, None, bytes.into())
        {
            self.association.handle_event(event);
        }
    }

    fn collect(&mut self) {
        while let Some(event) = self.association.poll() {
            match event {
                Event::Connected => self.connected = true,
                Event::AssociationLost { id, .. } => self.reset.push(id),
                Event::Stream(StreamEvent::Readable { id }) => {
                    while let Ok(Some(chunks)) = self
                        .association
                        .stream(id)
                        .and_then(|mut stream| stream.read())
                    {
                        let payload = chunks.to_payload(1 << 20).unwrap();
                        self.got.push((id, chunks.ppi, payload.to_vec()));
                    }
                }
                _ => {}
            }
        }
    }

    fn write(&mut self, now: Instant, id: u16, payload: &[u8], ppi: PayloadProtocolIdentifier) {
        let mut stream = self.association.stream(id).unwrap();
        stream.write_with_ppi(now, payload, ppi).unwrap();
    }

    fn open(&mut self, now: Instant, id: u16, label: &str, channel_type: ChannelType) {
        self.open_with(now, id, label, channel_type, "");
    }

    fn open_with(
        &mut self,
        now: Instant,
        id: u16,
        label: &str,
        channel_type: ChannelType,
        protocol: &str,
    ) {
        let mut stream = self
            .association
            .open_stream(id, PayloadProtocolIdentifier::Binary)
            .unwrap();
        if channel_type == ChannelType::PartialReliableRexmitUnordered {
            stream
                .set_reliability_params(true, ReliabilityType::Rexmit, 0)
                .unwrap();
        }
        let open = Dcep::DataChannelOpen(DataChannelOpen {
            channel_type,
            priority: 256,
            reliability_parameter: 0,
            label: label.as_bytes().to_vec(),
            protocol: protocol.as_bytes().to_vec(),
        });
        let open = open.marshal().unwrap();
        self.write(now, id, &open, PayloadProtocolIdentifier::Dcep);
    }

    fn texts(&self, id: u16) -> Vec<Vec<u8>> {
        self.got
            .iter()
            .filter(|(of, ppi, _)| *of == id && *ppi != PayloadProtocolIdentifier::Dcep)
            .map(|(_, _, payload)| payload.clone())
            .collect()
    }
}

type InFlight = Reverse<(Instant, u64, bool, Vec<u8>)>;

struct Pair {
    now: Instant,
    rng: StdRng,
    /// Share of packets lost, and their delay in milliseconds.
    loss: f64,
    delay: std::ops::Range<u64>,
    flying: BinaryHeap<InFlight>,
    sent: u64,
    client: Client,
    server: Sctp,
    events: Vec<SctpEvent>,
}

const RELIABLE: u16 = 0;
const UNRELIABLE: u16 = 2;

impl<'a> DataMessage<'a> {
    /// A message without a name before it.
    pub(in crate::transport) fn bare(payload: &'a [u8], binary: bool) -> Self {
        Self {
            payload,
            named: payload,
            binary,
        }
    }
}

impl Pair {
    fn new(seed: u64, loss: f64, delay: std::ops::Range<u64>) -> Self {
        // An Instant has no other beginning; nothing here depends on which it is.
        #[allow(clippy::disallowed_methods)]
        let now = Instant::now();
        Self {
            now,
            rng: StdRng::seed_from_u64(seed),
            loss,
            delay,
            flying: BinaryHeap::new(),
            sent: 0,
            client: Client::new(now),
            server: Sctp::new(MAX, &CacheShare::default()),
            events: Vec::new(),
        }
    }

    /// Connected, with both channels open.
    fn open(seed: u64, loss: f64, delay: std::ops::Range<u64>) -> Self {
        Self::new(seed, loss, delay).opened()
    }

    fn opened(self) -> Self {
        let mut pair = self;
        pair.run(60_000);
        assert!(pair.client.connected);
        let now = pair.now;
        pair.client
            .open(now, RELIABLE, "reliable", ChannelType::Reliable);
        let unordered = ChannelType::PartialReliableRexmitUnordered;
        pair.client.open(now, UNRELIABLE, "unreliable", unordered);
        pair.run(60_000);
        let mut opened = std::mem::take(&mut pair.events);
        opened.sort_by_key(|event| matches!(event, SctpEvent::Opened(DataChannel::Unreliable)));
        assert_eq!(
            opened,
            vec![
                SctpEvent::Opened(DataChannel::Reliable),
                SctpEvent::Opened(DataChannel::Unreliable)
            ]
        );
        pair
    }

    fn fly(&mut self, to_server: bool, bytes: Vec<u8>) {
        let lost = self.rng.random_bool(self.loss);
        let delay = Duration::from_millis(self.rng.random_range(self.delay.clone()));
        self.sent += 1;
        if !lost {
            let entry = (self.now + delay, self.sent, to_server, bytes);
            self.flying.push(Reverse(entry));
        }
    }

    fn pump(&mut self) {
        self.client.collect();
        while let Some(transmit) = self.client.association.poll_transmit(self.now) {
            if let Payload::RawEncode(packets) = transmit.message {
                for bytes in packets {
                    self.fly(true, bytes.to_vec());
                }
            }
        }
        while let Some(bytes) = self.server.poll_transmit(self.now) {
            assert!(bytes.len() <= MTU);
            self.fly(false, bytes);
        }
        self.events
            .extend(std::iter::from_fn(|| self.server.poll_event()));
    }

    /// Lets virtual time pass.
    fn run(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        loop {
            self.pump();
            let next = [
                self.flying.peek().map(|Reverse((at, ..))| *at),
                self.client.association.poll_timeout(),
                self.server.poll_timeout(),
            ];
            match next.into_iter().flatten().min() {
                Some(at) if at <= until => self.now = self.now.max(at),
                _ => break,
            }
            while let Some(Reverse((at, ..))) = self.flying.peek()
                && *at <= self.now
            {
                if let Some(Reverse((_, _, to_server, bytes))) = self.flying.pop() {
                    if to_server {
                        self.server.handle_packet(self.now, &bytes);
                    } else {
                        self.client.handle(self.now, bytes);
                    }
                }
            }
            self.client.association.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
        }
        self.now = until;
    }

    fn received(&mut self, from: DataChannel) -> Vec<Vec<u8>> {
        self.events
            .drain(..)
            .filter_map(|event| match event {
                SctpEvent::Message {
                    channel, payload, ..
                } if channel == from => Some(payload),
                _ => None,
            })
            .collect()
    }
}

fn message(index: usize, len: usize) -> Vec<u8> {
    let mut message: Vec<u8> = (0..len).map(|at| (at * 7 + index) as u8).collect();
    message[..4].copy_from_slice(&(index as u32).to_be_bytes());
    message
}

#[test]
fn reliable_messages_arrive_whole_and_in_order_over_loss_and_reordering() {
    for seed in 0..4 {
        let mut pair = Pair::open(seed, 0.1, 10..60);
        let lengths = [4, 20, 300, 1_200, 5_000, MAX];
        let sent: Vec<_> = (0..120)
            .map(|index| message(index, lengths[index % lengths.len()]))
            .collect();
        for messages in sent.chunks(12) {
            for payload in messages {
                let now = pair.now;
                let binary = PayloadProtocolIdentifier::Binary;
                pair.client.write(now, RELIABLE, payload, binary);
                pair.server
                    .send(now, DataChannel::Reliable, DataMessage::bare(payload, true))
                    .unwrap();
            }
            pair.run(30_000);
        }
        pair.run(600_000);
        assert_eq!(pair.received(DataChannel::Reliable), sent, "seed {seed}");
        assert_eq!(pair.client.texts(RELIABLE), sent, "seed {seed}");
        assert_eq!(pair.server.drops(), SctpDrops::default(), "seed {seed}");
    }
}

#[test]
fn unreliable_messages_are_sent_once_and_never_hold_up_the_reliable_ones() {
    let mut pair = Pair::open(7, 0.0, 10..60);
    pair.loss = 0.2;
    let sent: Vec<_> = (0..300).map(|index| message(index, 200)).collect();
    for payload in &sent {
        let now = pair.now;
        let binary = PayloadProtocolIdentifier::Binary;
        pair.client.write(now, UNRELIABLE, payload, binary);
        pair.server
            .send(
                now,
                DataChannel::Unreliable,
                DataMessage::bare(payload, true),
            )
            .unwrap();
        pair.run(20);
    }
    pair.run(60_000);
    let came = pair.received(DataChannel::Unreliable);
    for came in [came, pair.client.texts(UNRELIABLE)] {
        let mut distinct = came.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), came.len(), "nothing comes twice");
        assert!(came.iter().all(|payload| sent.contains(payload)));
        // 0.8 of 300 is 240; retransmission would have brought all.
        assert!((180..290).contains(&came.len()), "{} came", came.len());
    }
    let now = pair.now;
    let text = PayloadProtocolIdentifier::String;
    pair.client.write(now, RELIABLE, b"after all that", text);
    pair.run(60_000);
    assert_eq!(
        pair.received(DataChannel::Reliable),
        vec![b"after all that".to_vec()]
    );
}

#[test]
fn a_message_over_the_limit_is_dropped_and_the_association_kept() {
    let mut pair = Pair::open(1, 0.05, 5..30);
    let binary = PayloadProtocolIdentifier::Binary;
    for len in [MAX, MAX + 1, 200_000, 3] {
        let now = pair.now;
        pair.client.write(now, RELIABLE, &vec![1; len], binary);
        pair.run(120_000);
    }
    let told = |event: &&SctpEvent| **event == SctpEvent::Refused(DataRefusal::TooLarge);
    assert_eq!(pair.events.iter().filter(told).count(), 2);
    let lengths: Vec<_> = pair
        .received(DataChannel::Reliable)
        .iter()
        .map(Vec::len)
        .collect();
    assert_eq!(lengths, vec![MAX, 3]);
    assert_eq!(pair.server.drops().oversized, 2);
    assert_eq!(
        pair.server.send(
            pair.now,
            DataChannel::Reliable,
            DataMessage::bare(&[0; MAX + 1], true)
        ),
        Err(SendDataError::TooLarge { limit: MAX })
    );
}

#[test]
fn empty_messages_and_both_kinds_are_kept_apart() {
    let mut pair = Pair::open(1, 0.0, 5..6);
    let now = pair.now;
    for (payload, binary) in [(&b"a"[..], false), (b"b", true), (b"", false), (b"", true)] {
        pair.server
            .send(
                now,
                DataChannel::Reliable,
                DataMessage::bare(payload, binary),
            )
            .unwrap();
    }
    use PayloadProtocolIdentifier as Ppi;
    let sent = [
        (&b"\xc3\xa9"[..], Ppi::String),
        // Not UTF-8, so that it is dropped.
        (b"\xc3", Ppi::String),
        (b"\xc3", Ppi::Binary),
        (b"\0", Ppi::StringEmpty),
        (b"\0", Ppi::BinaryEmpty),
        (b"?", Ppi::Unknown),
    ];
    for (payload, ppi) in sent {
        pair.client.write(now, RELIABLE, payload, ppi);
    }
    pair.run(5_000);
    let got: Vec<_> = pair
        .client
        .got
        .iter()
        .map(|(_, ppi, payload)| (*ppi, &payload[..]))
        .filter(|(ppi, _)| *ppi != Ppi::Dcep)
        .collect();
    assert_eq!(
        got,
        vec![
            (Ppi::String, &b"a"[..]),
            (Ppi::Binary, b"b"),
            (Ppi::StringEmpty, b"\0"),
            (Ppi::BinaryEmpty, b"\0")
        ]
    );
    let message = |binary, payload: &[u8]| SctpEvent::Message {
        channel: DataChannel::Reliable,
        binary,
        payload: payload.to_vec(),
    };
    assert_eq!(
        pair.events,
        vec![
            message(false, b"\xc3\xa9"),
            message(true, b"\xc3"),
            message(false, b""),
            message(true, b"")
        ]
    );
    assert_eq!(pair.server.drops().malformed, 2);
}

/// `rtc-datachannel` panics over the first.
#[test]
fn control_messages_of_any_type_and_length_are_read_or_counted() {
    let mut pair = Pair::open(1, 0.0, 5..6);
    for kind in 0..=u8::MAX {
        for length in 0..16 {
            let mut message = vec![0xff; 1 + length];
            message[0] = kind;
            pair.server.handle_dcep(pair.now, RELIABLE, &message);
        }
    }
    pair.server.handle_dcep(pair.now, RELIABLE, &[]);
    let now = pair.now;
    let text = PayloadProtocolIdentifier::String;
    pair.client.write(now, RELIABLE, b"still here", text);
    pair.run(1_000);
    assert_eq!(pair.received(DataChannel::Reliable), [b"still here"]);
    assert_eq!(pair.server.drops().malformed, 256 * 16 + 1);
}

#[test]
fn other_channels_are_reset_and_the_two_stay() {
    let mut pair = Pair::open(3, 0.0, 5..20);
    let now = pair.now;
    let text = PayloadProtocolIdentifier::String;
    let unordered = ChannelType::PartialReliableRexmitUnordered;
    pair.client.open(now, 4, "chat", ChannelType::Reliable);
    pair.client.write(now, 4, b"to no one", text);
    // There is one already, and the properties of these differ from those their labels require.
    pair.client.open(now, 6, "reliable", ChannelType::Reliable);
    pair.client.open(now, 8, "reliable", unordered);
    pair.client
        .open(now, 10, "unreliable", ChannelType::Reliable);
    pair.run(10_000);
    let mut reset = pair.client.reset.clone();
    reset.sort_unstable();
    assert_eq!(reset, vec![4, 6, 8, 10]);
    let refused = [
        DataRefusal::UnknownLabel,
        DataRefusal::AlreadyOpen,
        DataRefusal::WrongProperties,
        DataRefusal::WrongProperties,
    ];
    assert_eq!(
        std::mem::take(&mut pair.events),
        refused.map(SctpEvent::Refused)
    );
    assert_eq!(
        (pair.server.drops().refused, pair.server.drops().unopened),
        (4, 1)
    );

    let now = pair.now;
    pair.client.write(now, RELIABLE, b"still here", text);
    pair.server
        .send(
            now,
            DataChannel::Unreliable,
            DataMessage::bare(b"me too", false),
        )
        .unwrap();
    pair.run(5_000);
    assert_eq!(
        pair.received(DataChannel::Reliable),
        vec![b"still here".to_vec()]
    );
    assert_eq!(pair.client.texts(UNRELIABLE), vec![b"me too".to_vec()]);
}

#[test]
fn only_a_channel_that_asks_for_names_carries_them() {
    let mut pair = Pair::new(7, 0.0, 5..20);
    pair.run(60_000);
    let now = pair.now;
    let unordered = ChannelType::PartialReliableRexmitUnordered;
    let client = &mut pair.client;
    client.open_with(now, 0, "reliable", ChannelType::Reliable, SENDER_PROTOCOL);
    client.open_with(now, 2, "unreliable", unordered, "somebody's own");
    pair.run(60_000);
    let longest = vec![b'x'; MAX];
    let named = [&[b'n'; SENDER_BYTES][..], b"\n", &longest].concat();
    let message = DataMessage {
        payload: &longest,
        named: &named,
        binary: false,
    };
    for channel in [DataChannel::Reliable, DataChannel::Unreliable] {
        pair.server.send(pair.now, channel, message).unwrap();
    }
    pair.run(60_000);
    assert_eq!(pair.client.texts(0), vec![named]);
    assert_eq!(pair.client.texts(2), vec![longest]);
}

#[test]
fn a_channel_the_client_closes_may_be_opened_again() {
    for seed in 0..4 {
        let mut pair = Pair::open(seed, 0.0, 5..40);
        for round in 0..3 {
            let now = pair.now;
            let text = PayloadProtocolIdentifier::String;
            pair.client.write(now, RELIABLE, b"x", text);
            pair.client
                .association
                .stream(RELIABLE)
                .unwrap()
                .close(now)
                .unwrap();
            pair.run(120_000);
            assert_eq!(pair.received(DataChannel::Reliable).len(), 1);
            assert_eq!(
                pair.server.send(
                    pair.now,
                    DataChannel::Reliable,
                    DataMessage::bare(b"x", false)
                ),
                Err(SendDataError::NotOpen)
            );
            let now = pair.now;
            pair.client
                .open(now, RELIABLE, "reliable", ChannelType::Reliable);
            pair.run(120_000);
            let opened = SctpEvent::Opened(DataChannel::Reliable);
            assert_eq!(pair.events, vec![opened], "seed {seed} round {round}");
        }
    }
}

#[test]
fn the_send_buffer_is_bounded_and_each_channel_overflows_its_way() {
    let mut pair = Pair::open(1, 0.0, 5..6);
    pair.loss = 1.0;
    let now = pair.now;
    let payload = [0; 1_024];
    let taken = (0..1_000)
        .take_while(|_| {
            let sent = pair.server.send(
                now,
                DataChannel::Reliable,
                DataMessage::bare(&payload, true),
            );
            assert!(matches!(sent, Ok(()) | Err(SendDataError::BufferFull)));
            sent.is_ok()
        })
        .count();
    assert_eq!(taken, RELIABLE_BUFFER / 1_024);
    for _ in 0..1_000 {
        pair.server
            .send(
                now,
                DataChannel::Unreliable,
                DataMessage::bare(&payload, true),
            )
            .unwrap();
    }
    let kept = (UNRELIABLE_BUFFER / 1_024) as u64;
    assert_eq!(pair.server.drops().unsent, 1_000 - kept);
    // Accepted messages arrive when the network recovers.
    pair.loss = 0.0;
    pair.run(120_000);
    assert_eq!(pair.client.texts(RELIABLE).len(), taken);
    assert_eq!(
        pair.server.send(
            pair.now,
            DataChannel::Reliable,
            DataMessage::bare(&payload, true)
        ),
        Ok(())
    );
}

#[test]
fn a_repeated_init_gets_the_same_answer_and_another_starts_over() {
    let mut pair = Pair::new(1, 0.0, 5..6);
    let now = pair.now;
    let init = |client: &mut Client| match client.association.poll_transmit(now).unwrap().message {
        Payload::RawEncode(packets) => packets[0].to_vec(),
        _ => unreachable!(),
    };
    let mut other = Client::new(now);
    pair.server.handle_packet(now, &init(&mut other));
    assert!(pair.server.poll_transmit(now).is_some());

    let bytes = init(&mut pair.client);
    pair.server.handle_packet(now, &bytes);
    let answer = pair.server.poll_transmit(now).unwrap();
    pair.server.handle_packet(now, &bytes);
    assert_eq!(pair.server.poll_transmit(now), Some(answer.clone()));
    pair.client.handle(now, answer);
    pair.run(5_000);
    assert!(pair.client.connected);
    // Once it is up, late ones change nothing, and another's is answered and changes nothing either.
    pair.server.handle_packet(now, &bytes);
    assert_eq!(pair.server.poll_transmit(now), None);
    let foreign = init(&mut Client::new(now));
    pair.server.handle_packet(now, &foreign);
    let answer = pair.server.poll_transmit(now).unwrap();
    pair.server.handle_packet(now, &foreign);
    assert_eq!(pair.server.poll_transmit(now), Some(answer));
    let now = pair.now;
    pair.client
        .open(now, RELIABLE, "reliable", ChannelType::Reliable);
    pair.run(5_000);
    assert_eq!(pair.events, vec![SctpEvent::Opened(DataChannel::Reliable)]);
}

#[test]
fn an_init_as_chromium_sends_it_is_answered() {
    let mut value: Vec<u8> = Vec::new();
    value.extend(0xdead_beefu32.to_be_bytes());
    value.extend((5u32 * 1_024 * 1_024).to_be_bytes());
    value.extend([0xff; 4]);
    value.extend(0x1234_5678u32.to_be_bytes());
    // Forward-TSN-Supported, Supported Extensions (RE-CONFIG, FORWARD TSN, I-DATA, I-FORWARD-TSN),
    // Zero Checksum Acceptable over DTLS (RFC 9653).
    value.extend([0xc0, 0, 0, 4]);
    value.extend([0x80, 0x08, 0, 8, 130, 192, 64, 194]);
    value.extend([0x80, 0x01, 0, 8, 0, 0, 0, 1]);
    let now = Pair::new(0, 0.0, 1..2).now;
    let mut server = Sctp::new(MAX, &CacheShare::default());
    server.handle_packet(now, &packet(0, &[(kind::INIT, 0, value)]));
    let answer = server.poll_transmit(now).unwrap();
    let answer = Packet::parse(&answer).unwrap();
    assert_eq!(answer.tag(), 0xdead_beef);
    assert_eq!(answer.chunks().next().unwrap().kind, kind::INIT_ACK);
}

#[test]
fn an_abort_whose_cause_is_cut_short_only_closes() {
    let mut pair = Pair::open(1, 0.0, 5..6);
    let State::Up(peering) = &pair.server.state else {
        panic!("not up");
    };
    let answer = Packet::parse(&peering.init_ack).unwrap();
    let tag = Init::parse(&answer.chunks().next().unwrap()).unwrap().tag;
    let abort = (kind::ABORT, 0, vec![0, 12, 0xff, 0xff]);
    pair.server.handle_packet(pair.now, &packet(tag, &[abort]));
    assert_eq!(pair.server.poll_event(), Some(SctpEvent::Closed));
    assert!(!pair.server.panicked);
}

/// Chunks with plausible contents: lengths right, numbers near those in use or anything.
fn any_chunk() -> impl Strategy<Value = (u8, u8, Vec<u8>)> {
    let number = || prop_oneof![0u32..64, any::<u32>()];
    let half = || prop_oneof![0u16..8, any::<u16>()];
    let data = (number(), half(), half(), 48u32..60, 0usize..1_200).prop_map(
        |(tsn, stream, ssn, ppid, len)| {
            let mut value = tsn.to_be_bytes().to_vec();
            value.extend(stream.to_be_bytes());
            value.extend(ssn.to_be_bytes());
            value.extend(ppid.to_be_bytes());
            value.extend(vec![3; len]);
            (kind::DATA, value)
        },
    );
    let sack = (
        number(),
        any::<u32>(),
        prop::collection::vec((half(), half()), 0..6),
    )
        .prop_map(|(tsn, window, blocks)| {
            let mut value = tsn.to_be_bytes().to_vec();
            value.extend(window.to_be_bytes());
            value.extend(((blocks.len() as u32) << 16).to_be_bytes());
            for (start, end) in blocks {
                value.extend(start.to_be_bytes());
                value.extend(end.to_be_bytes());
            }
            (kind::SACK, value)
        });
    let forward =
        (number(), prop::collection::vec((half(), half()), 0..4)).prop_map(|(tsn, streams)| {
            let mut value = tsn.to_be_bytes().to_vec();
            for (stream, ssn) in streams {
                value.extend(stream.to_be_bytes());
                value.extend(ssn.to_be_bytes());
            }
            (kind::FORWARD_TSN, value)
        });
    let reset = (number(), number(), prop::collection::vec(half(), 0..4)).prop_map(
        |(number, tsn, streams)| {
            let mut value = vec![0, 13];
            value.extend((16 + 2 * streams.len() as u16).to_be_bytes());
            for word in [number, 0, tsn] {
                value.extend(word.to_be_bytes());
            }
            for stream in streams {
                value.extend(stream.to_be_bytes());
            }
            (kind::RECONFIG, value)
        },
    );
    let kinds = prop_oneof![
        prop::sample::select(vec![1u8, 2, 4, 5, 6, 7, 8, 9, 10, 11, 14, 130, 192]),
        any::<u8>(),
    ];
    let other = (kinds, prop::collection::vec(any::<u8>(), 0..60));
    (
        prop_oneof![4 => data, 2 => sack, 1 => forward, 1 => reset, 2 => other],
        any::<u8>(),
    )
        .prop_map(|((kind, value), flags)| (kind, flags, value))
}

proptest! {
    #[test]
    fn random_bytes_are_counted_and_nothing_else(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20)
    ) {
        let mut pair = Pair::new(0, 0.0, 1..2);
        for bytes in &packets {
            pair.server.handle_packet(pair.now, bytes);
        }
        prop_assert_eq!(pair.server.drops().malformed, packets.len() as u64);
        prop_assert!(pair.server.poll_transmit(pair.now).is_none());
    }

    /// Chunks come before an association, as its INIT, and within it.
    #[test]
    fn chunks_of_any_content_never_panic_and_buffers_stay_bounded(
        init in any_chunk(),
        packets in prop::collection::vec(
            (prop::collection::vec(any_chunk(), 1..4), 0u64..2_000), 1..30)
    ) {
        let mut fresh = Sctp::new(MAX, &CacheShare::default());
        let (_, flags, value) = init;
        let mut pair = Pair::open(0, 0.0, 1..2);
        fresh.handle_packet(pair.now, &packet(0, &[(kind::INIT, flags, value)]));
        for (chunks, millis) in packets {
            let State::Up(peering) = &pair.server.state else {
                break;
            };
            let answer = Packet::parse(&peering.init_ack).unwrap().chunks().next().unwrap();
            let ours = Init::parse(&answer).unwrap();
            let chunks: Vec<_> = chunks
                .into_iter()
                .map(|(kind, flags, mut value)| {
                    // Numbers count from where the association does.
                    let base = match kind {
                        kind::DATA | kind::FORWARD_TSN => peering.init.tsn,
                        kind::SACK => ours.tsn,
                        _ => 0,
                    };
                    if let Some(number) = array(&value, 0).map(u32::from_be_bytes)
                        && base != 0
                    {
                        value[..4].copy_from_slice(&base.wrapping_add(number).to_be_bytes());
                    }
                    (kind, flags, value)
                })
                .collect();
            let bytes = packet(ours.tag, &chunks);
            fresh.handle_packet(pair.now, &bytes);
            pair.server.handle_packet(pair.now, &bytes);
            let _ = pair.server.send(pair.now, DataChannel::Unreliable, DataMessage::bare(b"x", true));
            pair.now += Duration::from_millis(millis);
            pair.server.handle_timeout(pair.now);
            while let Some(bytes) = pair.server.poll_transmit(pair.now) {
                prop_assert!(bytes.len() <= MTU);
            }
            while pair.server.poll_event().is_some() {}
            prop_assert!(pair.server.outgoing.len() <= MAX_OUTGOING);
            prop_assert!(!pair.server.panicked && !fresh.panicked);
        }
    }
}
