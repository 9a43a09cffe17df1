//! Symbols: small numbers for the texts that key counters and touches; and a version of the rules, compiled to symbols.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

use crate::model::code::{Kind, Rank};
use crate::model::fact::OTHER_TEXT;
use crate::model::rules::RulesSeq;
use crate::model::rules::batches::Item;
use crate::model::rules::rulebook::{Gs1Owner, Resolved, Rulebook};

/// The number of a text; [`NONE`] stands for no text. No answer depends on which number a text has.
pub(super) type Symbol = u32;
pub(super) const NONE: Symbol = u32::MAX;
/// Stands for all texts beyond `names_max`.
pub(super) const OTHER: Symbol = u32::MAX - 1;

/// Number of new texts from which on those that nothing refers to are looked for. No answer depends on it.
const SWEPT_FROM: usize = 65_536;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Arc<str>>", into = "Vec<Arc<str>>")]
pub(super) struct Interner {
    by_text: HashMap<Arc<str>, Symbol>,
    /// By symbol; empty if the symbol is free.
    texts: Vec<Arc<str>>,
    free: Vec<Symbol>,
    /// Number of texts that the last sweep left.
    left: usize,
    /// Sum of the texts' lengths.
    bytes: usize,
}

impl From<Vec<Arc<str>>> for Interner {
    fn from(texts: Vec<Arc<str>>) -> Self {
        let used = texts.iter().cloned().zip(0..).filter(|(text, _)| !text.is_empty());
        let by_text: HashMap<_, _> = used.collect();
        let free = (0..).zip(&texts).filter(|(_, text)| text.is_empty()).map(|(symbol, _)| symbol).collect();
        let bytes = texts.iter().map(|text| text.len()).sum();
        // After a restore the first sweep comes soon: how many the last one left is not known.
        Self { left: 0, by_text, texts, free, bytes }
    }
}

impl From<Interner> for Vec<Arc<str>> {
    fn from(names: Interner) -> Self {
        names.texts
    }
}

impl Interner {
    pub(super) fn sym(&mut self, text: &str) -> Symbol {
        if let Some(&sym) = self.by_text.get(text) {
            return sym;
        }
        self.bytes += text.len();
        let text: Arc<str> = text.into();
        let sym = if let Some(sym) = self.free.pop() {
            self.texts[sym as usize] = Arc::clone(&text);
            sym
        } else {
            self.texts.push(Arc::clone(&text));
            Symbol::try_from(self.texts.len() - 1).expect("fewer than 2^32 names")
        };
        self.by_text.insert(text, sym);
        sym
    }

    /// The symbol of a text, if it has one.
    pub(super) fn find(&self, text: &str) -> Option<Symbol> {
        self.by_text.get(text).copied()
    }

    pub(super) fn optional(&mut self, text: Option<&str>) -> Symbol {
        text.map_or(NONE, |t| self.sym(t))
    }

    /// The text of a name; `None` for [`NONE`].
    pub(super) fn text(&self, sym: Symbol) -> Option<&str> {
        if sym == OTHER {
            return Some(OTHER_TEXT);
        }
        self.texts.get(sym as usize).map(AsRef::as_ref)
    }

    /// Number of symbols, the free ones too.
    pub(super) fn end(&self) -> Symbol {
        Symbol::try_from(self.texts.len()).expect("fewer than 2^32 names")
    }

    /// Whether there are enough new texts for a sweep to be worth its cost, which grows with the number of shoppers.
    pub(super) fn is_sweep_due(&self, shoppers: usize) -> bool {
        self.by_text.len() - self.left >= SWEPT_FROM.max(self.left).max(shoppers / 16)
    }

    /// Frees the texts for which `is_used` is false.
    pub(super) fn sweep(&mut self, is_used: impl Fn(Symbol) -> bool) {
        let Self { by_text, texts, free, left, bytes } = self;
        by_text.retain(|_, &mut symbol| {
            let used = is_used(symbol);
            if !used {
                *bytes -= texts[symbol as usize].len();
                texts[symbol as usize] = "".into();
                free.push(symbol);
            }
            used
        });
        // In the same order on every machine, so that equal states have equal bytes.
        free.sort_unstable_by(|a, b| b.cmp(a));
        *left = by_text.len();
    }

    /// Approximate size in memory, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.texts.len() * 2 * size_of::<Arc<str>>() + self.by_text.allocation_size()
    }
}

/// What a text is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextScope {
    Store,
    Guide,
    Region,
    Channel,
    Ticket,
    /// The channel of a funnel's cohort, on the day of `received`.
    Cohort,
}

