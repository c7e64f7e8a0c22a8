use proptest::prelude::*;

use super::*;

fn read(datagram: &[u8]) -> Vec<Result<Rtcp, RtcpError>> {
    parse_compound(datagram).collect()
}

/// A header of a length that fits, and a body.
fn frame(first: u8, packet_type: u8, body: &[u8]) -> Vec<u8> {
    let words = (body.len() / 4) as u8;
    [&[first, packet_type, 0, words], body].concat()
}

#[test]
fn framing() {
    let pli = frame(0x81, 206, &[0, 0, 0, 1, 0, 0, 0, 2]);
    let expected = Ok(Rtcp::Pli {
        sender: 1,
        media: 2,
    });
    assert_eq!(read(&[]), []);
    assert_eq!(read(&pli), vec![expected.clone()]);
    assert_eq!(
        read(&[pli.clone(), pli.clone()].concat()),
        [expected.clone(), expected.clone()]
    );

    for (what, behind) in [
        ("three bytes", vec![0x80, 201, 0]),
        ("past the end", vec![0x80, 201, 0, 9]),
        ("version 1", frame(0x41, 206, &[0; 8])),
        ("padding without a body", vec![0xa0, 203, 0, 0]),
        ("padding of zero", frame(0xa0, 203, &[0, 0, 0, 0])),
        ("padding over the header", frame(0xa0, 203, &[0, 0, 0, 5])),
    ] {
        assert_eq!(
            read(&[pli.clone(), behind.clone(), pli.clone()].concat()),
            [expected.clone(), Err(RtcpError::Framing)],
            "{what}"
        );
    }
}

#[test]
fn a_malformed_packet_leaves_its_neighbours() {
    let pli = frame(0x81, 206, &[0; 8]);
    let bad = frame(0x81, 201, &[0; 8]);
    let packets = read(&[pli.clone(), bad, pli].concat());
    assert_eq!(packets.len(), 3);
    assert_eq!(packets[1], Err(RtcpError::Content));
    assert_eq!(packets[0], packets[2]);
}

#[test]
fn packets_are_counted() {
    let one = frame(0x80, 199, &[]);
    let packets = read(&one.repeat(MAX_PACKETS));
    assert!(packets.len() == MAX_PACKETS && packets.iter().all(Result::is_ok));
    let packets = read(&one.repeat(MAX_PACKETS + 5));
    assert_eq!(packets.len(), MAX_PACKETS + 1);
    assert_eq!(packets[MAX_PACKETS], Err(RtcpError::TooMany));
}

#[test]
fn padding_is_no_content() {
    let nack = frame(0xa1, 205, &[0, 0, 0, 1, 0, 0, 0, 2, 0, 7, 0, 0, 0, 0, 0, 4]);
    assert_eq!(
        read(&nack),
        [Ok(Rtcp::Nack {
            sender: 1,
            media: 2,
            lost: vec![7],
        })]
    );
}

#[test]
fn what_is_not_known_is_named() {
    for (first, packet_type, body, expected) in [
        (0x80, 204, [0; 12], (204, 0)),
        (0x82, 206, [0; 12], (206, 2)),
        // Application layer feedback that is not REMB.
        (0x8f, 206, *b"\0\0\0\x01\0\0\0\0NOPE", (206, 15)),
        (0x8b, 205, [0; 12], (205, 11)),
    ] {
        let (packet_type_read, format) = expected;
        assert_eq!(
            read(&frame(first, packet_type, &body)),
            [Ok(Rtcp::Unknown {
                packet_type: packet_type_read,
                format
            })]
        );
    }
}

#[test]
fn a_nack_is_bounded() {
    // 100 words of 17 sequence numbers each.
    let mut body = vec![0; 8];
    for word in 0..100u16 {
        body.extend_from_slice(&(word * 20).to_be_bytes());
        body.extend_from_slice(&[0xff, 0xff]);
    }
    let packets = read(&frame(0x81, 205, &body));
    let [Ok(Rtcp::Nack { lost, .. })] = packets.as_slice() else {
        panic!("{packets:?}");
    };
    assert_eq!(lost.len(), MAX_LOST);
    assert_eq!(lost[..18], [(0..17).collect::<Vec<_>>(), vec![20]].concat());
}

#[test]
fn nack_words_are_shared() {
    let cases: [(&str, &[u16], &[u32]); 6] = [
        ("one", &[5], &[0x0005_0000]),
        ("sixteen behind", &[5, 6, 21], &[0x0005_8001]),
        ("seventeen behind", &[5, 22], &[0x0005_0000, 0x0016_0000]),
        ("over the wrap", &[65_535, 0, 2], &[0xffff_0005]),
        ("descending", &[6, 5], &[0x0006_0000, 0x0005_0000]),
        ("repeated", &[5, 5, 6], &[0x0005_0001]),
    ];
    for (what, lost, words) in cases {
        let mut out = Vec::new();
        nack(&mut out, 1, 2, lost);
        let written: Vec<u32> = out[12..]
            .chunks(4)
            .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
            .collect();
        assert_eq!(written, words, "{what}");
    }
    let mut out = Vec::new();
    nack(&mut out, 1, 2, &[]);
    assert!(out.is_empty(), "a NACK of nothing is malformed");
}

