//! Segments beside a map: random pairs, merges, crashes and expiry give the same answers.

use std::collections::BTreeMap;

use domain::model::time::{DAY_MS, HOUR_MS};
use sim::generate::rng::Rng;

use super::buffer::Buffer;
use super::merge::{Merges, Step, step};
use super::{ALWAYS, SegmentKind, add, read};
use crate::error::LedgerError;
use crate::schema::{Origin, create};
use crate::store::sqlite::Sqlite;
use crate::store::{Store, TransactionKind, all, reading, transaction};

const OWNERS: u16 = 2;

/// What a reader must find: the greatest value of each key, by kind and hour.
type Model = BTreeMap<(&'static str, i64), BTreeMap<Vec<u8>, Vec<u8>>>;

fn store() -> Box<dyn Store> {
    let db = rusqlite::Connection::open_in_memory().expect("a database");
    create(&db, Origin::Service).expect("tables");
    Box::new(Sqlite::new(db))
}

fn commit(store: &mut dyn Store, model: &mut Model, rng: &mut Rng, kind: SegmentKind, hour: i64) {
    let owner = u16::try_from(rng.below(usize::from(OWNERS))).expect("few");
    let mut buffers = [Buffer::default(), Buffer::default()];
    let kept = model.entry((kind.as_str(), hour)).or_default();
    for _ in 0..rng.below(60) {
        let key = (rng.below(400) as u128).to_be_bytes();
        let value = vec![u8::try_from(rng.below(256)).expect("a byte"); rng.below(200)];
        let buffer = &mut buffers[rng.below(2)];
        buffer.push(|to| to.extend_from_slice(&key), |to| to.extend_from_slice(&value));
        let greatest = kept.entry(key.to_vec()).or_default();
        if *greatest < value {
            *greatest = value;
        }
    }
    let [one, other] = &buffers;
    let added = transaction(store, TransactionKind::Write, |store| add(store, owner, kind, hour, &[one, other]));
    added.expect("added");
}

fn compare(store: &mut dyn Store, model: &Model, hour: i64) {
    let oldest = hour - DAY_MS / HOUR_MS;
    let answers = model.iter().filter(|((kind, of), _)| *kind == "answers" && *of >= oldest);
    let mut greatest: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
    for (key, value) in answers.flat_map(|(_, pairs)| pairs) {
        let known = greatest.entry(key).or_insert(value);
        *known = (*known).max(value);
    }
    for key in 0..410_u64 {
        let found = read::answer(store, key.into()).expect("read");
        assert_eq!(found.as_deref(), greatest.get(&u128::from(key).to_be_bytes()[..]).copied(), "{key}");
    }
    let none = BTreeMap::new();
    let codes = model.get(&("codes", ALWAYS)).unwrap_or(&none);
    let in_order = reading(store, |store| {
        let (mut ordered, mut found) = (read::in_order(store, SegmentKind::Codes)?, Vec::new());
        while ordered.next(store, &mut |(key, value)| found.push((key.to_vec(), value.to_vec())))? {}
        Ok::<_, LedgerError>(found)
    });
    let wanted: Vec<_> = codes.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    assert_eq!(in_order.expect("read"), wanted);
    for first in [0_u8, 1] {
        let prefix = [[0; 14].as_slice(), &[first]].concat();
        let found = read::with_prefix(store, SegmentKind::Codes, &prefix).expect("read");
        let wanted: Vec<_> = wanted.iter().filter(|(key, _)| key.starts_with(&prefix)).cloned().collect();
        assert_eq!(found, wanted);
    }
}

#[test]
fn merges_crashes_and_expiry_change_no_answer() {
    for seed in 0..20 {
        let (mut rng, mut model) = (Rng::new(seed), Model::new());
        let mut store = store();
        let (mut hour, mut merges) = (1_000, Merges::default());
        for round in 0..400 {
            hour += i64::from(rng.below(20) == 0) * rng.range(1, 4);
            let sql = "INSERT INTO progress(facts, next, received) VALUES (0, 0, $1) ON CONFLICT(facts) DO UPDATE SET received = excluded.received";
            store.execute(sql, &[(hour * HOUR_MS).into()]).expect("noted");
            let of_answers = hour - i64::from(rng.below(10) == 0);
            commit(store.as_mut(), &mut model, &mut rng, SegmentKind::Answers, of_answers);
            commit(store.as_mut(), &mut model, &mut rng, SegmentKind::Codes, ALWAYS);
            // A step of few pairs, so that a merge takes several.
            let limits = |owner| Step { owner, pairs: 40 };
            for owner in 0..OWNERS {
                if merges.is_due() {
                    let is_cut = rng.below(4) == 0;
                    let done = transaction(store.as_mut(), TransactionKind::Write, |store| {
                        let has_more = step(store, limits(owner))?;
                        // A crash before the commit.
                        if is_cut { Err(LedgerError::Damaged("cut".to_owned())) } else { Ok(has_more) }
                    });
                    assert_eq!(done.is_err(), is_cut);
                    merges.note(done.unwrap_or(true));
                }
            }
            if round % 50 == 0 {
                compare(store.as_mut(), &model, hour);
            }
        }
        compare(store.as_mut(), &model, hour);
        for owner in 0..OWNERS {
            let mut steps = 0;
            while transaction(store.as_mut(), TransactionKind::Write, |store| step(store, Step { owner, pairs: 40 }))
                .expect("a step")
            {
                steps += 1;
                assert!(steps < 10_000, "the steps end");
            }
        }
        compare(store.as_mut(), &model, hour);
        let sql = "SELECT COUNT(*) FROM segments UNION ALL SELECT COUNT(*) FROM segment_blocks
          WHERE segment NOT IN (SELECT id FROM segments) UNION ALL SELECT COUNT(*) FROM segments WHERE state <> 'ready'";
        let counts = all(store.as_mut(), sql, &[], |row| row.int_of(0)).expect("counted");
        assert!(counts[0] < 250, "800 commits are in few segments: {}", counts[0]);
        assert_eq!(counts[1..], [0, 0], "blocks without a segment; segments that are not whole");
    }
}