/// Compiled rules by the number of their version.
pub(super) type Versions = BTreeMap<RulesSeq, Arc<CompiledRules>>;

/// A version of the rules, with symbols for its ids.
#[derive(Clone, Debug)]
pub(super) struct CompiledRules {
    pub(super) book: Arc<Rulebook>,
    /// By index in the rules.
    pub(super) stores: Vec<CompiledStore>,
    pub(super) guides: Vec<Symbol>,
    /// The conditions of each `[[commission]]` on the order's store and the credited guide.
    pub(super) conditions: Vec<(Symbol, Symbol)>,
    codes: Vec<CompiledCode>,
    batches: Vec<CompiledCode>,
    ranges: Vec<ItemRange>,
    campaigns: Vec<Symbol>,
    store_of: HashMap<Symbol, u32>,
    guide_of: HashMap<Symbol, u32>,
    channels: HashSet<Symbol>,
    regions: HashSet<Symbol>,
    tickets: HashSet<Symbol>,
    funnels: Vec<Symbol>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct CompiledStore {
    pub(super) sym: Symbol,
    pub(super) region: Symbol,
}

/// What a range of a batch says of its items.
#[derive(Clone, Copy, Debug)]
struct ItemRange {
    guide: Symbol,
    store: Symbol,
    region: Symbol,
    channel: Symbol,
}

/// What a code adds to an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct CompiledCode {
    pub(super) kind: Kind,
    pub(super) rank: Option<Rank>,
    pub(super) guide: Symbol,
    pub(super) store: Symbol,
    pub(super) channel: Symbol,
    pub(super) region: Symbol,
    pub(super) campaign: Option<u32>,
}

impl CompiledCode {
    fn bare(kind: Kind) -> Self {
        Self { kind, rank: kind.rank(), guide: NONE, store: NONE, channel: NONE, region: NONE, campaign: None }
    }
}

impl CompiledRules {
    pub(super) fn new(book: &Arc<Rulebook>, names: &mut Interner) -> Self {
        let rules = &book.rules;
        let stores: Vec<CompiledStore> = rules
            .stores
            .iter()
            .map(|s| CompiledStore { sym: names.sym(&s.id), region: names.optional(s.region.as_deref()) })
            .collect();
        let guides: Vec<Symbol> = rules.guides.iter().map(|g| names.sym(&g.id)).collect();
        let guide = |index: Option<u32>| index.map_or(NONE, |g| guides[g as usize]);
        let store = |index: Option<u32>| index.map_or(NONE, |s| stores[s as usize].sym);
        let codes = book.codes.iter().zip(&rules.codes).map(|(terms, code)| CompiledCode {
            kind: terms.kind,
            rank: terms.kind.rank(),
            guide: guide(terms.guide),
            store: store(terms.store),
            channel: names.optional(code.channel.as_deref()),
            region: NONE,
            campaign: terms.campaign,
        });
        let codes: Vec<CompiledCode> = codes.collect();
        let batches = book.batches.terms.iter().zip(&rules.batches).map(|(terms, batch)| CompiledCode {
            guide: guide(terms.guide),
            store: store(terms.store),
            channel: names.optional(batch.channel.as_deref()),
            campaign: terms.campaign,
            ..CompiledCode::bare(batch.kind)
        });
        let batches: Vec<CompiledCode> = batches.collect();
        let ranges = book.batches.ranges.iter().zip(&rules.ranges).map(|(terms, range)| ItemRange {
            guide: guide(terms.guide),
            store: store(terms.store),
            region: names.optional(range.region.as_deref()),
            channel: names.optional(range.channel.as_deref()),
        });
        let ranges: Vec<ItemRange> = ranges.collect();
        let tickets = rules.campaigns.iter().flat_map(|c| &c.prizes).filter_map(|prize| prize.ticket.as_deref());
        let tickets = tickets.chain(rules.funnels.iter().filter_map(|funnel| funnel.ticket.as_deref()));
        let tickets = tickets.map(|ticket| names.sym(ticket)).collect();
        let areas = rules.campaigns.iter().flat_map(|c| &c.areas).map(|area| names.sym(area));
        let regions = areas.chain(stores.iter().map(|s| s.region)).chain(ranges.iter().map(|r| r.region)).collect();
        let of_items = batches.iter().map(|batch| batch.channel).chain(ranges.iter().map(|range| range.channel));
        let conditions = rules.commissions.iter();
        let conditions = conditions.map(|c| (names.optional(c.store.as_deref()), names.optional(c.guide.as_deref())));
        Self {
            conditions: conditions.collect(),
            channels: codes.iter().map(|code| code.channel).chain(of_items).collect(),
            codes,
            batches,
            ranges,
            regions,
            tickets,
            funnels: rules.funnels.iter().map(|f| names.sym(&f.name)).collect(),
            campaigns: rules.campaigns.iter().map(|c| names.sym(&c.id)).collect(),
            store_of: (0..).zip(&stores).map(|(i, s)| (s.sym, i)).collect(),
            guide_of: (0..).zip(&guides).map(|(i, &g)| (g, i)).collect(),
            stores,
            guides,
            book: Arc::clone(book),
        }
    }

