//! `log roots`, `log prove`, `log verify`, and what `log dump` prints: over the log of a service.

use std::collections::BTreeMap;
use std::path::Path;

use expect_test::expect;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::draws::{read, write};
use crate::cli::{RULES, shop};
use crate::program::{done, mashang};
use crate::serve::server::{Server, post};

/// 2026-11-09T23:59:59Z.
const START: i64 = 1_794_268_799_000;
const DAY: i64 = 24 * 60 * 60 * 1000;

/// Sends events of one day, one request each so that there are several records.
pub(super) fn send(http: &str, day: i64) {
    for n in 0..9 {
        let time = START + day * DAY + n * 200;
        let mut event =
            json!({"id": format!("e{day}-{n}"), "action": "visit", "shopper": format!("u{n}"), "time": time});
        if n == 8 {
            event["action"] = json!(if day == 1 { "refund" } else { "order" });
            event["id"] = json!("o-9");
            event["order"] = json!("o-9");
            event["amount"] = json!(100);
        }
        let answer = post(http, "application/json", event.to_string().as_bytes(), None).expect("an answer");
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
}

/// A directory with the log of a service, `roots.csv` and `records.ndjson`. The first day has five events, and three days follow
/// each other: the last is not over.
pub(super) fn log() -> TempDir {
    let dir = shop(RULES, "");
    let server = Server::start(dir.path(), &["--clock", "event", "--partitions", "2"]);
    send(&server.http, 0);
    send(&server.http, 1);
    // While the service runs.
    let early = roots(dir.path());
    send(&server.http, 2);
    assert!(server.stop().0.success());
    let late = roots(dir.path());
    assert!(early.lines().count() > 3 && late.lines().count() > early.lines().count(), "{early}{late}");
    assert!(early.lines().all(|row| late.contains(row)), "a day that is over never changes: {early}{late}");
    write(dir.path(), "roots.csv", &late);
    write(dir.path(), "records.ndjson", &done(dir.path(), &["log", "dump", "--data", "data", "--raw"]));
    dir
}

fn roots(dir: &Path) -> String {
    done(dir, &["log", "roots", "--data", "data"])
}

fn prove(dir: &Path, event: &str, shopper: &str, more: &[&str]) -> (i32, String) {
    let args = ["log", "prove", "--data", "data", "--merchant", "acme", "--event", event, "--shopper", shopper];
    let output = mashang(dir, &[&args[..], more].concat());
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("no signal"), String::from_utf8(text).expect("UTF-8"))
}

/// The published root under which a proof must be.
pub(super) fn root_for(dir: &Path, proof: &Value) -> String {
    let roots = read(dir, "roots.csv");
    let mut rows = csv::Reader::from_reader(roots.as_bytes());
    let rows = rows.deserialize::<BTreeMap<String, String>>().map(|row| row.expect("a row"));
    let number = |row: &BTreeMap<String, String>, key: &str| row[key].parse::<u64>().expect("a number");
    let offset = proof["offset"].as_u64().expect("an offset");
    let mut of_proof = rows.filter(|row| {
        let is_in = number(row, "first_offset") <= offset && offset <= number(row, "last_offset");
        row["topic"] == proof["topic"].as_str().expect("a topic")
            && json!(number(row, "partition")) == proof["partition"]
            && is_in
    });
    of_proof.next().expect("a day that is over")["root"].clone()
}

#[test]
fn days_follow_each_other_without_a_gap() {
    let dir = log();
    let roots = read(dir.path(), "roots.csv");
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    let mut days: Vec<&str> = Vec::new();
    for row in roots.lines().skip(1) {
        let cells: Vec<&str> = row.split(',').collect();
        let [topic, partition, day, first, last, records, root] = cells[..] else { panic!("{row}") };
        let [first, last, records] = [first, last, records].map(|n| n.parse::<u64>().expect("a number"));
        assert_eq!((topic, root.len(), last - first + 1), ("scans", 64, records), "{row}");
        assert_eq!(next.insert(partition, last + 1).unwrap_or(0), first, "{row}");
        days.push(day);
    }
    days.sort_unstable();
    days.dedup();
    assert_eq!(days, ["2026-11-09", "2026-11-10", "2026-11-11"]);
    assert_eq!(next.len(), 2);
    let dump = done(dir.path(), &["log", "dump", "--data", "data"]);
    assert!(dump.starts_with('{') && dump.contains("\"received\":\"2026-11-09T23:59:59.000Z\""), "{dump}");
}

