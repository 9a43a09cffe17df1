//! Tables of keys: what they answer, beside a plain list, and what they say of their memory.

use std::collections::HashMap;

use domain::frame::{decode, encode};
use domain::model::ids::digest128;
use domain::table::dedup_window::DedupWindow;
use domain::table::recent::{RecentKeys, RecentScans};
use domain::table::table::KeyTable;
use domain::table::uniques::Uniques;
use proptest::prelude::*;

/// A uniform key of a number.
fn key(n: u64) -> u128 {
    digest128(&[&n.to_string()])
}

/// The least that a table of some entries takes: its places are a power of two, of which an eighth stays free, and each has a
/// control byte.
fn table_bytes_min(entries: usize, entry_bytes: usize) -> usize {
    (entries * 8).div_ceil(7).next_power_of_two() * (entry_bytes + 1)
}

#[test]
fn sizes_count_places_that_stay_free() {
    let (mut recent, mut uniques): (_, Uniques) = (DedupWindow::default(), Uniques::default());
    assert_eq!((recent.bytes(), uniques.bytes()), (0, 0));
    for entries in 1..=5_000_usize {
        assert!(recent.insert(entries as u128, 0, 10) && uniques.insert(0, entries as u128));
        let queue_bytes = entries * 2 * size_of::<u128>();
        let (table, set) =
            (table_bytes_min(entries, 2 * size_of::<u128>()), table_bytes_min(entries, size_of::<u128>()));
        assert!(recent.bytes() >= table + queue_bytes, "{entries}: {} bytes", recent.bytes());
        // No more than what the queue has ahead, and what stands around a small table.
        assert!(recent.bytes() <= table + 2 * queue_bytes + 512, "{entries}: {} bytes", recent.bytes());
        assert!((set..=set + 128).contains(&uniques.bytes()), "{entries}: {} bytes", uniques.bytes());
    }
}

#[test]
fn compact_table_takes_at_most_16_bytes_a_key_as_it_grows() {
    const DIRECTORY_BYTES: usize = 1_024 * 48;
    let mut table = KeyTable::default();
    for n in 0..400_000 {
        assert!(table.insert(key(n), 1, 0));
        if n >= 100_000 && n % 1_000 == 0 {
            let a_key = (table.bytes() - DIRECTORY_BYTES) as u64 * 10 / (n + 1);
            assert!(a_key <= 160, "{n} keys: {}.{} bytes a key", a_key / 10, a_key % 10);
        }
    }
    assert_eq!(table.len(), 400_000);
    assert!((0..400_000).all(|n| !table.insert(key(n), 1, 0)));
    let mut presized = KeyTable::with_room(400_000, 0);
    let before = presized.bytes();
    (0..400_000).for_each(|n| assert!(presized.insert(key(n), 1, 0)));
    assert!(presized.bytes() - before < before / 100, "{} bytes grew to {}", before, presized.bytes());
}

#[test]
fn compact_table_keeps_its_size_while_keys_expire() {
    const HORIZON: u32 = 100;
    let mut recent = RecentKeys::default();
    let mut largest = 0;
    for minute in 0..1_000_u32 {
        for n in 0..300_u32 {
            let new = key(u64::from(minute * 300 + n));
            assert!(recent.insert(new, minute, HORIZON));
            assert!(!recent.insert(new, minute, HORIZON));
        }
        if minute == 2 * HORIZON {
            largest = recent.bytes();
        }
        if let Some(expiring) = minute.checked_sub(HORIZON) {
            // The last minute that is remembered, and nothing before it.
            assert!(!recent.insert(key(u64::from((expiring + 1) * 300)), minute, HORIZON));
        }
    }
    assert!(recent.bytes() < largest * 5 / 4, "{largest} bytes grew to {}", recent.bytes());
}

#[test]
fn jump_of_time_expires_exactly_old_keys() {
    const HORIZON: u32 = 45 * 24 * 60;
    for keys in [1_000, 20_000] {
        for jump in [HORIZON - 1, HORIZON, 46 * 24 * 60, 65_535, 65_536, 65_537, 65_536 * 2 + 3] {
            let mut recent = RecentKeys::default();
            assert!((0..keys).all(|n| recent.insert(key(n), 7, HORIZON)));
            let new = (0..keys).filter(|&n| recent.insert(key(n), 7 + jump, HORIZON)).count() as u64;
            assert_eq!(new, if jump < HORIZON { 0 } else { keys }, "{keys} keys, {jump} minutes");
            assert!((0..keys).all(|n| !recent.insert(key(n), 8 + jump, HORIZON) || jump == HORIZON - 1));
        }
    }
}

