//! SDP fragments with ICE candidates (RFC 8840 section 9).

/// The candidates of a whole description, in the form of a later fragment: credentials, then the first m-line's
/// candidates under its mid (bundled, that m-line's transport is the only one). None: there is no m-line or no
/// credentials.
pub(crate) fn fragment(sdp: &str) -> Option<String> {
    let mut credentials: [Option<&str>; 2] = [None, None];
    let mut media = None;
    let mut mid = None;
    let mut candidates = Vec::new();
    for line in sdp.lines().map(str::trim_end) {
        if line.starts_with("m=") {
            if media.is_some() {
                break;
            }
            media = Some(line);
        } else if line.starts_with("a=ice-ufrag:") {
            credentials[0] = credentials[0].or(Some(line));
        } else if line.starts_with("a=ice-pwd:") {
            credentials[1] = credentials[1].or(Some(line));
        } else if line.starts_with("a=mid:") {
            mid = Some(line);
        } else if line.starts_with("a=candidate:") {
            candidates.push(line);
        }
    }
    let [Some(ufrag), Some(pwd)] = credentials else {
        return None;
    };
    let mut lines = vec![ufrag, pwd, media?, mid?];
    lines.extend(candidates);
    lines.push("a=end-of-candidates");
    Some(lines.iter().flat_map(|line| [line, "\r\n"]).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn credentials_and_the_first_line_s_candidates() {
        let sdp = "v=0\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n\
            a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=mid:0\r\n\
            a=candidate:1 1 udp 2 192.0.2.1 61764 typ host\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=candidate:1 1 udp 2 192.0.2.9 1 typ host\r\n";
        assert_eq!(
            fragment(sdp).unwrap(),
            "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
            m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
            a=candidate:1 1 udp 2 192.0.2.1 61764 typ host\r\na=end-of-candidates\r\n"
        );
        assert_eq!(fragment("v=0\r\n"), None);
    }

    proptest! {
        #[test]
        fn any_description_is_read(sdp in "(m=|a=mid:|a=ice-ufrag:|a=ice-pwd:|a=candidate:|[ x0-9\r\n]){0,60}") {
            fragment(&sdp);
        }
    }
}
