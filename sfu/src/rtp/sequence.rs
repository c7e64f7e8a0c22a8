//! Arithmetic on numbers that wrap.

/// Whether sequence number `a` comes after `b`, taking the shorter way around (RFC 1982). At
/// exactly half the space apart neither is newer.
pub fn newer(a: u16, b: u16) -> bool {
    (1..0x8000).contains(&a.wrapping_sub(b))
}

/// Compares RTP timestamps in the way of [`newer`].
pub fn newer_timestamp(a: u32, b: u32) -> bool {
    (1..0x8000_0000).contains(&a.wrapping_sub(b))
}

macro_rules! extender {
    ($(#[$doc:meta])* $name:ident, $narrow:ty, $signed:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct $name {
            highest: Option<u64>,
        }

        impl $name {
            /// Begins a sequence with this number. All of it is above the numbers of an earlier sequence, which went up
            /// to `highest`.
            pub fn after(highest: u64, number: $narrow) -> Self {
                // Two cycles are added: packets reordered before the first are then above them too.
                let cycle = (highest >> <$narrow>::BITS) + 2;
                Self {
                    highest: Some(cycle << <$narrow>::BITS | u64::from(number)),
                }
            }

            /// Extends a number, and remembers it if it is the highest yet.
            pub fn extend(&mut self, number: $narrow) -> u64 {
                let extended = self.peek(number);
                self.highest = Some(self.highest.map_or(extended, |high| high.max(extended)));
                extended
            }

            /// Extends a number without remembering it.
            pub fn peek(&self, number: $narrow) -> u64 {
                // The first cycle is 1. A packet reordered before the first number has cycle 0, and none can fall below
                // that, for the highest never falls.
                let high = self.highest.unwrap_or(1 << <$narrow>::BITS | u64::from(number));
                let distance = number.wrapping_sub(high as $narrow) as $signed;
                high.wrapping_add_signed(i64::from(distance))
            }

            /// The highest number extended so far.
            pub fn highest(&self) -> Option<u64> {
                self.highest
            }
        }
    };
}

extender! {
    /// Unwraps sequence numbers to 64 bits: each is taken to be the one nearest to the highest
    /// seen. The first becomes 0x1_0000 plus itself.
    Extender, u16, i16
}

extender! {
    /// Unwraps RTP timestamps to 64 bits, as [`Extender`] does sequence numbers. The first becomes
    /// 2^32 plus itself.
    TimestampExtender, u32, i32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sequence_after_another_is_above_it_from_its_first_number_on() {
        for (highest, number, late) in [
            (0x1_0000, 0, 0xffff),
            (0x2_fffe, 5, 0x8006),
            (0x2_ffff, 0xffff, 0xfffe),
            (0x3_0000, 0x8000, 1),
        ] {
            let mut extender = Extender::after(highest, number);
            assert!(extender.extend(number) > highest && extender.extend(late) > highest);
            assert_eq!(extender.extend(number) as u16, number);
        }
    }

    #[test]
    fn newer_takes_the_shorter_way() {
        for (a, b, expected) in [
            (1, 0, true),
            (0, 1, false),
            (0, 0, false),
            (0, 65_535, true),
            (65_535, 0, false),
            (0x7fff, 0, true),
            (0x8000, 0, false),
            (0, 0x8000, false),
            (0x8001, 0, false),
        ] {
            assert_eq!(newer(a, b), expected, "{a} {b}");
            let (a, b) = (u32::from(a) << 16, u32::from(b) << 16);
            assert_eq!(newer_timestamp(a, b), expected, "timestamps {a} {b}");
        }
    }

    #[test]
    fn cycles_are_counted_over_reordering() {
        let mut extender = Extender::default();
        assert_eq!(extender.highest(), None);
        for (number, extended) in [
            (2, 0x1_0002),
            // Older than the first: the cycle before.
            (65_534, 0x0_fffe),
            (40_000, 40_000),
            (3, 0x1_0003),
            (32_000, 0x1_7d00),
            (60_000, 0x1_ea60),
            (10, 0x2_000a),
            (65_535, 0x1_ffff),
            (11, 0x2_000b),
        ] {
            assert_eq!(extender.peek(number), extended, "{number}");
            assert_eq!(extender.extend(number), extended, "{number}");
        }
        assert_eq!(extender.highest(), Some(0x2_000b));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn a_long_walk_is_unwrapped(
            start: u16, time: u32,
            steps in proptest::collection::vec((-3_000i64..9_000, -900_000_000i64..2_000_000_000), 2_000),
        ) {
            let (mut numbers, mut times) = (Extender::default(), TimestampExtender::default());
            let mut high = (0x1_0000 + i64::from(start), (1 << 32) + i64::from(time));
            prop_assert_eq!(numbers.extend(start), high.0 as u64);
            prop_assert_eq!(times.extend(time), high.1 as u64);
            for (number_step, time_step) in steps {
                let walked = (high.0 + number_step, high.1 + time_step);
                prop_assert_eq!(numbers.extend(walked.0 as u16), walked.0 as u64);
                prop_assert_eq!(times.extend(walked.1 as u32), walked.1 as u64);
                high = (high.0.max(walked.0), high.1.max(walked.1));
                prop_assert_eq!(numbers.highest(), Some(high.0 as u64));
            }
        }

        #[test]
        fn any_numbers_at_all_never_overflow(numbers in proptest::collection::vec(any::<u32>(), 500)) {
            let (mut sequences, mut times) = (Extender::default(), TimestampExtender::default());
            for number in numbers {
                prop_assert_eq!(sequences.extend(number as u16) as u16, number as u16);
                prop_assert_eq!(times.extend(number) as u32, number);
            }
        }
    }
}