#[test]
fn longer_horizon_keeps_expired_keys_expired() {
    let mut recent = RecentKeys::default();
    assert!(recent.insert(1, 100, 10) && recent.insert(2, 105, 10));
    recent.forget(112, 10);
    assert!(recent.insert(1, 112, 60));
    assert!(!recent.insert(2, 112, 60));
}

/// What a run of deliveries tells: which were new, at which size. Keys repeat, and time jumps now and then.
fn deliveries(seed: u64, keys: u64) -> impl Iterator<Item = (u128, u32)> {
    let mut minute = 1_000;
    (0..3 * keys).map(move |n| {
        let choice = key(seed << 32 | n);
        minute += u32::from(choice & 0xFF == 0) * 3 + u32::from(choice & 0xF_FFFF == 1) * 70_000;
        (key((choice >> 64) as u64 % keys), minute)
    })
}

#[test]
fn compact_table_answers_like_whole_keys_across_sizes_restores_and_horizons() {
    for (seed, keys, horizon) in [(1, 500, 40), (2, 30_000, 900), (3, 60_000, 60), (4, 9_000, 65_000)] {
        let (mut plain, mut compact) = (HashMap::new(), RecentKeys::default());
        for (n, (key, minute)) in deliveries(seed, keys).enumerate() {
            let is_new = plain.get(&key).is_none_or(|&first| minute - first >= horizon);
            if is_new {
                plain.insert(key, minute);
            }
            assert_eq!(compact.insert(key, minute, horizon), is_new, "seed {seed}, delivery {n}");
            if n % 40_000 == 17 {
                compact = decode(&encode(&compact)).expect("a table");
            }
        }
    }
}

#[test]
fn torn_compact_table_is_refused() {
    let mut table = KeyTable::default();
    (0..5_000).for_each(|n| assert!(table.insert(key(n), 1, 0)));
    let whole = encode(&table);
    assert!(decode::<KeyTable>(&whole).is_ok());
    for end in (0..whole.len()).step_by(997) {
        assert!(decode::<KeyTable>(&whole[..end]).is_err(), "{end} bytes");
    }
}

#[test]
fn distinct_shoppers_of_a_day_are_counted_once_in_compact_tables() {
    let mut uniques: Uniques<KeyTable> = Uniques::default();
    for day in [3, 4] {
        assert!((0..10_000).all(|n| uniques.insert(day, key(n))));
        assert!((0..10_000).all(|n| !uniques.insert(day, key(n))));
    }
    assert_eq!(uniques.len(), 20_000);
    assert!((14..=24).contains(&(uniques.bytes() / uniques.len())), "{} bytes", uniques.bytes());
}

#[test]
fn scans_are_kept_for_years_and_times_are_whole_to_the_last_millisecond() {
    const DAY_MS: i64 = 86_400_000;
    const TIME_MAX: i64 = 253_402_300_799_999;
    for scans in [100, 20_000] {
        for keep in [60 * DAY_MS, 20 * 365 * DAY_MS, TIME_MAX] {
            let (mut recent, start) = (RecentScans::default(), 1_794_355_200_000);
            let time = |n: u64| if n.is_multiple_of(2) { TIME_MAX - 5 } else { 5 };
            assert!((0..scans).all(|n| !recent.is_repeat(key(n), time(n), start, 6, keep)));
            let end = (start + keep - 1).min(TIME_MAX);
            let found = |recent: &mut RecentScans, far: i64| {
                let near = |n: u64| if n.is_multiple_of(2) { time(n) + far } else { time(n) - far };
                (0..scans).filter(|&n| recent.is_repeat(key(n), near(n), end, 6, keep)).count() as u64
            };
            assert_eq!(found(&mut recent, 5), scans, "{scans} scans kept for {keep} ms");
            assert_eq!(found(&mut recent, -6), 0, "six milliseconds are too far");
        }
    }
}

proptest! {
    #[test]
    fn compact_scans_repeat_as_in_a_plain_list(
        steps in proptest::collection::vec((0..12_u64, 0..40_i64, -60..60_i64), 1..300),
        debounce in 1..30_i64,
        keep in 1..200_i64,
    ) {
        let (mut scans, mut list, mut received) = (RecentScans::default(), HashMap::<u128, (i64, i64)>::new(), 1_000);
        for (n, pause, lateness) in steps {
            received += pause / 3;
            let (key, time) = (key(n), received - lateness);
            let near = |&(t0, r0): &(i64, i64)| received - r0 < keep && (time - t0).abs() < debounce;
            let is_repeat = list.get(&key).is_some_and(near);
            if !is_repeat {
                list.insert(key, (time, received));
            }
            prop_assert_eq!(scans.is_repeat(key, time, received, debounce, keep), is_repeat);
        }
    }
}
