//! `mashang draw pick`: entries of a list, picked by a secret.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::path::Path;

use anyhow::{Result, anyhow};

use super::draws::Key;
use super::read_secret;
use crate::cli::draw_args::DrawPickArgs;
use crate::process::input;
use crate::process::output::{print, report};
use crate::usage;

/// Prints the picked entries, or compares them with those of a file.
pub(crate) fn pick(args: &DrawPickArgs) -> Result<()> {
    let key = Key::new(&read_secret(&args.secret)?);
    let list = read(&args.list, "--list")?;
    let entries = entries(&list, &args.list, "--list")?;
    if args.count > entries.len() as u64 {
        let (count, name, given) = (args.count, args.list.display(), entries.len());
        return Err(usage(format!("--count {count}: {name} has {given} entries; give that number or a smaller one")));
    }
    let count = usize::try_from(args.count).unwrap_or(usize::MAX);
    let mut ranked: Vec<([u8; 32], &[u8])> =
        entries.iter().map(|&entry| (key.digest(&[b"pick", args.name.as_bytes(), entry]), entry)).collect();
    ranked.sort_unstable();
    let picked = ranked.iter().take(count).map(|&(_, entry)| entry);
    match &args.check {
        None => {
            let mut out = BufWriter::new(stdout().lock());
            for entry in picked {
                out.write_all(entry)?;
                out.write_all(b"\n")?;
            }
            Ok(out.flush()?)
        }
        Some(path) => {
            check(&picked.collect::<Vec<_>>(), path)?;
            print(format_args!("{count} of {} entries, as {}", entries.len(), path.display()))
        }
    }
}

fn check(picked: &[&[u8]], path: &Path) -> Result<()> {
    let text = read(path, "--check")?;
    let given: Vec<&[u8]> = lines(&text).collect();
    let name = path.display();
    let show = |entry: Option<&&[u8]>| match entry {
        Some(entry) => String::from_utf8_lossy(entry).into_owned(),
        None => "the end".to_owned(),
    };
    for at in 0..picked.len().max(given.len()) {
        let (is, wanted) = (given.get(at), picked.get(at));
        if is != wanted {
            return Err(anyhow!("{name}: line {}: is {}, should be {}", at + 1, show(is), show(wanted)));
        }
    }
    Ok(())
}

fn read(path: &Path, option: &str) -> Result<Vec<u8>> {
    let name = path.display();
    let file = File::open(path).map_err(|e| usage(format!("{option} {name}: cannot be read: {e}")))?;
    input::whole(file).map_err(|what| usage(format!("{option} {name}: {what}")))
}

/// The lines of a text, without their ends (LF or CR LF), and without the byte order mark that it may begin with.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let lines = text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|_| !text.is_empty())
}

/// The entries of a list, one a line; every mistake is reported.
fn entries<'l>(list: &'l [u8], path: &Path, option: &str) -> Result<Vec<&'l [u8]>> {
    let name = path.display();
    let mut first_lines: HashMap<&[u8], usize> = HashMap::new();
    let mut mistakes = 0;
    for (number, entry) in (1..).zip(lines(list)) {
        if entry.trim_ascii().is_empty() {
            report(format_args!("{name}:{number}: the line is empty: remove it"));
            mistakes += 1;
        } else if let Some(first) = first_lines.get(entry) {
            report(format_args!("{name}:{number}: is the same as line {first}: each entry once"));
            mistakes += 1;
        } else {
            first_lines.insert(entry, number);
        }
    }
    match mistakes {
        0 => Ok(lines(list).collect()),
        1 => Err(usage(format!("1 mistake in {option} {name}: nothing was picked"))),
        more => Err(usage(format!("{more} mistakes in {option} {name}: nothing was picked"))),
    }
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn lines_end_in_lf_or_cr_lf_and_an_empty_one_is_a_line() {
        let check = |text: &str, wanted: &[&str]| {
            let found: Vec<_> = lines(text.as_bytes()).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
            assert_eq!(found, wanted, "{text:?}");
        };
        check("", &[]);
        check("a", &["a"]);
        check("\u{FEFF}a\r\nb \r\n", &["a", "b "]);
        check("a\n\nb\n\n", &["a", "", "b", ""]);
        check("\n\n", &["", ""]);
    }
}
