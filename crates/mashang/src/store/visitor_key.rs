//! The deployment's own key, under which the shoppers of keyless scans are named: all edges share it, and it never leaves them.
//!
//! It lies in `visitors.key`, in the data directory of `serve` and in the store of a fleet. A new key gives every
//! visitor another name.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, anyhow};
use data_encoding::HEXLOWER;
use edge::transport::browser::cookie::VisitorKey;
use eventlog::objects::Objects;
use web::private_file;

use super::s3::S3;
use crate::usage;

const FILE: &str = "visitors.key";

/// Reads the key of a directory, and makes it first if there is none. Of several processes that make one, the first counts.
///
/// # Errors
/// It cannot be read or made, others may read it, or it is no key.
pub(crate) fn open(dir: &Path) -> Result<VisitorKey, String> {
    let path = dir.join(FILE);
    let wrong = |what: String| format!("{}: {what}", path.display());
    std::fs::create_dir_all(dir)
        .map_err(|e| wrong(format!("cannot be made: {e}: let this process write there once")))?;
    match read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make(dir, &path).map_err(|e| wrong(format!("cannot be made: {e}: let this process write there once")))?;
        }
        Err(error) => return Err(wrong(format!("cannot be read: {error}"))),
        Ok(_) => {}
    }
    let text = read(&path).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    let meta = std::fs::metadata(&path).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    private_file::check(&meta).map_err(wrong)?;
    key(&text).ok_or_else(|| wrong("does not hold 64 hex digits: put the file back".to_owned()))
}

/// Reads the key of a bucket, and makes it first if there is none. Of several processes that make one, the first counts.
///
/// # Errors
/// The server refuses it or does not answer, or it is no key (usage).
pub(super) fn open_in(bucket: &S3) -> anyhow::Result<VisitorKey> {
    let at = bucket.address(FILE);
    let unreadable = || format!("{at}: cannot be read");
    let text = match bucket.read(FILE) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut new = [0; 32];
            getrandom::fill(&mut new).map_err(|e| anyhow!("the system gives no random numbers: {e}"))?;
            let made = bucket.create(FILE, format!("{}\n", HEXLOWER.encode(&new)).as_bytes());
            made.with_context(|| format!("{at}: cannot be made: let this process write there once"))?;
            bucket.read(FILE).with_context(unreadable)?
        }
        read => read.with_context(unreadable)?,
    };
    key(&text).ok_or_else(|| usage(format!("{at}: does not hold 64 hex digits: put the object back")))
}

fn key(text: &[u8]) -> Option<VisitorKey> {
    let bytes = HEXLOWER.decode(text.trim_ascii()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(VisitorKey::new)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// Writes a new key whole, then gives it its name, unless another process was first.
fn make(dir: &Path, path: &Path) -> std::io::Result<()> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|e| std::io::Error::other(e.to_string()))?;
    let partial = dir.join(format!("{FILE}.{}", HEXLOWER.encode(&key[..4])));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    // The beginning of these bytes is in the name of the file.
    getrandom::fill(&mut key).map_err(|e| std::io::Error::other(e.to_string()))?;
    file.write_all(format!("{}\n", HEXLOWER.encode(&key)).as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&partial, path);
    std::fs::remove_file(&partial)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    std::fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{FILE, open};

    #[test]
    fn key_is_made_once_and_kept_from_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| open(dir.path()).expect("a key"))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a key").id("a")).collect()
        });
        assert!(keys.iter().all(|id| *id == keys[0]), "{keys:?}");
        let files: Vec<_> = std::fs::read_dir(dir.path()).expect("a directory").flatten().collect();
        assert_eq!(files.len(), 1);
        let path = dir.path().join(FILE);
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a file");
        mode(0o640);
        assert!(open(dir.path()).expect_err("a mode").contains("chmod 600"));
        mode(0o600);
        std::fs::write(&path, "0123").expect("a file");
        assert!(open(dir.path()).expect_err("a key").contains("64 hex digits"));
    }
}
