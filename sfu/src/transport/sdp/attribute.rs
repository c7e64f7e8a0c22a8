//! Attribute values of an m-line that are more than a word.

use rtc_sdp::MediaDescription;

use crate::rtp::extension::{ExtensionKind, ExtensionMap};
use crate::transport::{Fingerprint, HashAlgorithm, IceCredentials};

use super::offer::OfferedSsrc;

/// Longest `a=mid` and RID: what a one-byte RTP header extension carries (RFC 8285 section 4.2).
pub(super) const MAX_TAG_BYTES: usize = 16;
/// Simulcast encodings of one m-line. Browsers send up to three.
const MAX_RIDS: usize = 4;
/// SSRC pairs of one m-line: one for each encoding of the largest simulcast, twice over for a
/// client that renumbers.
const MAX_SSRCS: usize = 2 * MAX_RIDS;

/// Values of every attribute with this name.
pub(super) fn values<'a>(
    media: &'a MediaDescription,
    key: &'a str,
) -> impl Iterator<Item = &'a str> {
    media
        .attributes
        .iter()
        .filter(move |attribute| attribute.key == key)
        .filter_map(|attribute| attribute.value.as_deref())
}

/// Letters, digits and signs that no grammar of SDP gives a meaning (RFC 8866 section 9 `token`).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&b))
}

/// Credentials within the lengths and the alphabet of RFC 8839 section 5.4.
pub(super) fn ice_credentials(ufrag: &str, pwd: &str) -> Option<IceCredentials> {
    let is_ice = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
    };
    let valid = (4..=256).contains(&ufrag.len())
        && (22..=256).contains(&pwd.len())
        && is_ice(ufrag)
        && is_ice(pwd);
    valid.then(|| IceCredentials {
        ufrag: ufrag.into(),
        pwd: pwd.into(),
    })
}

/// RFC 8122 section 5: `sha-256 AA:BB:..`. `None` for hashes the relay refuses and wrong lengths.
pub(super) fn fingerprint(value: &str) -> Option<Fingerprint> {
    let (name, digits) = value.trim().split_once(' ')?;
    let (algorithm, length) = match name.to_ascii_lowercase().as_str() {
        "sha-256" => (HashAlgorithm::Sha256, 32),
        "sha-384" => (HashAlgorithm::Sha384, 48),
        "sha-512" => (HashAlgorithm::Sha512, 64),
        _ => return None,
    };
    let bytes: Option<Vec<u8>> = digits
        .trim()
        .split(':')
        .take(length + 1)
        .map(|byte| {
            let well_formed = byte.len() == 2 && byte.bytes().all(|b| b.is_ascii_hexdigit());
            well_formed.then(|| u8::from_str_radix(byte, 16).ok())?
        })
        .collect();
    let bytes = bytes.filter(|bytes| bytes.len() == length)?;
    Some(Fingerprint { algorithm, bytes })
}

/// The extensions the relay knows (RFC 8285 section 5). One limited to a direction is left out:
/// the relay answers extensions for both.
pub(super) fn extensions(media: &MediaDescription) -> ExtensionMap {
    let mut map = ExtensionMap::default();
    for value in values(media, "extmap") {
        let mut words = value.split_whitespace();
        let (Some(id), Some(uri)) = (words.next(), words.next()) else {
            continue;
        };
        let id = id.strip_suffix("/sendrecv").unwrap_or(id);
        if let (Ok(id), Some(kind)) = (id.parse(), ExtensionKind::from_uri(uri)) {
            map.insert(id, kind);
        }
    }
    map
}

/// The encodings of `a=simulcast:send` that an `a=rid` declares (RFC 8853 section 5.1). Of
/// alternatives the first counts; one that starts paused counts as well.
pub(super) fn simulcast_rids(media: &MediaDescription) -> Vec<String> {
    let mut rids: Vec<String> = Vec::new();
    let Some(value) = values(media, "simulcast").next() else {
        return rids;
    };
    let mut words = value.split_whitespace();
    while let (Some(direction), Some(list)) = (words.next(), words.next()) {
        if direction != "send" {
            continue;
        }
        for stream in list.split(';') {
            let rid = stream.split(',').next().unwrap_or(stream);
            let rid = rid.strip_prefix('~').unwrap_or(rid);
            let declared = values(media, "rid").any(|value| {
                let mut words = value.split_whitespace();
                words.next() == Some(rid) && words.next() == Some("send")
            });
            if declared
                && is_rid(rid)
                && rids.len() < MAX_RIDS
                && !rids.iter().any(|known| known == rid)
            {
                rids.push(rid.into());
            }
        }
    }
    rids
}

