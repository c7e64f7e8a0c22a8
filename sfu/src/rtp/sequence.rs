//! Arithmetic on numbers that wrap.

/// Whether sequence number `a` comes after `b`, taking the shorter way around (RFC 1982). At
/// exactly half the space apart neither is newer.
pub fn newer(a: u16, b: u16) -> bool {
    (1..0x8000).contains(&a.wrapping_sub(b))
}

/// As [`newer`], for RTP timestamps.
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
            /// Extends a number, and remembers it if it is the highest yet.
            pub fn extend(&mut self, number: $narrow) -> u64 {
                let extended = self.peek(number);
                self.highest = Some(self.highest.map_or(extended, |high| high.max(extended)));
                extended
            }

            /// Extends a number without remembering it.
            pub fn peek(&self, number: $narrow) -> u64 {
                // The first cycle is 1: what was reordered before the first number has cycle 0,
                // and nothing can fall below that, for the highest never falls.
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
