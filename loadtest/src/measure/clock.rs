//! Time as packets carry it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds from 1900 to 1970 (RFC 5905 figure 4).
const UNIX_IN_NTP: u64 = 2_208_988_800;

/// The time since the Unix epoch, by the clock of the kernel's receive timestamps.
pub fn wall_time() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// A time since the Unix epoch as a 64-bit NTP timestamp: seconds since 1900, and fractions of 2^32.
pub fn ntp(since_epoch: Duration) -> u64 {
    let fraction = (u64::from(since_epoch.subsec_nanos()) << 32) / 1_000_000_000;
    (since_epoch.as_secs().wrapping_add(UNIX_IN_NTP)) << 32 | fraction
}

/// The time from the 64-bit NTP time `earlier` to `since_epoch`; none if before.
pub fn since_ntp(since_epoch: Duration, earlier: u64) -> Option<Duration> {
    let units = ntp(since_epoch).wrapping_sub(earlier) as i64;
    let units = u128::try_from(units).ok()?;
    Some(Duration::from_nanos(((units * 1_000_000_000) >> 32) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back() {
        let sent = Duration::from_nanos(1_792_000_000_987_654_321);
        for micros in [0, 1, 20_500, 5_000_000] {
            let delay = Duration::from_micros(micros);
            let measured = since_ntp(sent + delay, ntp(sent)).unwrap();
            assert!(
                measured.abs_diff(delay) < Duration::from_nanos(2),
                "{measured:?}"
            );
        }
        assert_eq!(since_ntp(sent, ntp(sent + Duration::from_millis(3))), None);
        // RFC 868: this second is 2,208,988,800.
        assert_eq!(ntp(Duration::ZERO), 2_208_988_800 << 32);
    }
}
