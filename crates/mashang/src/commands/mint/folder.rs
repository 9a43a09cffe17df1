//! Pictures in a directory, which is there only once all of them are.
//!
//! A file is named by its batch and its first and last serial, so that an interrupted run can be taken up.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use nix::unistd::syncfs;

use super::part::{cannot_write, foreign, part_of, publish, take_up};
use super::picture::Pictures;
use super::watch::{Cause, Cut, Watch};
use crate::process::data_dir::lock;
use crate::process::output::report;
use crate::usage;

/// How every picture ends: one that does not was cut.
const END: &[u8] = b"</svg>\n";

/// Writes pictures of these serials into a new directory.
pub(super) fn write_pictures(
    pictures: &Pictures<'_>,
    serials: Range<u64>,
    out: &Path,
    force: bool,
    watch: &mut Watch,
) -> Result<()> {
    check_folder(out)?;
    let part = part_of(out)?;
    match DirBuilder::new().mode(0o700).create(&part) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(cannot_write(out, &e)),
        _ => {}
    }
    let folder = lock(&part).map_err(|e| usage(format!("{}: {e}", part.display())))?;
    if let Some(warning) = pictures.warning(serials.start)? {
        report(format_args!("warning: {warning}"));
    }
    let mut next = if force { begin_anew(pictures, &part, serials.start)? } else { go_on(pictures, &part, &serials)? };
    let cut = |next, cause| {
        let cut = Cut { next, cause };
        let (cause, mend) = (&cut.cause, cut.mend(&serials));
        anyhow!("{}: {cause}; it has the codes before serial {next}: {mend}", part.display())
    };
    watch.skip(next - serials.start);
    while next < serials.end {
        let file = pictures.file_of(next..serials.end);
        let svg = pictures.draw(file.clone())?;
        write_file(&part.join(name(pictures, &file)), &svg).map_err(|error| cut(next, Cause::Io(error)))?;
        let codes = file.end - file.start;
        next = file.end;
        if let Err(cause) = watch.done(codes)
            && next < serials.end
        {
            return Err(cut(next, cause));
        }
    }
    // All files at once: one by one takes hours for a million.
    syncfs(&folder).with_context(|| format!("{}: cannot be written; run it again", part.display()))?;
    publish(&part, out)
}

/// Whether a directory may be made here: there is none, or an empty one.
fn check_folder(out: &Path) -> Result<()> {
    let name = out.display();
    match std::fs::read_dir(out) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(usage(format!("--out {name}: is not empty; name a new directory"))),
        },
        Err(e) if e.kind() == ErrorKind::NotADirectory => {
            Err(usage(format!("--out {name}: is a file; name a new directory")))
        }
        Err(e) if e.kind() != ErrorKind::NotFound => Err(cannot_write(out, &e)),
        Err(_) => Ok(()),
    }
}

fn write_file(path: &Path, svg: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(svg.as_bytes())
}

/// `7-0000005.svg`, or `7-0000000-0000023.svg` of a page: sorted by name they are in the order of the serials.
fn name(pictures: &Pictures<'_>, serials: &Range<u64>) -> String {
    let (number, width) = (pictures.minter.number, (pictures.minter.count - 1).to_string().len());
    let (first, last) = (serials.start, serials.end - 1);
    match pictures.sheet {
        None => format!("{number}-{first:0width$}.svg"),
        Some(_) => format!("{number}-{first:0width$}-{last:0width$}.svg"),
    }
}

/// The batch and the serials that the name of a picture says.
fn named(name: &str) -> Option<(u32, Range<u64>)> {
    let (number, serials) = name.strip_suffix(".svg")?.split_once('-')?;
    let (first, last) = serials.split_once('-').unwrap_or((serials, serials));
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    Some((number.parse().ok()?, first..last.checked_add(1)?)).filter(|(_, serials)| !serials.is_empty())
}

