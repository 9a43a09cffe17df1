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
    /// Whether what a shopper, a text or a funnel keeps has a bound: `orders_max`, refunds of an order, attempts, `names_max`.
    pub is_bounded: bool,
    /// Whether desks know batches of minted codes, draws other than by odds, bounds of a day, and say what a prize amounts to.
    pub has_batches: bool,
    /// Whether answers may share records, and a record of several frames is answered as one.
    pub has_bundles: bool,
    /// Whether keys of events, of repeats, of distinct shoppers and of entered codes are compared by 79 of their bits, in compact tables.
    pub has_compact_tables: bool,
    /// Whether a snapshot stores what changed since the one before, in segments, where the desk can tell.
    pub has_segments: bool,
}

/// The behaviours that a binary knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// In rising order of their numbers.
    behaviours: &'static [Behaviour],
}

/// The first behaviour.
const PLAIN: Behaviour = Behaviour {
    number: 1,
    part_bytes_max: PART_BYTES_MAX,
    is_bounded: false,
    has_batches: false,
    has_bundles: false,
    has_compact_tables: false,
    has_segments: false,
};

/// The fifth one.
const COMPACT: Behaviour =
    Behaviour { number: 5, is_bounded: true, has_batches: true, has_bundles: true, has_compact_tables: true, ..PLAIN };

/// The behaviours of this build. The previous one stays listed while partitions may still use it.
const THIS: Build = Build::new(&[
    PLAIN,
    Behaviour { number: 2, is_bounded: true, ..PLAIN },
    Behaviour { number: 3, is_bounded: true, has_batches: true, ..PLAIN },
    Behaviour { number: 4, is_bounded: true, has_batches: true, has_bundles: true, ..PLAIN },
    COMPACT,
    Behaviour { number: 6, has_segments: true, ..COMPACT },
]);

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
    /// The build does not know the number.
    pub fn behaviour(self, number: u32) -> Result<Behaviour, UnknownBehaviour> {
        let found = self.behaviours.iter().find(|b| b.number == number);
        found.copied().ok_or(UnknownBehaviour { number, build: self })
    }
}

/// A behaviour that a build does not know. The text is a phrase that follows the name of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownBehaviour {
    number: u32,
    build: Build,
}

impl std::error::Error for UnknownBehaviour {}

impl std::fmt::Display for UnknownBehaviour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let own = self.build.own().number;
        write!(f, "behaviour {}, this build has ", self.number)?;
        match self.build.behaviours {
            [first, .., last] => write!(f, "{} to {}", first.number, last.number)?,
            _ => write!(f, "{own}")?,
        }
        write!(f, ": {} it", if self.number > own { "upgrade" } else { "downgrade" })
    }
}
