//! Rules from files: reading, checking, publishing into a library.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use domain::model::rules::rulebook::{Library, Rulebook};
use domain::model::rules::{RulesSeq, version_text};
use wire::rules::{Checked, Mistake, Reference, object, read, version};

use crate::cli::RulesCheckArgs;
use crate::cli::output::{answer, tell};
use crate::commands::input;
use crate::rules::diff;
use crate::usage;

/// Rules that passed every check, as they are published.
pub(crate) struct Published {
    pub(crate) book: Arc<Rulebook>,
    pub(crate) object: Vec<u8>,
}

/// `mashang rules check`.
pub(crate) fn check(args: &RulesCheckArgs) -> Result<()> {
    let checked = read_all(&args.files, None)?;
    for (file, checked) in args.files.iter().zip(&checked) {
        let sha256 = version(&object(&checked.rules));
        let rules = &checked.rules;
        answer(format_args!(
            "{}: rules of {}, version {}: {} stores, {} guides, {} codes, {} campaigns, {} funnels",
            file.display(),
            rules.merchant,
            version_text(&sha256),
            rules.stores.len(),
            rules.guides.len(),
            rules.codes.len(),
            rules.campaigns.len(),
            rules.funnels.len()
        ))?;
    }
    args.against.as_deref().map_or(Ok(()), |old| check_against(old, &checked))
}

/// Reports what changes from the old rules to the new rules of the same merchant, and refuses a change that is not allowed.
fn check_against(old: &Path, checked: &[Checked]) -> Result<()> {
    let name = old.display();
    let old = read_all(&[old], None)?.remove(0).rules;
    let Some(new) = checked.iter().map(|c| &c.rules).find(|rules| rules.merchant == old.merchant) else {
        return Err(usage(format!("--against {name}: is of {}, of which no rules are given", old.merchant)));
    };
    for change in diff::changes(&old, new) {
        answer(change)?;
    }
    for warning in diff::warnings(&old, new) {
        tell(format_args!("warning: {}: {warning}", new.merchant));
    }
    let mistakes = diff::mistakes(&old, new);
    for mistake in &mistakes {
        tell(format_args!("{}: {mistake}", new.merchant));
    }
    if mistakes.is_empty() { Ok(()) } else { Err(usage(format!("these rules cannot follow {name}"))) }
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
                    tell(format_args!("warning: {warning}"));
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
    if mistakes.is_empty() {
        return Ok(all);
    }
    for mistake in &mistakes {
        tell(mistake);
    }
    let count = if mistakes.len() == 1 { "1 mistake".to_owned() } else { format!("{} mistakes", mistakes.len()) };
    Err(usage(format!("{count} in the rules: nothing was done")))
}

fn read_file(file: &Path, secrets: Option<&Path>) -> Result<Checked, Vec<Mistake>> {
    let name = file.display().to_string();
    let whole = |line, message| vec![Mistake { file: name.clone(), line, key: String::new(), message }];
    let opened = File::open(file).map_err(|e| whole(1, format!("the rules cannot be read: {e}")))?;
    let bytes = input::whole(opened).map_err(|what| whole(1, what))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        whole(
            1 + good.iter().filter(|&&b| b == b'\n').count(),
            "the rules are not UTF-8; save the file as UTF-8".to_owned(),
        )
    })?;
    let beside = file.parent().unwrap_or(Path::new(""));
    let mut open = |reference: Reference<'_>| match reference {
        Reference::Register(path) => read_register(&beside.join(path)),
        Reference::Secret(place) => read_secret(secrets.unwrap_or(beside), place),
    };
    read(&name, &text, &mut open)
}

/// The bytes of a secret that rules name.
pub(crate) fn read_secret(dir: &Path, place: &str) -> Result<Vec<u8>, String> {
    match (place.strip_prefix("file:"), place.strip_prefix("env:")) {
        (Some(path), _) => read_beside(dir, path),
        (_, Some(name)) => {
            std::env::var(name).map(String::into_bytes).map_err(|_| format!("the variable {name} is not set"))
        }
        _ => Err("a secret is named by file:PATH or env:NAME".to_owned()),
    }
}

fn read_beside(beside: &Path, path: &str) -> Result<Vec<u8>, String> {
    let path = beside.join(path);
    std::fs::read(&path).map_err(|e| unread(&path, &e))
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
