//! Attribute values of an m-line that are more than a word.

use crate::rtp::extension::{ExtensionKind, ExtensionMap};
use crate::rtp::parameters::SsrcPair;
use crate::transport::{Fingerprint, HashAlgorithm, IceCredentials};

use super::media::{Direction, OfferedExtension};
use super::text::{Attributes, is_token};

/// Longest RID, and longest `a=mid` that is written into packets: a one-byte RTP header extension carries no more (RFC
/// 8285 section 4.2).
pub(super) const MAX_TAG_BYTES: usize = 16;
/// Longest `a=mid` accepted: a two-byte RTP header extension carries no more (RFC 8285 section 4.3).
pub(super) const MAX_MID_BYTES: usize = 255;
/// Simulcast encodings of one m-line. Browsers send up to three.
const MAX_RIDS: usize = 4;
/// SSRC pairs of one m-line: one for each encoding of the largest simulcast, twice over for a
/// client that renumbers.
const MAX_SSRCS: usize = 2 * MAX_RIDS;

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

/// The extensions the relay knows, each id once (RFC 8285 section 7), so at most [`ExtensionMap::MAX_ID`]. Larger ids
/// are for the answerer to choose from (4096 to 4351) or need the two-byte form; both are left out.
pub(super) fn extensions(media: &Attributes<'_>) -> Vec<OfferedExtension> {
    let mut extensions: Vec<OfferedExtension> = Vec::new();
    for value in media.values("extmap") {
        let mut words = value.split_whitespace();
        let (Some(id), Some(uri)) = (words.next(), words.next()) else {
            continue;
        };
        let (id, direction) = match id.split_once('/') {
            Some((id, direction)) => (id, Direction::from_name(direction)),
            None => (id, Some(Direction::SendRecv)),
        };
        if let (Ok(id), Some(direction), Some(kind)) =
            (id.parse(), direction, ExtensionKind::from_uri(uri))
            && (1..=ExtensionMap::MAX_ID).contains(&id)
            && !extensions.iter().any(|known| known.id == id)
        {
            extensions.push(OfferedExtension {
                id,
                kind,
                direction,
            });
        }
    }
    extensions
}

