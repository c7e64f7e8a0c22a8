//! Against rtc-rtcp, both directions.

use proptest::prelude::*;
use rtc_rtcp::extended_report::{
    DLRRReportBlock, ExtendedReport, ReceiverReferenceTimeReportBlock,
};
use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::packet::{Packet, marshal, unmarshal};
use rtc_rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc_rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc_rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc_rtcp::receiver_report::ReceiverReport;
use rtc_rtcp::reception_report::ReceptionReport;
use rtc_rtcp::sender_report::SenderReport;
use rtc_rtcp::source_description::SourceDescription;
use rtc_rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, SymbolTypeTcc, TransportLayerCc,
};
use rtc_rtcp::transport_feedbacks::transport_layer_nack::TransportLayerNack;

use super::tests::written;
use super::*;

/// The reading of a packet by rtc-rtcp, in our terms.
fn translate(packet: &dyn Packet) -> Rtcp {
    let any = packet.as_any();
    if let Some(sr) = any.downcast_ref::<SenderReport>() {
        Rtcp::SenderReport {
            ssrc: sr.ssrc,
            ntp: sr.ntp_time,
            rtp: sr.rtp_time,
            packets: sr.packet_count,
            octets: sr.octet_count,
            reports: sr.reports.iter().map(translate_block).collect(),
        }
    } else if let Some(rr) = any.downcast_ref::<ReceiverReport>() {
        Rtcp::ReceiverReport {
            ssrc: rr.ssrc,
            reports: rr.reports.iter().map(translate_block).collect(),
        }
    } else if let Some(sdes) = any.downcast_ref::<SourceDescription>() {
        let cname = |chunk: &rtc_rtcp::source_description::SourceDescriptionChunk| {
            String::from_utf8(chunk.items[0].text.to_vec()).unwrap()
        };
        Rtcp::Sdes {
            cnames: sdes
                .chunks
                .iter()
                .map(|chunk| (chunk.source, Some(cname(chunk))))
                .collect(),
        }
    } else if let Some(bye) = any.downcast_ref::<Goodbye>() {
        Rtcp::Bye {
            ssrcs: bye.sources.clone(),
        }
    } else if let Some(nack) = any.downcast_ref::<TransportLayerNack>() {
        Rtcp::Nack {
            sender: nack.sender_ssrc,
            media: nack.media_ssrc,
            lost: nack
                .nacks
                .iter()
                .flat_map(|pair| pair.packet_list())
                .collect(),
        }
    } else if let Some(pli) = any.downcast_ref::<PictureLossIndication>() {
        Rtcp::Pli {
            sender: pli.sender_ssrc,
            media: pli.media_ssrc,
        }
    } else if let Some(fir) = any.downcast_ref::<FullIntraRequest>() {
        Rtcp::Fir {
            sender: fir.sender_ssrc,
            entries: fir
                .fir
                .iter()
                .map(|entry| (entry.ssrc, entry.sequence_number))
                .collect(),
        }
    } else if let Some(remb) = any.downcast_ref::<ReceiverEstimatedMaximumBitrate>() {
        Rtcp::Remb {
            sender: remb.sender_ssrc,
            bitrate: remb.bitrate as u64,
            ssrcs: remb.ssrcs.clone(),
        }
    } else if let Some(xr) = any.downcast_ref::<ExtendedReport>() {
        let block = xr.reports[0].as_any();
        Rtcp::Xr {
            ssrc: xr.sender_ssrc,
            reference_time: block
                .downcast_ref::<ReceiverReferenceTimeReportBlock>()
                .map(|block| block.ntp_timestamp),
            delays: block
                .downcast_ref::<DLRRReportBlock>()
                .map(|block| block.reports.iter())
                .into_iter()
                .flatten()
                .map(|report| DelayBlock {
                    ssrc: report.ssrc,
                    last_reference: report.last_rr,
                    delay: report.dlrr,
                })
                .collect(),
        }
    } else {
        panic!("{packet:?}");
    }
}

fn translate_block(block: &ReceptionReport) -> ReportBlock {
    ReportBlock {
        ssrc: block.ssrc,
        fraction_lost: block.fraction_lost,
        // The other library reads the 24 bits as a number without sign.
        cumulative_lost: (block.total_lost << 8) as i32 >> 8,
        highest_sequence: block.last_sequence_number,
        jitter: block.jitter,
        last_sender_report: block.last_sender_report,
        delay: block.delay,
    }
}