#[test]
fn every_event_of_a_day_that_is_over_is_proved() {
    let dir = log();
    let mut proved = 0;
    for (day, n) in [(0, 0), (0, 1), (0, 4), (0, 5), (0, 7), (1, 0), (1, 3), (1, 7)] {
        let (status, proof) = prove(dir.path(), &format!("e{day}-{n}"), &format!("u{n}"), &[]);
        assert_eq!(status, 0, "{proof}");
        let fields: Value = serde_json::from_str(&proof).expect("JSON");
        write(dir.path(), "proof.json", &proof);
        let root = root_for(dir.path(), &fields);
        let told = done(dir.path(), &["log", "verify", "proof.json", "--root", &root]);
        assert!(told.starts_with("proof.json: the record is number "), "{told}");
        // The same proof under another root, and another record under this one.
        let other = root.chars().rev().collect::<String>();
        assert_eq!(mashang(dir.path(), &["log", "verify", "proof.json", "--root", &other]).status.code(), Some(1));
        for (key, value) in
            [("record", json!("AAAA")), ("index", json!(77)), ("root", json!(other)), ("path", json!([root]))]
        {
            let mut changed = fields.clone();
            changed[key] = value;
            write(dir.path(), "changed.json", &changed.to_string());
            let output = mashang(dir.path(), &["log", "verify", "changed.json", "--root", &root]);
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(1) && told.starts_with("mashang: changed.json: "), "{key}: {told}");
        }
        proved += 1;
    }
    assert_eq!(proved, 8);
}

/// A changed byte anywhere in a proof is noticed; a proof that another program wrote may lack the checksum.
#[test]
fn proof_with_any_byte_changed_is_refused() {
    let dir = log();
    let (_, proof) = prove(dir.path(), "e0-4", "u4", &[]);
    let fields: Value = serde_json::from_str(&proof).expect("JSON");
    let root = root_for(dir.path(), &fields);
    let verify = || mashang(dir.path(), &["log", "verify", "proof.json", "--root", &root]).status.code();
    for at in 0..proof.len() {
        let mut changed = proof.clone().into_bytes();
        changed[at] ^= 1;
        std::fs::write(dir.path().join("proof.json"), &changed).expect("a file");
        assert_ne!(verify(), Some(0), "byte {at}");
    }
    let mut without = fields;
    without.as_object_mut().expect("an object").remove("checksum");
    write(dir.path(), "proof.json", &without.to_string());
    assert_eq!(verify(), Some(0));
}

#[test]
fn what_cannot_be_proved_is_refused_with_the_mend() {
    let dir = log();
    let told = [
        prove(dir.path(), "e0-0", "u1", &[]),
        prove(dir.path(), "o-9", "u8", &[]),
        prove(dir.path(), "e0-0", "u0", &["--action", "join"]),
        prove(dir.path(), "e2-7", "u7", &[]),
    ];
    let told: String = told.iter().map(|(status, told)| format!("{status}: {told}")).collect();
    expect![[r#"
        1: mashang: no event e0-0 of shopper u1, merchant acme is in the log: correct them, or it is older than the log
        2: mashang: several events of shopper u8 have the id o-9: give --action order or --action refund
        1: mashang: no event e0-0 of shopper u0, merchant acme and action join is in the log: correct them, or it is older than the log
        1: mashang: event e2-7 was received on 2026-11-12 (UTC), which is not over in partition 1 of scans: prove it when the partition has an event of a later day
    "#]].assert_eq(&told);
    assert_eq!(prove(dir.path(), "o-9", "u8", &["--action", "refund"]).0, 0);
    write(dir.path(), "proof.json", "{}");
    let output = mashang(dir.path(), &["log", "verify", "proof.json", "--root", &"00".repeat(32)]);
    assert_eq!(output.status.code(), Some(2));
    let output = mashang(dir.path(), &["log", "roots", "--data", "none"]);
    assert_eq!(output.status.code(), Some(2));
}