/// The pictures of this batch that lie in a directory, in the order of their serials.
fn pictures_in(part: &Path, number: u32) -> Result<Vec<(Range<u64>, PathBuf)>> {
    let unread = || format!("{}: cannot be read", part.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(part).with_context(unread)? {
        let path = entry.with_context(unread)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(named);
        let Some((_, serials)) = name.filter(|&(of, _)| of == number) else {
            let what = "is no picture of this batch: move it away, or name another --out";
            return Err(usage(format!("{} {what}", path.display())));
        };
        found.push((serials, path));
    }
    found.sort_unstable_by_key(|(serials, _)| (serials.start, serials.end));
    Ok(found)
}

/// Removes what an interrupted run has written.
fn begin_anew(pictures: &Pictures<'_>, part: &Path, start: u64) -> Result<u64> {
    remove(pictures_in(part, pictures.minter.number)?)?;
    Ok(start)
}

/// Takes up what an interrupted run has written; the next serial.
fn go_on(pictures: &Pictures<'_>, part: &Path, serials: &Range<u64>) -> Result<u64> {
    let mut found = pictures_in(part, pictures.minter.number)?;
    let Some(start) = found.first().map(|(serials, _)| serials.start) else { return Ok(serials.start) };
    let mut whole = start..start;
    let mut count = 0_usize;
    for (serials, path) in &found {
        if serials.start != whole.end || !is_whole(path).with_context(|| path.display().to_string())? {
            break;
        }
        whole.end = serials.end;
        count += 1;
    }
    let Some((last, path)) = count.checked_sub(1).map(|last| &found[last]) else {
        remove(found)?;
        return Ok(serials.start);
    };
    // Of the same rules and the same sheet: the last one is drawn again.
    let is_ours = last.end <= pictures.minter.count
        && pictures.file_of(last.clone()) == *last
        && pictures.draw(last.clone())?.into_bytes() == std::fs::read(path)?;
    if !is_ours {
        return Err(foreign(part));
    }
    let next = take_up(part, &whole, serials)?;
    remove(found.split_off(count))?;
    Ok(next)
}

fn is_whole(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() < END.len() as u64 {
        return Ok(false);
    }
    let mut end = [0; END.len()];
    file.seek(SeekFrom::End(-i64::try_from(END.len()).expect("a few bytes")))?;
    file.read_exact(&mut end)?;
    Ok(end == END)
}

fn remove(pictures: Vec<(Range<u64>, PathBuf)>) -> Result<()> {
    for (_, path) in pictures {
        std::fs::remove_file(&path).with_context(|| format!("{}: cannot be removed", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::super::minter::tests::{COUNT, minter};
    use super::*;
    use crate::Usage;
    use crate::cli::code_args::SheetSize;

    fn quiet(is_interrupted: bool) -> Watch {
        Watch::quiet(COUNT, Arc::new(AtomicBool::new(is_interrupted)))
    }

    /// The files of a directory, by name.
    fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = std::fs::read_dir(dir)
            .expect("a directory")
            .map(|entry| {
                let entry = entry.expect("an entry");
                (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("a file"))
            })
            .collect();
        files.sort();
        files
    }

    fn usage_of(written: Result<()>) -> String {
        let error = written.expect_err("refused");
        assert!(error.is::<Usage>(), "{error:#}");
        error.to_string()
    }

    #[test]
    fn interrupted_pictures_continue_where_they_were_cut() {
        let dir = tempfile::tempdir().expect("a directory");
        let minter = minter(None, Some("https://m.example/c/"));
        for (sheet, per_file) in [(None, 1), (Some(SheetSize { columns: 2, rows: 3 }), 6)] {
            let pictures = Pictures { minter: &minter, sheet };
            let at = |name: &str| dir.path().join(format!("{name}-{per_file}"));
            let (out, whole) = (at("out"), at("whole"));
            let part = part_of(&out).expect("a name");
            let serials = 95..115;
            write_pictures(&pictures, serials.clone(), &whole, false, &mut quiet(false)).expect("written");
            let whole = files(&whole);
            assert_eq!(whole.len() as u64, 20_u64.div_ceil(per_file));
            let first = if per_file == 1 { "7-000095.svg" } else { "7-000095-000100.svg" };
            assert_eq!(whole[0].0, first);

            let cut =
                write_pictures(&pictures, serials.clone(), &out, false, &mut quiet(true)).expect_err("interrupted");
            let next = 95 + per_file;
            assert!(
                cut.to_string().ends_with(&format!(
                    ".part: interrupted; it has the codes before serial {next}: continue with --from {next} --count {}",
                    115 - next
                )),
                "{cut}"
            );
            assert!(!out.exists());
            // A gap; another layout.
            assert!(
                usage_of(write_pictures(&pictures, next + 1..115, &out, false, &mut quiet(false)))
                    .contains(&format!("continue with --from {next}"))
            );
            let other = Pictures { minter: &minter, sheet: Some(SheetSize { columns: 3, rows: 3 }) };
            assert!(
                usage_of(write_pictures(&other, serials.clone(), &out, false, &mut quiet(false)))
                    .contains("has something else")
            );
            // A crash tears a later file.
            std::fs::write(part.join(&whole[1].0), &whole[1].1[..50]).expect("a file");
            write_pictures(&pictures, next..115, &out, false, &mut quiet(false)).expect("written");
            assert_eq!(files(&out), whole);
            assert!(!part.exists());

            assert!(
                usage_of(write_pictures(&pictures, serials.clone(), &out, true, &mut quiet(false)))
                    .ends_with("is not empty; name a new directory")
            );
            // Begun anew, another layout leaves nothing of the first.
            let again = at("again");
            write_pictures(&other, serials.clone(), &again, false, &mut quiet(true)).expect_err("interrupted");
            write_pictures(&pictures, serials.clone(), &again, true, &mut quiet(false)).expect("written");
            assert_eq!(files(&again), whole);
        }
    }

    #[test]
    fn foreign_files_are_never_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let minter = minter(None, None);
        let pictures = Pictures { minter: &minter, sheet: None };
        let out = dir.path().join("out");
        let part = part_of(&out).expect("a name");
        std::fs::create_dir(&part).expect("a directory");
        for name in ["notes.txt", "8-000001.svg"] {
            std::fs::write(part.join(name), "mine").expect("a file");
            for force in [false, true] {
                let told = usage_of(write_pictures(&pictures, 0..3, &out, force, &mut quiet(false)));
                assert!(
                    told.ends_with(&format!("{name} is no picture of this batch: move it away, or name another --out")),
                    "{told}"
                );
            }
            std::fs::remove_file(part.join(name)).expect("it is still there");
        }
        // A directory that is empty may be there already.
        std::fs::create_dir(&out).expect("a directory");
        write_pictures(&pictures, 0..3, &out, false, &mut quiet(false)).expect("written");
        assert_eq!(files(&out).len(), 3);
        for (path, wanted) in [
            ("out/7-000000.svg", "is a file; name a new directory"),
            ("none/out", "make the directory first"),
            ("out/..", "has no name; give one"),
        ] {
            let told = usage_of(write_pictures(&pictures, 0..3, &dir.path().join(path), false, &mut quiet(false)));
            assert!(told.ends_with(wanted) || path.ends_with(".."), "{told}");
        }
    }

    #[test]
    fn names_say_batch_and_serials() {
        assert_eq!(named("7-0000005.svg"), Some((7, 5..6)));
        assert_eq!(named("7-0000000-0000023.svg"), Some((7, 0..24)));
        for other in ["7.svg", "x-1.svg", "7-5-4.svg", "7-1-2-3.svg", "7-1.svg.part", "notes.txt"] {
            assert_eq!(named(other), None, "{other}");
        }
        assert_eq!(named(&format!("7-{}.svg", u64::MAX)), None);
    }
}
