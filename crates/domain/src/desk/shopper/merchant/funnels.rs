//! Funnels: the steps that an event takes in them.

use super::Merchant;
use crate::desk::shopper::compiled_rules::TextScope;
use crate::desk::shopper::funnel::{FunnelEvent, Progress, Reached, begins, concerns};
use crate::desk::shopper::money::refunds::reserve_one;
use crate::desk::shopper::resolve::EventContext;
use crate::model::fact::{Fact, What};
use crate::protocol::stage::Outbox;

impl Merchant {
    /// Takes the steps of an event in every funnel that it concerns; `counted`: it is a counted scan.
    pub(super) fn funnels(&mut self, context: &EventContext<'_, '_>, counted: bool, out: &mut Outbox) {
        let Self { versions, compiled, state, bounds, looked_at, .. } = self;
        let mut funnel_event = FunnelEvent {
            action: context.event.action,
            scanned: context.resolved.scopes.kind.filter(|_| counted),
            ticket: context.event.ticket,
            channel: context.resolved.scopes.channel,
            received: context.received,
            day: context.today,
        };
        let begins_any = compiled.book.rules.funnels.iter().any(|f| begins(f, &funnel_event));
        if let (true, Some(bounds), Some(channel)) = (begins_any, &mut *bounds, context.event.channel) {
            // A cohort has the day of `received`.
            let (scope, day) = (TextScope::Cohort, context.today);
            let listed = (compiled.book.rules.names_max, |symbol| compiled.lists(scope, symbol));
            funnel_event.channel = bounds.named.symbol(scope, day, channel, listed, &mut state.names);
        }
        for funnel in compiled.book.rules.funnels.iter().filter(|f| concerns(f, &funnel_event)) {
            let symbol = state.names.sym(&funnel.name);
            let shopper = state.shoppers.get_or_add(context.event.shopper_key).more_or_new();
            let at = shopper.funnels.iter().position(|f| f.funnel == symbol).unwrap_or_else(|| {
                reserve_one(&mut shopper.funnels);
                shopper.funnels.push(Progress::new(symbol, compiled.book.seq));
                shopper.funnels.len() - 1
            });
            let progress = &mut shopper.funnels[at];
            if progress.rules != compiled.book.seq {
                // If the definition changed, progress starts again.
                let before = versions.get(&progress.rules).map(|v| &v.book.rules.funnels);
                if before.is_some_and(|funnels| funnels.contains(funnel)) {
                    progress.rules = compiled.book.seq;
                } else {
                    *progress = Progress::new(symbol, compiled.book.seq);
                }
            }
            let step = |Reached { step, channel, day }| {
                let what = What::Funnel {
                    funnel: &funnel.name,
                    step: u8::try_from(step + 1).expect("a funnel has few steps"),
                    action: funnel.steps[step],
                    channel: state.names.text(channel),
                    day,
                };
                out.fact(&Fact { merchant: context.event.merchant, what });
            };
            *looked_at += progress.looks();
            match &mut *bounds {
                Some(bounds) => {
                    bounds.reached.attempts += u64::from(progress.pass(funnel, &funnel_event, step));
                }
                None => progress.pass_unbounded(funnel, &funnel_event, step),
            }
            if progress.is_empty() {
                shopper.funnels.swap_remove(at);
            }
        }
    }
}