/// The encodings of `a=simulcast:send` that an `a=rid` declares (RFC 8853 section 5.1). The first of alternatives
/// counts; one that starts paused counts as well.
///
/// The form of early drafts (`send rid=a;b`, `send pt=96;97`) gives none. A client that writes it reads no other, so
/// that an answer by the RFC would be no agreement. Its m-line carries one encoding.
pub(super) fn simulcast_rids(media: &Attributes<'_>) -> Vec<String> {
    let mut rids: Vec<String> = Vec::new();
    let Some(value) = media.values("simulcast").next() else {
        return rids;
    };
    if value.contains('=') {
        return rids;
    }
    let mut words = value.split_whitespace();
    while let (Some(direction), Some(list)) = (words.next(), words.next()) {
        if direction != "send" {
            continue;
        }
        for stream in list.split(';') {
            let rid = stream.split(',').next().unwrap_or(stream);
            let rid = rid.strip_prefix('~').unwrap_or(rid);
            let declared = media.values("rid").any(|value| {
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

/// The largest sizes of the encodings by their `a=rid` (RFC 8851 section 5): of each the same restriction, in
/// its own unit, so that more is larger; none where no restriction is on all of them.
pub(super) fn rid_bounds(media: &Attributes<'_>, rids: &[String]) -> Vec<u32> {
    let bound = |rid: &String, key: &str| {
        let mut declared = media.values("rid").filter_map(|value| {
            let mut words = value.split_whitespace();
            (words.next() == Some(rid) && words.next() == Some("send")).then(|| words.next())
        });
        let mut restrictions = declared.next()??.split(';');
        restrictions.find_map(|each| {
            each.split_once('=')
                .filter(|(name, _)| *name == key)?
                .1
                .parse()
                .ok()
        })
    };
    ["max-height", "max-width", "max-fs", "max-br"]
        .into_iter()
        .find_map(|key| rids.iter().map(|rid| bound(rid, key)).collect())
        .unwrap_or_default()
}

/// RFC 8851 section 10. RFC 8852 leaves `-` and `_` out, but not every client does.
fn is_rid(rid: &str) -> bool {
    (1..=MAX_TAG_BYTES).contains(&rid.len())
        && rid
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// The primary SSRCs with their retransmission SSRCs (RFC 5576 section 4), those of a simulcast first.
/// FEC streams are left out.
pub(super) fn ssrcs(media: &Attributes<'_>) -> Vec<SsrcPair> {
    let mut pairs: Vec<(u32, u32)> = Vec::new();
    let mut secondaries: Vec<u32> = Vec::new();
    for (semantics, ssrcs) in ssrc_groups(media) {
        let mut ssrcs = ssrcs.split_whitespace().map_while(ssrc);
        let (Some(primary), Some(secondary)) = (ssrcs.next(), ssrcs.next()) else {
            continue;
        };
        let retransmits = match semantics {
            "FID" => true,
            "FEC-FR" | "FEC" => false,
            _ => continue,
        };
        if secondaries.len() < MAX_SSRCS {
            secondaries.push(secondary);
        }
        if retransmits && pairs.len() < MAX_SSRCS {
            pairs.push((primary, secondary));
        }
    }
    let lines = media
        .values("ssrc")
        .filter_map(|value| value.split_whitespace().next());
    let mut primaries: Vec<SsrcPair> = Vec::new();
    for ssrc in simulcast_ssrcs(media)
        .into_iter()
        .chain(pairs.iter().map(|(primary, _)| *primary))
        .chain(lines.filter_map(ssrc))
    {
        let known = secondaries.contains(&ssrc) || primaries.iter().any(|p| p.ssrc == ssrc);
        if !known && primaries.len() < MAX_SSRCS {
            let mut rtx = pairs.iter().filter(|(primary, _)| *primary == ssrc);
            let rtx = rtx.next().map(|(_, rtx)| *rtx);
            primaries.push(SsrcPair { ssrc, rtx });
        }
    }
    primaries
}

/// The encodings of a client that tells them apart by SSRC, in its order, the lowest first
/// (`a=ssrc-group:SIM`, older than RIDs and never an RFC).
pub(super) fn simulcast_ssrcs(media: &Attributes<'_>) -> Vec<u32> {
    let mut simulcast: Vec<u32> = Vec::new();
    let group = ssrc_groups(media).find(|(semantics, _)| *semantics == "SIM");
    let group = group.map_or("", |(_, ssrcs)| ssrcs);
    for ssrc in group.split_whitespace().filter_map(ssrc) {
        if simulcast.len() < MAX_RIDS && !simulcast.contains(&ssrc) {
            simulcast.push(ssrc);
        }
    }
    simulcast
}

/// Semantics and members of each `a=ssrc-group`.
fn ssrc_groups<'a>(media: &Attributes<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    media
        .values("ssrc-group")
        .filter_map(|value| value.trim().split_once(' '))
}

/// 0 is what implementations use for "unknown".
fn ssrc(text: &str) -> Option<u32> {
    text.parse().ok().filter(|ssrc| *ssrc != 0)
}

/// `a=msid:stream track` (RFC 8830 section 2); a track without a stream says `-`.
pub(super) fn msid(media: &Attributes<'_>) -> Option<(String, String)> {
    /// RFC 8830 section 2.
    const MAX_CHARS: usize = 64;
    let mut words = media.values("msid").next()?.split_whitespace();
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

    fn media<'a>(attributes: &[(&'a str, &'a str)]) -> Attributes<'a> {
        let mut media = Attributes::default();
        for (name, value) in attributes {
            media.push(name, Some(value));
        }
        media
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
            (" send rid=q;h", &[]),
            ("send rid=q;rid=h recv x", &[]),
            ("recv rid=x send q;h", &[]),
            ("send pt=96;97", &[]),
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
    fn restrictions_that_all_encodings_have_say_which_is_larger() {
        for (rids, expected) in [
            (
                ["h send max-height=720", "l send max-height=180"],
                &[720, 180][..],
            ),
            (
                [
                    "h send pt=96;max-width=1280;max-height=720",
                    "l send max-width=320;max-br=9",
                ],
                &[1280, 320],
            ),
            (["h send max-br=900000", "l send max-br=1"], &[900_000, 1]),
            (["h send max-height=720", "l send max-width=320"], &[]),
            (["h send max-height=x", "l send max-height=180"], &[]),
            (["h send", "l send pt=96"], &[]),
            (["h recv max-height=720", "l send max-height=180"], &[]),
        ] {
            let media = media(&rids.map(|rid| ("rid", rid)));
            let bounds = rid_bounds(&media, &["h".to_owned(), "l".to_owned()]);
            assert_eq!(bounds, expected, "{rids:?}");
        }
    }

    #[test]
    fn ssrcs_are_paired_with_their_retransmissions() {
        let media = media(&[
            ("ssrc-group", "FID 1 2"),
            ("ssrc-group", "FEC-FR 1 3"),
            ("ssrc", "1 cname:a"),
            ("ssrc", "1 msid:b c"),
            ("ssrc", "2 cname:a"),
            ("ssrc", "3 cname:a"),
            ("ssrc", "4 cname:a"),
            ("ssrc", "0 cname:a"),
            ("ssrc", "99999999999 cname:a"),
        ]);
        let pair = |ssrc, rtx| SsrcPair { ssrc, rtx };
        assert_eq!(ssrcs(&media), [pair(1, Some(2)), pair(4, None)]);
    }

    #[test]
    fn a_simulcast_of_ssrcs_is_ordered_and_paired() {
        let pair = |ssrc, rtx| SsrcPair { ssrc, rtx };
        for (groups, simulcast, expected) in [
            (
                &["FID 3 13", "SIM 1 2 3", "FID 1 11", "FID 2 12"][..],
                &[1, 2, 3][..],
                &[pair(1, Some(11)), pair(2, Some(12)), pair(3, Some(13))][..],
            ),
            (&["SIM 2 1"], &[2, 1], &[pair(2, None), pair(1, None)]),
            // Another's repair stream is no encoding.
            (&["FID 1 2", "SIM 1 2"], &[1, 2], &[pair(1, Some(2))]),
            (
                &["SIM 1 1 0 x 2", "SIM 3 4"],
                &[1, 2],
                &[pair(1, None), pair(2, None)],
            ),
            (
                &["SIM 1 2 3 4 5"],
                &[1, 2, 3, 4],
                &[pair(1, None), pair(2, None), pair(3, None), pair(4, None)],
            ),
            (&["SIM"], &[], &[]),
        ] {
            let groups: Vec<_> = groups.iter().map(|group| ("ssrc-group", *group)).collect();
            let media = media(&groups);
            assert_eq!(simulcast_ssrcs(&media), simulcast, "{groups:?}");
            assert_eq!(ssrcs(&media), expected, "{groups:?}");
        }
    }

    #[test]
    fn extensions_keep_their_direction() {
        use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
        use ExtensionKind::{Mid, PlayoutDelay, RepairedRid, Rid};
        for (value, expected) in [
            (format!("3 {}", Mid.uri()), Some((3, Mid, SendRecv))),
            (
                format!("3/sendrecv {}", Mid.uri()),
                Some((3, Mid, SendRecv)),
            ),
            (
                format!("9/sendonly {} extra words", Rid.uri()),
                Some((9, Rid, SendOnly)),
            ),
            (
                format!("6/recvonly {}", PlayoutDelay.uri()),
                Some((6, PlayoutDelay, RecvOnly)),
            ),
            (
                format!("31/inactive {}", RepairedRid.uri()),
                Some((31, RepairedRid, Inactive)),
            ),
            (format!("3/sideways {}", Mid.uri()), None),
            (format!("3/ {}", Mid.uri()), None),
            (format!("0 {}", Mid.uri()), None),
            (format!("32 {}", Mid.uri()), None),
            (format!("4096/sendonly {}", Mid.uri()), None),
            (format!("-1 {}", Mid.uri()), None),
            ("7 urn:example:unknown".into(), None),
            ("7".into(), None),
        ] {
            let read = extensions(&media(&[("extmap", &value)]));
            let read: Vec<_> = read.iter().map(|e| (e.id, e.kind, e.direction)).collect();
            assert_eq!(read, Vec::from_iter(expected), "{value}");
        }
        // The first of two extensions with one id counts.
        let mid = format!("3/sendonly {}", Mid.uri());
        let rid = format!("3/recvonly {}", Rid.uri());
        let twice = media(&[("extmap", &mid), ("extmap", &rid)]);
        assert_eq!(extensions(&twice).len(), 1);
    }
}
