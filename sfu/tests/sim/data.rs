//! Data channels through the relay.

use std::time::Duration;

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
