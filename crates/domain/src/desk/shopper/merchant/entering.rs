//! Entries into draws: what of a scan goes to the code desk, and the result for its sender.

use super::Merchant;
use crate::desk::shopper::compiled_rules::{CompiledCode, OTHER, TextScope};
use crate::desk::shopper::entry::{EntryAttempt, enter};
use crate::desk::shopper::resolve::EventContext;
use crate::desk::shopper::shopper::Shopper;
use crate::model::address::Topic;
use crate::model::code::Kind;
use crate::model::event::Action;
use crate::model::fact::{Answer, CodeScan, Fact, Metric, Outcome, Region, ScanResult, What};
use crate::model::ids::{join_keys, shard_key, text_key};
use crate::model::rules::rulebook::Name;
use crate::protocol::stage::Outbox;

impl Merchant {
    /// Enters a scan into the draw of its code's campaign, and sends its result.
    pub(super) fn enter(&mut self, context: &EventContext<'_, '_>, counted: bool, out: &mut Outbox) {
        if let (Action::Scan, Some((resolved, code))) = (context.event.action, context.resolved.code) {
            let result = self.send_scan(context, &resolved.name, code, counted, out);
            self.answer(context, &resolved.name, code, result, out);
        }
    }

    /// Sends scans of item codes and entries to the code desk; returns the result for the sender.
    fn send_scan(
        &mut self,
        context: &EventContext<'_, '_>,
        name: &Name<'_>,
        code: CompiledCode,
        counted: bool,
        out: &mut Outbox,
    ) -> ScanResult {
        let kind = code.kind;
        // Anyone can send keyless scans repeatedly, so they enter only with codes that draw once.
        let draws = code.campaign.is_some() && !context.event.keyless;
        if kind == Kind::Forged || !(kind.is_item() || draws) {
            // The result of a forged code is `counted`, so that the sender cannot tell it from an unknown one.
            return if counted || kind == Kind::Forged { ScanResult::Counted } else { ScanResult::Repeat };
        }
        let is_dark = context.resolved.is_dark();
        let entry = match counted {
            true if is_dark => Err(Outcome::Inactive),
            true => self.entry(context, name, code),
            false => Err(Outcome::Repeat),
        };
        let outcome = entry.err().unwrap_or(Outcome::Entered);
        if entry.is_ok() {
            self.counters.add_all(&context.resolved.scopes, context.day, &[(Metric::Entries, 1)]);
        } else if !kind.is_item() {
            return outcome.into();
        }
        let region = match (context.region(&self.compiled), &mut self.bounds) {
            (Some(text), Some(bounds)) if entry.is_ok() => {
                // An award is counted on the day of `received`.
                let (scope, day) = (TextScope::Region, context.today);
                let listed = (self.compiled.book.rules.names_max, |symbol| self.compiled.lists(scope, symbol));
                let symbol = bounds.named.symbol(scope, day, text, listed, &mut self.state.names);
                Some(Region { text, is_named: symbol != OTHER })
            }
            (text, _) => text.map(|text| Region { text, is_named: true }),
        };
        let mut buffer = [0; 18];
        let code = name.text(&mut buffer);
        let scan = CodeScan {
            merchant: context.event.merchant,
            key: context.event.answer_key(),
            rules: self.compiled.book.seq,
            code,
            kind,
            received: context.received,
            region,
            shopper: context.event.shopper,
            shopper_key: context.event.shopper_key,
            outcome,
            entry: entry.ok(),
        };
        // The codes of a batch are spread by their serials, so that the pages of their states are dense.
        let key = context.resolved.item().map_or_else(|| text_key(code), |item| shard_key(item.serial));
        out.send(Topic::Draws, key, &scan);
        // A dark code must look like an unknown one.
        if is_dark && counted { ScanResult::Counted } else { outcome.into() }
    }

    /// The entry that a scan makes: the campaign's index and the entry's number; or the outcome that refuses it.
    fn entry(
        &mut self,
        context: &EventContext<'_, '_>,
        name: &Name<'_>,
        code: CompiledCode,
    ) -> Result<(u32, u64), Outcome> {
        let index = code.campaign.ok_or(Outcome::NoCampaign)?;
        let item = code.kind.is_item().then(|| join_keys(context.event.shopper_key, name.key()));
        let attempt = EntryAttempt {
            received: context.received,
            day: context.today,
            region: context.region(&self.compiled),
            is_guide: self.compiled.book.guide_shoppers.contains(&context.event.shopper_key),
            is_inactive: context.resolved.is_inactive(),
            entered_before: item.is_some_and(|item| self.has_entered(item)),
        };
        let campaign = &self.compiled.book.rules.campaigns[index as usize];
        let symbol = self.compiled.campaign(Some(index));
        let known = self.state.shoppers.get_mut(context.event.shopper_key).and_then(Shopper::more_mut);
        let n = match known {
            Some(more) => enter(campaign, symbol, &attempt, &mut more.entries)?,
            None => {
                // A shopper whose first entry is refused stays without.
                let mut entries = Vec::new();
                let n = enter(campaign, symbol, &attempt, &mut entries)?;
                self.state.shoppers.get_or_add(context.event.shopper_key).more_or_new().entries = entries;
                n
            }
        };
        item.into_iter().for_each(|item| self.remember_entry(item));
        Ok((index, n))
    }

    /// Sends the result of a scan.
    fn answer(
        &self,
        context: &EventContext<'_, '_>,
        name: &Name<'_>,
        code: CompiledCode,
        result: ScanResult,
        out: &mut Outbox,
    ) {
        let mut buffer = [0; 18];
        let drawn = !matches!(result, ScanResult::Counted | ScanResult::Repeat);
        let campaign = code.campaign.filter(|_| drawn);
        out.fact(&Fact {
            merchant: context.event.merchant,
            what: What::Answer(Answer {
                key: context.event.answer_key(),
                received: context.received,
                desk: 1,
                result,
                code: matches!(result, ScanResult::Pending | ScanResult::Yours).then(|| name.text(&mut buffer)),
                campaign: campaign.map(|index| self.compiled.book.rules.campaigns[index as usize].id.as_str()),
                prize: None,
                claim: None,
                shopper: (context.event.keyless && result == ScanResult::Yours).then_some(context.event.shopper),
            }),
        });
    }
}
