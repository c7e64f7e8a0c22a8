//! A packet from a stranger: header, extensions, payload descriptors, and what is written back of
//! them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tertulia_sfu::rtp::codec::{Codec, av1, is_keyframe, red, vp8, vp9};
use tertulia_sfu::rtp::extension::{AbsSendTime, AudioLevel, PlayoutDelay, TransportCc, sdes_text};
use tertulia_sfu::rtp::{HeaderWriter, OutHeader, RtpHeader};

fuzz_target!(|packet: &[u8]| {
    let _ = RtpHeader::parse_sealed(packet);
    let Ok(header) = RtpHeader::parse(packet) else {
        return;
    };

    // Elements read in the one-byte form may be written in the two-byte form.
    let mut rewritten = vec![0; 64 + 2 * packet.len()];
    let mut writer = HeaderWriter::new(
        &mut rewritten,
        &OutHeader {
            marker: header.marker,
            payload_type: header.payload_type,
            sequence: header.sequence,
            timestamp: header.timestamp,
            ssrc: header.ssrc,
        },
    );
    for (id, value) in header.extensions(packet) {
        assert!(writer.extension(id, value));
        let _ = AudioLevel::parse(value);
        let _ = AbsSendTime::parse(value);
        let _ = TransportCc::parse(value);
        let _ = PlayoutDelay::parse(value);
        let _ = sdes_text(value);
        let _ = av1::DependencyDescriptor::parse(value);
    }
    let len = writer.finish();
    let reread = RtpHeader::parse(&rewritten[..len]).expect("what is written parses");
    assert!(
        reread
            .extensions(&rewritten[..len])
            .eq(header.extensions(packet))
    );

    let payload = header.payload(packet);
    for codec in [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1] {
        is_keyframe(codec, payload);
    }
    let mut renumbered = payload.to_vec();
    if let Ok(read) = vp8::Descriptor::parse(payload) {
        vp8::rewrite(&mut renumbered, &read, 0x1234, 0x56);
        assert_eq!(
            renumbered[read.descriptor_len..],
            payload[read.descriptor_len..]
        );
    }
    let mut renumbered = payload.to_vec();
    if let Some(primary) = red::Primary::find(payload) {
        assert!(primary.start <= payload.len());
    }
    if let Ok(read) = vp9::Descriptor::parse(payload) {
        vp9::rewrite(&mut renumbered, &read, 0x1234, 0x56);
        assert_eq!(
            renumbered[read.descriptor_len..],
            payload[read.descriptor_len..]
        );
    }
});