#[test]
fn descriptions_without_a_usable_cname() {
    for (what, items, cname) in [
        ("none", [0, 0, 0, 0, 0, 0, 0, 0], None),
        ("empty", [1, 0, 0, 0, 0, 0, 0, 0], Some("")),
        ("not UTF-8", [1, 2, 0xff, 0xfe, 0, 0, 0, 0], None),
        ("behind a name", [2, 1, b'n', 1, 1, b'c', 0, 0], Some("c")),
        (
            "ended by the last byte",
            [1, 5, b'a', b'b', b'c', b'd', b'e', 0],
            Some("abcde"),
        ),
    ] {
        let body = [[0, 0, 0, 9].as_slice(), &items].concat();
        // The first two end at the first word; the bytes after are not the chunk's.
        let expected = Rtcp::Sdes {
            cnames: vec![(9, cname.map(str::to_owned))],
        };
        assert_eq!(read(&frame(0x81, 202, &body)), [Ok(expected)], "{what}");
    }
    let endless = frame(0x81, 202, &[0, 0, 0, 9, 1, 2, b'a', b'b']);
    assert_eq!(read(&endless), [Err(RtcpError::Content)], "no end of items");
    let cut = frame(0x81, 202, &[0, 0, 0, 9, 1, 9, b'a', b'b']);
    assert_eq!(read(&cut), [Err(RtcpError::Content)], "a cut item");
}

#[test]
fn bitrates_saturate() {
    let mut out = Vec::new();
    remb(&mut out, 1, u64::MAX, &[7]);
    let [Ok(Rtcp::Remb { bitrate, .. })] = read(&out)[..] else {
        panic!();
    };
    assert_eq!(bitrate, 0x3_ffff << 46);
    for (exponent_and_mantissa, expected) in [
        (0x3f_u32 << 18 | 1, 1 << 63),
        (0x3f << 18 | 2, u64::MAX),
        (0x3f << 18, 0),
        (0x3_ffff, 0x3_ffff),
    ] {
        out[16..20].copy_from_slice(&(1 << 24 | exponent_and_mantissa).to_be_bytes());
        let [Ok(Rtcp::Remb { bitrate, .. })] = read(&out)[..] else {
            panic!();
        };
        assert_eq!(bitrate, expected, "{exponent_and_mantissa:x}");
    }
}

