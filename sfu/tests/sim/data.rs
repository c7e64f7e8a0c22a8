//! Data channels through the relay.

use std::time::Duration;

use tertulia_sfu::testing::SimSharing;
use tertulia_sfu::{DataRefusal, DropReason, Event, Limits, SENDER_PROTOCOL, ServerData};

use crate::harness::{Sim, Video};

#[test]
fn messages_reach_everybody_else_in_the_room() {
    let mut sim = Sim::new(20);
    for _ in 0..3 {
        let index = sim.client();
        sim.clients[index].publish_video(Video::Single);
        sim.clients[index].open_channels();
        sim.join(index);
    }
    sim.run_until(Duration::from_secs(5), |sim| {
        sim.clients.iter().all(|client| client.channels.len() == 2)
    })
    .expect("both channels open everywhere");
    assert!(sim.clients[0].send("reliable", b"hello"));
    assert!(sim.clients[0].send("unreliable", b"pointer"));
    sim.run(Duration::from_secs(1));
    for client in &mut sim.clients[1..] {
        client.messages.sort();
        let expected = [("reliable", &b"hello"[..]), ("unreliable", b"pointer")];
        let expected: Vec<_> = expected
            .iter()
            .map(|(label, text)| ((*label).to_owned(), text.to_vec()))
            .collect();
        assert_eq!(client.messages, expected);
    }
    assert!(
        sim.clients[0].messages.is_empty(),
        "nobody hears themselves"
    );
}

#[test]
fn a_message_over_the_limit_is_dropped_and_the_channel_goes_on() {
    let mut sim = Sim::new(21);
    for _ in 0..2 {
        let index = sim.client();
        sim.clients[index].receive(1, 0);
        sim.clients[index].open_channels();
        sim.join(index);
    }
    sim.run_until(Duration::from_secs(5), |sim| {
        sim.clients.iter().all(|client| client.channels.len() == 2)
    })
    .expect("both channels open everywhere");
    sim.clients[0].send("reliable", &vec![7; 64 * 1024]);
    sim.run(Duration::from_secs(2));
    sim.clients[0].send("reliable", b"after");
    sim.run(Duration::from_secs(2));
    assert_eq!(
        sim.clients[1].messages,
        vec![("reliable".to_owned(), b"after".to_vec())]
    );
}

/// The reasons told, and to which client.
fn refusals(sim: &Sim) -> Vec<(usize, DataRefusal)> {
    let refusals = sim.events.iter().filter_map(|event| match event {
        Event::DataRefused { peer, reason, .. } => {
            let mut clients = sim.clients.iter();
            let client = clients.position(|client| client.peer == Some(*peer));
            Some((client.expect("a client"), *reason))
        }
        _ => None,
    });
    refusals.collect()
}

#[test]
fn who_asks_for_it_is_told_the_sender_of_each_message_on_every_worker() {
    let mut sim = Sim::sharing(22, 2, SimSharing::default());
    for protocol in ["", SENDER_PROTOCOL, SENDER_PROTOCOL, "somebody's own"] {
        let index = sim.client();
        sim.clients[index].receive(1, 0);
        sim.clients[index].open_channel("reliable", protocol);
        sim.join(index);
    }
    let workers = |sim: &Sim| {
        let peers = sim.clients.iter().filter_map(|client| client.peer);
        peers
            .map(|peer| sim.relay.worker_of(peer))
            .collect::<Vec<_>>()
    };
    let workers = workers(&sim);
    assert_ne!(workers[1], workers[2], "the two who ask are apart");
    sim.run_until(Duration::from_secs(5), |sim| {
        sim.clients.iter().all(|client| !client.channels.is_empty())
    })
    .expect("the channels open");
    assert!(sim.clients[0].send("reliable", b"hello"));
    sim.run(Duration::from_secs(1));
    let sender = sim.clients[0].peer.expect("a peer");
    for (index, expected) in [
        (1, format!("{sender}\nhello")),
        (2, format!("{sender}\nhello")),
        (3, "hello".to_owned()),
    ] {
        let expected = vec![("reliable".to_owned(), expected.into_bytes())];
        assert_eq!(sim.clients[index].messages, expected, "client {index}");
    }
}