/// RFC 8851 section 10. RFC 8852 leaves `-` and `_` out, but not every client does.
fn is_rid(rid: &str) -> bool {
    (1..=MAX_TAG_BYTES).contains(&rid.len())
        && rid
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The primary SSRCs with their retransmission SSRCs (RFC 5576 section 4). FEC streams are left out.
pub(super) fn ssrcs(media: &MediaDescription) -> Vec<OfferedSsrc> {
    let mut primaries: Vec<OfferedSsrc> = Vec::new();
    let mut secondaries: Vec<u32> = Vec::new();
    for value in values(media, "ssrc-group") {
        let mut words = value.split_whitespace();
        let semantics = words.next();
        let (Some(primary), Some(secondary)) =
            (words.next().and_then(ssrc), words.next().and_then(ssrc))
        else {
            continue;
        };
        let rtx = match semantics {
            Some("FID") => Some(secondary),
            Some("FEC-FR" | "FEC") => None,
            _ => continue,
        };
        if secondaries.len() < MAX_SSRCS {
            secondaries.push(secondary);
        }
        if rtx.is_some()
            && primaries.len() < MAX_SSRCS
            && !primaries.iter().any(|known| known.ssrc == primary)
        {
            primaries.push(OfferedSsrc { ssrc: primary, rtx });
        }
    }
    for value in values(media, "ssrc") {
        let Some(ssrc) = value.split_whitespace().next().and_then(ssrc) else {
            continue;
        };
        let known = secondaries.contains(&ssrc) || primaries.iter().any(|p| p.ssrc == ssrc);
        if !known && primaries.len() < MAX_SSRCS {
            primaries.push(OfferedSsrc { ssrc, rtx: None });
        }
    }
    primaries
}

/// 0 is what implementations use for "unknown".
fn ssrc(text: &str) -> Option<u32> {
    text.parse().ok().filter(|ssrc| *ssrc != 0)
}

/// `a=msid:stream track` (RFC 8830 section 2); a track without a stream says `-`.
pub(super) fn msid(media: &MediaDescription) -> Option<(String, String)> {
    /// RFC 8830 section 2.
    const MAX_CHARS: usize = 64;
    let mut words = values(media, "msid").next()?.split_whitespace();
    let mut id = || {
        words
            .next()
            .filter(|id| id.len() <= MAX_CHARS && is_token(id))
    };
    Some((id()?.into(), id().unwrap_or_default().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(attributes: &[(&str, &str)]) -> MediaDescription {
        attributes
            .iter()
            .fold(MediaDescription::default(), |media, (key, value)| {
                media.with_value_attribute((*key).into(), (*value).into())
            })
    }

    #[test]
    fn credentials_are_ice_chars_of_the_right_length() {
        let pwd = "0123456789abcdefABCD+/";
        assert!(ice_credentials("Wj1g", pwd).is_some());
        for (ufrag, pwd) in [
            ("abc", pwd),
            ("abc:", pwd),
            ("abcd", "0123456789abcdefABCD+"),
            ("abcd", "0123456789abcdefABC\u{e4}+/"),
            (&"a".repeat(257), pwd),
        ] {
            assert_eq!(ice_credentials(ufrag, pwd), None, "{ufrag} {pwd}");
        }
    }

    #[test]
    fn fingerprints_have_a_strong_hash_and_its_length() {
        let of = |bytes: usize| vec!["aB"; bytes].join(":");
        for (value, expected) in [
            (format!("sha-256 {}", of(32)), Some(HashAlgorithm::Sha256)),
            (format!("SHA-384 {}", of(48)), Some(HashAlgorithm::Sha384)),
            (format!("sha-512 {}", of(64)), Some(HashAlgorithm::Sha512)),
            (format!("sha-256 {}", of(33)), None),
            (format!("sha-256 {}", of(31)), None),
            (format!("sha-1 {}", of(20)), None),
            (format!("sha-256 +1:{}", of(31)), None),
            ("sha-256".into(), None),
        ] {
            let parsed = fingerprint(&value);
            assert_eq!(parsed.as_ref().map(|f| f.algorithm), expected, "{value}");
            assert!(parsed.is_none_or(|f| f.bytes.iter().all(|b| *b == 0xab)));
        }
    }

    #[test]
    fn simulcast_names_declared_encodings_once() {
        for (simulcast, expected) in [
            ("send q;h;f", &["q", "h", "f"][..]),
            ("recv x send ~q;h,f;q", &["q", "h"]),
            ("send nope;f", &["f"]),
            ("recv q;h;f", &[]),
            ("send", &[]),
            ("send q;;h;\u{e4}", &["q", "h"]),
        ] {
            let media = media(&[
                ("rid", "q send"),
                ("rid", "h send pt=96"),
                ("rid", "f send"),
                ("rid", "x recv"),
                ("simulcast", simulcast),
            ]);
            assert_eq!(simulcast_rids(&media), expected, "{simulcast}");
        }
    }

    #[test]
    fn ssrcs_are_paired_with_their_retransmissions() {
        let media = media(&[
            ("ssrc-group", "FID 1 2"),
            ("ssrc-group", "FEC-FR 1 3"),
            ("ssrc-group", "SIM 1 4"),
            ("ssrc", "1 cname:a"),
            ("ssrc", "1 msid:b c"),
            ("ssrc", "2 cname:a"),
            ("ssrc", "3 cname:a"),
            ("ssrc", "4 cname:a"),
            ("ssrc", "0 cname:a"),
            ("ssrc", "99999999999 cname:a"),
        ]);
        let pair = |ssrc, rtx| OfferedSsrc { ssrc, rtx };
        assert_eq!(ssrcs(&media), [pair(1, Some(2)), pair(4, None)]);
    }

    #[test]
    fn extensions_limited_to_a_direction_are_left_out() {
        let mid = ExtensionKind::Mid;
        let delay = ExtensionKind::PlayoutDelay;
        let media = media(&[
            ("extmap", &format!("3/sendrecv {}", mid.uri())),
            ("extmap", &format!("6/recvonly {}", delay.uri())),
            ("extmap", "7 urn:example:unknown"),
            (
                "extmap",
                "300 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            ),
        ]);
        assert_eq!(extensions(&media).iter().collect::<Vec<_>>(), [(3, mid)]);
    }
}
