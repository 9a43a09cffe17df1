//! Rules from files: they are read with their registers and secrets, checked, and numbered.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use domain::model::rules::rulebook::{Library, Rulebook};
use domain::model::rules::{Rules, RulesSeq};
use web::private_file;
use wire::rules::{Checked, Mistake, NOT_AT_HAND, Open, Reference, from_object, object, read, version};

use crate::process::input;
use crate::process::output::report;
use crate::usage;

/// Rules that passed every check, as they are published.
pub(crate) struct Published {
    pub(crate) book: Arc<Rulebook>,
    pub(crate) object: Vec<u8>,
}

/// Reads rules files; reports every mistake of all of them, and what is odd, on standard error. Secrets that are files lie
/// beside each rules file, or in `secrets`.
pub(crate) fn read_all(files: &[impl AsRef<Path>], secrets: Option<&Path>) -> Result<Vec<Checked>> {
    let mut all = Vec::new();
    let mut mistakes = Vec::new();
    let mut by_merchant: BTreeMap<String, String> = BTreeMap::new();
    for file in files {
        let file = file.as_ref();
        match read_file(file, secrets) {
            Ok(checked) => {
                for warning in &checked.warnings {
                    report(format_args!("warning: {warning}"));
                }
                let name = file.display().to_string();
                if let Some(first) = by_merchant.insert(checked.rules.merchant.clone(), name.clone()) {
                    let message = format!(
                        "{name}: merchant: is {} as in {first}: a merchant has one rules file",
                        checked.rules.merchant
                    );
                    mistakes.push(message);
                }
                all.push(checked);
            }
            Err(found) => mistakes.extend(found.iter().map(ToString::to_string)),
        }
    }
    if mistakes.is_empty() { Ok(all) } else { Err(refused(&mistakes)) }
}

/// Reports mistakes; the error that follows them.
fn refused(mistakes: &[impl std::fmt::Display]) -> anyhow::Error {
    for mistake in mistakes {
        report(mistake);
    }
    let count = if mistakes.len() == 1 { "1 mistake".to_owned() } else { format!("{} mistakes", mistakes.len()) };
    usage(format!("{count} in the rules: nothing was done"))
}

/// Rules that are read without a secret, and the SHA-256 of their published object.
pub(crate) struct PublicRules {
    pub(crate) rules: Rules,
    pub(crate) sha256: [u8; 32],
}

/// Reads rules whose secrets are not at hand: a TOML file, or the published object. Commits are taken as they stand.
pub(crate) fn read_public(file: &Path) -> Result<PublicRules> {
    let read = |file: &Path| -> Result<PublicRules, Vec<Mistake>> {
        let bytes = read_bytes(file)?;
        if bytes.trim_ascii_start().starts_with(b"{") {
            let rules = from_object(&bytes).map_err(|what| vec![mistake(file, 1, what)])?;
            return Ok(PublicRules { rules, sha256: version(&bytes) });
        }
        let beside = file.parent().unwrap_or(Path::new(""));
        let mut open = |reference: Reference<'_>| match reference {
            Reference::Register(path) => read_register(&beside.join(path)),
            Reference::Secret(_) => Err(NOT_AT_HAND.to_owned()),
        };
        let rules = read_text(file, bytes, &mut open)?.rules;
        Ok(PublicRules { sha256: version(&object(&rules)), rules })
    };
    read(file).map_err(|mistakes| refused(&mistakes))
}

fn read_file(file: &Path, secrets: Option<&Path>) -> Result<Checked, Vec<Mistake>> {
    let beside = file.parent().unwrap_or(Path::new(""));
    let mut open = |reference: Reference<'_>| match reference {
        Reference::Register(path) => read_register(&beside.join(path)),
        Reference::Secret(place) => read_secret(secrets.unwrap_or(beside), place),
    };
    read_text(file, read_bytes(file)?, &mut open)
}

/// A mistake of a whole file.
fn mistake(file: &Path, line: usize, message: String) -> Mistake {
    Mistake { file: file.display().to_string(), line, key: String::new(), message }
}

fn read_bytes(file: &Path) -> Result<Vec<u8>, Vec<Mistake>> {
    let whole = |message| vec![mistake(file, 1, message)];
    let opened = File::open(file).map_err(|e| whole(format!("the rules cannot be read: {e}")))?;
    input::whole(opened).map_err(whole)
}

fn read_text(file: &Path, bytes: Vec<u8>, open: &mut Open<'_>) -> Result<Checked, Vec<Mistake>> {
    let whole = |line, message| vec![mistake(file, line, message)];
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        whole(
            1 + good.iter().filter(|&&b| b == b'\n').count(),
            "the rules are not UTF-8; save the file as UTF-8".to_owned(),
        )
    })?;
    read(&file.display().to_string(), &text, open)
}

/// The bytes of a secret that rules name.
pub(crate) fn read_secret(dir: &Path, place: &str) -> Result<Vec<u8>, String> {
    match (place.strip_prefix("file:"), place.strip_prefix("env:")) {
        (Some(path), _) => read_private(&dir.join(path)),
        (_, Some(name)) => {
            std::env::var(name).map(String::into_bytes).map_err(|_| format!("the variable {name} is not set"))
        }
        _ => Err("a secret is named by file:PATH or env:NAME".to_owned()),
    }
}

/// Reads a file that no other user may have written: who chooses the secret chooses who wins.
pub(crate) fn read_private(path: &Path) -> Result<Vec<u8>, String> {
    let unread = |e| unread(path, &e);
    let mut file = File::open(path).map_err(unread)?;
    let meta = file.metadata().map_err(unread)?;
    private_file::check_owner(&meta).map_err(|what| format!("{}: {what}", path.display()))?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o002 != 0 {
        return Err(format!("{}: everyone may write it (mode {mode:04o}): chmod 600 it", path.display()));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(unread)?;
    Ok(bytes)
}

fn read_register(path: &Path) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|e| unread(path, &e))?;
    input::whole(file).map_err(|what| format!("{} {what}", path.display()))
}

fn unread(path: &Path, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file {}", path.display()),
        _ => format!("{} cannot be read: {error}", path.display()),
    }
}

/// Puts rules in order of publishing, from 1, ready for the desks.
pub(crate) fn publish(checked: Vec<Checked>) -> Result<(Library, Vec<Published>)> {
    let mut library = Library::new();
    let mut published = Vec::new();
    for (seq, checked) in (1..).map(RulesSeq).zip(checked) {
        let object = object(&checked.rules);
        let book = Rulebook::new(checked.rules, seq, version(&object), &checked.secrets);
        let book = Arc::new(book.context("rules that passed the check cannot be worked with")?);
        library.insert(seq, Arc::clone(&book));
        published.push(Published { book, object });
    }
    Ok((library, published))
}
