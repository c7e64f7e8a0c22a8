//! The facts of each m-line in a server's description, beyond what every bot reads of it.

use std::collections::HashMap;

use tertulia_sfu::rtp::codec::Codec;
use tertulia_signaling::protocol::native::MediaKind;

use crate::bot::codecs;

/// One m-line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Line {
    /// The kind; None: neither audio nor video.
    pub(crate) kind: Option<MediaKind>,
    pub(crate) mid: String,
    /// Its port is not 0, or it is in a bundle only (RFC 8843 section 6).
    pub(crate) accepted: bool,
    /// The side that wrote the description sends on it.
    pub(crate) sends: bool,
    /// Simulcast layers that side is ready to receive (RFC 8853 section 5.1), best known by RID.
    pub(crate) rids: Vec<String>,
    /// Payload types and encoding names, in the order of the m-line's attributes.
    pub(crate) codecs: Vec<(u8, String)>,
    /// Repairing payload type and the one it repairs (RFC 4588 section 8.6).
    pub(crate) repairs: Vec<(u8, u8)>,
}

/// Most m-lines read: more than a server has any use for.
const MAX_LINES: usize = 256;

/// The m-lines of a description. A line that does not parse is skipped: the peer connection judges the description,
/// this function only reads along.
pub(crate) fn lines(sdp: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for text in sdp.lines().map(str::trim_end) {
        if let Some(media) = text.strip_prefix("m=") {
            if lines.len() == MAX_LINES {
                break;
            }
            lines.push(Line::new(media));
        }
        if let (Some(line), Some(attribute)) = (lines.last_mut(), text.strip_prefix("a=")) {
            line.read(attribute);
        }
    }
    lines
}

impl Line {
    fn new(media: &str) -> Self {
        let mut words = media.split(' ');
        let kind = match words.next() {
            Some("audio") => Some(MediaKind::Audio),
            Some("video") => Some(MediaKind::Video),
            _ => None,
        };
        Self {
            kind,
            accepted: words.next().is_some_and(|port| port != "0"),
            sends: true,
            ..Self::default()
        }
    }

    fn read(&mut self, attribute: &str) {
        let (key, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match key {
            "mid" => self.mid = value.to_owned(),
            "bundle-only" => self.accepted = true,
            "recvonly" | "inactive" => self.sends = false,
            "simulcast" => self.rids = received_layers(value),
            "rtpmap" => {
                if let Some((payload_type, map)) = numbered(value) {
                    let name = map.split('/').next().unwrap_or_default();
                    self.codecs.push((payload_type, name.to_owned()));
                }
            }
            "fmtp" => {
                if let Some((payload_type, parameters)) = numbered(value) {
                    let apt = parameters
                        .split(';')
                        .find_map(|parameter| parameter.trim().strip_prefix("apt="));
                    if let Some(Ok(repaired)) = apt.map(str::parse) {
                        self.repairs.push((payload_type, repaired));
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether it has a codec of this name.
    pub(crate) fn has(&self, codec: Codec) -> bool {
        let mut names = self.codecs.iter().map(|(_, name)| name);
        names.any(|name| name.eq_ignore_ascii_case(codec.name()))
    }
}

/// The layers after `recv`. The first of alternatives counts; a `~` (paused) is no part of the name.
fn received_layers(simulcast: &str) -> Vec<String> {
    let mut words = simulcast.split_ascii_whitespace();
    while let (Some(direction), Some(layers)) = (words.next(), words.next()) {
        if direction == "recv" {
            return layers
                .split(';')
                .filter_map(|layer| layer.split(',').next())
                .map(|rid| rid.trim_start_matches('~').to_owned())
                .filter(|rid| !rid.is_empty())
                .collect();
        }
    }
    Vec::new()
}

fn numbered(value: &str) -> Option<(u8, &str)> {
    let (number, rest) = value.split_once(' ')?;
    Some((number.parse().ok()?, rest))
}

/// The bot's payload type for each of a server's own. Only a server that makes the offer chooses them; its answer to
/// the bot's offer uses the bot's.
pub(crate) fn payload_types(lines: &[Line]) -> HashMap<u8, u8> {
    let mut known = HashMap::new();
    for line in lines {
        for (theirs, name) in &line.codecs {
            if let Some(ours) = codecs::payload_type(name) {
                known.entry(*theirs).or_insert(ours);
            }
        }
        for (repairing, repaired) in &line.repairs {
            if let Some(ours) = known.get(repaired).copied() {
                known.insert(*repairing, codecs::repair_of(ours));
            }
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SDP: &str = "v=0\r\na=group:BUNDLE 0 1 2\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=sendonly\r\na=rtpmap:96 opus/48000/2\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 97 98 99\r\na=mid:1\r\na=recvonly\r\na=bundle-only\r\n\
        a=rtpmap:97 VP8/90000\r\na=rtpmap:98 rtx/90000\r\na=fmtp:98 apt=97\r\na=rtpmap:99 H265/90000\r\n\
        a=rid:q recv\r\na=simulcast:send x recv q;~h,f;\r\n\
        m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n";

    #[test]
    fn lines_are_read() {
        let lines = lines(SDP);
        let facts: Vec<_> = lines
            .iter()
            .map(|line| (line.kind, line.mid.as_str(), line.accepted, line.sends))
            .collect();
        assert_eq!(
            facts,
            [
                (Some(MediaKind::Audio), "0", true, true),
                (Some(MediaKind::Video), "1", true, false),
                (None, "2", false, true),
            ]
        );
        assert_eq!(lines[1].rids, ["q", "h"]);
        assert!(lines[0].has(Codec::Opus) && !lines[0].has(Codec::Vp8));
        assert!(lines[1].has(Codec::Vp8) && !lines[1].has(Codec::H264));
    }

    #[test]
    fn a_server_s_own_payload_types_are_told_from_ours() {
        let types = payload_types(&lines(SDP));
        assert_eq!(types[&96], codecs::OPUS);
        assert_eq!(types[&97], codecs::VP8);
        assert!(codecs::is_repair(types[&98]));
        assert_eq!(types.len(), 3);
    }

    proptest! {
        #[test]
        fn any_description_is_read(sdp in "(m=|a=|v=0|mid|rtpmap|fmtp|simulcast|recv|apt=|[ :;,/~0-9\r\né]){0,60}") {
            let lines = lines(&sdp);
            payload_types(&lines);
        }
    }
}
