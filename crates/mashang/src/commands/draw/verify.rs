//! `mashang draw verify`: the draws of a campaign, recomputed from its rules and its secret.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write, stdout};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use data_encoding::HEXLOWER;
use domain::model::rules::rulebook::Rulebook;
use domain::model::rules::secrets::{Secret, Secrets};
use domain::model::rules::{Campaign, Mode, RulesSeq, version_text};
use domain::model::time::time_text;

use super::awards::{AwardRow, read};
use super::draws::{DrawCode, Draws, Entry, Unknown};
use super::entries::{Again, EntryEvents, EntryKey, again};
use super::{hash, read_secret};
use crate::cli::draw_args::DrawVerifyArgs;
use crate::process::input;
use crate::process::output::{print, report, show};
use crate::rules::files::{PublicRules, read_public};
use crate::usage;

/// What stands for no prize.
const NOTHING: &str = "-";
/// What `awarded` says of a draw that got no prize.
const THANKS: &str = "thanks";
/// Number of serials after which the progress is shown again.
const PROGRESS_SERIALS: u64 = 1 << 18;

/// Prints what differs, or one draw.
pub(crate) fn verify(args: &DrawVerifyArgs) -> Result<()> {
    let public = read_public(&args.rules)?;
    let secret = read_secret(&args.secret)?;
    let campaigns = &public.rules.campaigns;
    let index = campaigns.iter().position(|campaign| campaign.id == args.campaign).ok_or_else(|| {
        let known: Vec<&str> = campaigns.iter().map(|campaign| campaign.id.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        usage(format!("--campaign {}: is not in {}, which has {known}", args.campaign, args.rules.display()))
    })?;
    check_commit(&args.secret, &secret, &campaigns[index])?;
    let book = Rulebook::new(public.rules.clone(), RulesSeq::FIRST, public.sha256, &Secrets::default());
    let book = book.context("the rules cannot be worked with")?;
    let draws = Draws::new(&book, index, &secret)
        .ok_or_else(|| usage(format!("--campaign {}: is sealed, and no batch enters it", args.campaign)))?;
    match (&args.awards, &args.code) {
        (Some(awards), _) => rows(args, awards, &public, &secret, &draws),
        (None, Some(code)) => one(args, code, &draws),
        (None, None) => Err(usage("give --awards CSV, or --code NAME")),
    }
}

fn check_commit(path: &Path, secret: &Secret, campaign: &Campaign) -> Result<()> {
    let found = HEXLOWER.encode(&hash(secret));
    if found == campaign.commit {
        return Ok(());
    }
    Err(anyhow!(
        "{}: it is not the secret of campaign {}: its SHA-256 is {found}, the rules commit to {}",
        path.display(),
        campaign.id,
        campaign.commit
    ))
}

/// Prints one draw: the prize's id, or `-`.
fn one(args: &DrawVerifyArgs, name: &str, draws: &Draws<'_>) -> Result<()> {
    let kind = draws
        .code(name)
        .ok_or_else(|| usage(format!("--code {name}: the code enters no draw of campaign {}", args.campaign)))?;
    let entry = Entry { code: name, shopper: args.shopper.as_deref(), n: args.entry, time: args.time };
    let prize = draws.drawn(kind, &entry).map_err(|unknown| usage(format!("--code {name}: {unknown}")))?;
    print(prize.map_or(NOTHING, |prize| prize.id.as_str()))
}

/// Recomputes every row.
fn rows(args: &DrawVerifyArgs, awards: &Path, public: &PublicRules, secret: &Secret, draws: &Draws<'_>) -> Result<()> {
    let name = awards.display().to_string();
    let file = File::open(awards).map_err(|e| usage(format!("--awards {name}: cannot be read: {e}")))?;
    let text = input::text(file).map_err(|what| usage(format!("--awards {name}: {what}")))?.reader;
    let rows = read(&name, text, &public.rules.merchant, &args.campaign)?;
    let events = match (&args.log, &args.archive) {
        (Some(log), _) => Some(EntryEvents::of_file(log)?),
        (None, Some(url)) => Some(EntryEvents::of_archive(url)?),
        (None, None) => None,
    };
    let mut again = events.map(|events| again(events, &args.rules, public, draws.campaign, secret)).transpose()?;
    if again.is_none() && draws.campaign.mode == Mode::Moments {
        report(
            "note: moments go to entries in the order of the log: give --log FILE or --archive URL to recompute `drawn` too",
        );
    }

    let mut differences = Differences::default();
    let checker = Checker { draws, version: version_text(&public.sha256) };
    checker.rows(&rows, &mut differences);
    if let Some(again) = &mut again {
        checker.entries(&rows, again, &mut differences)?;
    }
    let mut out = BufWriter::new(stdout().lock());
    for (_, text) in differences.sorted() {
        writeln!(out, "{text}")?;
    }
    list_winning_codes(draws, &rows, &mut out)?;
    out.flush()?;
    drop(out);
    let (checked, campaign) = (rows.len(), &args.campaign);
    match differences.0.len() {
        0 => {
            report(format_args!("{checked} rows of {campaign}: as the rules and the secret give"));
            Ok(())
        }
        1 => Err(anyhow!("1 difference in {checked} rows of {campaign}: it is listed above")),
        more => Err(anyhow!("{more} differences in {checked} rows of {campaign}: they are listed above")),
    }
}

/// Lists the winning codes of a sealed campaign that have no row.
fn list_winning_codes(draws: &Draws<'_>, rows: &[AwardRow], out: &mut impl Write) -> Result<()> {
    let with_row: BTreeSet<&str> = rows.iter().map(|row| row.code.as_str()).collect();
    let is_shown = std::io::stderr().is_terminal();
    let mut shown = false;
    draws.winning_codes(
        |code, prize| {
            if with_row.contains(code) { Ok(()) } else { writeln!(out, "no row: {code}: {}", prize.id) }
        },
        |serial, count| {
            if is_shown && serial > 0 && serial.is_multiple_of(PROGRESS_SERIALS) {
                shown = true;
                show(format_args!("\r{:3} % of {count} codes ", serial * 100 / count));
            }
        },
    )?;
    if shown {
        report("");
    }
    Ok(())
}

/// What differs, by line; a row that is missing has none.
#[derive(Default)]
struct Differences(Vec<(u64, String)>);

impl Differences {
    fn add(&mut self, row: &AwardRow, what: &str) {
        self.0.push((row.line, format!("line {}: {} {}: {what}", row.line, row.code, row.shopper)));
    }

    fn missing(&mut self, row: &AwardRow) {
        self.0.push((u64::MAX, format!("missing: {} {}: drawn {}", row.code, row.shopper, row.drawn)));
    }

    /// By line; those of one row as they were found.
    fn sorted(&mut self) -> &[(u64, String)] {
        self.0.sort_by_key(|(line, _)| *line);
        &self.0
    }
}

struct Checker<'d, 'r> {
    draws: &'d Draws<'r>,
    version: String,
}

impl Checker<'_, '_> {
    /// Compares each row with what the rules and the secret give.
    fn rows(&self, rows: &[AwardRow], differences: &mut Differences) {
        let mut by_code: HashMap<&str, u64> = HashMap::new();
        let mut by_entry: HashMap<(&str, u64), u64> = HashMap::new();
        for row in rows {
            if row.rules != self.version {
                differences.add(row, &format!("rules {}, should be {}", row.rules, self.version));
                continue;
            }
            let kind = match self.admitted(row) {
                Ok(kind) => kind,
                Err(why) => {
                    differences.add(row, &format!("drawn {}, should be {NOTHING} ({why})", row.drawn));
                    continue;
                }
            };
            let first_of_code = *by_code.entry(&row.code).or_insert(row.line);
            let first_of_entry = *by_entry.entry((&row.shopper, row.entry)).or_insert(row.line);
            if kind.is_item() && first_of_code != row.line {
                let why = format!("the code draws once, and line {first_of_code} has it");
                differences.add(row, &format!("drawn {}, should be {NOTHING} ({why})", row.drawn));
            } else if first_of_entry != row.line {
                let why = format!("line {first_of_entry} has entry {} of this shopper", row.entry);
                differences.add(row, &format!("drawn {}, should be {NOTHING} ({why})", row.drawn));
            } else {
                self.recompute(row, kind, differences);
            }
        }
    }

    /// What the code is; or why no entry can have this code, time and number.
    fn admitted(&self, row: &AwardRow) -> Result<DrawCode, String> {
        let campaign = self.draws.campaign;
        let kind = self.draws.code(&row.code).ok_or("the code enters no draw of this campaign")?;
        if row.time < campaign.from || row.time >= campaign.to {
            return Err(format!("{} is not within the campaign", time_text(row.time)));
        }
        if row.entry == 0 || campaign.limit_total.is_some_and(|limit| row.entry > u64::from(limit)) {
            return Err(format!("there is no entry {}", row.entry));
        }
        Ok(kind)
    }

    fn recompute(&self, row: &AwardRow, kind: DrawCode, differences: &mut Differences) {
        let campaign = self.draws.campaign;
        let prize = |id: &str| campaign.prizes.iter().find(|prize| prize.id == id);
        let entry = Entry { code: &row.code, shopper: Some(&row.shopper), n: Some(row.entry), time: Some(row.time) };
        let wanted = match self.draws.drawn(kind, &entry) {
            Ok(prize) => prize.map_or(NOTHING, |prize| prize.id.as_str()),
            // Without the log any prize of the campaign may be right.
            Err(Unknown::Moments) => prize(&row.drawn).map_or(NOTHING, |prize| prize.id.as_str()),
            Err(unknown) => unreachable!("a row has all that a draw depends on: {unknown}"),
        };
        if wanted != row.drawn {
            differences.add(row, &format!("drawn {}, should be {wanted}", row.drawn));
            return;
        }
        // The prizes that may be granted: the drawn one, and what follows by `else`.
        let mut may_be: Vec<&str> = Vec::new();
        let mut next = prize(&row.drawn);
        while let Some(this) = next.filter(|this| !may_be.contains(&this.id.as_str())) {
            may_be.push(&this.id);
            next = this.otherwise.as_deref().and_then(prize);
        }
        if row.awarded != THANKS && !may_be.contains(&row.awarded.as_str()) {
            let may_be = may_be.join(", ");
            differences.add(row, &format!("awarded {}, should be {may_be} or {THANKS}", row.awarded));
            return;
        }
        let amount = prize(&row.awarded).map(|prize| self.draws.amount(prize, kind, &entry));
        let amount = amount.transpose().expect("a row has all that an amount depends on").flatten();
        let kind_word = prize(&row.awarded).map_or("", |prize| prize.kind.as_str());
        let states: &[&str] = match prize(&row.awarded) {
            None => &[THANKS],
            Some(prize) if prize.unlock.is_none() => &["granted"],
            Some(_) => &["locked", "unlocked", "expired"],
        };
        let or_nothing = |text: &str| if text.is_empty() { NOTHING.to_owned() } else { text.to_owned() };
        if amount != row.amount {
            let text = |amount: Option<i64>| amount.map_or_else(|| NOTHING.to_owned(), |amount| amount.to_string());
            differences.add(row, &format!("amount {}, should be {}", text(row.amount), text(amount)));
        } else if kind_word != row.prize_kind {
            let (found, wanted) = (or_nothing(&row.prize_kind), or_nothing(kind_word));
            differences.add(row, &format!("prize_kind {found}, should be {wanted}"));
        } else if !states.contains(&row.state.as_str()) {
            // Which of several it is depends on other events of the shopper.
            let found = or_nothing(&row.state);
            differences.add(row, &format!("state {found}, should be {}", states.join(" or ")));
        }
    }

    /// Compares the rows with the entries of a log, taken through the desks again.
    ///
    /// A dump does not hold the order in which the entries of several partitions came to the code desk and the campaign desk. So a
    /// one-item code, or a moment's prize, may have gone to another of the entries that competed for it.
    fn entries(&self, rows: &[AwardRow], again: &mut Again, differences: &mut Differences) -> Result<()> {
        let awards = std::mem::take(&mut again.awards);
        let mut lost: BTreeMap<EntryKey<'_>, &AwardRow> = awards.iter().map(|award| (award.key(), award)).collect();
        let mut unmatched: Vec<&AwardRow> = Vec::new();
        for row in rows {
            let Some(award) = lost.remove(&row.key()) else {
                unmatched.push(row);
                continue;
            };
            if row.rules != self.version {
                continue;
            }
            // In the other modes it is recomputed without the log.
            if self.draws.campaign.mode == Mode::Moments && row.drawn != award.drawn {
                differences.add(row, &format!("drawn {}, should be {}", row.drawn, award.drawn));
            }
            if row.time != award.time {
                let (found, wanted) = (time_text(row.time), time_text(award.time));
                differences.add(row, &format!("time {found}, should be {wanted}"));
            }
        }
        let keys: Vec<EntryKey<'_>> = unmatched.iter().map(|row| row.key()).collect();
        for (row, is_entry) in unmatched.into_iter().zip(again.entries(&keys)?) {
            if !is_entry {
                differences.add(row, "no entry");
                continue;
            }
            let is_moment = self.draws.campaign.mode == Mode::Moments;
            let rival = lost.iter().find(|(_, award)| {
                if is_moment { award.drawn == row.drawn } else { award.code == row.code && self.is_item(&row.code) }
            });
            if let Some((&key, award)) = rival {
                report(format_args!(
                    "note: line {}: {} {}: by the order of received, {} {} came first, at {}: entries of several partitions may pass each other",
                    row.line,
                    row.code,
                    row.shopper,
                    award.code,
                    award.shopper,
                    time_text(award.time)
                ));
                lost.remove(&key);
            } else if is_moment {
                differences.add(row, &format!("drawn {}, should be {NOTHING}", row.drawn));
            }
        }
        lost.values().for_each(|award| differences.missing(award));
        Ok(())
    }

    fn is_item(&self, code: &str) -> bool {
        self.draws.code(code).is_some_and(DrawCode::is_item)
    }
}
