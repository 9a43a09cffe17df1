//! The plan of a relay: which Produce requests get a fault, and which fault.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::produce::Produce;

/// Kafka's error codes for refusals of Produce requests, by Kafka's own names.
#[expect(missing_docs, reason = "the names are Kafka's")]
pub mod code {
    pub const NOT_LEADER_OR_FOLLOWER: i16 = 6;
    pub const REQUEST_TIMED_OUT: i16 = 7;
    pub const MESSAGE_TOO_LARGE: i16 = 10;
    pub const NOT_ENOUGH_REPLICAS: i16 = 19;
    pub const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i16 = 20;
    pub const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
    pub const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
    pub const KAFKA_STORAGE_ERROR: i16 = 56;
    pub const INVALID_RECORD: i16 = 87;
}

/// What a relay does with a Produce request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Forwarded and answered.
    Pass,
    /// Not forwarded and never answered; the connection stays.
    Swallow,
    /// As `Swallow`; the connection closes after this number of further Produce requests was forwarded.
    SwallowThenClose(u32),
    /// Not forwarded; the connection closes.
    CloseBefore,
    /// Forwarded; when the broker has answered, the connection closes instead.
    CloseAfter,
    /// Not forwarded, answered with an error code.
    Refuse(i16),
    /// As `Refuse`, but the answer and all later ones are delayed by this time.
    RefuseLate(i16, Duration),
    /// Forwarded; the broker's answer is replaced by an error code.
    RefuseAfter(i16),
    /// The answer and all later ones are delayed by this time.
    DelayAnswer(Duration),
    /// The request and all later ones are delayed by this time.
    DelayRequest(Duration),
}

/// Which Produce requests of a client, counted from the creation of the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Every request.
    Every,
    /// The n-th of each client id, from 1.
    Nth(u64),
    /// The first one of every connection.
    FirstOfConnection,
    /// The first one of every producer (by the broker's id and epoch); its retry does not count.
    FirstOfProducer,
}

/// A request that got a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hurt {
    /// The client id of the sender.
    pub client: String,
    /// Its number among the Produce requests of its client id, from 1.
    pub nth: u64,
    /// What was done with it.
    pub act: Act,
}

/// The rules for Produce requests. All relays of a cluster share one plan, and tests may change it at any time. The first rule
/// that fits decides; without one a request passes.
///
/// Rules name clients by client id; `lane-*` stands for all ids that begin with `lane-`.
#[derive(Debug, Clone, Default)]
pub struct Plan(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    seen: HashMap<String, u64>,
    hurts: Vec<Hurt>,
    trouble: Vec<String>,
}

#[derive(Debug)]
struct Rule {
    client: String,
    what: What,
    seen: HashMap<String, u64>,
    producers: HashSet<(String, (i64, i16))>,
}

#[derive(Debug)]
enum What {
    Planned(When, Act),
    Chaos { per_mille: u64, seed: u64 },
}

impl Plan {
    /// Adds a rule.
    pub fn on(&self, client: &str, when: When, act: Act) {
        self.add(client, What::Planned(when, act));
    }

    /// Adds a rule that injects random faults into `per_mille` of a thousand requests. The fault of a client's n-th request depends
    /// only on the seed, the client id and n.
    pub fn chaos(&self, client: &str, per_mille: u32, seed: u64) {
        self.add(client, What::Chaos { per_mille: per_mille.into(), seed });
    }

    /// Removes the rules that were added with the same `client` text.
    pub fn clear(&self, client: &str) {
        self.state().rules.retain(|rule| rule.client != client);
    }

    /// The number of Produce requests of a client.
    #[must_use]
    pub fn seen(&self, client: &str) -> u64 {
        let state = self.state();
        state.sound();
        state.seen.iter().filter(|(id, _)| is(client, id)).map(|(_, count)| count).sum()
    }

    /// The requests of a client that got a fault, in order.
    #[must_use]
    pub fn hurts(&self, client: &str) -> Vec<Hurt> {
        let state = self.state();
        state.sound();
        state.hurts.iter().filter(|hurt| is(client, &hurt.client)).cloned().collect()
    }

