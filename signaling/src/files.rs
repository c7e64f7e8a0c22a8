//! Files of settings, keys and certificates, which are read while the server runs, too.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Reads a file of at most `most` bytes.
///
/// # Errors
///
/// The file cannot be read, is longer, or is no regular file: a pipe without a writer, and a terminal, would have the
/// reader wait for ever.
pub(crate) fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut options = OpenOptions::new();
    // To open a pipe waits for its writer, too.
    options.read(true);
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

/// Reads a file of text in UTF-8; see [`read`].
pub(crate) fn read_text(path: &Path, most: usize) -> io::Result<String> {
    String::from_utf8(read(path, most)?).map_err(|_| io::Error::other("it is no text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        for (len, fits) in [(0, true), (8, true), (9, false)] {
            std::fs::write(&file, vec![b'a'; len]).expect("a file");
            let read = read(&file, 8);
            assert_eq!(read.ok().map(|bytes| bytes.len()), fits.then_some(len));
        }
        std::fs::write(&file, [0xff]).expect("a file");
        assert!(read(&file, 8).is_ok() && read_text(&file, 8).is_err());
        assert!(read(&folder.path().join("none"), 8).is_err());
        assert!(read(folder.path(), 8).is_err(), "a folder");
        assert!(read(Path::new("/dev/zero"), 8).is_err(), "a device");
        let pipe = folder.path().join("pipe");
        let made = rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR);
        made.expect("a pipe");
        assert!(read(&pipe, 8).is_err(), "a pipe without a writer");
    }
}
