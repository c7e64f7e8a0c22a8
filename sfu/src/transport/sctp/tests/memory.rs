//! Data channels beside others that hold memory.

use super::*;
use crate::cache::CacheBudget;

/// Messages of one peer hold what others leave. When nothing is left, one message goes at a time, and one comes.
#[test]
fn messages_take_their_part_of_the_memory_of_all() {
    const ALL: usize = 64 << 10;
    for others in [0, ALL] {
        let budget = CacheBudget::new(ALL);
        let shares = [budget.share(), budget.share()];
        let held = shares.each_ref().map(|share| {
            let mut held = share.nothing();
            assert!(others == 0 || held.set(others / 2));
            held
        });
        let mut pair = Pair::new(3, 0.0, 5..6);
        pair.server = Sctp::new(MAX, &budget.share());
        let mut pair = pair.opened();
        pair.loss = 1.0;
        let now = pair.now;
        let payload = [0; 1_024];
        let message = DataMessage::bare(&payload, true);
        let sent = (0..1_000).take_while(|_| {
            let sent = pair.server.send(now, DataChannel::Reliable, message);
            assert!(matches!(sent, Ok(()) | Err(SendDataError::BufferFull)));
            sent.is_ok()
        });
        let sent = sent.count();
        let expected = if others == 0 { 20..50 } else { 1..2 };
        assert!(expected.contains(&sent), "{sent} beside {others} bytes");
        assert!(budget.used() <= ALL, "{}", budget.used());
        // The first fragments of some messages are lost.
        pair.loss = 0.2;
        for _ in 0..20 {
            let binary = PayloadProtocolIdentifier::Binary;
            pair.client.write(pair.now, RELIABLE, &[1; 5_000], binary);
            pair.run(500);
            assert!(budget.used() <= ALL, "{}", budget.used());
        }
        pair.loss = 0.0;
        pair.run(120_000);
        let came = pair.events.iter();
        let came = came.filter(|event| matches!(event, SctpEvent::Message { .. }));
        assert_eq!(
            (came.count(), pair.client.texts(RELIABLE).len()),
            (20, sent)
        );
        assert_eq!(budget.used(), others, "all has arrived");
        drop((pair, held));
        assert_eq!(budget.used(), 0);
    }
}
