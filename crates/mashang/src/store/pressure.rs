//! How near workers are to the limit of their memory, told to the edges through the store.
//!
//! A worker writes `pressure/INSTANCE.json` again and again while it is above 80 %, and removes it below. What it says ends by itself: a
//! worker that is gone is soon forgotten.

use std::io::{self, ErrorKind};
use std::time::Duration;

use domain::model::time::Millis;
use eventlog::objects::Objects;
use serde::{Deserialize, Serialize};

const FOLDER: &str = "pressure";
const SUFFIX: &str = ".json";
/// Interval at which workers write and edges read.
pub(crate) const EVERY: Duration = Duration::from_secs(5);
/// Time for which what a worker wrote counts: some intervals, and a difference between two clocks.
pub(crate) const VALID: Duration = Duration::from_secs(30);
/// Maximum number of workers that an edge asks about.
const WORKERS_MAX: usize = 1_000;
/// Share of the memory above which edges refuse requests, percent. At the whole they refuse all.
const BEGINS_PERCENT: u64 = 80;

/// What a worker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pressure {
    /// The end of its validity, ms since the epoch.
    until: Millis,
    /// The share of requests to refuse, in parts per million.
    share_ppm: u32,
}

/// The share of requests to refuse, in parts per million: none up to 80 % of the memory, all from the whole on.
pub(crate) fn share_ppm(used: u64, max: u64) -> u32 {
    let begins = u128::from(max) * u128::from(BEGINS_PERCENT) / 100;
    let (above, room) = (u128::from(used).saturating_sub(begins), u128::from(max) - begins);
    let share = (above * 1_000_000).checked_div(room).unwrap_or_default();
    u32::try_from(share.min(1_000_000)).unwrap_or_default()
}

/// Tells edges what share of requests to refuse.
///
/// # Errors
/// The store does not answer.
pub(crate) fn tell(objects: &dyn Objects, instance: &str, share_ppm: u32, now: Millis) -> io::Result<()> {
    let name = format!("{instance}{SUFFIX}");
    objects.make_folder(FOLDER)?;
    if share_ppm == 0 {
        return objects.remove(FOLDER, &[&name]).map_err(|(_, error)| error);
    }
    let bytes = serde_json::to_vec(&Pressure { until: now.saturating_add(valid_ms()), share_ppm })?;
    objects.publish(&format!("{FOLDER}/{name}"), &bytes)
}

/// The largest share of requests that a worker wants to be refused now.
///
/// # Errors
/// The store does not answer.
pub(crate) fn told(objects: &dyn Objects, now: Millis) -> io::Result<u32> {
    let mut most = 0;
    for name in objects.list(FOLDER)?.iter().filter(|name| name.ends_with(SUFFIX)).take(WORKERS_MAX) {
        let bytes = match objects.read(&format!("{FOLDER}/{name}")) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            read => read?,
        };
        // What cannot be read says nothing.
        let pressure = serde_json::from_slice::<Pressure>(&bytes).ok();
        let is_valid = |p: &Pressure| (now..=now.saturating_add(2 * valid_ms())).contains(&p.until);
        most = most.max(pressure.filter(is_valid).map_or(0, |p| p.share_ppm));
    }
    Ok(most)
}

fn valid_ms() -> Millis {
    Millis::try_from(VALID.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use eventlog::files::memory::Memory;
    use eventlog::objects::Directory;

    use super::*;

    #[test]
    fn share_grows_from_80_percent_to_the_whole() {
        for (used, max, expected) in [
            (0, 1_000, 0),
            (800, 1_000, 0),
            (850, 1_000, 250_000),
            (1_000, 1_000, 1_000_000),
            (u64::MAX, 1_000, 1_000_000),
            (1, 0, 0),
            (u64::MAX, u64::MAX, 1_000_000),
        ] {
            assert_eq!(share_ppm(used, max), expected, "{used} of {max}");
        }
    }

    #[test]
    fn largest_share_counts_while_it_is_valid() {
        let objects = Directory::new(Arc::new(Memory::default()), Path::new("store"));
        assert_eq!(told(&objects, 1_000).expect("no worker says anything"), 0);
        tell(&objects, "worker-1", 100_000, 1_000).expect("told");
        tell(&objects, "worker-2", 300_000, 2_000).expect("told");
        assert_eq!(told(&objects, 2_000).expect("readable"), 300_000);
        tell(&objects, "worker-2", 0, 3_000).expect("told");
        assert_eq!(told(&objects, 3_000).expect("readable"), 100_000);
        // A worker that is gone, one whose clock is wrong, and something else.
        assert_eq!(told(&objects, 31_001).expect("readable"), 0);
        tell(&objects, "worker-3", 400_000, 9_000_000).expect("told");
        objects.publish("pressure/other.json", b"{").expect("written");
        assert_eq!(told(&objects, 3_000).expect("readable"), 100_000);
        tell(&objects, "worker-4", 0, 3_000).expect("nothing to remove");
    }
}
