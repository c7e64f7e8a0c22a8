//! Cuts RTCP into datagrams.

/// Plain RTCP in one datagram: with the SRTCP trailer it stays under the packet bound.
const RTCP_BYTES: usize = 1_200;

/// Cuts a sequence of RTCP packets into datagrams at packet boundaries. Reduced-size RTCP
/// (RFC 5506), negotiated always, lets each stand alone.
pub(crate) fn datagrams(mut rtcp: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let mut end = 0;
        while let Some(header) = rtcp.get(end..end + 4) {
            let len = 4 * (usize::from(u16::from_be_bytes([header[2], header[3]])) + 1);
            if end > 0 && end + len > RTCP_BYTES {
                break;
            }
            end += len;
        }
        let end = end.min(rtcp.len());
        let (datagram, rest) = rtcp.split_at(end);
        rtcp = rest;
        (end > 0).then_some(datagram)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_cut_between_packets() {
        let packet = |words: u16| {
            let mut packet = vec![0x80, 200];
            packet.extend_from_slice(&words.to_be_bytes());
            packet.resize(4 * (usize::from(words) + 1), 0);
            packet
        };
        let rtcp: Vec<u8> = [packet(200), packet(60), packet(60), packet(1)].concat();
        let sizes: Vec<_> = datagrams(&rtcp).map(<[u8]>::len).collect();
        assert_eq!(sizes, vec![804 + 244, 244 + 8]);
        assert_eq!(datagrams(&[]).count(), 0);
    }
}
