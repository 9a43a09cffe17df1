//! Decides when each request is due. In an open loop the schedule does not depend on the server: a request without a free
//! connection waits in a queue, and its latency counts from its due time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Exp1};
use tokio::sync::Semaphore;

use super::args::Burst;

const SECOND_NS: u64 = 1_000_000_000;
/// Maximum time between two checks whether the pacer must stop.
const NAP_MAX: Duration = Duration::from_millis(100);

/// The time since the start of the run.
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A request to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) index: u64,
    /// Time since the start of the run.
    pub(super) due_ns: u64,
}

/// The arrivals of an open loop, in order, up to the end.
pub(super) struct Arrivals {
    index: u64,
    batch: u64,
    rate: u64,
    end_ns: u64,
    /// For Poisson arrivals: the generator, and the due time of the next arrival at a steady rate.
    random: Option<(SmallRng, u64)>,
    rush: Option<Rush>,
}

/// A burst, in the stopwatch's time.
struct Rush {
    times: u64,
    from_ns: u64,
    ns: u64,
}

impl Rush {
    /// The due time of an arrival that is due at `steady_ns` without the burst. During the burst, time runs `times` as fast.
    fn due_ns(&self, steady_ns: u64) -> u64 {
        let into = steady_ns.saturating_sub(self.from_ns);
        let whole = self.ns * self.times;
        if into < whole { steady_ns - into + into / self.times } else { steady_ns - whole + self.ns }
    }
}

impl Arrivals {
    pub(super) fn constant(rate: u64, batch: u64, seconds: u64) -> Self {
        Self { index: 0, batch, rate, end_ns: seconds * SECOND_NS, random: None, rush: None }
    }

    pub(super) fn poisson(rate: u64, batch: u64, seconds: u64, seed: u64) -> Self {
        Self { random: Some((SmallRng::seed_from_u64(seed), 0)), ..Self::constant(rate, batch, seconds) }
    }

    /// Adds a burst, which counts from the end of the warm-up.
    pub(super) fn with_burst(mut self, burst: Option<Burst>, warmup_s: u64) -> Self {
        self.rush = burst.map(|Burst { times, from_s, seconds }| Rush {
            times,
            from_ns: (warmup_s + from_s) * SECOND_NS,
            ns: seconds * SECOND_NS,
        });
        self
    }

    fn due_ns(&mut self) -> u64 {
        let steady_ns = self.steady_ns();
        self.rush.as_ref().map_or(steady_ns, |rush| rush.due_ns(steady_ns))
    }

    fn steady_ns(&mut self) -> u64 {
        match &mut self.random {
            None => at_rate(self.index * self.batch, self.rate),
            Some((dice, due_ns)) => {
                let due = *due_ns;
                *due_ns += gap_ns(at_rate(self.batch, self.rate), dice);
                due
            }
        }
    }
}

impl Iterator for Arrivals {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        let due_ns = self.due_ns();
        let slot = (due_ns < self.end_ns).then_some(Slot { index: self.index, due_ns })?;
        self.index += 1;
        Some(slot)
    }
}

/// The time that a number of events takes at a rate, ns.
fn at_rate(events: u64, rate: u64) -> u64 {
    u64::try_from(u128::from(events) * u128::from(SECOND_NS) / u128::from(rate)).unwrap_or(u64::MAX)
}

/// A random time between two independent arrivals: exponential with this mean.
#[expect(
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a random draw; below a nanosecond nothing matters"
)]
fn gap_ns(mean_ns: u64, dice: &mut SmallRng) -> u64 {
    let times: f64 = Exp1.sample(dice);
    (times * mean_ns as f64) as u64
}

/// The source of requests for connections.
pub(super) enum Schedule {
    Open(Queue),
    /// The next request is due as soon as a connection is free.
    Closed {
        next: AtomicU64,
        end_ns: u64,
    },
}

/// Requests that are due and not sent. The number of arrivals in the whole run bounds it.
pub(super) struct Queue {
    due: Mutex<VecDeque<Slot>>,
    /// One permit for each slot; closed after the last one.
    ready: Semaphore,
    abandoned: AtomicBool,
}

impl Schedule {
    pub(super) fn open() -> Self {
        Self::Open(Queue { due: Mutex::default(), ready: Semaphore::new(0), abandoned: AtomicBool::new(false) })
    }

    pub(super) fn closed(seconds: u64) -> Self {
        Self::Closed { next: AtomicU64::new(0), end_ns: seconds * SECOND_NS }
    }

    /// Waits for the next request that is due; `None` at the end of the run.
    pub(super) async fn next(&self, watch: &Stopwatch) -> Option<Slot> {
        match self {
            Self::Open(queue) => queue.take().await,
            Self::Closed { next, end_ns } => {
                let due_ns = watch.ns();
                (due_ns < *end_ns).then(|| Slot { index: next.fetch_add(1, Ordering::Relaxed), due_ns })
            }
        }
    }

