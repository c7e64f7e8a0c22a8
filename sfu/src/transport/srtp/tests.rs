use super::testing::{Client, RTP_HEADER, hex, rtcp, rtp};
use super::*;
use proptest::prelude::*;

/// All profiles with every backend.
fn suites() -> impl Iterator<Item = (Backend, Profile)> {
    let profiles = [
        Profile::AeadAes256Gcm,
        Profile::AeadAes128Gcm,
        Profile::Aes128CmSha1_80,
    ];
    Backend::ALL
        .iter()
        .flat_map(move |backend| profiles.map(|profile| (*backend, profile)))
}

const GCM: (Backend, Profile) = (Backend::Ring, Profile::AeadAes128Gcm);

fn pair((backend, profile): (Backend, Profile)) -> (Srtp, Client) {
    let material: Vec<u8> = (0..profile.keying_material_len())
        .map(|byte| (byte as u8).wrapping_mul(7))
        .collect();
    (
        Srtp::from_keying_material(backend, profile, &material).unwrap(),
        Client::from_keying_material(profile, &material),
    )
}

fn seal(srtp: &mut Srtp, plain: &[u8]) -> Vec<u8> {
    let mut packet = plain.to_vec();
    packet.resize(plain.len() + 16, 0);
    let len = srtp.seal_rtp(&mut packet, RTP_HEADER, plain.len());
    packet.truncate(len);
    packet
}

fn open(srtp: &mut Srtp, sealed: &[u8]) -> Result<Vec<u8>, DropReason> {
    let mut packet = sealed.to_vec();
    let len = srtp.open_rtp(&mut packet)?;
    packet.truncate(len);
    Ok(packet)
}

/// The whole-packet vector that implementations share (libsrtp's `srtp_driver`), on the keys of
/// RFC 3711 appendix B.3.
#[test]
fn sha1_80_packet_vector() {
    let key = "E1F97A0D3E018BE0D64FA32C06DE4139";
    let salt = "0EC675AD498AFEEBB6960B3AABE6";
    let material = hex(&[key, key, salt, salt].concat());
    let mut srtp =
        Srtp::from_keying_material(Backend::Ring, Profile::Aes128CmSha1_80, &material).unwrap();
    let plain = hex("800f1234decafbadcafebabeabababababababababababababababab");
    let sealed = hex("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402\
                      b78d6acc99ea179b8dbb");
    let mut packet = plain.clone();
    packet.resize(plain.len() + 16, 0);
    let len = srtp.seal_rtp(&mut packet, 12, plain.len());
    assert_eq!(packet[..len], sealed);
    assert_eq!(open(&mut srtp, &sealed), Ok(plain));
}

#[test]
fn an_independent_client_opens_what_we_seal() {
    for suite in suites() {
        let (mut srtp, mut client) = pair(suite);
        for sequence in (65_500..=65_535).chain(0..100) {
            let plain = rtp(77, sequence, usize::from(sequence % 1_200));
            let sealed = seal(&mut srtp, &plain);
            assert_eq!(client.receiving.decrypt_rtp(&sealed).unwrap(), plain);
        }
        for round in 0..5 {
            let plain = rtcp(round);
            let mut out = [0; 64];
            let len = srtp.seal_rtcp(&plain, &mut out);
            assert_eq!(client.receiving.decrypt_rtcp(&out[..len]).unwrap(), plain);
        }
    }
}

#[test]
fn we_open_what_an_independent_client_seals() {
    for suite in suites() {
        let (mut srtp, mut client) = pair(suite);
        for sequence in (65_500..=65_535).chain(0..100) {
            let plain = rtp(77, sequence, usize::from(sequence % 1_200));
            let sealed = client.sending.encrypt_rtp(&plain).unwrap();
            assert_eq!(open(&mut srtp, &sealed), Ok(plain));
        }
        for round in 0..5 {
            let plain = rtcp(round % 2);
            let mut sealed = client.sending.encrypt_rtcp(&plain).unwrap().to_vec();
            let again = sealed.clone();
            let len = srtp.open_rtcp(&mut sealed).unwrap();
            assert_eq!(sealed[..len], plain);
            assert_eq!(
                srtp.open_rtcp(&mut again.clone()),
                Err(DropReason::SrtcpReplayed)
            );
        }
    }
}

