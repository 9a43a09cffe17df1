//! The archive of a service: read back by `log dump`, `log roots`, `log prove`, `run` and `draw verify` beyond what the log keeps.

use std::path::Path;
use std::time::{Duration, Instant};

use super::draws::{SECRET, read, wheel, write};
use super::log::{root_for, send};
use crate::cli::{RULES, shop};
use crate::program::{TABLES, done, mashang};
use crate::serve::server::Server;

/// Maximum time of every wait in these tests; beyond it the test fails.
const PATIENCE: Duration = Duration::from_secs(60);
const ARCHIVE: [&str; 2] = ["--archive", "file:archive"];
const DATA: [&str; 2] = ["--data", "data"];

/// Runs a command with more arguments; exit status and both outputs.
fn said(dir: &Path, args: &[&str], more: &[&str]) -> (Option<i32>, String) {
    let output = mashang(dir, &[args, more].concat());
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn until(mut is_so: impl FnMut() -> bool, what: &str) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until the archive has what a dump of the log has.
fn until_archived(dir: &Path) {
    let wanted = done(dir, &["log", "dump", "--data", "data"]);
    let has_all = || said(dir, &["log", "dump"], &ARCHIVE) == (Some(0), wanted.clone());
    until(has_all, "not archived");
}

#[test]
fn what_the_log_no_longer_keeps_is_read_from_the_archive() {
    let dir = shop(RULES, "");
    let dir = dir.path();
    let base = ["--clock", "event", "--partitions", "2"];
    let archiving = [&base[..], &ARCHIVE, &["--archive-every", "100ms"]].concat();
    let server = Server::start(dir, &archiving);
    (0..3).for_each(|day| send(&server.http, day));
    until_archived(dir);
    assert!(server.stop().0.success());
    let early = done(dir, &["log", "dump", "--data", "data"]);
    let roots = done(dir, &["log", "roots", "--data", "data"]);
    write(dir, "roots.csv", &roots);
    assert_eq!(done(dir, &[&["log", "roots"][..], &ARCHIVE].concat()), roots);

    // From now on the log removes what is archived.
    let short = [&archiving[..], &["--retain", "1ms", "--snapshot-every", "100ms", "--segment-bytes", "4096"]].concat();
    let server = Server::start(dir, &short);
    let mut day = 3;
    for _ in 0..20 {
        send(&server.http, day);
        day += 1;
    }
    until_archived(dir);
    assert!(server.stop().0.success());
    // A start begins a new journal; segments that only the one before made durable can go then.
    let server = Server::start(dir, &short);
    until(
        || {
            send(&server.http, day);
            day += 1;
            !done(dir, &["log", "dump", "--data", "data"]).contains("\"e0-0\"")
        },
        "the log removes nothing",
    );
    server.settle();
    let both = [&ARCHIVE[..], &DATA].concat();
    let all = done(dir, &[&["log", "dump"][..], &both].concat());
    assert!(all.starts_with(&early), "{all}");
    for day in 0..day {
        assert!((0..8).all(|n| all.contains(&format!("\"id\":\"e{day}-{n}\""))), "day {day} of {all}");
    }
    let later = done(dir, &[&["log", "roots"][..], &both].concat());
    assert!(roots.lines().all(|row| later.contains(row)), "{later}");
    let (status, told) =
        said(dir, &["log", "prove", "--event", "e0-3", "--shopper", "u3", "--merchant", "acme"], &both);
    assert_eq!(status, Some(0), "{told}");
    write(dir, "proof.json", &told);
    let root = root_for(dir, &serde_json::from_str(&told).expect("JSON"));
    done(dir, &["log", "verify", "proof.json", "--root", &root]);

    // A run over the archive gives the ledger of the service.
    until(|| said(dir, &["log", "dump"], &ARCHIVE) == (Some(0), all.clone()), "not archived");
    assert!(server.stop().0.success());
    done(dir, &["run", "--rules", "rules.toml", "--archive", "file:archive", "--out", "again"]);
    for table in TABLES {
        let [found, wanted] = ["data/ledger.sqlite", "again/ledger.sqlite"]
            .map(|ledger| done(dir, &["export", table, "--ledger", ledger]));
        assert_eq!(found, wanted, "{table}");
    }
    let (status, told) = said(dir, &["archive", "verify"], &ARCHIVE);
    assert!(status == Some(0) && told.matches(": good\n").count() == 2, "{told}");

    // Only what was received from a time on.
    let from = ["--from", "2026-11-11T00:00:00Z"];
    let late = done(dir, &[&["log", "dump"][..], &ARCHIVE, &from].concat());
    assert!(all.ends_with(&late) && late.len() < all.len() && !late.is_empty(), "{late}");

    // A segment is missing.
    let listed = done(dir, &[&["archive", "list"][..], &ARCHIVE].concat());
    let second = listed.lines().filter(|line| line.starts_with("scans,0,")).nth(1).expect("a segment");
    let cells: Vec<&str> = second.split(',').collect();
    let name = format!("archive/scans/0/{:0>20}.zst", cells[3]);
    std::fs::remove_file(dir.join(&name)).expect("a segment");
    let hole = format!("of scans partition 0 the records at offsets {} to {} are missing", cells[3], cells[4]);
    for args in [&["archive", "verify"][..], &["log", "dump"]] {
        let (status, told) = said(dir, args, &ARCHIVE);
        assert!(status == Some(1) && told.contains(&hole), "{args:?}: {status:?} {told}");
    }
    let (status, told) = said(dir, &["run", "--rules", "rules.toml", "--out", "holed"], &ARCHIVE);
    assert!(status == Some(2) && told.contains(&hole) && !dir.join("holed/ledger.sqlite").exists(), "{told}");

    // Days that are over for long enough go.
    let server = Server::start(dir, &[&archiving[..], &["--archive-keep", "1d"]].concat());
    send(&server.http, day);
    until(
        || {
            let listed = done(dir, &[&["archive", "list"][..], &ARCHIVE].concat());
            !listed.contains(",2026-11-09,") && !listed.contains(",2026-11-10,")
        },
        "no day goes",
    );
    assert!(server.stop().0.success());
}

#[test]
fn draws_are_verified_over_an_archive() {
    let dir = wheel();
    let dir = dir.path();
    write(dir, "secret.key", SECRET);
    write(dir, "other.key", &"07".repeat(32));
    let server = Server::start(dir, &["--clock", "event", "--archive", "file:archive", "--archive-every", "100ms"]);
    for line in read(dir, "events.ndjson").lines() {
        let answer = server.post("application/json", line.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    server.settle();
    until_archived(dir);
    assert!(server.stop().0.success());
    let awards = done(dir, &["export", "awards", "--ledger", "data/ledger.sqlite"]);
    write(dir, "awards.csv", &awards);
    let verify = ["draw", "verify", "--rules", "rules.toml", "--campaign", "wheel", "--secret", "shown.key"];
    let verify = |name: &str| said(dir, &verify, &["--awards", name, "--archive", "file:archive"]);
    let (status, told) = verify("awards.csv");
    assert!(status == Some(0) && told.contains("as the rules and the secret give"), "{told}");
    // A row less.
    let row = awards.lines().find(|row| row.starts_with("acme,wheel,")).expect("an award");
    write(dir, "short.csv", &awards.replace(&format!("{row}\n"), ""));
    let (status, told) = verify("short.csv");
    assert!(status == Some(1) && told.contains("missing: "), "{told}");
}

#[test]
fn archive_that_cannot_be_used_is_named() {
    let dir = shop(RULES, "");
    let dir = dir.path();
    let server = Server::start(dir, &["--archive", "file:archive", "--archive-every", "100ms"]);
    until(|| dir.join("archive/meta.json").exists(), "no archive");
    assert!(server.stop().0.success());
    for (args, status, mend) in [
        (&["log", "dump", "--archive", "file:none"][..], 2, "name the URL that `--archive` of the workers"),
        (&["log", "dump", "--archive", "gs://none"], 2, "--archive gs://none: no store has this form"),
        (&["log", "dump"], 2, "--archive"),
        (&["archive", "list", "--archive", "file:none"], 2, "there is no archive"),
        (&["run", "--rules", "rules.toml", "--out", "out"], 2, "--archive"),
        (&["serve", "--data", "d", "--rules", "rules.toml", "--archive-keep", "1d"], 2, "give --archive too"),
        (
            &["serve", "--data", "d", "--rules", "rules.toml", "--archive", "file:a", "--archive-every", "0s"],
            2,
            "such as 1h",
        ),
        (
            &["worker", "--kafka", "k:1", "--store", "file:s", "--desk", "code", "--archive", "file:a"],
            2,
            "shopper desk",
        ),
        // Another log.
        (
            &[
                "serve",
                "--data",
                "other",
                "--rules",
                "rules.toml",
                "--archive",
                "file:archive",
                "--http",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
                "--udp",
                "none",
            ],
            2,
            "give each log an archive of its own",
        ),
        (&["log", "dump", "--data", "other", "--archive", "file:archive"], 2, "give each log an archive of its own"),
    ] {
        let (found, told) = said(dir, args, &[]);
        assert!(found == Some(status) && told.contains(mend), "{args:?}: {found:?} {told}");
    }
}
