//! IVF, the container of bare VP8 frames: a 32-byte file header, then for each frame its length
//! (32 bits), a timestamp (64 bits) and the frame. Little endian.

use super::MediaError;

/// The frames of an IVF file, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ivf<'a> {
    pub width: u16,
    pub height: u16,
    /// Timestamp units in a second, as numerator and denominator.
    pub rate: (u32, u32),
    pub frames: Vec<&'a [u8]>,
}

const FRAME_HEADER: usize = 12;

/// Reads an IVF file that holds VP8.
///
/// # Errors
///
/// The file is not IVF, is cut off, or has another codec.
pub fn parse(file: &[u8]) -> Result<Ivf<'_>, MediaError> {
    const CUT: MediaError = MediaError::Container("IVF");
    if !file.starts_with(b"DKIF") {
        return Err(CUT);
    }
    let header_length = usize::from(u16_at(file, 6).ok_or(CUT)?);
    if file.get(8..12) != Some(b"VP80") {
        return Err(MediaError::Codec {
            container: "IVF",
            expected: "VP8",
        });
    }
    let mut ivf = Ivf {
        width: u16_at(file, 12).ok_or(CUT)?,
        height: u16_at(file, 14).ok_or(CUT)?,
        rate: (
            u32_at(file, 16).ok_or(CUT)?,
            u32_at(file, 20).ok_or(CUT)?.max(1),
        ),
        frames: Vec::new(),
    };
    let mut rest = file.get(header_length..).ok_or(CUT)?;
    while !rest.is_empty() {
        let length = u32_at(rest, 0).ok_or(CUT)? as usize;
        let end = FRAME_HEADER.checked_add(length).ok_or(CUT)?;
        ivf.frames.push(rest.get(FRAME_HEADER..end).ok_or(CUT)?);
        rest = &rest[end..];
    }
    Ok(ivf)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(codec: &[u8; 4], frames: &[&[u8]]) -> Vec<u8> {
        let mut file = b"DKIF\0\0\x20\0".to_vec();
        file.extend_from_slice(codec);
        file.extend_from_slice(&[0x40, 0x01, 0xb4, 0x00]);
        file.extend_from_slice(&30u32.to_le_bytes());
        file.extend_from_slice(&1u32.to_le_bytes());
        file.extend_from_slice(&(frames.len() as u32).to_le_bytes());
        file.extend_from_slice(&[0; 4]);
        for (index, frame) in frames.iter().enumerate() {
            file.extend_from_slice(&(frame.len() as u32).to_le_bytes());
            file.extend_from_slice(&(index as u64).to_le_bytes());
            file.extend_from_slice(frame);
        }
        file
    }

    #[test]
    fn frames_are_found() {
        let file = file(b"VP80", &[b"abc", b"", b"de"]);
        let ivf = parse(&file).unwrap();
        assert_eq!((ivf.width, ivf.height, ivf.rate), (320, 180, (30, 1)));
        assert_eq!(ivf.frames, [b"abc".as_slice(), b"", b"de"]);
    }

    #[test]
    fn every_cut_is_an_error_or_fewer_frames() {
        let file = file(b"VP80", &[b"abc", b"de"]);
        let whole = parse(&file).unwrap();
        for length in 0..file.len() {
            match parse(&file[..length]) {
                Ok(cut) => assert!(whole.frames.starts_with(&cut.frames) && cut != whole),
                Err(error) => assert!(matches!(
                    error,
                    MediaError::Container(_) | MediaError::Codec { .. }
                )),
            }
        }
    }

    #[test]
    fn other_codecs_are_refused() {
        assert!(matches!(
            parse(&file(b"VP90", &[])),
            Err(MediaError::Codec { .. })
        ));
    }
}
