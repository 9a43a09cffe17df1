//! Symbols: small numbers for the texts that key counters and touches; and a version of the rules, compiled to symbols.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::model::code::{Kind, Rank};
use crate::model::rules::RulesSeq;
use crate::model::rules::rulebook::{Gs1Owner, Resolved, Rulebook};

/// The number of a text; [`NONE`] stands for no text. No answer depends on which number a text has.
pub(super) type Symbol = u32;
pub(super) const NONE: Symbol = u32::MAX;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Arc<str>>", into = "Vec<Arc<str>>")]
pub(super) struct Interner {
    by_text: HashMap<Arc<str>, Symbol>,
    texts: Vec<Arc<str>>,
}

impl From<Vec<Arc<str>>> for Interner {
    fn from(texts: Vec<Arc<str>>) -> Self {
        Self { by_text: texts.iter().cloned().zip(0..).collect(), texts }
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
        let sym = Symbol::try_from(self.texts.len()).expect("fewer than 2^32 names");
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.by_text.insert(text, sym);
        sym
    }

    pub(super) fn optional(&mut self, text: Option<&str>) -> Symbol {
        text.map_or(NONE, |t| self.sym(t))
    }

    /// The text of a name; `None` for [`NONE`].
    pub(super) fn text(&self, sym: Symbol) -> Option<&str> {
        self.texts.get(sym as usize).map(AsRef::as_ref)
    }
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
    campaigns: Vec<Symbol>,
    store_of: HashMap<Symbol, u32>,
    guide_of: HashMap<Symbol, u32>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct CompiledStore {
    pub(super) sym: Symbol,
    pub(super) region: Symbol,
}

/// What a code adds to an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct CompiledCode {
    pub(super) kind: Kind,
    pub(super) rank: Option<Rank>,
    pub(super) guide: Symbol,
    pub(super) store: Symbol,
    pub(super) channel: Symbol,
    pub(super) campaign: Option<u32>,
}

impl CompiledCode {
    fn bare(kind: Kind) -> Self {
        Self { kind, rank: kind.rank(), guide: NONE, store: NONE, channel: NONE, campaign: None }
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
        let codes = book.codes.iter().zip(&rules.codes).map(|(terms, code)| CompiledCode {
            kind: terms.kind,
            rank: terms.kind.rank(),
            guide: terms.guide.map_or(NONE, |g| guides[g as usize]),
            store: terms.store.map_or(NONE, |s| stores[s as usize].sym),
            channel: names.optional(code.channel.as_deref()),
            campaign: terms.campaign,
        });
        let codes = codes.collect();
        let conditions = rules.commissions.iter();
        let conditions = conditions.map(|c| (names.optional(c.store.as_deref()), names.optional(c.guide.as_deref())));
        Self {
            conditions: conditions.collect(),
            codes,
            campaigns: rules.campaigns.iter().map(|c| names.sym(&c.id)).collect(),
            store_of: (0..).zip(&stores).map(|(i, s)| (s.sym, i)).collect(),
            guide_of: (0..).zip(&guides).map(|(i, &g)| (g, i)).collect(),
            stores,
            guides,
            book: Arc::clone(book),
        }
    }

    pub(super) fn code(&self, resolved: &Resolved<'_>) -> CompiledCode {
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

    pub(super) fn campaign(&self, index: Option<u32>) -> Symbol {
        index.map_or(NONE, |c| self.campaigns[c as usize])
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
