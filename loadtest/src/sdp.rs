//! The facts that a bot needs of a server's descriptions (RFC 8866), whatever surrounds them.

use std::collections::HashMap;

use tertulia_sfu::rtp::codec::Codec;
use tertulia_sfu::rtp::extension::{ExtensionKind, ExtensionMap};
use tertulia_signaling::protocol::native::MediaKind;

use crate::bot::codecs;

/// Most m-lines read: more than the largest call needs.
const MAX_SECTIONS: usize = 4_096;

/// A description. What it says of the transport is the first m-line's, as in a bundle (RFC 9143).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Description {
    pub ufrag: Option<String>,
    pub pwd: Option<String>,
    /// SHA-256 of the certificate, as it is written.
    pub fingerprint: Option<String>,
    /// Values of `a=candidate` (RFC 8839 section 5.1) of all m-lines, each once.
    pub candidates: Vec<String>,
    pub sections: Vec<Section>,
}

/// One m-line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Section {
    /// The kind; None: neither audio nor video.
    pub kind: Option<MediaKind>,
    pub mid: String,
    /// Its port is not 0, or it is in a bundle only (RFC 8843 section 6).
    pub accepted: bool,
    /// The side that wrote the description sends on it.
    pub sends: bool,
    /// Payload types of the m-line itself.
    pub formats: Vec<u8>,
    /// Payload types of codecs that bots know, with the bots' own payload types.
    pub(crate) codecs: Vec<(u8, u8)>,
    /// Repairing payload type and the one it repairs (RFC 4588 section 8.6).
    pub(crate) apts: Vec<(u8, u8)>,
    /// Simulcast layers that the side is ready to receive (RFC 8853 section 5.1), best known by RID.
    pub rids: Vec<String>,
    /// SSRCs, without those of repair streams.
    pub ssrcs: Vec<u32>,
    /// (repaired, repairing), from `a=ssrc-group:FID` (RFC 5576 section 4.2).
    pub repairs: Vec<(u32, u32)>,
    pub extensions: ExtensionMap,
}

impl Description {
    /// Reads a description. A line that does not parse is skipped: a stack judges the description, this reads along.
    pub fn read(sdp: &str) -> Self {
        let mut description = Self::default();
        for line in sdp.lines().map(str::trim_end) {
            if let Some(media) = line.strip_prefix("m=") {
                if description.sections.len() == MAX_SECTIONS {
                    break;
                }
                description.sections.push(Section::new(media));
            } else if let Some(attribute) = line.strip_prefix("a=") {
                let (key, value) = attribute.split_once(':').unwrap_or((attribute, ""));
                description.attribute(key, value);
            }
        }
        for section in &mut description.sections {
            let repairs = &section.repairs;
            let repairing = |ssrc: &u32| repairs.iter().any(|(_, repairing)| repairing == ssrc);
            section.ssrcs.retain(|ssrc| !repairing(ssrc));
        }
        description
    }

    fn attribute(&mut self, key: &str, value: &str) {
        let first = |known: &mut Option<String>| _ = known.get_or_insert_with(|| value.to_owned());
        match key {
            "ice-ufrag" => first(&mut self.ufrag),
            "ice-pwd" => first(&mut self.pwd),
            "candidate" if self.candidates.iter().all(|known| known != value) => {
                self.candidates.push(value.to_owned());
            }
            "fingerprint" => {
                let hash = value
                    .split_once(' ')
                    .filter(|(name, _)| name.eq_ignore_ascii_case("sha-256"));
                let hash = hash.map(|(_, hash)| hash.trim().to_owned());
                self.fingerprint = self.fingerprint.take().or(hash);
            }
            _ => {
                if let Some(section) = self.sections.last_mut() {
                    section.attribute(key, value);
                }
            }
        }
    }

    /// The m-line that carries media of a kind to the reader, if one does.
    pub fn carries(&self, kind: MediaKind) -> Option<&Section> {
        let carries =
            |section: &&Section| section.kind == Some(kind) && section.accepted && section.sends;
        self.sections.iter().find(carries)
    }