    /// Decides what happens to a request, the n-th Produce request of its connection.
    pub(super) fn decide(&self, client: &str, nth_of_connection: u64, produce: &Produce) -> Act {
        let mut state = self.state();
        let state = &mut *state;
        let nth = state.seen.entry(client.to_owned()).or_default();
        *nth += 1;
        // Every rule counts the request, so that its count does not depend on earlier rules.
        let acts = state.rules.iter_mut().filter(|rule| is(&rule.client, client));
        let acts: Vec<Act> = acts.map(|rule| rule.decide(client, nth_of_connection, produce)).collect();
        let act = acts.into_iter().find(|act| *act != Act::Pass).unwrap_or(Act::Pass);
        if act != Act::Pass {
            state.hurts.push(Hurt { client: client.to_owned(), nth: *nth, act });
        }
        act
    }

    /// Notes a request that the relay did not understand: a test with such a request must fail.
    pub(super) fn trouble(&self, what: String) {
        eprintln!("relay: {what}");
        self.state().trouble.push(what);
    }

    fn add(&self, client: &str, what: What) {
        let rule = Rule { client: client.to_owned(), what, seen: HashMap::new(), producers: HashSet::new() };
        self.state().rules.push(rule);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl State {
    fn sound(&self) {
        assert!(self.trouble.is_empty(), "the relay did not understand: {:?}", self.trouble);
    }
}

impl Rule {
    fn decide(&mut self, client: &str, nth_of_connection: u64, produce: &Produce) -> Act {
        let nth = self.seen.entry(client.to_owned()).or_default();
        *nth += 1;
        match self.what {
            What::Chaos { per_mille, seed } => chaos(per_mille, seed, client, *nth),
            What::Planned(when, act) => {
                let fits = match when {
                    When::Every => true,
                    When::Nth(wanted) => *nth == wanted,
                    When::FirstOfConnection => nth_of_connection == 1,
                    When::FirstOfProducer => self.producers.insert((client.to_owned(), produce.producer)),
                };
                if fits { act } else { Act::Pass }
            }
        }
    }
}

/// Whether `wanted` names a client id.
pub(super) fn is(wanted: &str, client: &str) -> bool {
    wanted.strip_suffix('*').map_or(wanted == client, |prefix| client.starts_with(prefix))
}

fn chaos(per_mille: u64, seed: u64, client: &str, nth: u64) -> Act {
    let mut state = client.bytes().fold(seed, |hash, byte| mixed(hash ^ u64::from(byte))) ^ nth;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed(state)
    };
    if next() % 1000 >= per_mille {
        return Act::Pass;
    }
    match next() % 12 {
        0 => Act::Swallow,
        1 | 2 => Act::CloseBefore,
        3 | 4 => Act::CloseAfter,
        5 => Act::RefuseLate(code::NOT_LEADER_OR_FOLLOWER, Duration::from_millis(300)),
        6 => Act::RefuseLate(code::NOT_ENOUGH_REPLICAS, Duration::from_millis(300)),
        7 => Act::Refuse(code::REQUEST_TIMED_OUT),
        8 => Act::RefuseAfter(code::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        9 => Act::RefuseAfter(code::REQUEST_TIMED_OUT),
        10 => Act::DelayAnswer(Duration::from_secs(4)),
        _ => Act::DelayRequest(Duration::from_secs(4)),
    }
}

/// The finalizer of `SplitMix64`.
fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Act, chaos, is};

    #[test]
    fn clients_are_named_by_id_or_prefix() {
        assert!(is("lane-1", "lane-1") && !is("lane-1", "lane-10"));
        assert!(is("lane-*", "lane-10") && !is("lane-*", "edge-1") && is("*", ""));
    }

    #[test]
    fn chaos_keeps_its_rate_and_repeats_by_seed() {
        let hurt = |seed| (1..=10_000).filter(|n| chaos(100, seed, "lane", *n) != Act::Pass).collect::<Vec<_>>();
        assert!((900..1100).contains(&hurt(7).len()), "{}", hurt(7).len());
        assert_eq!(hurt(7), hurt(7));
        assert_ne!(hurt(7), hurt(8));
    }
}
