//! What tables say of their memory.

use domain::table::dedup_window::DedupWindow;
use domain::table::uniques::Uniques;

/// The least that a table of some entries takes: its places are a power of two, of which an eighth stays free, and each has a
/// control byte.
fn table_bytes_min(entries: usize, entry_bytes: usize) -> usize {
    (entries * 8).div_ceil(7).next_power_of_two() * (entry_bytes + 1)
}

#[test]
fn sizes_count_places_that_stay_free() {
    let (mut recent, mut uniques) = (DedupWindow::default(), Uniques::default());
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