/// Arrivals by distance from the base, as rtc-rtcp reads them, in ticks.
fn translate_feedback(feedback: &TransportLayerCc) -> Vec<Option<i64>> {
    let mut deltas = feedback.recv_deltas.iter();
    let mut arrival = i64::from(feedback.reference_time) * 256;
    let mut symbols = Vec::new();
    for chunk in &feedback.packet_chunks {
        match chunk {
            PacketStatusChunk::RunLengthChunk(run) => {
                symbols.extend((0..run.run_length).map(|_| run.packet_status_symbol));
            }
            PacketStatusChunk::StatusVectorChunk(vector) => {
                symbols.extend(vector.symbol_list.iter().copied());
            }
        }
    }
    symbols
        .into_iter()
        .take(feedback.packet_status_count as usize)
        .map(|symbol| {
            (symbol != SymbolTypeTcc::PacketNotReceived).then(|| {
                arrival += deltas.next().unwrap().delta / 250;
                arrival
            })
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn each_reads_what_the_other_writes(packets in proptest::collection::vec(written(), 1..5)) {
        let ours: Vec<u8> = packets.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let theirs = unmarshal(&mut ours.as_slice()).unwrap();
        let expected: Vec<Rtcp> = packets.into_iter().map(|(packet, _)| packet).collect();
        let translated: Vec<Rtcp> = theirs.iter().map(|packet| translate(&**packet)).collect();
        prop_assert_eq!(&translated, &expected);

        let rewritten = marshal(&theirs).unwrap();
        let read: Vec<_> = parse_compound(&rewritten).map(Result::unwrap).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn feedback_reads_the_same(
        base: u16, first in 0i64..1 << 31, count: u8,
        steps in proptest::collection::vec((0u8..5, -300i64..3_000), 1..300),
    ) {
        let mut at = first;
        let arrivals: Vec<_> = steps
            .into_iter()
            .map(|(kind, step)| {
                at = (at + if kind == 1 { step } else { step.rem_euclid(8) }).max(0);
                (kind > 0).then_some(at)
            })
            .collect();
        let mut out = Vec::new();
        let covered = write_feedback(&mut out, 1, 2, count, base, &arrivals);
        if arrivals.iter().all(Option::is_none) {
            prop_assert!(out.is_empty());
            return Ok(());
        }
        let theirs = unmarshal(&mut out.as_slice()).unwrap();
        let theirs = theirs[0].as_any().downcast_ref::<TransportLayerCc>().unwrap();
        prop_assert_eq!(theirs.base_sequence_number, base);
        prop_assert_eq!(theirs.fb_pkt_count, count);
        prop_assert_eq!(translate_feedback(theirs), &arrivals[..covered]);

        let rewritten = marshal(&[Box::new(theirs.clone()) as Box<dyn Packet>]).unwrap();
        for bytes in [out.as_slice(), &rewritten] {
            let packets: Vec<_> = parse_compound(bytes).collect();
            let [Ok(Rtcp::Twcc(ours))] = packets.as_slice() else { panic!("{packets:?}") };
            prop_assert_eq!(ours.base, base);
            prop_assert_eq!(&ours.arrivals, &arrivals[..covered]);
        }
    }
}

/// The reasons for a reader of our own; if one of them fails, so does the argument.
#[test]
fn why_not_rtc_rtcp() {
    // Padding becomes lost packets.
    let padded_nack = [
        0xa1, 205, 0, 4, 0, 0, 0, 1, 0, 0, 0, 2, 0, 7, 0, 0, 0, 0, 0, 4,
    ];
    let theirs = unmarshal(&mut padded_nack.as_slice()).unwrap();
    let Rtcp::Nack { lost, .. } = translate(&*theirs[0]) else {
        panic!();
    };
    assert_eq!(lost, [7, 0, 3]);

    // In the other library one malformed packet costs the whole compound.
    let mut compound = Vec::new();
    pli(&mut compound, 1, 2);
    compound.extend_from_slice(&[0x81, 201, 0, 1, 0, 0, 0, 1]);
    assert!(unmarshal(&mut compound.as_slice()).is_err());
    assert!(parse_compound(&compound).next().unwrap().is_ok());
}
