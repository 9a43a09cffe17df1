//! Runs the binary.

use std::path::Path;
use std::process::{Command, Output};

/// The tables that can be exported.
pub(crate) const TABLES: [&str; 7] = ["postings", "orders", "members", "awards", "counters", "funnels", "codes"];

/// Runs `mashang` in a directory.
pub(crate) fn mashang(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mashang")).args(args).current_dir(dir).output().expect("the binary runs")
}

/// Runs `mashang`, which must succeed; what it printed.
pub(crate) fn done(dir: &Path, args: &[&str]) -> String {
    done_with(dir, args, &[])
}

/// The same with more in the environment.
pub(crate) fn done_with(dir: &Path, args: &[&str], environment: &[(&str, String)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mashang"));
    let environment = environment.iter().map(|(name, value)| (name, value));
    let output = command.args(args).current_dir(dir).envs(environment).output().expect("the binary runs");
    assert!(output.status.success(), "mashang {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs events through rules into `out`, in the directory; the summary.
pub(crate) fn run(dir: &Path, rules: &[String], out: &str) -> serde_json::Value {
    let mut args = vec!["run", "--events", "events.ndjson", "--out", out, "--summary", "json"];
    for file in rules {
        args.extend(["--rules", file]);
    }
    let printed = done(dir, &args);
    serde_json::from_str(printed.lines().last().expect("a summary")).expect("JSON")
}

/// Exports a table of the ledger in `out`.
pub(crate) fn export(dir: &Path, out: &str, table: &str) -> String {
    done(dir, &["export", table, "--ledger", &format!("{out}/ledger.sqlite")])
}
