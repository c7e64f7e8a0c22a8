//! Chooses the codec to ask a publisher for, from the number of viewers that can decode each.

use super::waiting::Decoders;
use crate::rtp::parameters::CodecFormat;

/// The number of viewers that can decode each codec of a list, and the number of all.
pub(super) fn count_able<'a>(
    codecs: &[CodecFormat],
    viewers: impl Iterator<Item = &'a Decoders>,
) -> (Vec<u32>, u32) {
    // Most viewers are alike; each kind is looked at once.
    let mut kinds: Vec<(&Decoders, u32)> = Vec::new();
    let mut count = 0;
    for viewer in viewers {
        count += 1;
        match kinds.iter_mut().find(|(kind, _)| *kind == viewer) {
            Some((_, count)) => *count += 1,
            None => kinds.push((viewer, 1)),
        }
    }
    let able = codecs.iter().map(|codec| {
        let able = kinds.iter().filter(|(kind, _)| kind.decode(codec));
        able.map(|(_, count)| count).sum()
    });
    (able.collect(), count)
}

/// The codec to ask for: among those that most viewers can decode, the first in the publisher's order. `able` is the
/// number of viewers that can decode each; `viewers` is the number of all.
///
/// A codec in use (`current`) stays when viewers come and go, unless another can be decoded by all, or by a quarter
/// more: a change costs every viewer a keyframe, and the publisher an encoder's start.
pub(super) fn choose(able: &[u32], viewers: u32, current: Option<usize>) -> usize {
    let best = able.iter().copied().max().unwrap_or(0);
    if let Some(current) = current {
        let now = able.get(current).copied().unwrap_or(0);
        let is_better = best > now && (best >= viewers || 4 * best >= 5 * now);
        if !is_better {
            return current;
        }
    }
    able.iter().position(|able| *able == best).unwrap_or(0)
}

/// The codec that a publisher sends, among those of its new offer (`offered`). None if its client offers another order
/// than `before`: it wants another codec now.
pub(crate) fn current_codec(
    offered: &[CodecFormat],
    before: Option<&[CodecFormat]>,
    in_use: Option<&CodecFormat>,
) -> Option<usize> {
    if before != Some(offered) {
        return None;
    }
    let in_use = in_use.map(|codec| (codec.codec, codec.parameters))?;
    let mut offered = offered.iter();
    offered.position(|codec| (codec.codec, codec.parameters) == in_use)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::codec::Codec;
    use crate::rtp::parameters::CodecParameters;

    #[test]
    fn a_codec_is_in_use_while_its_client_offers_the_same_order() {
        let codec = |payload_type, codec| CodecFormat {
            payload_type,
            codec,
            parameters: CodecParameters::Vp8,
            rtx: None,
            feedback: Default::default(),
        };
        let offered = [codec(96, Codec::Vp8), codec(98, Codec::Av1)];
        let mut turned = offered.clone();
        turned.reverse();
        let (av1, elsewhere) = (&offered[1], codec(100, Codec::Av1));
        let unknown = codec(96, Codec::H264);
        for (before, in_use, expected) in [
            (Some(&offered[..]), Some(av1), Some(1)),
            // A payload type is a name for one session description alone.
            (Some(&offered), Some(&elsewhere), Some(1)),
            (Some(&offered), Some(&unknown), None),
            (Some(&offered), None, None),
            (Some(&turned), Some(av1), None),
            (None, Some(av1), None),
        ] {
            let found = current_codec(&offered, before, in_use);
            assert_eq!(found, expected, "{before:?} {in_use:?}");
        }
    }

    #[test]
    fn what_most_can_decode_is_asked_for_and_what_is_in_use_stays() {
        for (able, viewers, current, expected) in [
            // Without viewers, or if all can decode every codec: the publisher's order.
            (&[0, 0][..], 0, None, 0),
            (&[3, 3], 3, None, 0),
            (&[], 3, None, 0),
            // A codec that everybody has.
            (&[2, 3], 3, None, 1),
            (&[2, 3, 3], 3, None, 1),
            (&[9, 10], 10, Some(0), 1),
            // No codec that everybody has: the one that most have.
            (&[1, 2, 0], 4, None, 1),
            // Nobody can decode anything.
            (&[0, 0], 4, None, 0),
            (&[0, 0], 4, Some(1), 1),
            // The codec in use is as good as any.
            (&[3, 3], 3, Some(1), 1),
            (&[0, 0], 0, Some(1), 1),
            // A little better for some is worse for the rest.
            (&[5, 6], 20, Some(0), 0),
            (&[4, 5], 20, Some(0), 1),
            (&[5, 4], 20, Some(1), 0),
            (&[0, 1], 20, Some(0), 1),
            // The codec in use is no longer known.
            (&[1, 0], 1, Some(7), 0),
        ] {
            let chosen = choose(able, viewers, current);
            assert_eq!(chosen, expected, "{able:?} of {viewers}, {current:?}");
        }
    }

    /// Viewers of two sorts come and go one by one, at random. A small minority does not decide, and the next viewer
    /// that comes or goes does not take a change back.
    #[test]
    fn a_choice_does_not_flap() {
        let mut current = 0;
        let mut changes = 0;
        // 10 viewers of each sort, one leaving and coming at a time.
        for round in 0..1_000_u32 {
            let able = match round % 4 {
                0 => [10, 10],
                1 => [9, 10],
                2 => [10, 10],
                _ => [10, 9],
            };
            let next = choose(&able, able.iter().sum(), Some(current));
            changes += u32::from(next != current);
            current = next;
        }
        assert_eq!(changes, 0);
    }
}
