//! Registers: CSV files that hold more of what the rules file has, and the stores, guides and codes of both.
//!
//! - `rows`: the rows of a CSV file
//! - `quotes`: quoted cells that are torn

mod quotes;
mod rows;

use std::collections::BTreeMap;

use domain::model::code::Kind;
use domain::model::rules::{Guide, StaticCode, Store, Successor};
use toml::de::DeValue;

use super::ids::{Arrow, Ids, check_cycles};
use super::sealed::SealedDraws;
use super::table::{SourceLocation, Table};
use super::values::{CODE_BYTES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, gs1, guide_id, id, plain_text, text, time, word};
use super::{Open, Reference};
use crate::json::quoted;

use self::rows::{Shape, each_row};

const STORES: Shape = Shape { thing: "store", columns: &["id", "region", "name", "gln"], needed: &["id"] };
const GUIDES: Shape = Shape {
    thing: "guide",
    columns: &["id", "store", "level", "shopper", "gsrn", "left", "successor"],
    needed: &["id"],
};
const CODES: Shape =
    Shape { thing: "code", columns: &["id", "kind", "guide", "store", "campaign", "channel"], needed: &["id", "kind"] };
const RANGES: Shape = Shape {
    thing: "range",
    columns: &["batch", "from", "to", "state", "guide", "store", "region", "channel"],
    needed: &["batch", "from", "to"],
};

/// The ids that others may name.
pub(super) struct Known {
    pub(super) stores: Ids<String>,
    pub(super) guides: Ids<String>,
    pub(super) campaigns: Ids<String>,
    pub(super) sealed: SealedDraws,
    /// By number.
    pub(super) batches: BTreeMap<u32, KnownBatch>,
}

/// What codes and ranges must know of a batch.
pub(super) struct KnownBatch {
    /// Where its number is.
    pub(super) at: SourceLocation,
    pub(super) count: Option<u64>,
    /// Where it says that its codes are dark outside of ranges.
    pub(super) ranges_wanted_at: Option<SourceLocation>,
}

impl Known {
    pub(super) fn new() -> Self {
        Self {
            stores: Ids::of("store"),
            guides: Ids::of("guide"),
            campaigns: Ids::of("campaign"),
            sealed: SealedDraws::default(),
            batches: BTreeMap::new(),
        }
    }
}

/// The registers, each with its name.
#[derive(Default)]
pub(super) struct Files {
    stores: Option<(String, Vec<u8>)>,
    guides: Option<(String, Vec<u8>)>,
    codes: Option<(String, Vec<u8>)>,
    ranges: Option<(String, Vec<u8>)>,
}

impl Files {
    pub(super) fn open(root: &mut Table<'_>, open: &mut Open<'_>) -> Self {
        let mut files = Self::default();
        let Some(mut table) = root.table("registers", "[registers]") else { return files };
        for (key, file) in [
            ("stores", &mut files.stores),
            ("guides", &mut files.guides),
            ("codes", &mut files.codes),
            ("ranges", &mut files.ranges),
        ] {
            let Some(path) = table.get(key, text(PATH_BYTES_MAX)) else { continue };
            match open(Reference::Register(&path)) {
                Ok(bytes) => *file = Some((path, bytes)),
                Err(why) => table.mistake(key, format!("names {path:?}, which cannot be read: {why}")),
            }
        }
        table.end();
        files
    }

    /// The name of the register of ranges.
    pub(super) fn ranges_name(&self) -> Option<&str> {
        self.ranges.as_ref().map(|(name, _)| name.as_str())
    }
}

