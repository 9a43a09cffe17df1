//! What `mashang demo` shows: a brand that does not exist, its rules and registers as files, shoppers that come and go
//! for as long as it runs, and a table of what that came to.
//!
//! `brand` knows who there is and writes it down; `cities` where; `journey` what shoppers do one after the other;
//! `event` how that is told; `traffic` when; `table` what the terminal shows.

mod brand;
mod cities;
mod event;
mod journey;
mod table;
mod traffic;

#[cfg(test)]
mod tests {
    use domain::model::fact::Metric;
    use ledger::writer::Writer;
    use wire::event::Merchants;

    use super::brand::{Brand, MERCHANT, write};
    use super::traffic::Traffic;
    use crate::events::{Intake, Rejects};
    use crate::road::Road;
    use crate::rules::{publish, read_all};

    const OPENS: i64 = 1_794_326_400_000;

    /// What the desks make of it: each number on the table moves, and none of them out of proportion.
    #[test]
    fn the_first_minutes_come_to_something() {
        let dir = tempfile::tempdir().expect("a folder");
        let rules = write(dir.path(), OPENS, 3).expect("files");
        let (library, _) = publish(read_all(&[rules]).expect("rules")).expect("a library");
        let path = dir.path().join("ledger.sqlite");
        let writer = Writer::create(&path, [0]).expect("a ledger");
        let mut road = Road::open(library, writer).expect("a road");

        let mut lines = Vec::new();
        let mut traffic = Traffic::new(Brand::new(OPENS, 3), 3);
        for second in -90..60 {
            traffic.until(OPENS + second * 1_000, &mut lines);
        }
        let mut intake = Intake::new(Merchants::new([(MERCHANT, "CNY")]), Rejects::Told);
        let mut send = |record: Vec<u8>| Ok(road.events(&record)?);
        for (number, line) in (1..).zip(&lines) {
            intake.line(number, line.as_bytes(), &mut send).expect("a line");
        }
        intake.flush(&mut send).expect("a frame");
        let ledger = road.finish().expect("a ledger");

        let sum = |metric| ledger.sum(metric).expect("a sum");
        let accepted = i64::try_from(intake.tally.accepted).expect("a count");
        assert_eq!(usize::try_from(accepted), Ok(lines.len()), "{:?}", intake.tally.rejected);
        let per_mille = |metric| sum(metric) * 1_000 / accepted;
        assert!((6..14).contains(&per_mille(Metric::Duplicates)), "{} ‰ duplicates", per_mille(Metric::Duplicates));
        assert!((400..900).contains(&per_mille(Metric::Scans)), "{} ‰ scans", per_mille(Metric::Scans));
        assert!(sum(Metric::Late) > 0 && per_mille(Metric::Late) < 2, "{} late", sum(Metric::Late));
        assert!(sum(Metric::Entries) > accepted / 3, "{} entries of {accepted}", sum(Metric::Entries));
        let (wins, entries) = (sum(Metric::Wins), sum(Metric::Entries));
        assert!((entries / 3..entries * 2 / 3).contains(&wins), "{wins} wins of {entries} entries");
        let (orders, gmv) = (sum(Metric::Orders), sum(Metric::Gmv));
        assert!(orders > 1_000 && (1_500..6_000).contains(&(gmv / orders)), "{gmv} over {orders} orders");
        assert!(sum(Metric::PrizeCash) > 0 && sum(Metric::Joins) > 0 && sum(Metric::Follows) > 0);
    }
}
