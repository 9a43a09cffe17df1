//! Another implementation of docs/proofs.md, `docs/verify/verify.py`, comes to the same answers.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::draws::{read, tamper, wheel, write};
use super::log::{log, root_for};
use super::sealed::{claim_all, sealed};
use crate::program::{done, mashang};

/// Python, as its probe shows; without it the test is skipped.
fn has_python() -> bool {
    let is_there = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !is_there {
        assert!(std::env::var_os("MASHANG_NO_SKIP").is_none(), "python3 is not installed");
        eprintln!("skipped: python3 is not installed");
    }
    is_there
}

pub(super) fn python(dir: &Path, args: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/verify/verify.py");
    Command::new("python3").arg(script).args(args).current_dir(dir).output().expect("python3 runs")
}

/// Exit status and standard output.
pub(super) fn said(output: &Output) -> (Option<i32>, String) {
    assert!(output.status.code() != Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), String::from_utf8(output.stdout.clone()).expect("UTF-8"))
}

/// Our `draw verify` and the other one over the same files.
fn both_verify(dir: &Path, rules: &str, campaign: &str, awards: &str) -> (Option<i32>, String) {
    let args = ["--rules", rules, "--campaign", campaign, "--secret", "shown.key", "--awards", awards];
    let ours = said(&mashang(dir, &[&["draw", "verify"], &args[..]].concat()));
    assert_eq!(said(&python(dir, &[&["draws"], &args[..]].concat())), ours, "{campaign} of {awards}");
    ours
}

#[test]
fn draws_with_odds_agree_row_by_row() {
    if !has_python() {
        return;
    }
    let dir = wheel();
    tamper(dir.path());
    let object = std::fs::read_dir(dir.path().join("out/rules")).expect("a directory").next().expect("a file");
    let object = object.expect("a file").path().to_string_lossy().into_owned();
    assert_eq!(both_verify(dir.path(), &object, "wheel", "awards.csv"), (Some(0), String::new()));
    let (status, found) = both_verify(dir.path(), &object, "wheel", "bad.csv");
    assert!(status == Some(1) && found.lines().count() > 6, "{found}");
}

#[test]
fn sealed_draws_and_amounts_agree() {
    if !has_python() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    // Of a large batch FF1 leaves few numbers outside, so that a draw takes one step: Python needs milliseconds for each.
    sealed(dir.path(), 1_000_000);
    let (status, listed) = both_verify(dir.path(), "rules.json", "bottle", "awards.csv");
    assert_eq!((status, listed.lines().count()), (Some(0), 15));
    let rows = claim_all(dir.path());
    assert_eq!(both_verify(dir.path(), "rules.json", "bottle", "awards.csv"), (Some(0), String::new()));
    write(dir.path(), "awards.csv", &rows.replace(",bottle,bottle,", ",points,points,").replace(",7:", ",7:1"));
    let (status, found) = both_verify(dir.path(), "rules.json", "bottle", "awards.csv");
    assert!(status == Some(1) && found.lines().count() > 15, "{found}");
}

#[test]
fn picks_agree() {
    if !has_python() {
        return;
    }
    let dir = wheel();
    let list: String = (0..500).map(|n| format!("顾客 {n}\n")).collect();
    write(dir.path(), "list.txt", &list);
    let args = ["--list", "list.txt", "--count", "100", "--secret", "shown.key", "--name", "lucky-hundred"];
    let picked = done(dir.path(), &[&["draw", "pick"], &args[..]].concat());
    write(dir.path(), "picked.txt", &picked);
    let check = [&["picks"], &args[..], &["--check", "picked.txt"]].concat();
    assert_eq!(said(&python(dir.path(), &check)), (Some(0), String::new()));
    let mut lines: Vec<&str> = picked.lines().collect();
    lines.swap(1, 2);
    write(dir.path(), "picked.txt", &lines.join("\n"));
    let (status, told) = said(&python(dir.path(), &check));
    let ours = mashang(dir.path(), &[&["draw", "pick"], &args[..], &["--check", "picked.txt"]].concat());
    assert_eq!((status, ours.status.code()), (Some(1), Some(1)));
    assert_eq!(format!("mashang: {told}"), String::from_utf8_lossy(&ours.stderr));
}

#[test]
fn roots_and_proofs_of_a_log_agree() {
    if !has_python() {
        return;
    }
    let dir = log();
    let roots = ["roots", "--records", "records.ndjson", "--roots", "roots.csv"];
    assert_eq!(said(&python(dir.path(), &roots)), (Some(0), String::new()));
    let prove = ["log", "prove", "--data", "data", "--merchant", "acme", "--event", "e1-3", "--shopper", "u3"];
    write(dir.path(), "proof.json", &done(dir.path(), &prove));
    let proof: Value = serde_json::from_str(&read(dir.path(), "proof.json")).expect("JSON");
    let root = root_for(dir.path(), &proof);
    assert_eq!(said(&python(dir.path(), &["proofs", "--root", &root, "proof.json"])), (Some(0), String::new()));
    assert_eq!(said(&python(dir.path(), &["proofs", "--root", &"00".repeat(32), "proof.json"])).0, Some(1));
    write(dir.path(), "roots.csv", &read(dir.path(), "roots.csv").replace(&root, &"00".repeat(32)));
    let (status, told) = said(&python(dir.path(), &roots));
    assert!(status == Some(1) && told.lines().count() == 2 && told.contains(&root), "{told}");
}

#[test]
fn test_vectors_of_the_page_are_computed() {
    if !has_python() {
        return;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/proofs.md");
    let page = std::fs::read_to_string(page).expect("a page");
    let (status, vectors) = said(&python(Path::new("."), &["vectors"]));
    assert!(status == Some(0) && vectors.lines().count() > 10);
    assert!(page.contains(&vectors), "docs/proofs.md does not have these vectors:\n{vectors}");
}