#[test]
fn packets_reordered_across_the_rollover_open_once() {
    for suite in suites() {
        let (mut srtp, mut client) = pair(suite);
        let sequences: Vec<u16> = (65_400..=65_535).chain(0..200).collect();
        let sealed: Vec<_> = sequences
            .iter()
            .map(|s| client.sending.encrypt_rtp(&rtp(1, *s, 50)).unwrap())
            .collect();
        // Eight late, eight early, all the way across 65,535.
        let mut order: Vec<usize> = (0..sealed.len()).collect();
        order.chunks_mut(16).for_each(|chunk| chunk.reverse());
        for at in &order {
            let expected = rtp(1, sequences[*at], 50);
            assert_eq!(open(&mut srtp, &sealed[*at]), Ok(expected));
        }
        for at in order {
            assert_eq!(open(&mut srtp, &sealed[at]), Err(DropReason::SrtpReplayed));
        }
    }
}

#[test]
fn old_packets_beyond_the_window_are_replays() {
    let (mut srtp, mut client) = pair(GCM);
    let mut send = |s| client.sending.encrypt_rtp(&rtp(1, s, 9)).unwrap();
    let (first, second, newest) = (send(10), send(11), send(10 + 1_984));
    assert!(open(&mut srtp, &newest).is_ok());
    assert_eq!(open(&mut srtp, &first), Err(DropReason::SrtpReplayed));
    assert!(open(&mut srtp, &second).is_ok());
}

/// `rtc-srtp` keeps state for every SSRC it is shown: a million forged packets took 204 MiB.
#[test]
fn forged_packets_leave_no_state() {
    for suite in suites() {
        let (mut srtp, mut client) = pair(suite);
        let mut forged = rtp(0, 5, 40);
        for ssrc in 0..1_000_000_u32 {
            forged[8..12].copy_from_slice(&ssrc.to_be_bytes());
            assert_eq!(srtp.open_rtp(&mut forged), Err(DropReason::SrtpAuthFailed));
            forged[0] = 0x90;
        }
        let mut report = rtcp(0);
        report.resize(report.len() + 20, 0xff);
        for ssrc in 0..1_000_u32 {
            report[4..8].copy_from_slice(&ssrc.to_be_bytes());
            assert_eq!(
                srtp.open_rtcp(&mut report),
                Err(DropReason::SrtcpAuthFailed)
            );
        }
        assert_eq!(srtp.rtp_sources.capacity(), 0);
        assert_eq!(srtp.rtcp_sources.capacity(), 0);

        // Forged packets do not move the window of a live stream either.
        let real = client.sending.encrypt_rtp(&rtp(9, 5, 40)).unwrap();
        assert!(open(&mut srtp, &real).is_ok());
        for sequence in [6, 2_000, 30_000] {
            assert_eq!(
                open(&mut srtp, &rtp(9, sequence, 40)),
                Err(DropReason::SrtpAuthFailed)
            );
        }
        assert_eq!(srtp.rtp_sources.find(9).unwrap().1.newest(), 5);
        let earlier = client.sending.encrypt_rtp(&rtp(9, 4, 40)).unwrap();
        assert!(open(&mut srtp, &earlier).is_ok());
    }
}

#[test]
fn the_least_recently_used_ssrc_makes_way_for_the_65th() {
    let (mut srtp, mut client) = pair(GCM);
    let mut sealed = |ssrc, s| client.sending.encrypt_rtp(&rtp(ssrc, s, 9)).unwrap();
    for ssrc in 0..64 {
        open(&mut srtp, &sealed(ssrc, 1)).unwrap();
    }
    open(&mut srtp, &sealed(0, 2)).unwrap();
    open(&mut srtp, &sealed(64, 1)).unwrap();
    assert_eq!(srtp.rtp_sources.len(), 64);
    assert!(srtp.rtp_sources.find(0).is_some());
    assert!(srtp.rtp_sources.find(1).is_none());
}

