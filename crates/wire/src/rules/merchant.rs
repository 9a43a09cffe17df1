//! The rules file as a whole: the merchant, the settings of the desks, commission, funnels. What others refer to is read before
//! these.

use domain::model::code::Kind;
use domain::model::rules::secrets::Secrets;
use domain::model::rules::{
    Attribution, Commission, Dedup, FUNNEL_STEPS_MAX, Funnel, HORIZON_MINUTES_MAX, LATE_DEFAULT_MS, Members, Model,
    NAMES_MAX_DEFAULT, NAMES_MAX_MAX, ORDERS_MAX_MAX, PayeeKind, Rules, Step,
};

use super::ids::Ids;
use super::places::RangeOrigins;
use super::register::{self, Known, named};
use super::table::Table;
use super::values::{currency, duration_ms, id, integer, minutes, positive_ms, rate_ppm, time_zone, word};
use super::{Open, batch, campaign, range};

/// Maximum for the setting of how many touches are kept of a shopper; a larger number is a mistake.
const TOUCHES_MAX: i64 = 65_536;

/// Reads the whole file, and where its ranges are; none only if a mistake was noted.
pub(super) fn rules(mut root: Table<'_>, open: &mut Open<'_>, secrets: &mut Secrets) -> Option<(Rules, RangeOrigins)> {
    let merchant = root.need("merchant", id);
    let currency = root.need("currency", currency);
    let time_zone = root.need("time_zone", time_zone);
    let names_max = root.get("names_max", integer(0, NAMES_MAX_MAX.into())).and_then(|n| u32::try_from(n).ok());
    let late_ms = root.get("late", duration_ms).unwrap_or(LATE_DEFAULT_MS);
    let dedup = root.table("dedup", "[dedup]").map(dedup).unwrap_or_default();
    let attribution = root.table("attribution", "[attribution]").map(attribution).unwrap_or_default();

    let mut known = Known::new();
    let files = register::Files::open(&mut root, open);
    let stores = register::stores(&mut root, &files, &mut known);
    let guides = register::guides(&mut root, &files, &mut known);
    let tables = root.tables("campaign", "campaign");
    let campaigns = tables
        .into_iter()
        .filter_map(|table| campaign::campaign(table, &mut known, currency.as_deref(), open, secrets))
        .collect();
    let batches = batch::batches(&mut root, &mut known, open, secrets);
    known.sealed.check(root.notes);
    let (ranges, range_origins) = range::ranges(&mut root, &files, &known);
    let codes = register::codes(&mut root, &files, &mut known);
    let tables = root.tables("commission", "commission");
    let commissions = tables.into_iter().filter_map(|table| commission(table, &known)).collect();
    let mut names = Ids::of("funnel");
    let tables = root.tables("funnel", "funnel");
    let funnels = tables.into_iter().filter_map(|table| funnel(table, &mut names)).collect();
    for table in root.tables("incentive", "incentive") {
        root.notes.mistake(table.at(), "incentives are not in this build; take it out");
    }
    root.end();
    let rules = Rules {
        merchant: merchant?,
        currency: currency?,
        time_zone: time_zone?,
        late_ms,
        dedup,
        attribution,
        commissions,
        stores,
        guides,
        codes,
        campaigns,
        funnels,
        batches,
        ranges,
        names_max: names_max.unwrap_or(NAMES_MAX_DEFAULT),
    };
    Some((rules, range_origins))
}

fn dedup(mut table: Table<'_>) -> Dedup {
    let default = Dedup::default();
    let dedup = Dedup {
        horizon_minutes: table.get("horizon", minutes(HORIZON_MINUTES_MAX)).unwrap_or(default.horizon_minutes),
        debounce_ms: table.get("debounce", duration_ms).unwrap_or(default.debounce_ms),
    };
    table.end();
    dedup
}

fn attribution(mut table: Table<'_>) -> Attribution {
    let default = Attribution::default();
    let touches = table.get("touches_max", integer(1, TOUCHES_MAX)).and_then(|n| u32::try_from(n).ok());
    let orders = table.get("orders_max", integer(1, ORDERS_MAX_MAX.into())).and_then(|n| u32::try_from(n).ok());
    let attribution = Attribution {
        window_ms: table.get("window", duration_ms).unwrap_or(default.window_ms),
        model: table.get("model", word(Model::ALL, Model::as_str)).unwrap_or(default.model),
        protect_ms: table.get("protect", duration_ms).unwrap_or(default.protect_ms),
        members: table.get("members", word(Members::ALL, Members::as_str)).unwrap_or(default.members),
        refund_within_ms: table.get("refund_within", duration_ms).unwrap_or(default.refund_within_ms),
        touches_max: touches.unwrap_or(default.touches_max),
        orders_max: orders.unwrap_or(default.orders_max),
    };
    table.end();
    attribution
}

fn commission(mut table: Table<'_>, known: &Known) -> Option<Commission> {
    let (from, to) = table.span();
    let store = table.get("store", id);
    let guide = table.get("guide", id);
    known.stores.check(table.notes, store.as_ref(), &table.place("store"));
    known.guides.check(table.notes, guide.as_ref(), &table.place("guide"));
    let level = table.get("level", id);
    let payee = table.get("payee", word(PayeeKind::ALL, PayeeKind::as_str)).unwrap_or(PayeeKind::Guide);
    let rate_ppm = table.need("rate", rate_ppm);
    let hold_ms = table.get("hold", duration_ms).unwrap_or(0);
    table.end();
    Some(Commission { from, to, store, guide, level, payee, rate_ppm: rate_ppm?, hold_ms })
}

fn funnel(mut table: Table<'_>, names: &mut Ids<String>) -> Option<Funnel> {
    let name = named(&mut table, "name", names, id);
    table.require("steps");
    let steps = table.list("steps", 1..=FUNNEL_STEPS_MAX, word(Step::ALL, Step::as_str));
    let within_ms = table.need("within", positive_ms);
    let ticket = table.get("ticket", id);
    let counted: Vec<Kind> = Kind::ALL.iter().copied().filter(|&kind| kind != Kind::Forged).collect();
    let kind = table.get("kind", word(&counted, Kind::as_str));
    table.end();
    Some(Funnel { name: name?, steps: steps?, within_ms: within_ms?, ticket, kind })
}
