//! What is granted of what was drawn (contract, section 6).
use super::super::rules::Campaign;
use super::super::{Seen, saw};
use super::{Award, Draws, drawn, prize};

/// An entry that drew a prize.
pub(super) struct Winner<'a> {
    pub(super) shopper: &'a str,
    pub(super) day: &'a str,
    pub(super) input: &'a str,
    pub(super) drawn: &'a str,
}

impl Draws {
    /// The prize that is granted, and its amount; None: thanks.
    pub(super) fn grant(
        &self,
        c: &Campaign,
        id: &str,
        winner: &Winner,
        seen: &mut Seen,
    ) -> Option<(String, Option<i64>)> {
        let Winner { shopper, day, input, drawn } = *winner;
        let granted: Vec<&Award> = self.awards.iter().filter(|a| a.campaign == id && a.awarded.is_some()).collect();
        let cash = |awards: &mut dyn Iterator<Item = &&Award>| -> i128 {
            awards.filter(|a| a.cash).map(|a| a.amount.unwrap() as i128).sum()
        };
        let spent = cash(&mut granted.iter());
        let spent_today = cash(&mut granted.iter().filter(|a| a.day == day));
        let wins = granted.iter().filter(|a| a.shopper == shopper).count() as u64;
        let mut wanted = drawn.to_string();
        let mut steps = 0;
        while wanted != "thanks" {
            let p = prize(c, &wanted).unwrap();
            let amount = match (p.amount, p.amount_max) {
                (Some(least), Some(most)) => {
                    saw(seen, if steps > 0 { "amount: drawn, of an else" } else { "amount: drawn" });
                    Some(drawn::amount(&c.secret, id, &p.id, input, least, most))
                }
                (amount, _) => amount,
            };
            let used = granted.iter().filter(|a| a.awarded.as_deref() == Some(&wanted));
            let used_today = used.clone().filter(|a| a.day == day).count() as i64;
            let used = used.count() as i64;
            let costs = if p.kind == "cash" { amount.unwrap() as i128 } else { 0 };
            let over = |spent: i128, budget: Option<i64>| {
                p.kind == "cash" && budget.is_some_and(|b| spent + costs > b as i128)
            };
            if p.stock.is_some_and(|s| used >= s) {
                saw(seen, "grant: no stock");
            } else if p.stock_day.is_some_and(|s| used_today >= s) {
                saw(seen, "grant: no stock today");
            } else if over(spent, c.budget) {
                saw(seen, "grant: no budget");
            } else if over(spent_today, c.budget_day) {
                saw(seen, "grant: no budget today");
            } else if c.limit_wins.is_some_and(|l| wins >= l) {
                saw(seen, "grant: limit_wins");
            } else {
                if p.stock_day.is_some_and(|s| used >= s) {
                    saw(seen, "grant: stock of another day");
                }
                if over(spent, c.budget_day) {
                    saw(seen, "grant: budget of another day");
                }
                return Some((wanted, amount));
            }
            wanted = p.otherwise.clone();
            steps += 1;
            if steps == 2 {
                saw(seen, "grant: else of an else");
            }
        }
        None
    }
}
