//! What a desk does with a frame has a number. Replay must give the same bytes, so that a build that answers otherwise may do
//! so only from a place in the log on that all builds know: a marker that names the number.
//!
//! A build knows its own behaviour and the one before. So a fleet is upgraded worker by worker while the old number holds;
//! then rules are published that name the new one.

use crate::frame::PART_BYTES_MAX;

/// What can differ between builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// From 1.
    pub number: u32,
    /// Where a body is cut into parts, bytes: it decides what follows what.
    pub part_bytes_max: usize,
}

/// The behaviours that a binary knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// In rising order of their numbers.
    behaviours: &'static [Behaviour],
}

/// This build. The one before is kept while partitions may be at it.
const REAL: Build = Build::new(&[Behaviour { number: 1, part_bytes_max: PART_BYTES_MAX }]);

impl Default for Build {
    fn default() -> Self {
        REAL
    }
}

impl Build {
    /// A build that knows these.
    ///
    /// # Panics
    /// If it is none, or they do not rise from above 0.
    #[must_use]
    pub const fn new(behaviours: &'static [Behaviour]) -> Self {
        assert!(!behaviours.is_empty(), "a build that can do nothing");
        let (mut at, mut below) = (0, 0);
        while at < behaviours.len() {
            assert!(behaviours[at].number > below, "numbers rise");
            below = behaviours[at].number;
            at += 1;
        }
        Self { behaviours }
    }

    /// The build that this is.
    #[must_use]
    pub const fn this() -> Self {
        REAL
    }

    /// Its own: the highest that it knows.
    #[must_use]
    pub const fn own(self) -> Behaviour {
        self.behaviours[self.behaviours.len() - 1]
    }

    /// The behaviour of a number.
    ///
    /// # Errors
    /// It does not know it; as a phrase that says what helps.
    pub fn behaviour(self, number: u32) -> Result<Behaviour, String> {
        let known = self.behaviours.iter().find(|b| b.number == number);
        known.copied().ok_or_else(|| {
            let [first, .., last] = self.behaviours else {
                return self.unknown(number, &self.own().number.to_string());
            };
            self.unknown(number, &format!("{} to {}", first.number, last.number))
        })
    }

    fn unknown(self, number: u32, known: &str) -> String {
        let mend = if number > self.own().number { "upgrade" } else { "downgrade" };
        format!("behaviour {number}, this build has {known}: {mend} it")
    }
}
