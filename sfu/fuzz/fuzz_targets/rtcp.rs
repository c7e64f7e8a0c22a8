//! A compound from a stranger: no panic, and nothing larger than its documented bound.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tertulia_sfu::rtp::rtcp::{MAX_LOST, MAX_PACKETS, MAX_STATUSES, Rtcp, parse_compound};

fuzz_target!(|datagram: &[u8]| {
    let mut packets = 0;
    for packet in parse_compound(datagram) {
        packets += 1;
        match packet {
            Ok(Rtcp::Nack { lost, .. }) => assert!(lost.len() <= MAX_LOST),
            Ok(Rtcp::Twcc(feedback)) => assert!(feedback.arrivals.len() <= MAX_STATUSES),
            Ok(Rtcp::Sdes { cnames }) => assert!(cnames.len() <= 31),
            Ok(Rtcp::Remb { ssrcs, .. }) => assert!(ssrcs.len() <= 255),
            Ok(Rtcp::SenderReport { reports, .. } | Rtcp::ReceiverReport { reports, .. }) => {
                assert!(reports.len() <= 31);
            }
            _ => {}
        }
    }
    // One more for the error that ends it.
    assert!(packets <= MAX_PACKETS + 1);
});
