//! The few facts a bot needs from the server's answers: which m-line an SSRC belongs to, which
//! SSRC repairs which, and the ids of header extensions.

/// One m-line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Section {
    pub(crate) mid: String,
    /// SSRCs, without those of repair streams.
    pub(crate) ssrcs: Vec<u32>,
    /// (repaired, repairing), from `a=ssrc-group:FID` (RFC 5576 section 4.2).
    pub(crate) repairs: Vec<(u32, u32)>,
    pub(crate) extensions: Vec<(u8, String)>,
}

pub(crate) const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
pub(crate) const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
pub(crate) const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
pub(crate) const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

pub(crate) const ABS_CAPTURE_TIME: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

impl Section {
    /// The id of a header extension, if negotiated.
    pub(crate) fn extension(&self, uri: &str) -> Option<u8> {
        let (id, _) = self.extensions.iter().find(|(_, known)| known == uri)?;
        Some(*id)
    }
}

/// The m-lines of a description. Lines that do not parse are skipped: the peer connection is the
/// judge of the description, this only reads along.
pub(crate) fn sections(sdp: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in sdp.lines().map(str::trim_end) {
        if line.starts_with("m=") {
            sections.push(Section::default());
        }
        let (Some(section), Some(attribute)) = (sections.last_mut(), line.strip_prefix("a="))
        else {
            continue;
        };
        let (key, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match key {
            "mid" => section.mid = value.to_owned(),
            "ssrc" => {
                let ssrc = value.split(' ').next().and_then(|word| word.parse().ok());
                if let Some(ssrc) = ssrc.filter(|ssrc| !section.ssrcs.contains(ssrc)) {
                    section.ssrcs.push(ssrc);
                }
            }
            "ssrc-group" => {
                let numbers: Vec<u32> = value
                    .strip_prefix("FID ")
                    .into_iter()
                    .flat_map(|rest| rest.split(' '))
                    .filter_map(|word| word.parse().ok())
                    .collect();
                if let [repaired, repairing] = numbers[..] {
                    section.repairs.push((repaired, repairing));
                }
            }
            "extmap" => {
                let mut words = value.split(' ');
                let id = words.next().and_then(|id| id.split('/').next());
                if let (Some(Ok(id)), Some(uri)) = (id.map(str::parse), words.next()) {
                    section.extensions.push((id, uri.to_owned()));
                }
            }
            _ => {}
        }
    }
    for section in &mut sections {
        let repairs = &section.repairs;
        section
            .ssrcs
            .retain(|ssrc| !repairs.iter().any(|(_, repairing)| repairing == ssrc));
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_found_whatever_surrounds_them() {
        let sdp = "v=0\r\na=ssrc:9 cname:x\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
            a=ssrc:1 cname:x\r\na=ssrc:1 msid:s t\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ssrc:3 cname:x\r\na=ssrc:2 cname:x\r\n\
            a=ssrc-group:FID 2 3\r\na=ssrc-group:SIM 2 3 4\r\na=ssrc:junk\r\na=extmap:x y\r\n\
            a=extmap:10/sendonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n";
        let sections = sections(sdp);
        assert_eq!(sections.len(), 2);
        assert_eq!(
            (sections[0].mid.as_str(), &sections[0].ssrcs[..]),
            ("a", &[1][..])
        );
        assert_eq!(sections[0].extension(MID), Some(4));
        assert_eq!(sections[0].extension(RID), None);
        assert_eq!(
            (&sections[1].ssrcs[..], &sections[1].repairs[..]),
            (&[2][..], &[(2, 3)][..])
        );
        assert_eq!(sections[1].extension(RID), Some(10));
    }
}