    /// The bots' payload type for each of the server's own. Only a server that makes the offer chooses them; its answer
    /// to a bot's offer uses the bot's.
    pub fn payload_types(&self) -> HashMap<u8, u8> {
        let mut known = HashMap::new();
        for section in &self.sections {
            for (theirs, ours) in &section.codecs {
                known.entry(*theirs).or_insert(*ours);
            }
            for (repairing, repaired) in &section.apts {
                if let Some(ours) = known.get(repaired).copied() {
                    known.insert(*repairing, codecs::repair_of(ours));
                }
            }
        }
        known
    }
}

impl Section {
    fn new(media: &str) -> Self {
        let mut words = media.split(' ');
        Self {
            kind: match words.next() {
                Some("audio") => Some(MediaKind::Audio),
                Some("video") => Some(MediaKind::Video),
                _ => None,
            },
            accepted: words.next().is_some_and(|port| port != "0"),
            sends: true,
            formats: words.skip(1).filter_map(|word| word.parse().ok()).collect(),
            ..Self::default()
        }
    }

    fn attribute(&mut self, key: &str, value: &str) {
        match key {
            "mid" => self.mid = value.to_owned(),
            "bundle-only" => self.accepted = true,
            "recvonly" | "inactive" => self.sends = false,
            "simulcast" => self.rids = received_layers(value),
            "rtpmap" => self
                .codecs
                .extend(numbered(value).and_then(|(theirs, map)| {
                    let name = map.split('/').next().unwrap_or_default();
                    Some((theirs, codecs::payload_type(name)?))
                })),
            "fmtp" => self
                .apts
                .extend(numbered(value).and_then(|(repairing, parameters)| {
                    let mut parameters = parameters.split(';');
                    let apt =
                        parameters.find_map(|parameter| parameter.trim().strip_prefix("apt="));
                    Some((repairing, apt?.parse().ok()?))
                })),
            "ssrc" => {
                let ssrc = value.split(' ').next().and_then(|word| word.parse().ok());
                let new = ssrc.filter(|ssrc| !self.ssrcs.contains(ssrc));
                self.ssrcs.extend(new);
            }
            "ssrc-group" => {
                let group = value.strip_prefix("FID ").unwrap_or_default().split(' ');
                let numbers: Vec<u32> = group.filter_map(|word| word.parse().ok()).collect();
                if let [repaired, repairing] = numbers[..] {
                    self.repairs.push((repaired, repairing));
                }
            }
            "extmap" => {
                let mut words = value.split(' ');
                let id = words
                    .next()
                    .and_then(|id| id.split('/').next()?.parse().ok());
                let kind = words.next().and_then(ExtensionKind::from_uri);
                if let Some((id, kind)) = id.zip(kind) {
                    self.extensions.insert(id, kind);
                }
            }
            _ => {}
        }
    }

    /// Whether it has a codec.
    pub fn has(&self, codec: Codec) -> bool {
        let mut ours = self.codecs.iter().map(|(_, ours)| codecs::codec(*ours));
        ours.any(|known| known == Some(codec))
    }
}

/// The layers after `recv`. The first of alternatives counts; a `~` (paused) is no part of the name.
fn received_layers(simulcast: &str) -> Vec<String> {
    let mut words = simulcast.split_ascii_whitespace();
    while let (Some(direction), Some(layers)) = (words.next(), words.next()) {
        if direction == "recv" {
            let layers = layers
                .split(';')
                .filter_map(|layer| layer.split(',').next());
            let rids = layers.map(|rid| rid.trim_start_matches('~').to_owned());
            return rids.filter(|rid| !rid.is_empty()).collect();
        }
    }
    Vec::new()
}

fn numbered(value: &str) -> Option<(u8, &str)> {
    let (number, rest) = value.split_once(' ')?;
    Some((number.parse().ok()?, rest))
}