    pub(super) fn code(&self, resolved: &Resolved<'_>) -> CompiledCode {
        if let Some(item) = resolved.item {
            return self.item(item);
        }
        match (resolved.listed, resolved.place) {
            (Some(index), _) => self.codes[index as usize],
            (None, Some(Gs1Owner::Store(s))) => {
                CompiledCode { store: self.stores[s as usize].sym, ..CompiledCode::bare(Kind::Store) }
            }
            (None, Some(Gs1Owner::Guide(g))) => {
                CompiledCode { guide: self.guides[g as usize], ..CompiledCode::bare(Kind::Guide) }
            }
            (None, None) => CompiledCode::bare(resolved.kind),
        }
    }

    /// A minted code: what its range says goes before what its batch says.
    fn item(&self, item: Item) -> CompiledCode {
        let batch = self.batches[item.batch as usize];
        let Some(range) = item.range.map(|at| self.ranges[at as usize]) else { return batch };
        let first = |of_range: Symbol, of_batch: Symbol| if of_range == NONE { of_batch } else { of_range };
        CompiledCode {
            guide: first(range.guide, batch.guide),
            store: first(range.store, batch.store),
            channel: first(range.channel, batch.channel),
            region: range.region,
            ..batch
        }
    }

    /// The region that the range of a minted code is meant for.
    pub(super) fn region_of_item(&self, item: Option<Item>) -> Option<&str> {
        self.book.rules.ranges[item?.range? as usize].region.as_deref()
    }

    /// Whether a minted code is scanned in another region than the one that its range is meant for.
    pub(super) fn is_diverted(&self, item: Option<Item>, own_region: Option<&str>) -> bool {
        self.region_of_item(item).zip(own_region).is_some_and(|(meant, own)| !own.starts_with(meant))
    }

    pub(super) fn campaign(&self, index: Option<u32>) -> Symbol {
        index.map_or(NONE, |c| self.campaigns[c as usize])
    }

    /// Whether the rules list a text.
    pub(super) fn lists(&self, scope: TextScope, symbol: Symbol) -> bool {
        match scope {
            TextScope::Store => self.store_of.contains_key(&symbol),
            TextScope::Guide => self.guide_of.contains_key(&symbol),
            TextScope::Region => self.regions.contains(&symbol),
            TextScope::Channel | TextScope::Cohort => self.channels.contains(&symbol),
            TextScope::Ticket => self.tickets.contains(&symbol),
        }
    }

    /// All symbols of its ids and texts.
    pub(super) fn symbols(&self) -> impl Iterator<Item = Symbol> {
        let stores = self.stores.iter().map(|s| s.sym);
        let ids = stores.chain(self.guides.iter().chain(&self.campaigns).chain(&self.funnels).copied());
        // Conditions name stores and guides of the rules.
        ids.chain(self.channels.iter().chain(&self.regions).chain(&self.tickets).copied())
    }

    /// The region of a listed store.
    pub(super) fn region_text(&self, store: Symbol) -> Option<&str> {
        self.store_of(store).and_then(|s| self.book.rules.stores[s as usize].region.as_deref())
    }

    /// The index of a listed store or guide.
    pub(super) fn store_of(&self, sym: Symbol) -> Option<u32> {
        self.store_of.get(&sym).copied()
    }

    pub(super) fn guide_of(&self, sym: Symbol) -> Option<u32> {
        self.guide_of.get(&sym).copied()
    }

    pub(super) fn store_of_guide(&self, sym: Symbol) -> Symbol {
        let store = self.guide_of(sym).and_then(|g| self.book.guides[g as usize].store);
        store.map_or(NONE, |s| self.stores[s as usize].sym)
    }

    pub(super) fn region_of_store(&self, sym: Symbol) -> Symbol {
        self.store_of(sym).map_or(NONE, |s| self.stores[s as usize].region)
    }
}
