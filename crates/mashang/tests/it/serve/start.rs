//! Starts that are refused, each with its message and its exit status.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use expect_test::{Expect, expect};
use tempfile::TempDir;

use super::server::Server;
use super::steady;
use crate::program::{done, mashang};

fn shop() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    steady::write_rules(dir.path());
    dir
}

/// Compares the last line of a start's output and its exit status.
fn check(dir: &Path, more: &[&str], expect: &Expect) {
    let fixed = ["serve", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let own: Vec<&str> = fixed.into_iter().filter(|arg| *arg == "serve" || !more.contains(&"--http")).collect();
    let output = mashang(dir, &[&own, more].concat());
    let told = String::from_utf8_lossy(&output.stderr).replace(&*dir.to_string_lossy(), "DIR");
    let last = told.lines().last().unwrap_or_default();
    expect.assert_eq(&format!("{last}\nexit status {}\n", output.status.code().expect("no signal")));
}

const GOOD: [&str; 4] = ["--data", "data", "--rules", "rules.toml"];

#[test]
fn settings_that_are_wrong_are_named() {
    let dir = shop();
    let dir = dir.path();
    check(
        dir,
        &["--rules", "rules.toml"],
        &expect![[r#"
        mashang: --data is missing: give it, set MASHANG_DATA, or write `data` into the file of --config
        exit status 2
    "#]],
    );
    check(
        dir,
        &["--data", "data"],
        &expect![[r#"
        mashang: --rules is missing: give it, set MASHANG_RULES, or write `rules` into the file of --config
        exit status 2
    "#]],
    );
    check(
        dir,
        &["--data", "data", "--rules", "nothing.toml"],
        &expect![[r#"
        mashang: 1 mistake in the rules: nothing was done
        exit status 2
    "#]],
    );
    check(
        dir,
        &["--data", "rules.toml/x", "--rules", "rules.toml"],
        &expect![[r#"
            mashang: --data rules.toml/x: cannot be written: Not a directory (os error 20): choose a directory that can be
            exit status 2
        "#]],
    );
    check(
        dir,
        &[&GOOD[..], &["--http", "0.0.0.0:0", "--admin", "127.0.0.1:0"]].concat(),
        &expect![[r#"
        mashang: --http 0.0.0.0:0: others can reach this address, and there are no keys: give --keys FILE, or an address of this machine such as 127.0.0.1
        exit status 2
    "#]],
    );
    std::fs::write(dir.join("serve.toml"), "data = \"data\"\nrules = [\"rules.toml\"]\nport = 80\n").expect("a file");
    check(
        dir,
        &["--config", "serve.toml"],
        &expect![[r#"
            mashang: --config serve.toml:3: port is no setting of mashang serve: see `mashang serve --help`
            exit status 2
        "#]],
    );
    std::fs::write(dir.join("serve.toml"), "data = \"data\"\nrules = [\"rules.toml\"]\nretain = \"a while\"\n")
        .expect("a file");
    check(
        dir,
        &["--config", "serve.toml"],
        &expect![[r#"
            mashang: --config serve.toml:3: retain: is "a while"; write an integer and a unit, such as "500ms", "10s", "15m", "48h" or "15d"
            exit status 2
        "#]],
    );
    check(
        dir,
        &[&GOOD[..], &["--idle-timeout", "500ms"]].concat(),
        &expect![[r#"
            mashang: idle-timeout is 500ms: give 1s to 1h
            exit status 2
        "#]],
    );
    let output = mashang(dir, &[&["serve"], &GOOD[..], &["--http", "shop.example:8080"]].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told.contains("'--http <ADDRESS>': shop.example:8080 is no address with a port; give one such as"),
        "{told}"
    );
    std::fs::write(dir.join("serve.toml"), "data = \"data\"\nrules = [\"rules.toml\"]\nhttp = \"8080\"\n")
        .expect("a file");
    check(
        dir,
        &["--config", "serve.toml"],
        &expect![[r#"
            mashang: --config serve.toml:3: http: 8080 is no address with a port; give one such as 127.0.0.1:8080, localhost:8080 or 0.0.0.0:8080
            exit status 2
        "#]],
    );
    std::fs::write(dir.join("keys.toml"), "").expect("a file");
    check(
        dir,
        &[&GOOD[..], &["--keys", "keys.toml"]].concat(),
        &expect![[r#"
            mashang: --keys keys.toml: others may read the keys (mode 0644): chmod 600 it
            exit status 2
        "#]],
    );
    std::fs::set_permissions(dir.join("keys.toml"), std::fs::Permissions::from_mode(0o600)).expect("a mode");
    std::fs::write(
        dir.join("keys.toml"),
        "[[key]]\nid = \"a\"\nsha256 = \"12\"\nmerchants = [\"m\"]\nscopes = [\"ingest\"]\n",
    )
    .expect("a file");
    check(
        dir,
        &[&GOOD[..], &["--keys", "keys.toml"]].concat(),
        &expect![[r#"
            mashang: --keys keys.toml: key a: sha256 must be the SHA-256 of the secret, 64 hex digits
            exit status 2
        "#]],
    );
}

#[test]
fn port_in_use_and_second_process_are_reported() {
    let dir = shop();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output =
        mashang(dir.path(), &[&["serve"], &GOOD[..], &["--http", &address, "--admin", "127.0.0.1:0"]].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("Address already in use") && told.contains("stop the other process, or choose another port"),
        "{told}"
    );
    assert_eq!(output.status.code(), Some(2));
    let server = Server::start(dir.path(), &[]);
    check(
        dir.path(),
        &GOOD,
        &expect![[r#"
        mashang: --data data: another process of mashang writes there: wait for it, stop it, or choose another
        exit status 2
    "#]],
    );
    // A run must not write there either.
    std::fs::write(dir.path().join("events.ndjson"), "").expect("a file");
    let run = mashang(dir.path(), &["run", "--rules", "rules.toml", "--events", "events.ndjson", "--out", "data"]);
    assert_eq!(run.status.code(), Some(2));
    drop(server);
}

#[test]
fn flags_override_the_environment_which_overrides_the_file() {
    let dir = shop();
    std::fs::write(
        dir.path().join("serve.toml"),
        "rules = [\"rules.toml\"]\npartitions = 2\nclock = \"event\"\nsnapshot-every = \"1s\"\n",
    )
    .expect("a file");
    let mut command = super::server::binary();
    command.env("MASHANG_CONFIG", "serve.toml").env("MASHANG_PARTITIONS", "3");
    let server = Server::start_with(command, dir.path(), &["--rules", "rules.toml", "--clock", "wall"]);
    server.settle();
    server.kill();
    let meta = std::fs::read_to_string(dir.path().join("data/log/meta.json")).expect("a file");
    assert!(meta.contains("\"clock\":\"wall\"") && meta.contains("\"scans\":3"), "{meta}");
}

#[test]
fn addresses_are_taken_as_people_write_them() {
    let dir = shop();
    let server = Server::start(dir.path(), &["--http", "localhost:0", "--admin", ":0", "--udp", "localhost:0"]);
    for address in [&server.http, &server.admin] {
        assert!(address.starts_with("http://127.0.0.1:"), "{address}");
    }
    assert!(server.udp.is_some_and(|address| address.ip().is_loopback()));
    server.kill();
    let dir = shop();
    std::fs::write(dir.path().join("serve.toml"), "rules = [\"rules.toml\"]\nudp = \":0\"\nidle-timeout = \"80s\"\n")
        .expect("a file");
    let mut command = super::server::binary();
    command.env("MASHANG_CONFIG", "serve.toml").env("MASHANG_IDLE_TIMEOUT", "90s");
    let server = Server::start_with(command, dir.path(), &["--rules", "rules.toml", "--http", ":0"]);
    assert!(server.http.starts_with("http://127.0.0.1:") && server.udp.is_some());
}

#[test]
fn what_was_chosen_once_stays() {
    let dir = shop();
    // Asked to end as soon as it is ready.
    let (status, told) = Server::start(dir.path(), &["--partitions", "2"]).stop();
    assert!(status.success(), "{status}: {told}");
    check(
        dir.path(),
        &[&GOOD[..], &["--partitions", "3"]].concat(),
        &expect![[r#"
        mashang: data/log: the log was made with 2 partitions, not with 3 partitions: give the number that it was made with
        exit status 2
    "#]],
    );
    check(
        dir.path(),
        &[&GOOD[..], &["--partitions", "2", "--clock", "event"]].concat(),
        &expect![[r#"
        mashang: data/log: the log was made with --clock wall, not with --clock event: start it as it was made
        exit status 2
    "#]],
    );
}

/// A service that has worked a little and was ended.
fn worked(dir: &Path) {
    let server = Server::start(dir, &["--clock", "event", "--partitions", "1"]);
    let events = steady::events(500);
    assert_eq!(server.post("application/x-ndjson", events.join("\n").as_bytes()).expect("an answer").status, 202);
    server.settle();
    let (status, told) = server.stop();
    assert!(status.success(), "{told}");
}

/// Files below a directory whose names end so, sorted.
fn files(dir: &Path, end: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(end) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("a file");
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("a file");
}

const AGAIN: [&str; 8] = ["--data", "data", "--rules", "rules.toml", "--clock", "event", "--partitions", "1"];

#[test]
fn damage_stops_the_start_with_its_place() {
    let state = |dir: &Path| files(&dir.join("data/snapshots/scans-0"), ".state").pop().expect("a state");
    let dir = shop();
    worked(dir.path());
    flip(&state(dir.path()), 40);
    check(
        dir.path(),
        &AGAIN,
        &expect![[r#"
            mashang: data/snapshots/scans-0/00000000000000000002.manifest.json: the snapshot of scans partition 0 is torn: its state is not as it was written; put it back from a copy, or remove this manifest to go back to the snapshot before it, if the log reaches back so far
            exit status 1
        "#]],
    );
    std::fs::remove_file(state(dir.path())).expect("a file");
    check(
        dir.path(),
        &AGAIN,
        &expect![[r#"
            mashang: data/snapshots/scans-0/00000000000000000002.manifest.json: the snapshot of scans partition 0 is torn: its state is missing; put it back from a copy, or remove this manifest to go back to the snapshot before it, if the log reaches back so far
            exit status 1
        "#]],
    );

    let dir = shop();
    worked(dir.path());
    let journal = files(&dir.path().join("data/log/journal"), ".jrn").pop().expect("a journal");
    flip(&journal, 600);
    let output =
        mashang(dir.path(), &[&["serve", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"], &AGAIN[..]].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("the log is damaged: block") && told.contains(".jrn at byte"), "{told}");
    assert_eq!(output.status.code(), Some(1));

    // A second start has deleted the first one's journal: now only the segment has these records.
    let dir = shop();
    worked(dir.path());
    let server = Server::start(dir.path(), &["--clock", "event", "--partitions", "1"]);
    assert!(server.stop().0.success());
    flip(&dir.path().join("data/log/scans/0/00000000000000000000.seg"), 300);
    check(
        dir.path(),
        &AGAIN,
        &expect![[r#"
        mashang: data/log/scans/0/00000000000000000000.seg at byte 185: the log is damaged: the checksum of offset 1 is wrong; no record is skipped: restore the data directory from a copy, or begin a new one
        exit status 1
    "#]],
    );

    // A log that was put back from an older copy is shorter than what the desks and the ledger have read of it.
    let dir = shop();
    worked(dir.path());
    let copy = dir.path().join("copy");
    done_copy(&dir.path().join("data/log"), &copy);
    let server = Server::start(dir.path(), &["--clock", "event", "--partitions", "1"]);
    assert_eq!(
        server
            .post("application/x-ndjson", steady::events(900)[500..].join("\n").as_bytes())
            .expect("an answer")
            .status,
        202
    );
    server.settle();
    assert!(server.stop().0.success());
    std::fs::remove_dir_all(dir.path().join("data/log")).expect("a folder");
    done_copy(&copy, &dir.path().join("data/log"));
    let output =
        mashang(dir.path(), &[&["serve", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"], &AGAIN[..]].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("partition 0: offset") && told.contains("is shorter than what was read of it"), "{told}");
    assert_eq!(output.status.code(), Some(1));
}

fn done_copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-r").args([from, to]).status().expect("cp runs");
    assert!(status.success());
}

/// Without the rules in force, nothing is published: the directory may be that of another log. The same rules put them back.
#[test]
fn lost_rules_are_put_back_by_the_same_rules_alone() {
    let dir = shop();
    worked(dir.path());
    let [object] = &files(&dir.path().join("data/rules"), ".json")[..] else { panic!("one version") };
    std::fs::remove_file(object).expect("a file");
    let rules = std::fs::read_to_string(dir.path().join("rules.toml")).expect("a file");
    std::fs::write(dir.path().join("rules.toml"), rules.replace("rate = \"5%\"", "rate = \"6%\"")).expect("a file");
    let output =
        mashang(dir.path(), &[&["serve", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"], &AGAIN[..]].concat());
    let refused = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{refused}");
    assert!(refused.contains("name the store of this log, or publish these rules again"), "{refused}");
    std::fs::write(dir.path().join("rules.toml"), rules).expect("a file");
    let server = Server::start(dir.path(), &["--clock", "event", "--partitions", "1"]);
    server.settle();
    assert!(server.stop().0.success() && object.exists());
}

#[test]
fn changed_rules_are_published_unless_they_cannot_follow() {
    let dir = shop();
    worked(dir.path());
    let rules = std::fs::read_to_string(dir.path().join("rules.toml")).expect("a file");
    std::fs::write(dir.path().join("rules.toml"), rules.replace("\"CNY\"", "\"USD\"")).expect("a file");
    check(
        dir.path(),
        &AGAIN,
        &expect![[r#"
        mashang: steady: currency: is USD, was CNY: money that is posted stays as it is; begin another merchant for another currency; these rules cannot follow those in force
        exit status 2
    "#]],
    );
    std::fs::write(dir.path().join("rules.toml"), rules.replace("rate = \"5%\"", "rate = \"6%\"")).expect("a file");
    let server = Server::start(dir.path(), &["--clock", "event", "--partitions", "1"]);
    let more = steady::events(900)[500..].join("\n");
    assert_eq!(server.post("application/x-ndjson", more.as_bytes()).expect("an answer").status, 202);
    server.settle();
    let (status, told) = server.stop();
    assert!(status.success() && told.is_empty() || told.contains("stopped"), "{told}");
    let objects = files(&dir.path().join("data/rules"), ".json");
    assert_eq!(objects.len(), 2);
    // Awards of both versions are there, each by its own.
    let awards = done(dir.path(), &["export", "awards", "--ledger", "data/ledger.sqlite"]);
    let versions: std::collections::BTreeSet<&str> =
        awards.lines().skip(1).filter_map(|l| l.split(',').nth(2)).collect();
    assert_eq!(versions.len(), 2, "{versions:?}");
}
