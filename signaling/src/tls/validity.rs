//! The time in which a certificate is valid (RFC 5280 section 4.1.2.5). TLS serves one that is out of date as well, and
//! browsers then refuse it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::prelude::{FromDer, Validity, X509Certificate};

use super::Certificate;

/// Seconds before its end from which on a certificate is warned of. Whoever renews it by a timer does so earlier.
const SOON: i64 = 14 * 24 * 3_600;

impl Certificate {
    /// A sentence if browsers refuse the certificate because of the time, or will do so within 14 days. None for one
    /// whose validity cannot be read.
    pub fn warning(&self) -> Option<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let (_, certificate) = X509Certificate::from_der(self.der()).ok()?;
        warning(certificate.validity(), now.as_secs().try_into().ok()?)
    }
}

impl Certificate {
    /// The time until a third of its validity is left, when the next one is ordered. None if it cannot be read.
    pub(crate) fn renewed_in(&self) -> Option<Duration> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let (_, certificate) = X509Certificate::from_der(self.der()).ok()?;
        let validity = certificate.validity();
        let (from, until) = (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        );
        let due = until - (until - from) / 3;
        let rests = due - i64::try_from(now.as_secs()).ok()?;
        Some(Duration::from_secs(rests.max(0).cast_unsigned()))
    }
}

/// `now` in seconds since 1970.
fn warning(validity: &Validity, now: i64) -> Option<String> {
    let Validity {
        not_before,
        not_after,
    } = validity;
    let end = not_after.timestamp();
    if now < not_before.timestamp() {
        Some(format!("the certificate is not valid before {not_before}"))
    } else if now > end {
        Some(format!(
            "the certificate has expired, and browsers refuse it: it was valid until {not_after}"
        ))
    } else {
        (now > end - SOON)
            .then(|| format!("the certificate expires soon: it is valid until {not_after}"))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// 2026-11-27, 00:00 UTC.
    const NOW: i64 = 1_795_737_600;
    const DAY: i64 = 24 * 3_600;

    fn validity(from: (i32, u8, u8), until: (i32, u8, u8)) -> Validity {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        let key = KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("made");
        let (_, read) = X509Certificate::from_der(made.der()).expect("a certificate");
        read.validity().clone()
    }

    #[test]
    fn a_certificate_is_warned_of_before_it_is_valid_and_from_two_weeks_before_its_end_on() {
        let year = validity((2026, 11, 27), (2027, 11, 27));
        for (now, expected) in [
            (NOW - 1, Some("not valid before Nov 27")),
            (NOW, None),
            (NOW + 350 * DAY, None),
            (
                NOW + 352 * DAY,
                Some("expires soon: it is valid until Nov 27"),
            ),
            (NOW + 365 * DAY, Some("expires soon")),
            (NOW + 365 * DAY + 1, Some("has expired")),
        ] {
            let said = warning(&year, now);
            match (said, expected) {
                (None, None) => {}
                (Some(said), Some(words)) => assert!(said.contains(words), "{said}"),
                (said, _) => panic!("{now}: {said:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn one_of_its_own_is_not_warned_of() {
        let made = Certificate::self_signed([], []).expect("made");
        assert_eq!(made.warning(), None);
        // Two thirds of 398 days, of which one has passed.
        let days = made.renewed_in().map(|time| time.as_secs() / DAY as u64);
        assert!(
            days.is_some_and(|days| (260..266).contains(&days)),
            "{days:?}"
        );
    }
}
