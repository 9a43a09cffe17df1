//! The entries of a log, taken through the desks again into a ledger of their own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use domain::model::rules::rulebook::{Library, Rulebook};
use domain::model::rules::secrets::{Secret, Secrets};
use domain::model::rules::{Campaign, RulesSeq};
use ledger::export::{Format, Table};
use ledger::reader::Ledger;
use ledger::url::LedgerUrl;
use ledger::writer::Writer;
use serde::Deserialize;
use tempfile::TempDir;
use wire::event::Merchants;

use super::awards::{AwardRow, read};
use crate::commands::log::days::{named, open_archive};
use crate::commands::log::dump::DumpedEvents;
use crate::commands::run::event_files::Rejects;
use crate::commands::run::pipeline::{Events, run_through};
use crate::commands::run::reading::Source;
use crate::process::input;
use crate::rules::files::{PublicRules, read_secret};
use crate::usage;

/// An entry: its code, its shopper, its number.
pub(super) type EntryKey<'a> = (&'a str, &'a str, u64);

/// What the desks made of a log.
pub(super) struct Again {
    /// The awards of the campaign.
    pub(super) awards: Vec<AwardRow>,
    merchant: String,
    campaign: String,
    ledger: Ledger,
    _dir: TempDir,
}

impl Again {
    /// Which of these are entries into the campaign, by their places.
    pub(super) fn entries(&mut self, asked: &[EntryKey<'_>]) -> Result<Vec<bool>> {
        let places: BTreeMap<EntryKey<'_>, usize> = asked.iter().copied().zip(0..).collect();
        let mut found = vec![false; asked.len()];
        if !asked.is_empty() {
            self.ledger.entries(&self.merchant, &self.campaign, &mut |code, shopper, n| {
                if let Some(&place) = places.get(&(code, shopper, n)) {
                    found[place] = true;
                }
            })?;
        }
        Ok(found)
    }
}

/// What a line says of its merchant.
#[derive(Deserialize)]
struct OfMerchant<'a> {
    #[serde(borrow)]
    merchant: Option<Cow<'a, str>>,
}

/// The events of a log, as lines.
pub(super) struct EntryEvents {
    /// The option and what it names, for messages.
    name: String,
    place: String,
    input: Box<dyn Read + Send>,
}

impl EntryEvents {
    /// Those of a log dump.
    pub(super) fn of_file(log: &Path) -> Result<Self> {
        let place = log.display().to_string();
        let name = format!("--log {place}");
        let input = File::open(log).map_err(|e| usage(format!("{name}: cannot be read: {e}")))?;
        let input = input::text(input).map_err(|what| usage(format!("{name}: {what}")))?.reader;
        Ok(Self { name, place, input })
    }

    /// Those of an archive.
    pub(super) fn of_archive(url: &str) -> Result<Self> {
        let archived = open_archive(url)?.open(None).map_err(named)?.reader;
        let input = Box::new(DumpedEvents::new(archived, None).text());
        Ok(Self { name: format!("--archive {url}"), place: url.to_owned(), input })
    }
}

/// Takes events of a log through the desks. `file` is that of the rules: secrets of batches lie beside it.
pub(super) fn again(
    EntryEvents { name, place, input }: EntryEvents,
    file: &Path,
    public: &PublicRules,
    campaign: &Campaign,
    secret: &Secret,
) -> Result<Again> {
    let book = Arc::new(alone(file, public, campaign, secret)?);
    let (merchant, currency) = (book.rules.merchant.clone(), book.rules.currency.clone());

    let dir = tempfile::tempdir().context("no temporary directory can be made")?;
    let url = dir.path().join("ledger.sqlite");
    let own = merchant.clone();
    let is_own = move |line: &[u8]| {
        let of = serde_json::from_slice::<OfMerchant<'_>>(line).ok().and_then(|of| of.merchant);
        of.is_none_or(|of| of == own)
    };
    let merchants = Merchants::new([(&merchant, currency)]);
    let source = Source { name, input, merchants, is_wanted: Some(Box::new(is_own)) };
    let events = Events { file: place, source, rejects: Rejects::Printed };
    let library = Library::from([(RulesSeq::FIRST, book)]);
    let finished = run_through(&library, Writer::create(&url, [0])?, events, Into::into, |_, _| {})?;
    finished.ledger.close()?;

    let mut ledger = Ledger::open(&LedgerUrl::file(&url))?;
    let mut table = Vec::new();
    ledger.export(Table::Awards, Format::Csv, &mut table)?;
    let awards = read("the awards of the log", table.as_slice(), &merchant, &campaign.id)?;
    Ok(Again { awards, merchant, campaign: campaign.id.clone(), ledger, _dir: dir })
}

/// The rules with this campaign alone, and the batches that enter it: the secrets of others are not needed. They keep the version of
/// the whole.
fn alone(file: &Path, public: &PublicRules, campaign: &Campaign, secret: &Secret) -> Result<Rulebook> {
    let mut rules = public.rules.clone();
    let is_own = |of: &Option<String>| of.as_ref() == Some(&campaign.id);
    rules.campaigns.retain(|c| c.id == campaign.id);
    for code in &mut rules.codes {
        code.campaign = code.campaign.take().filter(|of| *of == campaign.id);
    }
    rules.batches.retain(|batch| is_own(&batch.campaign));
    let mut batches = BTreeMap::new();
    for batch in &rules.batches {
        let place = || format!("batch {} of {}: secret {}", batch.number, file.display(), batch.secret);
        let beside = file.parent().unwrap_or(Path::new(""));
        let bytes = read_secret(beside, &batch.secret).map_err(|why| usage(format!("{}: {why}", place())))?;
        let secret = wire::rules::secret(&bytes, &batch.commit)
            .ok_or_else(|| usage(format!("{}: it is not the one of the commit: give the right one", place())))?;
        batches.insert(batch.number, secret);
    }
    rules.ranges.retain(|range| batches.contains_key(&range.batch));
    let campaigns = BTreeMap::from([(campaign.id.clone(), secret.clone())]);
    let secrets = Secrets { campaigns, batches };
    Rulebook::new(rules, RulesSeq::FIRST, public.sha256, &secrets).context("the rules cannot be worked with")
}
