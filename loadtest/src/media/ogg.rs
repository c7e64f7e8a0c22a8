//! Ogg (RFC 3533), as far as an Opus file (RFC 7845) needs it: pages whose segments make packets,
//! the first two packets being headers. Checksums are not verified: the clips are our own.

use bytes::Bytes;

use super::MediaError;

/// The Opus packets of an Ogg file, headers left out.
///
/// # Errors
///
/// The file is not Ogg, is cut off, or is not Opus.
pub fn parse(file: &[u8]) -> Result<Vec<Bytes>, MediaError> {
    const CUT: MediaError = MediaError::Container("Ogg");
    const PAGE_HEADER: usize = 27;
    let mut packets = Vec::new();
    let mut packet: Vec<u8> = Vec::new();
    let mut rest = file;
    while !rest.is_empty() {
        let header = rest.get(..PAGE_HEADER).ok_or(CUT)?;
        if !header.starts_with(b"OggS") {
            return Err(CUT);
        }
        let segments = usize::from(header[26]);
        let lacing = rest.get(PAGE_HEADER..PAGE_HEADER + segments).ok_or(CUT)?;
        rest = &rest[PAGE_HEADER + segments..];
        for &length in lacing {
            packet.extend_from_slice(rest.get(..usize::from(length)).ok_or(CUT)?);
            rest = &rest[usize::from(length)..];
            // A full segment continues in the next one, which may open the next page.
            if length < 255 {
                packets.push(Bytes::from(std::mem::take(&mut packet)));
            }
        }
    }
    if !packets.first().is_some_and(|p| p.starts_with(b"OpusHead")) || packets.len() < 3 {
        return Err(MediaError::Codec {
            container: "Ogg",
            expected: "Opus",
        });
    }
    packets.drain(..2);
    Ok(packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(lacing: &[u8], body: &[u8]) -> Vec<u8> {
        let mut page = b"OggS".to_vec();
        page.extend_from_slice(&[0; 22]);
        page.push(lacing.len() as u8);
        page.extend_from_slice(lacing);
        page.extend_from_slice(body);
        page
    }

    #[test]
    fn packets_cross_segments_and_pages() {
        let mut file = page(&[8], b"OpusHead");
        file.extend(page(&[8], b"OpusTags"));
        file.extend(page(&[2, 255], &[[1u8; 2].as_slice(), &[2; 255]].concat()));
        file.extend(page(&[1, 0], &[2]));
        let packets = parse(&file).unwrap();
        assert_eq!(
            packets.iter().map(Bytes::len).collect::<Vec<_>>(),
            [2, 256, 0]
        );
    }

    #[test]
    fn junk_is_refused() {
        assert!(parse(b"RIFF").is_err());
        assert!(parse(&page(&[9], b"OpusHead")).is_err());
        assert!(parse(&page(&[6], b"vorbis")).is_err());
    }
}
