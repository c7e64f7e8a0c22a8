//! Time as packets carry it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds from 1900 to 1970 (RFC 5905 figure 4).
const UNIX_IN_NTP: u64 = 2_208_988_800;

/// 64-bit NTP time: seconds since 1900, and as many fractions of 2^32.
pub fn ntp(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    ((since.as_secs() + UNIX_IN_NTP) << 32) | fraction
}

/// The age of the time in an abs-capture-time extension: `Err` if it lies ahead of `now`. None
/// if the extension holds no time.
pub fn since_ntp(extension: &[u8], now: SystemTime) -> Option<Result<Duration, Duration>> {
    // Eight bytes, or sixteen with an estimate of the clocks' distance, which is zero here.
    let sent = u64::from_be_bytes(*extension.first_chunk::<8>()?);
    let now = ntp(now);
    let nanos = |span: u64| Duration::from_nanos(((u128::from(span) * 1_000_000_000) >> 32) as u64);
    Some(match now.checked_sub(sent) {
        Some(span) => Ok(nanos(span)),
        None => Err(nanos(sent - now)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back() {
        let sent = UNIX_EPOCH + Duration::from_nanos(1_792_000_000_987_654_321);
        let extension = ntp(sent).to_be_bytes();
        for micros in [0, 1, 20_000, 5_000_000] {
            let delay = Duration::from_micros(micros);
            let measured = since_ntp(&extension, sent + delay).unwrap().unwrap();
            assert!(
                measured.abs_diff(delay) < Duration::from_nanos(2),
                "{measured:?}"
            );
        }
        let ahead = since_ntp(&extension, sent - Duration::from_millis(3)).unwrap();
        assert_eq!(ahead.unwrap_err().as_millis(), 3);
        assert_eq!(since_ntp(&[0; 7], sent), None);
        assert!(since_ntp(&[[0; 8], [1; 8]].concat(), sent).unwrap().is_ok());
        // RFC 868: this second is 2,208,988,800.
        assert_eq!(ntp(UNIX_EPOCH), 2_208_988_800 << 32);
    }
}
