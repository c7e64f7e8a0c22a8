//! An association in the place of another.

use super::*;

/// Its DTLS transport is another: Chromium says nothing of its channels, others open them again.
#[test]
fn a_client_begins_anew_and_its_channels_stay() {
    for (seed, opens) in (0..12).map(|seed| (seed, seed % 2 == 0)) {
        let mut pair = Pair::open(seed, 0.1, 5..40);
        let text = PayloadProtocolIdentifier::String;
        for round in 0..3 {
            let now = pair.now;
            pair.client = Client::new(now);
            pair.run(60_000);
            assert!(pair.client.connected, "seed {seed} round {round}");
            let now = pair.now;
            let unordered = ChannelType::PartialReliableRexmitUnordered;
            if opens {
                pair.client
                    .open(now, RELIABLE, "reliable", ChannelType::Reliable);
                pair.client.open(now, UNRELIABLE, "unreliable", unordered);
                pair.run(60_000);
                assert_eq!(pair.events.len(), 2, "{:?}", pair.events);
                pair.events.clear();
            } else {
                for id in [RELIABLE, UNRELIABLE] {
                    let binary = PayloadProtocolIdentifier::Binary;
                    pair.client.association.open_stream(id, binary).unwrap();
                }
            }
            for index in 0..5 {
                let (now, up) = (pair.now, message(index, 3_000));
                let binary = PayloadProtocolIdentifier::Binary;
                pair.client.write(now, RELIABLE, &up, binary);
                let down = DataMessage::bare(b"down", false);
                pair.server.send(now, DataChannel::Reliable, down).unwrap();
            }
            pair.run(60_000);
            let came = pair.received(DataChannel::Reliable);
            let sent: Vec<_> = (0..5).map(|index| message(index, 3_000)).collect();
            assert!(
                came == sent,
                "seed {seed} round {round}: {} {:?}",
                came.len(),
                pair.server.drops()
            );
            assert_eq!(pair.client.texts(RELIABLE), vec![b"down".to_vec(); 5]);
            let now = pair.now;
            pair.loss = 0.0;
            pair.client.write(now, UNRELIABLE, b"there", text);
            pair.run(1_000);
            assert_eq!(pair.received(DataChannel::Unreliable), [b"there"]);
            pair.loss = 0.1;
        }
    }
}

#[test]
fn associations_that_begin_anew_are_bounded() {
    let mut pair = Pair::open(1, 0.0, 5..6);
    let now = pair.now;
    let mut answered = 0;
    for tag in 0..100_u32 {
        let mut value = (tag + 1).to_be_bytes().to_vec();
        value.extend([0, 1, 0, 0, 0, 8, 0, 8, 0, 0, 0, 1]);
        let init = packet(0, &[(kind::INIT, 0, value)]);
        pair.server.handle_packet(now, &init);
        answered += usize::from(pair.server.poll_transmit(now).is_some());
    }
    assert_eq!(answered, 64);
    let down = DataMessage::bare(b"still here", false);
    pair.server.send(now, DataChannel::Reliable, down).unwrap();
    pair.run(1_000);
    assert_eq!(pair.client.texts(RELIABLE), [b"still here"]);
}

#[test]
fn an_abort_closes_until_another_association_begins() {
    let mut pair = Pair::open(1, 0.0, 5..6);
    pair.client.association.abort().unwrap();
    pair.run(5_000);
    assert_eq!(pair.events, vec![SctpEvent::Closed]);
    let now = pair.now;
    assert_eq!(
        pair.server
            .send(now, DataChannel::Reliable, DataMessage::bare(b"x", true)),
        Err(SendDataError::NotOpen)
    );
    assert_eq!(pair.server.poll_timeout(), None);
    // Chromium says no more of its channel.
    pair.events.clear();
    pair.client = Client::new(now);
    pair.run(5_000);
    assert!(pair.client.connected);
    let (now, text) = (pair.now, PayloadProtocolIdentifier::String);
    let opened = pair.client.association.open_stream(RELIABLE, text);
    opened.unwrap().write_with_ppi(now, b"up", text).unwrap();
    let down = DataMessage::bare(b"down", false);
    pair.server.send(now, DataChannel::Reliable, down).unwrap();
    pair.run(5_000);
    assert_eq!(pair.received(DataChannel::Reliable), [b"up"]);
    assert_eq!(pair.client.texts(RELIABLE), [b"down"]);
}
