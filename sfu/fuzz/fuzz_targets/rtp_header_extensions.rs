//! A packet from a stranger: header, extensions, payload descriptors, and what is written back of
//! them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tertulia_sfu::rtp::codec::{Codec, dd, is_keyframe, red, vp8, vp9};
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
        descriptor(value);
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
        let copied: usize = red::Earlier::all(payload)
            .map(|copy| copy.frame.len())
            .sum();
        assert!(copied < primary.start);
        for copy in red::Earlier::all(payload).filter(red::Earlier::fits) {
            let mut written = vec![0; red::Earlier::room(copy.frame.len())];
            let len = red::write(&mut written, primary.payload_type, Some(copy));
            assert_eq!(len, Some(written.len()));
            assert!(red::Earlier::all(&written).eq([copy]));
        }
    }
    if let Ok(read) = vp9::Descriptor::parse(payload) {
        vp9::rewrite(&mut renumbered, &read, 0x1234, 0x56);
        assert_eq!(
            renumbered[read.descriptor_len..],
            payload[read.descriptor_len..]
        );
    }
});

/// A dependency descriptor: read, restricted, and read again.
fn descriptor(value: &[u8]) {
    let _ = dd::DependencyDescriptor::parse(value);
    let Ok(structure) = dd::Structure::parse(value) else {
        return;
    };
    let frame = structure.frame(value);
    if let Some((restricted, len)) = dd::restrict(value, 0, 1) {
        let restricted = &restricted[..len];
        let again = dd::Structure::parse(restricted).expect("what is written parses");
        assert_eq!(again.resolutions, structure.resolutions);
        if frame.is_ok() {
            assert_eq!(again.frame(restricted), frame);
        }
        assert!(dd::restrict(restricted, 0, 1).is_none());
    }
}