    /// Puts each arrival into the queue when it is due. It blocks its thread, because timers of the runtime have a resolution of a
    /// millisecond. It ends after the arrivals, or soon after `stopped`.
    pub(super) fn pace(&self, arrivals: Arrivals, watch: &Stopwatch, stopped: impl Fn() -> bool) {
        let Self::Open(queue) = self else { return };
        for slot in arrivals {
            if !nap_until(slot.due_ns, watch, &stopped) {
                break;
            }
            queue.due.lock().push_back(slot);
            queue.ready.add_permits(1);
        }
        queue.ready.close();
    }

    /// Drops the requests in the queue. Returns their number.
    pub(super) fn abandon(&self) -> u64 {
        let Self::Open(queue) = self else { return 0 };
        queue.abandoned.store(true, Ordering::Relaxed);
        queue.ready.close();
        std::mem::take(&mut *queue.due.lock()).len() as u64
    }
}

impl Queue {
    async fn take(&self) -> Option<Slot> {
        // Once the semaphore is closed, an empty queue is the end.
        if let Ok(permit) = self.ready.acquire().await {
            permit.forget();
        }
        if self.abandoned.load(Ordering::Relaxed) {
            return None;
        }
        self.due.lock().pop_front()
    }
}

/// Sleeps until the due time; returns `false` soon after `stopped`.
pub(super) fn nap_until(due_ns: u64, watch: &Stopwatch, stopped: &impl Fn() -> bool) -> bool {
    loop {
        if stopped() {
            return false;
        }
        let early_ns = due_ns.saturating_sub(watch.ns());
        if early_ns == 0 {
            return true;
        }
        std::thread::sleep(Duration::from_nanos(early_ns).min(NAP_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_arrivals_do_not_drift() {
        let all: Vec<Slot> = Arrivals::constant(3, 1, 2).collect();
        let due: Vec<u64> = all.iter().map(|slot| slot.due_ns).collect();
        assert_eq!(due, [0, 333_333_333, 666_666_666, 1_000_000_000, 1_333_333_333, 1_666_666_666]);
        assert_eq!(Arrivals::constant(1_000, 100, 3).count(), 30);
    }

    #[test]
    fn poisson_arrivals_depend_on_the_seed_and_rate() {
        let due = |seed| Arrivals::poisson(10_000, 1, 10, seed).map(|slot| slot.due_ns).collect::<Vec<_>>();
        assert_eq!(due(1), due(1));
        assert_ne!(due(1), due(2));
        // 100,000 expected; ten standard deviations are 3,163.
        assert!(due(1).len().abs_diff(100_000) < 3_163, "{}", due(1).len());
        assert!(due(1).is_sorted());
    }

    #[test]
    fn burst_multiplies_the_rate_for_its_time() {
        let burst = Some(Burst { times: 5, from_s: 2, seconds: 3 });
        let per_second = |arrivals: Arrivals| {
            let mut counts = [0_u64; 10];
            arrivals.for_each(|slot| counts[usize::try_from(slot.due_ns / SECOND_NS).expect("small")] += 1);
            counts
        };
        let constant = per_second(Arrivals::constant(100, 1, 10).with_burst(burst, 1));
        assert_eq!(constant, [100, 100, 100, 500, 500, 500, 100, 100, 100, 100]);
        let poisson = per_second(Arrivals::poisson(10_000, 1, 10, 1).with_burst(burst, 1));
        // Ten standard deviations are 1,000 and 2,236.
        assert!(poisson[..3].iter().all(|count| count.abs_diff(10_000) < 1_000), "{poisson:?}");
        assert!(poisson[3..6].iter().all(|count| count.abs_diff(50_000) < 2_236), "{poisson:?}");
    }

    #[tokio::test]
    async fn closed_queue_still_returns_its_slots() {
        let schedule = Schedule::open();
        let watch = Stopwatch::start();
        schedule.pace(Arrivals::constant(1_000_000, 1, 1).take_first(3), &watch, || false);
        for index in 0..3 {
            assert_eq!(schedule.next(&watch).await.map(|slot| slot.index), Some(index));
        }
        assert_eq!(schedule.next(&watch).await, None);
    }

    #[tokio::test]
    async fn abandoned_slots_are_counted_and_not_sent() {
        let schedule = Schedule::open();
        let watch = Stopwatch::start();
        schedule.pace(Arrivals::constant(1_000_000, 1, 1).take_first(5), &watch, || false);
        assert!(schedule.next(&watch).await.is_some());
        assert_eq!(schedule.abandon(), 4);
        assert_eq!(schedule.next(&watch).await, None);
    }

    impl Arrivals {
        fn take_first(mut self, count: u64) -> Self {
            self.end_ns = at_rate(count * self.batch, self.rate);
            self
        }
    }
}
