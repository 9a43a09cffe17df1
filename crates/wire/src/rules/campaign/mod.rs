//! Campaigns: prize draws by odds, over a batch, or at moments.
//!
//! - `prize`: the prizes of a campaign
//! - `phase`: odds by time and by the number of the entry
//! - `reach`: phases that no entry reaches

mod phase;
mod prize;
mod reach;

use domain::model::rules::secrets::Secrets;
use domain::model::rules::{Campaign, MOMENTS_MAX, Mode, Phase};

use self::prize::Draw;
use self::reach::Bounds;
use super::Open;
use super::ids::Ids;
use super::register::{Known, named};
use super::sealed::SealedDraw;
use super::secret::committed;
use super::table::Table;
use super::values::{NOTICE_BYTES_MAX, boolean, count, https_url, id, integer, text, word};

/// Maximum number of areas of a campaign; a longer list is a mistake.
const AREAS_MAX: usize = 10_000;

/// Reads a campaign; its id is taken even if something else is wrong.
pub(super) fn campaign(
    mut table: Table<'_>,
    known: &mut Known,
    currency: Option<&str>,
    open: &mut Open<'_>,
    secrets: &mut Secrets,
) -> Option<Campaign> {
    let id = named(&mut table, "id", &mut known.campaigns, id);
    let mode = table.need("mode", word(Mode::ALL, Mode::as_str));
    table.require("from");
    table.require("to");
    let (from, to) = table.span();
    let areas = table.list("areas", 0..=AREAS_MAX, self::id).unwrap_or_default();
    let limit_total = table.get("limit_total", count);
    let limit_day = table.get("limit_day", count);
    let limit_wins = table.get("limit_wins", count);
    let budget = table.get("budget", integer(0, i64::MAX));
    let budget_day = table.get("budget_day", integer(0, i64::MAX));
    let exclude_guides = table.get("exclude_guides", boolean).unwrap_or(true);
    let landing = table.get("landing", https_url);
    let organiser = table.get("organiser", text(NOTICE_BYTES_MAX));
    let contact = table.get("contact", text(NOTICE_BYTES_MAX));
    let redeem = table.get("redeem", text(NOTICE_BYTES_MAX));
    let secret = committed(&mut table, open);
    let mut prize_ids = Ids::of("prize");
    let prizes = prize::prizes(&mut table, &mut prize_ids, Draw::new(mode, currency, budget.is_some()));
    if mode == Some(Mode::Moments) && prizes.count_sum > MOMENTS_MAX {
        let sum = prizes.count_sum;
        table.mistake(
            "prize",
            format!("have counts that add up to {sum}; a campaign has {MOMENTS_MAX} moments at most"),
        );
    }
    if let (Some(Mode::Sealed), Some(id)) = (mode, &id) {
        known.sealed.add(id, SealedDraw::new(&table, prizes.count_sum));
    }
    let bounds = Bounds::new(from, to, 1, limit_total.map(u64::from));
    let phases = phases(&mut table, mode, &prize_ids, bounds);
    table.end();

    let (secret, id) = (secret?, id?);
    secrets.campaigns.extend(secret.secret.map(|secret| (id.clone(), secret)));
    Some(Campaign {
        id,
        from: from?,
        to: to?,
        areas,
        limit_total,
        limit_day,
        limit_wins,
        budget,
        landing,
        secret: secret.reference,
        commit: secret.commit,
        prizes: prizes.list,
        phases,
        mode: mode?,
        budget_day,
        exclude_guides,
        organiser,
        contact,
        redeem,
    })
}

/// The phases of a draw by odds; other draws have none.
fn phases(table: &mut Table<'_>, mode: Option<Mode>, prizes: &Ids<String>, bounds: Bounds) -> Vec<Phase> {
    match mode {
        Some(mode @ (Mode::Sealed | Mode::Moments)) => {
            if table.get("phase", |_| Ok(())).is_some() {
                table.mistake("phase", format!("is of draws by odds, and the mode is {mode}; take the phases out"));
            }
            if !table.has("prize") {
                table.notes.warning(table.at(), "has no prize, so that no entry wins anything");
            }
            Vec::new()
        }
        Some(Mode::Odds) | None => phase::phases(table, prizes, bounds),
    }
}
