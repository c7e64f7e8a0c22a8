//! The files of an account and of its certificate, which hold private keys: in a folder and with modes that let nobody else read
//! them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_acme::{AccountCache, CertCache};
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use super::super::Certificate;
use crate::files;
use crate::live::Live;

/// Bytes of a file: far more than a chain with its key has.
const FILE_BYTES: usize = 1 << 20;
/// Bytes of a digest in the name of a file.
const NAME_BYTES: usize = 12;

/// The folder, and the certificate that was read or written last.
#[derive(Clone)]
pub(super) struct Kept {
    folder: PathBuf,
    certificate: Live<Option<Certificate>>,
}

impl Kept {
    /// Makes the folder if there is none, for this user alone.
    pub(super) fn new(folder: &Path, certificate: Live<Option<Certificate>>) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            certificate,
        })
    }

    /// A file for what these words name. Other names and another authority have other files.
    fn file(&self, kind: &str, words: &[String], directory: &str) -> PathBuf {
        let mut digest = Sha256::new();
        for word in words.iter().map(String::as_str).chain([directory]) {
            digest.update(word);
            digest.update([0]);
        }
        let name = URL_SAFE_NO_PAD.encode(&digest.finalize()[..NAME_BYTES]);
        self.folder.join(format!("{kind}-{name}"))
    }
}

async fn load(file: PathBuf) -> io::Result<Option<Vec<u8>>> {
    let read = spawn_blocking(move || files::read(&file, FILE_BYTES)).await?;
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn store(file: PathBuf, bytes: &[u8]) -> io::Result<()> {
    let bytes = bytes.to_vec();
    spawn_blocking(move || replace(&file, &bytes)).await?
}

/// Writes a file that is whole at any time, though the machine may stop.
fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = file.with_extension("new");
    // One that a stop has left would keep its mode.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut written = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    written.write_all(bytes)?;
    written.sync_all()?;
    fs::rename(&new, file)?;
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[async_trait]
impl CertCache for Kept {
    type EC = io::Error;

    async fn load_cert(&self, domains: &[String], directory: &str) -> io::Result<Option<Vec<u8>>> {
        let loaded = load(self.file("certificate", domains, directory)).await?;
        if let Some(pem) = &loaded {
            self.certificate.set(Certificate::from_pem(pem));
        }
        Ok(loaded)
    }

    async fn store_cert(&self, domains: &[String], directory: &str, pem: &[u8]) -> io::Result<()> {
        self.certificate.set(Certificate::from_pem(pem));
        store(self.file("certificate", domains, directory), pem).await
    }
}

#[async_trait]
impl AccountCache for Kept {
    type EA = io::Error;

    async fn load_account(
        &self,
        contact: &[String],
        directory: &str,
    ) -> io::Result<Option<Vec<u8>>> {
        load(self.file("account", contact, directory)).await
    }

    async fn store_account(
        &self,
        contact: &[String],
        directory: &str,
        key: &[u8],
    ) -> io::Result<()> {
        store(self.file("account", contact, directory), key).await
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    }

    #[tokio::test]
    async fn keys_are_kept_for_this_user_alone_and_apart() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("a/b");
        let kept = Kept::new(&folder, Live::default()).expect("made");
        assert_eq!(mode(&folder), 0o700);
        let contact = ["mailto:a@example.org".to_owned()];
        assert_eq!(
            kept.load_account(&contact, "one").await.expect("read"),
            None
        );
        for (directory, key) in [("one", b"1"), ("two", b"2"), ("one", b"3")] {
            let stored = kept.store_account(&contact, directory, key).await;
            stored.expect("written");
        }
        for (directory, key) in [("one", b"3"), ("two", b"2")] {
            let loaded = kept.load_account(&contact, directory).await;
            assert_eq!(loaded.expect("read").as_deref(), Some(&key[..]));
        }
        assert_eq!(kept.load_account(&[], "one").await.expect("read"), None);
        let files = fs::read_dir(&folder).expect("a folder");
        let modes: Vec<u32> = files.map(|it| mode(&it.expect("a file").path())).collect();
        assert_eq!(modes, [0o600; 2]);
    }

    #[tokio::test]
    async fn the_certificate_that_is_in_use_is_known() {
        let place = tempfile::tempdir().expect("a folder");
        let kept = Kept::new(place.path(), Live::default()).expect("made");
        let domains = ["localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(domains.clone()).expect("made");
        let pem = made.signing_key.serialize_pem() + &made.cert.pem();
        let stored = kept.store_cert(&domains, "one", pem.as_bytes()).await;
        stored.expect("written");
        let again = Kept::new(place.path(), Live::default()).expect("made");
        again.load_cert(&domains, "one").await.expect("read");
        let known = [kept, again].map(|kept| kept.certificate.get().expect("a certificate"));
        assert_eq!(known[0].fingerprint(), known[1].fingerprint());
        assert_eq!(known[0].der(), &made.cert.der()[..]);
    }
}
