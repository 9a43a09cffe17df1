//! `mashang rules notice`: the public notice of the draws of a rules file.

use std::io::{Write, stdout};

use anyhow::Result;
use wire::rules::{object, version};

use crate::cli::rules_args::RulesNoticeArgs;
use crate::process::output::report;
use crate::rules::files::read_all;
use crate::rules::notice::{self, Notice};
use crate::usage;

/// Writes the page to standard output.
pub(crate) fn notice(args: &RulesNoticeArgs) -> Result<()> {
    let file = args.file.display();
    let rules = read_all(&[&args.file], None)?.remove(0).rules;
    let ids: Vec<&str> = rules.campaigns.iter().map(|campaign| &*campaign.id).collect();
    if ids.is_empty() {
        return Err(usage(format!("{file}: has no campaign, so that there is nothing to make public")));
    }
    let chosen: Vec<_> = match &args.campaign {
        Some(id) => rules.campaigns.iter().filter(|campaign| campaign.id == *id).collect(),
        None => rules.campaigns.iter().collect(),
    };
    if let Some(id) = args.campaign.as_ref().filter(|_| chosen.is_empty()) {
        return Err(usage(format!("--campaign {id}: {file} has no such campaign; it has {}", ids.join(", "))));
    }
    for (campaign, key) in chosen.iter().flat_map(|campaign| notice::missing(campaign).map(move |key| (campaign, key)))
    {
        report(format_args!("warning: {file}: campaign {}: {key} is missing; the page says so", campaign.id));
    }
    let notice = Notice { rules: &rules, sha256: version(&object(&rules)), campaigns: chosen };
    let mut out = stdout().lock();
    out.write_all(notice.page(args.lang).as_bytes())?;
    Ok(out.flush()?)
}
