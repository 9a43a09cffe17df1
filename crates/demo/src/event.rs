//! One event of the traffic, and its JSON line.

use domain::model::event::{Action, Part};
use domain::model::time::Millis;

use super::brand::{Brand, MERCHANT, SERVICES, code, cup_code, shopper_name};

/// The coupon that visitors may claim.
const TICKET: &str = "opening";
/// The start of the URLs on paper; the last segment of the path is the code.
const URL: &str = "https://m.example/c/";

/// Who does what. The traffic adds the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) who: Who,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Shopper(usize),
    /// A device whose shopper is not known yet.
    Device(usize),
}

/// Stores, guides and posters are indexes in the brand's lists.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// The code, and the store where the shopper stands, if any.
    Scan(Scanned, Option<usize>),
    Visit(&'static str),
    Follow(Option<usize>),
    Join(Option<usize>),
    Claim,
    Redeem(usize),
    Order(Order),
    /// An order's number and the refunded amount.
    Refund(u32, i64),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Scanned {
    Guide(usize),
    Store(usize),
    Poster(usize),
    Service(usize),
    Cup(u32),
    /// A code that the brand does not have.
    Stray(u32),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) number: u32,
    /// Minor units.
    pub(super) amount: i64,
    pub(super) store: usize,
    /// The guide at the till, if the till records one.
    pub(super) guide: Option<usize>,
    pub(super) part: Part,
}

impl Event {
    /// Whether it may be sent long after it occurred: a phone may be offline for a long time, a till is not.
    pub(super) fn may_be_late(&self) -> bool {
        matches!(self.what, What::Scan(..) | What::Visit(_))
    }

    /// The event as a JSON line. `run` keeps the ids and order numbers of this run different from those of other runs.
    pub(super) fn line(&self, brand: &Brand, run: Millis, serial: u64, time: Millis) -> String {
        let mut line = Line { text: format!(r#"{{"id":"{run:x}-{serial:x}""#) };
        line.text("action", self.what.action());
        match self.who {
            Who::Shopper(shopper) => line.text("shopper", &shopper_name(shopper)),
            Who::Device(device) => line.text("device", &format!("d{device:06}")),
        }
        line.text("merchant", MERCHANT);
        line.number("time", time);
        self.what.write(brand, run, &mut line);
        line.text.push('}');
        line.text
    }
}

impl What {
    fn action(&self) -> &'static str {
        let action = match self {
            Self::Scan(..) => Action::Scan,
            Self::Visit(_) => Action::Visit,
            Self::Follow(_) => Action::Follow,
            Self::Join(_) => Action::Join,
            Self::Claim => Action::Claim,
            Self::Redeem(_) => Action::Redeem,
            Self::Order(_) => Action::Order,
            Self::Refund(..) => Action::Refund,
        };
        action.as_str()
    }

    /// Writes the fields of this action.
    fn write(&self, brand: &Brand, run: Millis, line: &mut Line) {
        let store = |store: usize| brand.stores[store].id.as_str();
        let guide = |guide: usize| brand.guides[guide].id.as_str();
        let order = |number: u32| format!("o-{run:x}-{number}");
        match *self {
            Self::Scan(scanned, at) => {
                line.text("code", &scanned.code(brand));
                line.maybe("region", at.map(|at| brand.stores[at].region));
            }
            Self::Visit(channel) => line.text("channel", channel),
            Self::Follow(whom) | Self::Join(whom) => line.maybe("guide", whom.map(guide)),
            Self::Claim => line.text("ticket", TICKET),
            Self::Redeem(at) => {
                line.text("ticket", TICKET);
                line.text("store", store(at));
            }
            Self::Order(bought) => {
                line.text("order", &order(bought.number));
                line.number("amount", bought.amount);
                line.text("store", store(bought.store));
                line.maybe("guide", bought.guide.map(guide));
                line.text("part", bought.part.as_str());
            }
            Self::Refund(number, amount) => {
                line.text("order", &order(number));
                line.number("amount", amount);
            }
        }
    }
}

impl Scanned {
    /// The text that the camera reads: a bare code at the counter, a URL on paper.
    fn code(self, brand: &Brand) -> String {
        match self {
            Self::Guide(guide) => code(&brand.guides[guide].id),
            Self::Store(store) => code(&brand.stores[store].id),
            Self::Poster(poster) => format!("{URL}{}", brand.posters[poster].id),
            Self::Service(service) => SERVICES[service].0.to_owned(),
            Self::Cup(cup) => format!("{URL}{}", cup_code(cup)),
            Self::Stray(number) => format!("{URL}OLD-{number}"),
        }
    }
}

/// A JSON object under construction. Values need no escapes.
struct Line {
    text: String,
}

impl Line {
    fn text(&mut self, field: &str, value: &str) {
        debug_assert!(!value.contains(['"', '\\']));
        self.text.push_str(&format!(r#","{field}":"{value}""#));
    }

    fn maybe(&mut self, field: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(field, value);
        }
    }

    fn number(&mut self, field: &str, value: i64) {
        self.text.push_str(&format!(r#","{field}":{value}"#));
    }
}
