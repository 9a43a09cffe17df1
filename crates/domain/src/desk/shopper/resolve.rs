//! The meaning of an event under the rules in force: its code, its scopes, and the touch that it would be.

use super::money::touch::{Touch, UntimedTouch};
use crate::desk::shopper::compiled_rules::{CompiledCode, CompiledRules, NONE, Symbol, TextScope};
use crate::desk::shopper::counters::Scopes;
use crate::model::code::{Kind, Rank};
use crate::model::event::{Action, Event, Payment};
use crate::model::rules::batches::{Item, ItemState};
use crate::model::rules::rulebook::Resolved;
use crate::model::time::{AHEAD_MAX_MS, Day, Millis};

/// An event with what the rules add to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResolvedEvent<'a> {
    pub(super) code: Option<(Resolved<'a>, CompiledCode)>,
    pub(super) scopes: Scopes,
    pub(super) touch: Option<UntimedTouch>,
}

impl ResolvedEvent<'_> {
    /// The minted code of the event.
    pub(super) fn item(&self) -> Option<Item> {
        self.code.and_then(|(resolved, _)| resolved.item)
    }

    /// Whether its code is a minted one that does not live now. Only scans ask.
    pub(super) fn is_inactive(&self) -> bool {
        self.item().is_some_and(|item| item.state != ItemState::Active)
    }

    /// Whether its code is a minted one that its shopper takes for an unknown one.
    pub(super) fn is_dark(&self) -> bool {
        self.item().is_some_and(|item| item.state == ItemState::Dark)
    }
}

/// An event, with what every step of the desk needs to process it.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventContext<'a, 'e> {
    pub(super) event: &'a Event<'e>,
    pub(super) resolved: ResolvedEvent<'e>,
    pub(super) time: Millis,
    pub(super) received: Millis,
    /// The day of `time`, and of `received`.
    pub(super) day: Day,
    pub(super) today: Day,
    pub(super) late: bool,
}

impl<'e> EventContext<'_, 'e> {
    /// The payment of an order or a refund.
    pub(super) fn payment(&self) -> Option<Payment<'e>> {
        self.event.order.filter(|_| matches!(self.event.action, Action::Order | Action::Refund))
    }

    /// The region: the event's own, else that of its code, else that of its store.
    pub(super) fn region<'c>(&self, compiled: &'c CompiledRules) -> Option<&'c str>
    where
        'e: 'c,
    {
        let of_code = || compiled.region_of_item(self.resolved.item());
        self.event.region.or_else(of_code).or_else(|| compiled.region_text(self.resolved.scopes.store))
    }

    /// The touch that the event is.
    pub(super) fn touch(&self) -> Option<Touch> {
        let seed = self.resolved.touch.filter(|_| !self.late)?;
        Some(Touch::new(self.time, self.event.key, self.received, seed))
    }
}

/// When an event happened; `received` if the event does not say, or names a time too far ahead.
pub(super) fn time_of(event: &Event<'_>, received: Millis) -> Millis {
    event.time.filter(|&time| time <= received + AHEAD_MAX_MS).unwrap_or(received)
}

/// Derives guide, store, region, channel and campaign (contract section 1) and the touch (section 5). `symbol` gives the symbol
/// under which a text is counted.
pub(super) fn resolve<'a>(
    event: &Event<'a>,
    compiled: &CompiledRules,
    mut symbol: impl FnMut(TextScope, &str) -> Symbol,
) -> ResolvedEvent<'a> {
    let mut symbol = |scope, text: Option<&str>| text.map_or(NONE, |text| symbol(scope, text));
    let code = event.code.as_ref().map(|code| {
        let mut resolved = compiled.book.resolve(code);
        // A forged code is only counted as one where it is scanned.
        if resolved.kind == Kind::Forged && event.action != Action::Scan {
            resolved.kind = Kind::Unknown;
        }
        let meaning = compiled.code(&resolved);
        (resolved, meaning)
    });
    let meaning = code.map(|(_, meaning)| meaning);
    let of_code = |field: fn(&CompiledCode) -> Symbol| meaning.as_ref().map_or(NONE, field);
    let own_guide = symbol(TextScope::Guide, event.guide);
    let guide = or(own_guide, || of_code(|c| c.guide));
    let own_store = symbol(TextScope::Store, event.store);
    let store = or(own_store, || or(of_code(|c| c.store), || compiled.store_of_guide(guide)));
    let scopes = Scopes {
        store,
        guide,
        campaign: compiled.campaign(meaning.and_then(|m| m.campaign)),
        kind: meaning.map(|m| m.kind),
        region: or(symbol(TextScope::Region, event.region), || {
            or(of_code(|c| c.region), || compiled.region_of_store(store))
        }),
        channel: or(symbol(TextScope::Channel, event.channel), || of_code(|c| c.channel)),
        ticket: symbol(TextScope::Ticket, event.ticket),
    };
    let mut resolved = ResolvedEvent { code, scopes, touch: None };
    let is_scan_of_none = scopes.kind == Some(Kind::Forged) || resolved.is_inactive();
    if !(event.action == Action::Scan && is_scan_of_none) {
        resolved.touch = seed(event.action, own_guide, own_store, meaning.as_ref(), &scopes, compiled);
    }
    resolved
}

fn or(own: Symbol, other: impl FnOnce() -> Symbol) -> Symbol {
    if own == NONE { other() } else { own }
}

/// The touch of an event, if it is one. A guide or store that the rules do not list counts as none. It still replaces the code's
/// own guide or store.
fn seed(
    action: Action,
    own_guide: Symbol,
    own_store: Symbol,
    meaning: Option<&CompiledCode>,
    scopes: &Scopes,
    compiled: &CompiledRules,
) -> Option<UntimedTouch> {
    let listed_guide = compiled.guide_of(scopes.guide).map_or(NONE, |_| scopes.guide);
    let listed = |store: Symbol| compiled.store_of(store).map(|_| store);
    let of_guide = || if own_store == NONE { NONE } else { compiled.store_of_guide(listed_guide) };
    let listed_store = listed(scopes.store).unwrap_or_else(of_guide);
    match action {
        Action::Scan | Action::Visit | Action::Follow | Action::Join => {}
        Action::Order if listed_guide != NONE => {}
        Action::Order | Action::Claim | Action::Redeem | Action::Refund => return None,
    }
    let own_guide = if own_guide == NONE { NONE } else { listed_guide };
    let known = meaning.and_then(|m| Some((m.kind, m.rank?)));
    let (kind, rank) = match known {
        Some((kind, rank)) if own_guide != NONE => (kind, rank.max(Rank::Guide)),
        Some(known) => known,
        None if own_guide != NONE => (Kind::Guide, Rank::Guide),
        None if action != Action::Scan && listed_store != NONE => (Kind::Store, Rank::Store),
        None => return None,
    };
    Some(UntimedTouch { guide: listed_guide, store: listed_store, rank, kind })
}
