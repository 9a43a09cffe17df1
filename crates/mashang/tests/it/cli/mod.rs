//! The command line from outside: exit statuses, messages, summaries, exports.
//!
//! - `run`, `rules`: the commands `run` and `rules check`
//! - `promises`: what may follow rules in force, and the public notice
//! - `ledger`: exports and explanations
//! - `buckets`: stores in buckets that cannot be used
//! - `codes`: the commands `mint` and `code`
//! - `files`: files that are compressed, torn or no text
//! - `proofs`: draws recomputed, and proofs of what a log holds

mod buckets;
mod codes;
mod files;
mod ledger;
mod promises;
mod proofs;
mod rules;
mod run;

use std::path::Path;

use expect_test::Expect;
use tempfile::TempDir;

use crate::program::{done, mashang};

const RULES: &str = r#"
merchant = "acme"
currency = "CNY"
time_zone = "Asia/Shanghai"

[[commission]]
rate = "5%"

[[store]]
id = "s-1"

[[guide]]
id = "g-1"
store = "s-1"

[[code]]
id = "GUIDE-1"
kind = "guide"
guide = "g-1"

[[code]]
id = "X-1"
kind = "interactive"
"#;

/// A directory with `rules.toml` and `events.ndjson`.
fn shop(rules: &str, events: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("rules.toml"), rules).expect("a file");
    std::fs::write(dir.path().join("events.ndjson"), events).expect("a file");
    dir
}

fn rules_files() -> Vec<String> {
    vec!["rules.toml".to_owned()]
}

/// Runs and pins exit status, standard output and standard error.
fn check(dir: &Path, args: &[&str], expect: &Expect) {
    let output = mashang(dir, args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&*dir.to_string_lossy(), "DIR");
    let status = output.status.code().expect("no signal");
    expect.assert_eq(&format!("{}{}exit status {status}\n", text(&output.stdout), text(&output.stderr)));
}

const RUN: [&str; 7] = ["run", "--rules", "rules.toml", "--events", "events.ndjson", "--out", "out"];

#[test]
fn help_and_version_say_what_they_should() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(done(dir.path(), &["--version"]).starts_with("mashang 0."));
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["export", "--help"],
        &["explain", "code", "--help"],
        &["rules", "check", "--help"],
        &["draw", "commit", "--help"],
        &["draw", "pick", "--help"],
        &["draw", "verify", "--help"],
        &["log", "dump", "--help"],
        &["log", "roots", "--help"],
        &["log", "prove", "--help"],
        &["log", "verify", "--help"],
        &["mint", "--help"],
        &["code", "--help"],
    ] {
        assert!(done(dir.path(), args).contains("Examples:"), "{args:?}");
    }
}
