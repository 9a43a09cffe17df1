//! Outputs that are there only once they are whole: until then they are beside their place, with `.part` at the end of the name.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, BufReader, ErrorKind, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use super::table::{ReadBack, Rows};
use super::watch::Watch;
use crate::usage;

/// Read and written by this user alone.
const MODE: u32 = 0o600;
/// Size of the buffer through which a table is read back, bytes.
const READ_BYTES: usize = 64 * 1024;

/// Where an output is written until it is whole.
pub(super) fn part_of(out: &Path) -> Result<PathBuf> {
    let name = out.file_name().ok_or_else(|| usage(format!("--out {}: has no name; give one", out.display())))?;
    let mut part = OsString::from(name);
    part.push(".part");
    Ok(out.with_file_name(part))
}

/// Why an output cannot be made, and the fix.
pub(super) fn cannot_write(out: &Path, error: &io::Error) -> anyhow::Error {
    let mend = match error.kind() {
        ErrorKind::NotFound => "; make the directory first",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "; choose a directory that you may write",
        _ => "",
    };
    usage(format!("--out {}: cannot be written: {error}{mend}", out.display()))
}

/// Takes up serials where an interrupted run has stopped: `part` has `whole` of them. The serial to go on from.
pub(super) fn take_up(part: &Path, whole: &Range<u64>, serials: &Range<u64>) -> Result<u64> {
    let fits = whole.start <= serials.start && serials.start <= whole.end && whole.end <= serials.end;
    if fits {
        return Ok(whole.end);
    }
    let (first, next) = (whole.start, whole.end);
    Err(usage(format!(
        "{} has the serials {first} to {} of an interrupted run: continue with --from {next}, or begin anew with --force",
        part.display(),
        next - 1
    )))
}

/// That another run has written `part`, which is no beginning of this one.
pub(super) fn foreign(part: &Path) -> anyhow::Error {
    let what = "has something else than the beginning of these codes";
    usage(format!("{} {what}: name another --out, or begin anew with --force", part.display()))
}

/// Moves an output that is whole to its place.
pub(super) fn publish(part: &Path, out: &Path) -> Result<()> {
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::rename(part, out)
        .and_then(|()| File::open(parent)?.sync_all())
        .with_context(|| format!("{} is whole and cannot be moved to {}", part.display(), out.display()))
}

/// Writes the table of these serials to a file.
pub(super) fn write_table(
    rows: &Rows<'_>,
    serials: Range<u64>,
    out: &Path,
    force: bool,
    watch: &mut Watch,
) -> Result<()> {
    check_file(out, force)?;
    let part = part_of(out)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(MODE);
    let mut file = options.open(&part).map_err(|e| cannot_write(out, &e))?;
    file.try_lock().map_err(|e| match e {
        TryLockError::WouldBlock => usage(format!("{}: another process writes it; wait for it", part.display())),
        TryLockError::Error(error) => cannot_write(out, &error),
    })?;
    let failed = |error: io::Error| anyhow!("{}: cannot be written: {error}; run it again", part.display());

    let (mut next, mut bytes) = (serials.start, 0);
    if !force {
        match rows.read_back(&mut BufReader::with_capacity(READ_BYTES, &file)).map_err(failed)? {
            ReadBack::Rows(whole) if whole.serials.is_empty() => {}
            ReadBack::Rows(whole) => {
                next = take_up(&part, &whole.serials, &serials)?;
                bytes = whole.bytes;
            }
            ReadBack::Foreign => return Err(foreign(&part)),
        }
    }
    file.set_permissions(Permissions::from_mode(MODE)).map_err(failed)?;
    file.set_len(bytes).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed)?;
    if bytes == 0 {
        Rows::write_header(&mut file).map_err(failed)?;
    }
    watch.skip(next - serials.start);
    rows.write(next..serials.end, &mut file, watch).map_err(|cut| {
        let (cause, next, mend) = (&cut.cause, cut.next, cut.mend(&serials));
        anyhow!("{}: {cause}; it has the codes before serial {next}: {mend}", part.display())
    })?;
    file.sync_all().map_err(failed)?;
    publish(&part, out)
}

