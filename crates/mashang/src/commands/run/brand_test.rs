//! The demo's brand: its rules have no mistake, and its traffic gives what the demo shows.

use std::io::Cursor;

use domain::model::fact::Metric;
use ledger::writer::Writer;
use wire::event::Merchants;

use super::event_files::Rejects;
use super::pipeline::{Events, Finished, run_through};
use super::reading::Source;
use crate::rules::files::{publish, read_all};
use demo::brand::{Brand, MERCHANT, STORES, write};
use demo::traffic::Traffic;

const OPENS: i64 = 1_794_326_400_000;

#[test]
fn its_rules_have_neither_mistakes_nor_warnings() {
    let dir = tempfile::tempdir().expect("a folder");
    let rules = write(&dir.path().join("new"), OPENS, 7).expect("files");
    let checked = read_all(&[rules], None).expect("rules without a mistake").remove(0);
    assert_eq!(checked.warnings, []);
    let rules = checked.rules;
    assert_eq!((rules.merchant.as_str(), rules.stores.len()), (MERCHANT, STORES));
    assert!((2_500..3_600).contains(&rules.guides.len()), "{} guides", rules.guides.len());
    assert_eq!(rules.campaigns[0].from, OPENS);
    assert!(rules.campaigns[0].prizes.iter().any(|prize| prize.unlock.is_some()));
    let left = rules.guides.iter().filter(|guide| guide.left.is_some()).count();
    assert!((10..100).contains(&left), "{left} guides have left");
    for level in ["gold", "silver"] {
        assert!(rules.guides.iter().any(|guide| guide.level.as_deref() == Some(level)), "{level}");
    }
}

/// The results of the desks: each number of the table grows, and all are in proportion.
#[test]
fn the_first_minutes_come_to_something() {
    let dir = tempfile::tempdir().expect("a folder");
    let rules = write(dir.path(), OPENS, 3).expect("files");
    let (library, _) = publish(read_all(&[rules], None).expect("rules")).expect("a library");
    let path = dir.path().join("ledger.sqlite");
    let writer = Writer::create(&path, [0]).expect("a ledger");

    let mut lines = Vec::new();
    let mut traffic = Traffic::new(Brand::new(OPENS, 3), 3);
    for second in -90..60 {
        traffic.until(OPENS + second * 1_000, &mut lines);
    }
    let text = lines.join("\n").into_bytes();
    let merchants = Merchants::new([(MERCHANT, "CNY")]);
    let source = Source { name: "demo".to_owned(), input: Box::new(Cursor::new(text)), merchants, is_wanted: None };
    let events = Events { file: "demo".to_owned(), source, rejects: Rejects::Printed };
    let finished = run_through(&library, writer, events, Into::into, |_, _| {}).expect("a run");
    let Finished { tally, mut ledger, .. } = finished;

    let sums: Vec<i128> = Metric::ALL.iter().map(|&metric| ledger.sum(metric).expect("a sum")).collect();
    let sum = |metric| sums[metric as usize];
    let accepted = i128::from(tally.accepted);
    assert_eq!(usize::try_from(accepted), Ok(lines.len()), "{:?}", tally.rejected);
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