/// The candidates of a whole description, in the form of a later fragment (RFC 8840 section 9): credentials, then all
/// candidates under the first m-line, whose transport is the only one in a bundle. None: there is no m-line or there
/// are no credentials.
pub fn fragment(sdp: &str) -> Option<String> {
    let Description {
        ufrag,
        pwd,
        candidates,
        sections,
        ..
    } = Description::read(sdp);
    let media = sdp.lines().find(|line| line.starts_with("m="))?.trim_end();
    let mid = &sections.first()?.mid;
    let mut fragment = format!(
        "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n{media}\r\na=mid:{mid}\r\n",
        ufrag?, pwd?
    );
    for candidate in candidates {
        fragment += &format!("a=candidate:{candidate}\r\n");
    }
    Some(fragment + "a=end-of-candidates\r\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SDP: &str = "v=0\r\na=group:BUNDLE 0 1 2\r\na=ssrc:9 cname:x\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 96 63\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uY\r\na=fingerprint:sha-1 7\r\n\
        a=fingerprint:SHA-256 00:01 \r\na=candidate:1 1 udp 2 192.0.2.1 61764 typ host\r\na=mid:0\r\na=sendonly\r\n\
        a=rtpmap:96 opus/48000/2\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=ssrc:1 cname:x\r\na=ssrc:1 msid:s t\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 97 98 99\r\na=mid:1\r\na=ice-ufrag:other\r\na=recvonly\r\na=bundle-only\r\n\
        a=rtpmap:97 VP8/90000\r\na=rtpmap:98 rtx/90000\r\na=fmtp:98 apt=97\r\na=rtpmap:99 H265/90000\r\n\
        a=ssrc:3 cname:x\r\na=ssrc:2 cname:x\r\na=ssrc-group:FID 2 3\r\na=ssrc-group:SIM 2 3 4\r\na=ssrc:junk\r\na=extmap:x y\r\n\
        a=extmap:10/sendonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
        a=rid:q recv\r\na=simulcast:send x recv q;~h,f;\r\n\
        m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n";

    #[test]
    fn facts_are_found_whatever_surrounds_them() {
        let read = Description::read(SDP);
        assert_eq!(
            (read.ufrag.as_deref(), read.pwd.as_deref()),
            (Some("EsAw"), Some("P2uY"))
        );
        assert_eq!(read.fingerprint.as_deref(), Some("00:01"));
        assert_eq!(read.candidates, ["1 1 udp 2 192.0.2.1 61764 typ host"]);
        let facts = |section: &Section| {
            (
                section.kind,
                section.mid.clone(),
                section.accepted,
                section.sends,
            )
        };
        let facts: Vec<_> = read.sections.iter().map(facts).collect();
        let expected = [
            (Some(MediaKind::Audio), "0".into(), true, true),
            (Some(MediaKind::Video), "1".into(), true, false),
            (None, "2".into(), false, true),
        ];
        assert_eq!(facts, expected);
        let [audio, video, _] = &read.sections[..] else {
            panic!()
        };
        assert_eq!(
            (&audio.formats[..], &audio.ssrcs[..]),
            (&[96, 63][..], &[1][..])
        );
        assert_eq!(
            (&video.ssrcs[..], &video.repairs[..]),
            (&[2][..], &[(2, 3)][..])
        );
        assert_eq!(audio.extensions.id(ExtensionKind::Mid), Some(4));
        assert_eq!(
            (
                audio.extensions.id(ExtensionKind::Rid),
                video.extensions.id(ExtensionKind::Rid)
            ),
            (None, Some(10))
        );
        assert_eq!(video.rids, ["q", "h"]);
        assert!(audio.has(Codec::Opus) && !audio.has(Codec::Vp8));
        assert!(video.has(Codec::Vp8) && !video.has(Codec::H264));
        assert_eq!(read.carries(MediaKind::Audio), Some(audio));
        assert_eq!(read.carries(MediaKind::Video), None);
    }

    #[test]
    fn a_server_s_own_payload_types_are_told_from_ours() {
        let types = Description::read(SDP).payload_types();
        assert_eq!(
            (types[&96], types[&97], types.len()),
            (codecs::OPUS, codecs::VP8, 3)
        );
        assert!(codecs::is_repair(types[&98]));
    }

    #[test]
    fn a_fragment_has_credentials_and_the_first_line_s_transport() {
        assert_eq!(
            fragment(SDP).unwrap(),
            "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uY\r\nm=audio 9 UDP/TLS/RTP/SAVPF 96 63\r\na=mid:0\r\n\
             a=candidate:1 1 udp 2 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n"
        );
        assert_eq!(fragment("v=0\r\n"), None);
    }

    proptest! {
        #[test]
        fn any_description_is_read(sdp in "(m=|a=|v=0|mid|rtpmap|fmtp|simulcast|recv|apt=|ssrc-group:FID|extmap:|ice-pwd:|[ :;,/~0-9\r\né]){0,60}") {
            Description::read(&sdp).payload_types();
            fragment(&sdp);
        }
    }
}
