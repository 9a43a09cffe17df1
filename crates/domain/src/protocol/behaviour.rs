//! The version number of what desks do with a frame. Replay must give the same bytes; so a build that answers differently may
//! do so only from a position in the log that all builds recognise: a marker that names the new number.
//!
//! A build knows its own behaviour and the previous one. A fleet is upgraded worker by worker while the old number is in
//! force; then rules are published that name the new one.

use crate::frame::PART_BYTES_MAX;

/// What can differ between builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// From 1.
    pub number: u32,
    /// Maximum size of a part, bytes; a larger body is cut there. It decides into which frames an answer is divided.
    pub part_bytes_max: usize,
}

/// The behaviours that a binary knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// In rising order of their numbers.
    behaviours: &'static [Behaviour],
}

/// The behaviours of this build. The previous one stays listed while partitions may still use it.
const THIS: Build = Build::new(&[Behaviour { number: 1, part_bytes_max: PART_BYTES_MAX }]);

impl Default for Build {
    fn default() -> Self {
        THIS
    }
}

impl Build {
    /// A build that knows these behaviours.
    ///
    /// # Panics
    /// If the list is empty, or the numbers do not rise from 1 or more.
    #[must_use]
    pub const fn new(behaviours: &'static [Behaviour]) -> Self {
        assert!(!behaviours.is_empty(), "a build knows at least one behaviour");
        let (mut at, mut below) = (0, 0);
        while at < behaviours.len() {
            assert!(behaviours[at].number > below, "numbers rise");
            below = behaviours[at].number;
            at += 1;
        }
        Self { behaviours }
    }

    /// This build.
    #[must_use]
    pub const fn this() -> Self {
        THIS
    }

    /// The highest behaviour that it knows: its own.
    #[must_use]
    pub const fn own(self) -> Behaviour {
        self.behaviours[self.behaviours.len() - 1]
    }

    /// The behaviour of a number.
    ///
    /// # Errors
    /// The build does not know the number; as a phrase that names the fix.
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
        let fix = if number > self.own().number { "upgrade" } else { "downgrade" };
        format!("behaviour {number}, this build has {known}: {fix} it")
    }
}