#[test]
fn long_lists_are_split() {
    let blocks: Vec<_> = (0..70)
        .map(|ssrc| ReportBlock {
            ssrc,
            ..ReportBlock::default()
        })
        .collect();
    let mut out = Vec::new();
    sender_report(&mut out, 9, 1, 2, 3, 4, &blocks);
    bye(&mut out, &(0..40).collect::<Vec<_>>());
    let mut read_back = Vec::new();
    let mut kinds = Vec::new();
    for packet in parse_compound(&out).map(Result::unwrap) {
        match packet {
            Rtcp::SenderReport { reports, .. } => {
                kinds.push("sr");
                read_back.extend(reports);
            }
            Rtcp::ReceiverReport { ssrc: 9, reports } => {
                kinds.push("rr");
                read_back.extend(reports);
            }
            Rtcp::Bye { ssrcs } => {
                kinds.push("bye");
                assert!(ssrcs.len() == 31 || ssrcs.len() == 9);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(kinds, ["sr", "rr", "rr", "bye", "bye"]);
    assert_eq!(read_back, blocks);

    let mut out = Vec::new();
    sdes_cname(&mut out, 9, &"é".repeat(200));
    let expected = Some("é".repeat(127));
    assert_eq!(
        read(&out),
        [Ok(Rtcp::Sdes {
            cnames: vec![(9, expected)]
        })]
    );
}

pub(super) fn report_block() -> impl Strategy<Value = ReportBlock> {
    (any::<[u32; 5]>(), any::<u8>(), -0x80_0000..0x80_0000).prop_map(
        |([ssrc, highest_sequence, jitter, last_sender_report, delay], fraction_lost, lost)| {
            ReportBlock {
                ssrc,
                fraction_lost,
                cumulative_lost: lost,
                highest_sequence,
                jitter,
                last_sender_report,
                delay,
            }
        },
    )
}

/// Any packet that a writer can make, with its bytes.
pub(super) fn written() -> impl Strategy<Value = (Rtcp, Vec<u8>)> {
    let reports = || proptest::collection::vec(report_block(), 0..32);
    let words = |max| proptest::collection::vec(any::<u32>(), 0..max);
    let packet = prop_oneof![
        (any::<[u32; 4]>(), any::<u64>(), reports()).prop_map(
            |([ssrc, rtp, packets, octets], ntp, reports)| Rtcp::SenderReport {
                ssrc,
                ntp,
                rtp,
                packets,
                octets,
                reports
            }
        ),
        (any::<u32>(), reports())
            .prop_map(|(ssrc, reports)| Rtcp::ReceiverReport { ssrc, reports }),
        (any::<u32>(), "[a-z0-9/+]{0,60}").prop_map(|(ssrc, cname)| Rtcp::Sdes {
            cnames: vec![(ssrc, Some(cname))]
        }),
        proptest::collection::vec(any::<u32>(), 1..32).prop_map(|ssrcs| Rtcp::Bye { ssrcs }),
        (
            any::<[u32; 2]>(),
            any::<u16>(),
            proptest::collection::btree_set(0u16..2_000, 1..200)
        )
            .prop_map(|([sender, media], base, lost)| Rtcp::Nack {
                sender,
                media,
                lost: lost
                    .into_iter()
                    .map(|lost| base.wrapping_add(lost))
                    .collect(),
            }),
        any::<[u32; 2]>().prop_map(|[sender, media]| Rtcp::Pli { sender, media }),
        (
            any::<u32>(),
            proptest::collection::vec(any::<(u32, u8)>(), 1..20)
        )
            .prop_map(|(sender, entries)| Rtcp::Fir { sender, entries }),
        (any::<u32>(), 0u64..0x4_0000, 0u32..46, words(20)).prop_map(
            |(sender, mantissa, exponent, ssrcs)| Rtcp::Remb {
                sender,
                bitrate: mantissa << exponent,
                ssrcs
            }
        ),
        (any::<u32>(), any::<u64>()).prop_map(|(ssrc, ntp)| Rtcp::Xr {
            ssrc,
            reference_time: Some(ntp),
            delays: vec![]
        }),
        (
            any::<u32>(),
            proptest::collection::vec(any::<[u32; 3]>(), 1..10)
        )
            .prop_map(|(ssrc, delays)| Rtcp::Xr {
                ssrc,
                reference_time: None,
                delays: delays
                    .into_iter()
                    .map(|[ssrc, last_reference, delay]| DelayBlock {
                        ssrc,
                        last_reference,
                        delay
                    })
                    .collect()
            }),
    ];
    packet.prop_map(|packet| {
        let mut out = Vec::new();
        write(&mut out, &packet);
        (packet, out)
    })
}

fn write(out: &mut Vec<u8>, packet: &Rtcp) {
    match packet {
        Rtcp::SenderReport {
            ssrc,
            ntp,
            rtp,
            packets,
            octets,
            reports,
        } => sender_report(out, *ssrc, *ntp, *rtp, *packets, *octets, reports),
        Rtcp::ReceiverReport { ssrc, reports } => receiver_report(out, *ssrc, reports),
        Rtcp::Sdes { cnames } => {
            for (ssrc, cname) in cnames {
                sdes_cname(out, *ssrc, cname.as_deref().unwrap_or_default());
            }
        }
        Rtcp::Bye { ssrcs } => bye(out, ssrcs),
        Rtcp::Nack {
            sender,
            media,
            lost,
        } => nack(out, *sender, *media, lost),
        Rtcp::Pli { sender, media } => pli(out, *sender, *media),
        Rtcp::Fir { sender, entries } => fir(out, *sender, entries),
        Rtcp::Remb {
            sender,
            bitrate,
            ssrcs,
        } => remb(out, *sender, *bitrate, ssrcs),
        Rtcp::Xr {
            ssrc,
            reference_time: Some(ntp),
            ..
        } => xr_rrtr(out, *ssrc, *ntp),
        Rtcp::Xr { ssrc, delays, .. } => xr_dlrr(out, *ssrc, delays),
        Rtcp::Twcc(_) | Rtcp::Unknown { .. } => unreachable!("not written here"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn what_is_written_is_read_back(packets in proptest::collection::vec(written(), 1..6)) {
        let datagram: Vec<u8> = packets.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let expected: Vec<_> = packets.into_iter().map(|(packet, _)| Ok(packet)).collect();
        prop_assert_eq!(read(&datagram), expected);
    }

    #[test]
    fn cut_and_broken_compounds_never_panic(
        packets in proptest::collection::vec(written(), 1..4),
        cut in 0usize..300, at in 0usize..300, value: u8,
    ) {
        let mut datagram: Vec<u8> = packets.into_iter().flat_map(|(_, bytes)| bytes).collect();
        let len = datagram.len();
        datagram[at % len] = value;
        read(&datagram);
        read(&datagram[..cut % len]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn random_bytes_never_panic(mut datagram in proptest::collection::vec(any::<u8>(), 0..120), packet_type in 198u8..210) {
        read(&datagram);
        // A plausible header is tried too, so that the bodies are reached.
        let words = (datagram.len() / 4).saturating_sub(1) as u8;
        if let Some(header) = datagram.first_chunk_mut::<4>() {
            *header = [0x80 | header[0] & 0x3f, packet_type, 0, words];
            read(&datagram);
        }
    }
}