/// Reads the tables of the rules file, then the rows of the register.
fn each(
    root: &mut Table<'_>,
    key: &'static str,
    file: Option<&(String, Vec<u8>)>,
    shape: &Shape,
    mut read: impl FnMut(&mut Table<'_>),
) {
    for mut table in root.tables(key, shape.thing) {
        read(&mut table);
        table.end();
    }
    if let Some((file, bytes)) = file {
        each_row(root.notes, file, bytes, shape, |mut row| read(&mut row));
    }
}

pub(super) fn stores(root: &mut Table<'_>, files: &Files, known: &mut Known) -> Vec<Store> {
    let mut stores = Vec::new();
    let mut glns = Ids::of("store");
    each(root, "store", files.stores.as_ref(), &STORES, |table| {
        let id = named(table, "id", &mut known.stores, id);
        let region = table.get("region", self::id);
        let name = table.get("name", text(NAME_BYTES_MAX));
        let gln = table.get("gln", gs1("GLN", 13));
        if let Some(gln) = gln {
            glns.add(table.notes, format!("{gln:013}"), table.place("gln"));
        }
        stores.extend(id.map(|id| Store { id, region, name, gln }));
    });
    stores
}

pub(super) fn guides(root: &mut Table<'_>, files: &Files, known: &mut Known) -> Vec<Guide> {
    let mut guides = Vec::new();
    let mut gsrns = Ids::of("guide");
    let mut arrows = Vec::new();
    each(root, "guide", files.guides.as_ref(), &GUIDES, |table| {
        let id = named(table, "id", &mut known.guides, guide_id);
        let store = table.get("store", self::id);
        known.stores.check(table.notes, store.as_ref(), &table.place("store"));
        let level = table.get("level", self::id);
        let shopper = table.get("shopper", self::id);
        let gsrn = table.get("gsrn", gs1("GSRN", 18));
        if let Some(gsrn) = gsrn {
            gsrns.add(table.notes, format!("{gsrn:018}"), table.place("gsrn"));
        }
        let left = table.get("left", time);
        let successor = match table.get("successor", self::id) {
            None if table.has("store") => Successor::Store,
            None => Successor::Keep,
            Some(word) if word == "store" => {
                if !table.has("store") {
                    let what = "is \"store\", and the guide has no store; write a guide's id, or \"keep\"";
                    table.notes.lack(&table.place("successor"), what);
                }
                Successor::Store
            }
            Some(word) if word == "keep" => Successor::Keep,
            Some(to) => {
                let from = id.clone().unwrap_or_default();
                arrows.push(Arrow { from, to: to.clone(), at: table.place("successor") });
                Successor::Guide(to)
            }
        };
        guides.extend(id.map(|id| Guide { id, store, level, shopper, gsrn, left, successor }));
    });
    for Arrow { to, at, .. } in &arrows {
        known.guides.check(root.notes, Some(to), at);
    }
    check_cycles(root.notes, &arrows);
    guides
}

pub(super) fn codes(root: &mut Table<'_>, files: &Files, known: &mut Known) -> Vec<StaticCode> {
    let mut codes = Vec::new();
    let mut ids = Ids::of("code");
    let kinds: Vec<Kind> =
        Kind::ALL.iter().copied().filter(|kind| !matches!(kind, Kind::Unknown | Kind::Forged)).collect();
    each(root, "code", files.codes.as_ref(), &CODES, |table| {
        let id = named(table, "id", &mut ids, plain_text(CODE_BYTES_MAX));
        check_name(table, id.as_deref(), known);
        let kind = table.need("kind", word(&kinds, Kind::as_str));
        let guide = table.get("guide", self::id);
        known.guides.check(table.notes, guide.as_ref(), &table.place("guide"));
        let store = table.get("store", self::id);
        known.stores.check(table.notes, store.as_ref(), &table.place("store"));
        let campaign = table.get("campaign", self::id);
        known.campaigns.check(table.notes, campaign.as_ref(), &table.place("campaign"));
        known.sealed.check_code(table, campaign.as_ref());
        let channel = table.get("channel", self::id);
        for (of, key) in [(Kind::Guide, "guide"), (Kind::Store, "store")] {
            if kind == Some(of) && !table.has(key) {
                table.notes.lack(&table.place(key), format!("is missing; a code of the kind {key} needs it"));
            }
        }
        if let (Some(id), Some(kind)) = (id, kind) {
            codes.push(StaticCode { id, kind, guide, store, campaign, channel });
        }
    });
    codes
}

/// Reads each range, from the rules file and from the register.
pub(super) fn each_range(root: &mut Table<'_>, files: &Files, read: impl FnMut(&mut Table<'_>)) {
    each(root, "range", files.ranges.as_ref(), &RANGES, read);
}

/// Notes an id that is the name of a minted code: the number of a batch and a serial, in decimal.
fn check_name(table: &Table<'_>, id: Option<&str>, known: &Known) {
    let Some((id, (batch, serial))) = id.and_then(|id| Some((id, id.split_once(':')?))) else { return };
    let is_decimal = |digits: &str| {
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'))
    };
    if !is_decimal(batch) || !is_decimal(serial) {
        return;
    }
    if let Some(KnownBatch { at, .. }) = batch.parse().ok().and_then(|number: u32| known.batches.get(&number)) {
        let (id, file, line) = (quoted(id), &at.file, at.line);
        let what = format!("is {id}, a name of minted codes of the batch at {file}:{line}; choose another id");
        table.mistake("id", what);
    }
}

/// Reads the id of a table and takes it.
pub(super) fn named(
    table: &mut Table<'_>,
    key: &'static str,
    ids: &mut Ids<String>,
    read: impl FnOnce(&DeValue<'_>) -> Result<String, String>,
) -> Option<String> {
    let id = table.need(key, read)?;
    ids.add(table.notes, id.clone(), table.place(key));
    Some(id)
}
