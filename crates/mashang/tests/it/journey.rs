//! A real retailer's year through `run`, held against totals worked out without us.
//!
//! MASHANG_JOURNEY names a directory with what `journey.py` and `tests/journey/commission.py` wrote. Without it the test
//! says that it is skipped; MASHANG_NO_SKIP makes that a failure.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::program::{done, mashang};

type Rows = Vec<BTreeMap<String, String>>;

fn rows(text: &str) -> Rows {
    csv::Reader::from_reader(text.as_bytes()).deserialize().collect::<Result<_, _>>().expect("CSV")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
}

/// A map of numbers without the zeros, which exports leave out.
fn map(value: &Value) -> BTreeMap<String, i64> {
    let pairs = value.as_object().expect("a map").iter().map(|(k, v)| (k.clone(), v.as_i64().expect("a number")));
    pairs.filter(|(_, v)| *v != 0).collect()
}

#[test]
fn a_retailers_year_comes_out_as_it_was() {
    let Some(journey) = std::env::var_os("MASHANG_JOURNEY") else {
        assert!(std::env::var_os("MASHANG_NO_SKIP").is_none(), "MASHANG_JOURNEY is not set");
        eprintln!("skipped: MASHANG_JOURNEY names no directory with the converted journey");
        return;
    };
    let journey = Path::new(&journey);
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| journey.join(name).to_string_lossy().into_owned();
    let run = |out: &str| {
        let args = [
            "run",
            "--rules",
            &path("rules.toml"),
            "--events",
            &path("events.ndjson"),
            "--out",
            out,
            "--summary",
            "json",
        ];
        let printed = done(dir.path(), &args);
        serde_json::from_str::<Value>(printed.lines().last().expect("a summary")).expect("JSON")
    };
    let export = |out: &str, table: &str| {
        let output = mashang(dir.path(), &["export", table, "--ledger", &format!("{out}/ledger.sqlite")]);
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let summary = run("one");
    let expected = json(&journey.join("expected.json"));
    assert_eq!(summary["received"], expected["events"]);
    assert_eq!(summary["accepted"], expected["events"]);

    let counters = rows(&export("one", "counters"));
    let sums = |scope: &str, metric: &str, by: &str| {
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        for row in counters.iter().filter(|row| row["scope"] == scope && row["metric"] == metric) {
            *sums.entry(row[by].clone()).or_default() += row["value"].parse::<i64>().expect("a number");
        }
        sums
    };
    for metric in ["scans", "unknown", "orders", "gmv", "claims", "redeems"] {
        let found: i64 = sums("merchant", metric, "day").values().sum();
        assert_eq!(Some(found), expected[metric].as_i64(), "{metric}");
        println!("{metric}: {found}");
    }
    assert_eq!(sums("store", "gmv", "key"), map(&expected["gmv_by_store"]));
    assert_eq!(sums("merchant", "orders", "day"), map(&expected["orders_by_day"]));
    assert_eq!(sums("merchant", "shoppers", "day"), map(&expected["shoppers_by_day"]));

    // Commission: pandas over the raw tables, postings and counters all agree.
    let commission = map(&json(&journey.join("commission.json")));
    let mut posted: BTreeMap<String, i64> = BTreeMap::new();
    for row in rows(&export("one", "postings")) {
        *posted.entry(row["payee"].clone()).or_default() += row["amount"].parse::<i64>().expect("a number");
    }
    assert_eq!(posted, commission);
    assert_eq!(sums("store", "commission", "key"), commission);
    println!("commission: {} to {} stores", commission.values().sum::<i64>(), commission.len());

    run("two");
    for table in ["postings", "orders", "counters", "funnels"] {
        assert!(export("one", table) == export("two", table), "{table} of a second run differs");
    }
}