#[test]
fn a_retransmission_across_the_rollover_is_the_same_packet() {
    for suite in suites() {
        let (mut srtp, _) = pair(suite);
        let early = rtp(3, 65_535, 100);
        let first = seal(&mut srtp, &early);
        for sequence in 0..10 {
            seal(&mut srtp, &rtp(3, sequence, 100));
        }
        assert_eq!(seal(&mut srtp, &early), first);
    }
}

#[test]
fn rollovers_are_counted_far() {
    for suite in suites() {
        let (mut srtp, _) = pair(suite);
        let (mut peer, _) = pair(suite);
        // A peer that sends with our keys, to have both ends of the same direction.
        std::mem::swap(&mut peer.inbound, &mut peer.outbound);
        let mut last = 0;
        for step in 0..40_u32 {
            let sequence = (step * 20_000) as u16;
            let plain = rtp(4, sequence, 30);
            assert_eq!(open(&mut peer, &seal(&mut srtp, &plain)), Ok(plain));
            last = peer.rtp_sources.find(4).unwrap().1.newest();
        }
        assert_eq!(last, 39 * 20_000);
    }
}

#[test]
fn an_unencrypted_report_is_refused() {
    for suite in suites() {
        let (mut srtp, _) = pair(suite);
        let mut report = rtcp(1);
        report.extend([0; 20]);
        assert_eq!(srtp.open_rtcp(&mut report), Err(DropReason::RtcpMalformed));
    }
}

#[test]
fn a_buffer_without_room_is_not_sealed() {
    let (mut srtp, _) = pair(GCM);
    let mut packet = rtp(1, 1, 10);
    let len = packet.len();
    assert_eq!(srtp.seal_rtp(&mut packet, RTP_HEADER, len), 0);
    packet.resize(len + 16, 0);
    assert_eq!(srtp.seal_rtp(&mut packet, len + 1, len), 0);
    assert_eq!(srtp.seal_rtp(&mut packet, 4, len), 0);
    assert_eq!(srtp.seal_rtp(&mut packet, RTP_HEADER, len), len + 16);
    assert_eq!(srtp.seal_rtcp(&rtcp(1), &mut [0; 30]), 0);
    assert_eq!(srtp.seal_rtcp(&[0x80], &mut [0; 64]), 0);
}

proptest! {
    #[test]
    fn anything_may_arrive(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), rtp_like: bool) {
        if rtp_like && let Some(first) = bytes.first_mut() {
            *first = 0x80 | (*first & 0x3f);
        }
        for suite in suites() {
            let (mut srtp, _) = pair(suite);
            prop_assert!(srtp.open_rtp(&mut bytes.clone()).is_err());
            prop_assert!(srtp.open_rtcp(&mut bytes.clone()).is_err());
        }
    }

    /// Loss, reordering and duplicates up to the window: every packet opens exactly once.
    #[test]
    fn every_delivered_packet_opens_once(
        start in 0_u16..32_768,
        steps in proptest::collection::vec((0_u16..300, 0_usize..40), 1..150),
    ) {
        let (mut srtp, mut client) = pair(GCM);
        let mut sequence = start;
        let mut sent: Vec<(usize, Vec<u8>, Vec<u8>)> = Vec::new();
        for (at, (gap, delay)) in steps.iter().enumerate() {
            sequence = sequence.wrapping_add(gap + 1);
            let plain = rtp(5, sequence, 20);
            let sealed = client.sending.encrypt_rtp(&plain).unwrap().to_vec();
            // The first packet comes first: nothing before it has an index.
            let due = if at == 0 { 0 } else { at + delay.min(&5) };
            sent.push((due, plain, sealed));
        }
        sent.sort_by_key(|(due, ..)| *due);
        for (_, plain, sealed) in &sent {
            prop_assert_eq!(open(&mut srtp, sealed), Ok(plain.clone()));
            prop_assert_eq!(open(&mut srtp, sealed), Err(DropReason::SrtpReplayed));
        }
    }
}
