//! Cuts VP8 frames into RTP payloads (RFC 7741).

/// Payloads of one stream, with 15-bit picture ids.
#[derive(Clone, Debug)]
pub struct Vp8Packetizer {
    picture_id: u16,
    tl0_pic_idx: u8,
}

/// The temporal layer of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vp8Layer {
    /// 0 to 3.
    pub tid: u8,
    /// Refers to layer 0 only.
    pub sync: bool,
}

/// The largest payload, descriptor included: with an RTP header, extensions and SRTP's tag it stays
/// under the 1,200 bytes WebRTC sends at most.
pub const MAX_PAYLOAD: usize = 1_100;

impl Vp8Packetizer {
    /// The first frame has this picture id (15 bits), and the first of temporal layer 0 this
    /// TL0PICIDX.
    pub fn new(picture_id: u16, tl0_pic_idx: u8) -> Self {
        Self {
            picture_id: picture_id.wrapping_sub(1) & 0x7fff,
            tl0_pic_idx: tl0_pic_idx.wrapping_sub(1),
        }
    }

    /// Cuts a frame into payloads of about the same size, at most [`MAX_PAYLOAD`]. With a layer,
    /// the descriptor has TL0PICIDX and TID. The marker bit belongs on the last one.
    pub fn packetize(&mut self, frame: &[u8], layer: Option<Vp8Layer>) -> Vec<Vec<u8>> {
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        let [high, low] = (self.picture_id | 0x8000).to_be_bytes();
        let mut descriptor = vec![0x90, 0x80, high, low];
        if let Some(layer) = layer {
            if layer.tid == 0 {
                self.tl0_pic_idx = self.tl0_pic_idx.wrapping_add(1);
            }
            descriptor[1] |= 0x60;
            let indices = layer.tid << 6 | (layer.sync as u8) << 5;
            descriptor.extend_from_slice(&[self.tl0_pic_idx, indices]);
        }
        let room = MAX_PAYLOAD - descriptor.len();
        let packets = frame.len().div_ceil(room).max(1);
        let size = frame.len().div_ceil(packets).max(1);
        frame
            .chunks(size)
            .enumerate()
            .map(|(index, part)| {
                // S on the first packet only.
                descriptor[0] = if index == 0 { 0x90 } else { 0x80 };
                [descriptor.as_slice(), part].concat()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::codec::vp8::Descriptor;

    #[test]
    fn frames_survive_packetization() {
        let mut packetizer = Vp8Packetizer::new(0x7ffe, 255);
        let layers = [None, Some((0, false)), Some((1, true)), Some((0, false))];
        let expected = [
            (0x7ffe, None),
            (0x7fff, Some(255)),
            (0, Some(255)),
            (1, Some(0)),
        ];
        for (index, len) in [1, 1_094, 1_095, 50_000].into_iter().enumerate() {
            let frame: Vec<u8> = (0..len).map(|at| at as u8 | 1).collect();
            let layer = layers[index].map(|(tid, sync)| Vp8Layer { tid, sync });
            let payloads = packetizer.packetize(&frame, layer);
            let sizes: Vec<_> = payloads.iter().map(Vec::len).collect();
            assert!(sizes.iter().all(|size| *size <= MAX_PAYLOAD), "{sizes:?}");
            assert!(sizes.len() <= 1 + frame.len() / 1_090, "{sizes:?}");
            let mut joined = Vec::new();
            for (at, payload) in payloads.iter().enumerate() {
                let read = Descriptor::parse(payload).unwrap();
                assert_eq!(read.start_of_frame, at == 0);
                assert_eq!(
                    (read.picture_id.unwrap(), read.tl0_pic_idx),
                    expected[index]
                );
                assert_eq!(read.tid, layer.map(|layer| layer.tid));
                assert_eq!(read.layer_sync, layer.is_some_and(|layer| layer.sync));
                joined.extend_from_slice(&payload[read.descriptor_len..]);
            }
            assert_eq!(joined, frame);
        }
    }

    #[test]
    fn an_empty_frame_has_no_packets() {
        assert!(Vp8Packetizer::new(0, 0).packetize(&[], None).is_empty());
    }
}
