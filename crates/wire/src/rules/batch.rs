//! Batches of minted one-item codes.

use bumpalo::Bump;
use domain::model::code::{Kind, Link};
use domain::model::rules::secrets::Secrets;
use domain::model::rules::{ALARM_SHOPPERS_MAX, Activate, BATCH_COUNT_MAX, BATCH_NUMBER_MAX, Batch};

use super::Open;
use super::register::{Known, KnownBatch};
use super::secret::committed;
use super::table::Table;
use super::values::{gtin, id, natural, url_prefix, word};
use crate::code::parse_link;
use crate::json::quoted;

/// Reads the batches; the number of one is taken even if something else is wrong.
pub(super) fn batches(
    root: &mut Table<'_>,
    known: &mut Known,
    open: &mut Open<'_>,
    secrets: &mut Secrets,
) -> Vec<Batch> {
    let tables = root.tables("batch", "batch");
    tables.into_iter().filter_map(|table| batch(table, known, open, secrets)).collect()
}

fn batch(mut table: Table<'_>, known: &mut Known, open: &mut Open<'_>, secrets: &mut Secrets) -> Option<Batch> {
    let kinds: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| kind.is_item()).collect();
    let number = table.need("number", natural(0, BATCH_NUMBER_MAX.into())).and_then(|n| u32::try_from(n).ok());
    let kind = table.need("kind", word(&kinds, Kind::as_str));
    let count = table.need("count", natural(1, BATCH_COUNT_MAX));
    let campaign = table.get("campaign", id);
    known.campaigns.check(table.notes, campaign.as_ref(), &table.place("campaign"));
    known.sealed.add_batch(&table, campaign.as_ref(), count);
    let gtin = table.get("gtin", gtin);
    let url = table.get("url", url_prefix);
    check_url(&table, url.as_deref());
    let secret = committed(&mut table, open);
    let alarm_shoppers =
        table.get("alarm_shoppers", natural(1, ALARM_SHOPPERS_MAX.into())).and_then(|n| u32::try_from(n).ok());
    let activate = table.get("activate", word(Activate::ALL, Activate::as_str)).unwrap_or(Activate::All);
    let guide = table.get("guide", id);
    known.guides.check(table.notes, guide.as_ref(), &table.place("guide"));
    let store = table.get("store", id);
    known.stores.check(table.notes, store.as_ref(), &table.place("store"));
    let channel = table.get("channel", id);
    if let Some(number) = number {
        let at = table.place("number");
        if let Some(KnownBatch { at, .. }) = known.batches.get(&number) {
            let (file, line) = (&at.file, at.line);
            table.mistake("number", format!("is {number}, as is another batch's at {file}:{line}"));
        } else {
            let ranges_wanted_at = (activate == Activate::Ranges).then(|| table.place("activate"));
            known.batches.insert(number, KnownBatch { at, count, ranges_wanted_at });
        }
    }
    table.end();

    let (secret, number) = (secret?, number?);
    secrets.batches.extend(secret.secret.map(|secret| (number, secret)));
    Some(Batch {
        number,
        kind: kind?,
        count: count?,
        campaign,
        gtin,
        url,
        secret: secret.reference,
        commit: secret.commit,
        alarm_shoppers,
        activate,
        guide,
        store,
        channel,
    })
}

/// Warns of minted URLs that do not lead to their codes. A batch with a GTIN does not use its `url`.
fn check_url(table: &Table<'_>, url: Option<&str>) {
    /// Any text of the form of a token.
    const TOKEN: &str = "00000000000000000000";
    let Some(url) = url.filter(|_| !table.has("gtin")) else { return };
    if parse_link(&format!("{url}{TOKEN}"), &Bump::new()) != Some(Link::Text(TOKEN)) {
        let what = format!(
            "is {}, and no code is found in a URL of it and a token; end it with \"/\" or with \"?c=\"",
            quoted(url)
        );
        table.notes.warning(&table.place("url"), what);
    }
}