/// Whether a table may be written to this place.
fn check_file(out: &Path, force: bool) -> Result<()> {
    let name = out.display();
    match std::fs::metadata(out) {
        Ok(meta) if meta.is_dir() => Err(usage(format!("--out {name}: is a directory; name a file"))),
        Ok(meta) if !meta.is_file() => {
            Err(usage(format!("--out {name}: is no file; leave --out out, and redirect standard output")))
        }
        Ok(_) if !force => Err(usage(format!("--out {name}: exists; name another file, or replace it with --force"))),
        Err(e) if e.kind() != ErrorKind::NotFound => Err(cannot_write(out, &e)),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::super::minter::tests::{COUNT, minter};
    use super::*;
    use crate::Usage;

    /// More rows than a buffer has.
    const SERIALS: Range<u64> = 10..5_010;

    fn quiet(is_interrupted: bool) -> Watch {
        Watch::quiet(COUNT, Arc::new(AtomicBool::new(is_interrupted)))
    }

    fn usage_of(written: Result<()>) -> String {
        let error = written.expect_err("refused");
        assert!(error.is::<Usage>(), "{error:#}");
        error.to_string()
    }

    #[test]
    fn interrupted_table_continues_where_it_was_cut() {
        let dir = tempfile::tempdir().expect("a directory");
        let minter = minter(None, None);
        let rows = Rows::new(&minter);
        let (out, part) = (dir.path().join("codes.csv"), dir.path().join("codes.csv.part"));
        let whole = dir.path().join("whole.csv");
        write_table(&rows, SERIALS, &whole, false, &mut quiet(false)).expect("written");
        let whole = std::fs::read(whole).expect("a file");
        assert_eq!(whole.iter().filter(|&&byte| byte == b'\n').count(), 5_001);

        let error = write_table(&rows, SERIALS, &out, false, &mut quiet(true)).expect_err("interrupted").to_string();
        let next: u64 =
            error.split("--from ").nth(1).and_then(|e| e.split(' ').next()?.parse().ok()).expect("a serial");
        assert!(error.contains(&format!(
            "codes.csv.part: interrupted; it has the codes before serial {next}: continue with --from {next} --count {}",
            SERIALS.end - next
        )));
        assert!(!out.exists());
        assert_eq!(std::fs::metadata(&part).expect("a file").permissions().mode() & 0o777, 0o600);
        // A crash tears the end; the same command and the one that the message names both go on.
        let written = std::fs::read(&part).expect("a file");
        for (bytes, from) in [
            (written.len(), next),
            (written.len(), SERIALS.start),
            (written.len() - 3, SERIALS.start),
            (5, SERIALS.start),
            (0, SERIALS.start),
        ] {
            std::fs::write(&part, &written[..bytes]).expect("a file");
            write_table(&rows, from..SERIALS.end, &out, false, &mut quiet(false)).expect("written");
            assert_eq!(std::fs::read(&out).expect("a file"), whole, "{bytes}");
            assert!(!part.exists());
            std::fs::remove_file(&out).expect("removed");
        }
        // A gap, or a table that would have more than was asked for.
        std::fs::write(&part, &written).expect("a file");
        for serials in [next + 1..SERIALS.end, 0..SERIALS.end, SERIALS.start..next - 1] {
            let told = usage_of(write_table(&rows, serials, &out, false, &mut quiet(false)));
            assert!(told.ends_with(&format!("codes.csv.part has the serials 10 to {} of an interrupted run: continue with --from {next}, or begin anew with --force", next - 1)), "{told}");
        }
        let other = super::super::minter::tests::minter(None, Some("https://m.example/"));
        let told = usage_of(write_table(&Rows::new(&other), SERIALS, &out, false, &mut quiet(false)));
        assert!(
            told.ends_with(
                "has something else than the beginning of these codes: name another --out, or begin anew with --force"
            ),
            "{told}"
        );
        assert_eq!(std::fs::read(&part).expect("a file"), written, "what is refused changes nothing");
        write_table(&rows, SERIALS, &out, true, &mut quiet(false)).expect("written");
        assert_eq!(std::fs::read(&out).expect("a file"), whole);
    }

    #[test]
    fn table_that_exists_is_replaced_by_force_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let minter = minter(None, None);
        let rows = Rows::new(&minter);
        let out = dir.path().join("codes.csv");
        let write = |out: &Path, force| write_table(&rows, 0..3, out, force, &mut quiet(false));
        std::fs::write(&out, "mine").expect("a file");
        assert!(
            usage_of(write(&out, false)).ends_with("codes.csv: exists; name another file, or replace it with --force")
        );
        assert_eq!(std::fs::read(&out).expect("a file"), b"mine");
        write(&out, true).expect("written");
        assert_eq!(std::fs::read_to_string(&out).expect("a file").lines().count(), 4);
        assert_eq!(std::fs::metadata(&out).expect("a file").permissions().mode() & 0o777, 0o600);
        assert!(usage_of(write(dir.path(), true)).ends_with("is a directory; name a file"));
        assert!(usage_of(write(Path::new("/dev/null"), true)).contains("is no file; leave --out out"));
        assert!(usage_of(write(&dir.path().join("none/codes.csv"), false)).ends_with("; make the directory first"));
        // Another process has it.
        let other = dir.path().join("other.csv");
        let held = File::create(part_of(&other).expect("a name")).expect("a file");
        held.lock().expect("a lock");
        assert!(usage_of(write(&other, true)).ends_with("another process writes it; wait for it"));
    }
}