#[test]
fn what_is_refused_is_told_to_its_sender_once_a_second() {
    let mut sim = Sim::new(23);
    for extra in [&["chat", "files"][..], &[]] {
        let index = sim.client();
        sim.clients[index].receive(1, 0);
        sim.clients[index].open_channels();
        for label in extra {
            sim.clients[index].open_channel(label, "");
        }
        sim.join(index);
    }
    sim.run_until(Duration::from_secs(5), |sim| {
        let open = |label| sim.clients.iter().all(|c| c.channels.contains_key(label));
        open("reliable") && open("unreliable")
    })
    .expect("both channels open everywhere");
    sim.run(Duration::from_secs(1));
    assert_eq!(refusals(&sim), [(0, DataRefusal::UnknownLabel)]);

    sim.events.clear();
    let per_second = Limits::default().data_messages_per_second as usize;
    let flood = per_second + 20;
    for _ in 0..flood {
        assert!(sim.clients[0].send("reliable", b"x"));
    }
    sim.run(Duration::from_millis(900));
    assert_eq!(refusals(&sim), [(0, DataRefusal::TooFast)]);
    assert_eq!(sim.clients[1].messages.len(), per_second);
    let drops = sim.relay.stats().drops;
    let counted = [DropReason::DataUnknownLabel, DropReason::DataRateLimited];
    let counted = counted.map(|reason| drops.get(reason));
    assert_eq!(counted, [2, 20]);
}

/// Two clients on each of two workers, whose channels name their senders.
fn named(seed: u64) -> Sim {
    let mut sim = Sim::sharing(seed, 2, SimSharing::default());
    for _ in 0..4 {
        let index = sim.client();
        sim.clients[index].receive(1, 0);
        sim.clients[index].open_channel("reliable", SENDER_PROTOCOL);
        sim.join(index);
    }
    sim.run_until(Duration::from_secs(5), |sim| {
        sim.clients.iter().all(|client| !client.channels.is_empty())
    })
    .expect("the channels open");
    sim
}

#[test]
fn who_may_not_send_is_told_so_and_who_is_heard_is_told_of() {
    let mut sim = named(24);
    let peers: Vec<_> = sim
        .clients
        .iter()
        .filter_map(|client| client.peer)
        .collect();
    let now = sim.now;
    sim.relay.set_data(now, peers[0], false, true);
    sim.relay.set_data(now, peers[1], true, true);
    for index in 0..3 {
        assert!(sim.clients[index].send("reliable", format!("of {index}").as_bytes()));
    }
    sim.run(Duration::from_secs(1));
    assert_eq!(refusals(&sim), [(0, DataRefusal::NotAllowed)]);
    let drops = sim.relay.stats().drops;
    assert_eq!(drops.get(DropReason::DataNotAllowed), 1);
    let heard: Vec<_> = sim
        .events
        .iter()
        .filter_map(|event| match event {
            Event::DataReceived {
                peer,
                reliable,
                payload,
                ..
            } => Some((*peer, *reliable, payload.to_vec())),
            _ => None,
        })
        .collect();
    assert_eq!(heard, [(peers[1], true, b"of 1".to_vec())]);
    let mut got: Vec<_> = sim.clients[3]
        .messages
        .drain(..)
        .map(|(_, text)| text)
        .collect();
    got.sort();
    let mut expected = [1, 2].map(|from| format!("{}\nof {from}", peers[from]).into_bytes());
    expected.sort();
    assert_eq!(got, expected);
}

#[test]
fn the_server_speaks_to_everybody_on_every_worker_or_to_one() {
    let mut sim = named(25);
    let (now, room) = (sim.now, sim.room);
    let peer = sim.clients[2].peer.expect("a peer");
    let says = |payload: &str| ServerData {
        sender: "server".into(),
        reliable: true,
        binary: false,
        payload: payload.into(),
    };
    sim.relay
        .send_data(now, room, None, says("to all"))
        .expect("sent");
    sim.relay
        .send_data(now, room, Some(peer), says("to one"))
        .expect("sent");
    sim.run(Duration::from_secs(1));
    for (index, client) in sim.clients.iter().enumerate() {
        let texts: Vec<_> = client
            .messages
            .iter()
            .map(|(_, text)| text.as_slice())
            .collect();
        match index {
            2 => assert_eq!(texts, [&b"server\nto all"[..], b"server\nto one"]),
            _ => assert_eq!(texts, [b"server\nto all"]),
        }
    }
}
