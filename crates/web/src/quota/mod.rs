//! Quotas: a number of events per second and a burst, per key and per merchant.
//!
//! - [`client_limits`]: what one client address can do without a key
//! - [`rate_table`]: counts per key, in a table of fixed size

pub mod client_limits;
pub mod rate_table;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::HeaderName;
use wire::keys::Quota;

/// What is left of a key's quota, in an answer (IETF draft "RateLimit header fields for HTTP").
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The quota itself.
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Nanoseconds of a second: buckets count in nanoseconds.
const SECOND_NS: u64 = 1_000_000_000;

/// A token bucket. It is one number, the moment at which it will be full again.
///
/// An admitted request may take more than is left: a request is never divided. The next ones wait until that is made up for.
#[derive(Debug)]
pub struct Bucket {
    /// What it allows.
    pub quota: Quota,
    began: Instant,
    full_at_ns: AtomicU64,
}

/// The level of a bucket, for `RateLimit` headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Number of events of a full bucket.
    pub burst: u32,
    /// Number of events that are left.
    pub left: u32,
    /// Time until it is full.
    pub full_in: Duration,
    /// Time from empty to full.
    pub window: Duration,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub(crate) fn new(quota: Quota) -> Self {
        Self { quota, began: Instant::now(), full_at_ns: AtomicU64::new(0) }
    }

    fn event_ns(&self) -> u64 {
        SECOND_NS / u64::from(self.quota.events_per_second)
    }

    fn window_ns(&self) -> u64 {
        self.event_ns() * u64::from(self.quota.burst())
    }

    fn since(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Time until it is full.
    fn full_in_ns(&self, now: Instant) -> u64 {
        self.full_at_ns.load(Ordering::Relaxed).saturating_sub(self.since(now))
    }

    /// Whether at least one event is left.
    ///
    /// # Errors
    /// None is left, for the returned time.
    pub fn check(&self, now: Instant) -> Result<(), Duration> {
        let missing = (self.full_in_ns(now) + self.event_ns()).saturating_sub(self.window_ns());
        if missing == 0 { Ok(()) } else { Err(Duration::from_nanos(missing)) }
    }

    /// Takes this number of events.
    pub fn take(&self, now: Instant, events: u64) {
        let (now, more) = (self.since(now), self.event_ns().saturating_mul(events));
        let later = |full_at: u64| Some(full_at.max(now).saturating_add(more));
        let _ = self.full_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// How full it is.
    #[must_use]
    pub fn level(&self, now: Instant) -> Level {
        let (full_in, window) = (self.full_in_ns(now), self.window_ns());
        let left = window.saturating_sub(full_in) / self.event_ns();
        Level {
            burst: self.quota.burst(),
            left: u32::try_from(left).unwrap_or(u32::MAX),
            full_in: Duration::from_nanos(full_in),
            window: Duration::from_nanos(window),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(events_per_second: u32, burst: Option<u32>) -> Bucket {
        Bucket::new(Quota::new(events_per_second, burst).expect("a quota"))
    }

    #[test]
    fn a_burst_then_a_rate() {
        let bucket = bucket(10, Some(30));
        let at = |ms: u64| bucket.began + Duration::from_millis(ms);
        for left in (1..=30).rev() {
            assert_eq!((bucket.check(at(0)), bucket.level(at(0)).left), (Ok(()), left));
            bucket.take(at(0), 1);
        }
        assert_eq!(bucket.check(at(0)), Err(Duration::from_millis(100)));
        assert_eq!(bucket.check(at(60)), Err(Duration::from_millis(40)));
        assert_eq!(bucket.check(at(100)), Ok(()));
        assert_eq!(bucket.level(at(1_000)).left, 10);
        // At most a burst, even after a long pause.
        assert_eq!(bucket.level(at(1_000_000)).left, 30);
    }

    #[test]
    fn what_was_admitted_is_made_up_for() {
        let bucket = bucket(10, None);
        let at = |ms: u64| bucket.began + Duration::from_millis(ms);
        bucket.take(at(0), 25);
        assert_eq!(bucket.level(at(0)).left, 0);
        // Fifteen too many, and the next one.
        assert_eq!(bucket.check(at(0)), Err(Duration::from_millis(1_600)));
        assert_eq!((bucket.check(at(1_599)), bucket.check(at(1_600))), (Err(Duration::from_millis(1)), Ok(())));
    }
}
