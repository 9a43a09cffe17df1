//! `mashang rules check`: rules are read and checked, and compared with older ones.

use std::path::{Path, PathBuf};

use anyhow::Result;
use domain::model::rules::version_text;
use eventlog::api::now_ms;
use wire::rules::{Checked, object, version};

use crate::cli::rules_args::RulesCheckArgs;
use crate::process::output::{print, report};
use crate::rules::diff;
use crate::rules::files::{read_all, read_public};
use crate::usage;

/// `mashang rules check`.
pub(crate) fn check(args: &RulesCheckArgs) -> Result<()> {
    let checked = read_all(&args.files, None)?;
    for (file, checked) in args.files.iter().zip(&checked) {
        let sha256 = version(&object(&checked.rules));
        let rules = &checked.rules;
        print(format_args!(
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
    args.against.as_deref().map_or(Ok(()), |old| check_against(old, &args.files, &checked))
}

/// Reports what changes from the old rules to the new rules of the same merchant, and refuses a change that is not allowed.
fn check_against(old: &Path, files: &[PathBuf], checked: &[Checked]) -> Result<()> {
    let name = old.display();
    // The secrets of the old rules need not be at hand: where one was replaced, that is what is to be reported.
    let old = read_public(old)?.rules;
    let mut given = files.iter().zip(checked);
    let Some((file, checked)) = given.find(|(_, checked)| checked.rules.merchant == old.merchant) else {
        return Err(usage(format!("--against {name}: is of {}, of which no rules are given", old.merchant)));
    };
    let new = &checked.rules;
    for change in diff::changes(&old, new) {
        print(change)?;
    }
    for warning in diff::warnings(&old, new) {
        report(format_args!("warning: {}: {warning}", new.merchant));
    }
    let mistakes = diff::mistakes(&old, new);
    for mistake in &mistakes {
        report(format_args!("{}: {mistake}", new.merchant));
    }
    let breaches = diff::breaches(&old, file, checked, now_ms());
    for breach in &breaches {
        report(breach);
    }
    if mistakes.is_empty() && breaches.is_empty() {
        Ok(())
    } else {
        Err(usage(format!("these rules cannot follow {name}")))
    }
}
