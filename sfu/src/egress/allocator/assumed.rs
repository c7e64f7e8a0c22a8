//! Assumed rates of layers that have just begun, where a server's limit must hold from the first packet on.

use super::options::ASSUMED_TOP;
use crate::track::ladder::Ladder;

/// Bits a second for each square of a picture's height: 100 kbit/s at 180 lines, 1.7 Mbit/s at 720, 3.7 Mbit/s at 1080,
/// about the rates of browsers at 16:9 and 30 frames a second.
const PER_SQUARE: u64 = 16;
const OF: u64 = 5;

/// Replaces unknown rates by assumed ones, where those are higher. A larger picture without any packets is left alone:
/// it is not chosen.
pub(super) fn assume(ladder: &mut Ladder) {
    let available = |rung: &&mut crate::track::ladder::Rung| rung.available;
    let rungs = ladder.rungs().iter();
    let Some(top) = rungs.map(|rung| rung.id.spatial).max() else {
        return;
    };
    let mut rungs = ladder.rungs().iter();
    let lowest = rungs.find(|rung| rung.available);
    let lowest = lowest.map(|rung| rung.id.spatial);
    for rung in ladder.rungs_mut().iter_mut().filter(available) {
        let unknown = rung.begins || rung.bitrate == 0;
        if unknown && (rung.bitrate > 0 || Some(rung.id.spatial) == lowest) {
            let height = match rung.height {
                0 => ASSUMED_TOP >> (top - rung.id.spatial).min(8),
                height => height,
            };
            rung.bitrate = rung.bitrate.max(of_height(height));
        }
    }
}

fn of_height(height: u16) -> u64 {
    u64::from(height) * u64::from(height) * PER_SQUARE / OF
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::ladder::{LayerId, Rung};

    #[test]
    fn what_is_not_known_is_assumed_by_size_or_rank() {
        let rung = |spatial, bitrate, height, begins| Rung {
            id: LayerId {
                spatial,
                temporal: 0,
            },
            bitrate,
            height,
            alive: true,
            available: true,
            begins,
            late: false,
        };
        for (what, rungs, expected) in [
            ("nothing came", vec![rung(0, 0, 0, true)], vec![1_658_880]),
            ("a size", vec![rung(0, 0, 360, true)], vec![414_720]),
            ("it begins", vec![rung(0, 90_000, 360, true)], vec![414_720]),
            (
                "with more",
                vec![rung(0, 990_000, 360, true)],
                vec![990_000],
            ),
            (
                "it is known",
                vec![rung(0, 90_000, 360, false)],
                vec![90_000],
            ),
            (
                "of three, by rank",
                vec![
                    rung(0, 0, 0, true),
                    rung(1, 70_000, 0, true),
                    rung(2, 0, 0, true),
                ],
                vec![103_680, 414_720, 0],
            ),
        ] {
            let mut ladder = Ladder::default();
            rungs.into_iter().for_each(|rung| ladder.push(rung));
            assume(&mut ladder);
            let rates: Vec<u64> = ladder.rungs().iter().map(|rung| rung.bitrate).collect();
            assert_eq!(rates, expected, "{what}");
        }
    }
}
