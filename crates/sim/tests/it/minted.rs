//! Minted codes in generated cases: what they reach in the naive model, and that they leave the rest of a seed as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use sim::generate::{Case, generate_with};
use sim::naive::{self, Outcome};

/// Seeds without later versions, as many as the differential test takes, and seeds with some.
const SEEDS: u64 = 60;
const LATER_SEEDS: u64 = 30;
const EVENTS: usize = 300;
/// What only versions that follow lead to.
const LATER_KINDS: [&str; 1] = ["scan: active again"];

fn write(files: &[(String, String)], dir: &Path) {
    for (name, content) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, content).expect("a file");
    }
}

/// The model of a case whose merchants change to each later version in turn, evenly spread over its lines.
pub(super) fn model(case: &Case, later: &[String]) -> Outcome {
    let dir = tempfile::tempdir().expect("a directory");
    write(&case.files, dir.path());
    let files: Vec<&String> = case.rules_files.iter().chain(later).collect();
    let rulebooks: Vec<(PathBuf, String)> = files.iter().map(|f| (PathBuf::from(f), (*f).clone())).collect();
    let first = case.rules_files.len();
    let lines = case.lines.iter().enumerate().map(|(at, line)| {
        let object: Value = serde_json::from_str(line).expect("JSON");
        let merchant = object["merchant"].as_str().unwrap_or("acme");
        let published = first + at * (later.len() + 1) / case.lines.len();
        let is_ours = |f: &&String| f.strip_prefix(merchant).is_some_and(|rest| rest.starts_with(['.', '-']));
        (line.as_str(), files[..published].iter().rposition(is_ours))
    });
    naive::run_published(dir.path(), &rulebooks, lines)
}

#[test]
fn cases_reach_all_that_minted_codes_do() {
    for (seeds, versions, kinds) in [(SEEDS, 0, &naive::MINTED_KINDS[..]), (LATER_SEEDS, 2, &LATER_KINDS[..])] {
        let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
        for seed in 0..seeds {
            let (case, later) = generate_with(seed, EVENTS, versions, true);
            for (what, n) in model(&case, &later).seen {
                *seen.entry(what).or_default() += n;
            }
        }
        for what in kinds {
            println!("{:8} {what}", seen.get(what).unwrap_or(&0));
        }
        let missed: Vec<_> = kinds.iter().filter(|what| !seen.contains_key(*what)).collect();
        assert!(missed.is_empty(), "never happened: {missed:?}");
    }
}

/// SHA-256 of all files and lines of some seeds, without minted codes.
fn hash(minted: bool) -> String {
    let mut hash = Sha256::new();
    for seed in 0..200 {
        let (case, later) = generate_with(seed, EVENTS, 2, minted);
        let texts = case.files.iter().flat_map(|(name, content)| [name, content]);
        for text in texts.chain(&case.rules_files).chain(&case.lines).chain(&later) {
            hash.update(text.as_bytes());
            hash.update([0]);
        }
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory");
        text
    })
}

#[test]
fn without_minted_codes_seeds_give_what_they_gave() {
    assert_eq!(hash(false), "beb3c273cc55c088cb3fefa31a2fe797cd1837eb7e61856b2ae2937d7d4c8ec5");
    assert_ne!(hash(true), hash(false));
}

#[test]
fn minted_codes_leave_all_else_of_a_case_alone() {
    for seed in 0..50 {
        let (plain, plain_later) = generate_with(seed, EVENTS, 2, false);
        let (minted, later) = generate_with(seed, EVENTS, 2, true);
        assert_eq!((&plain_later, plain.lines.len()), (&later, minted.lines.len()));
        for (name, content) in &plain.files {
            let other = &minted.files.iter().find(|(other, _)| other == name).expect("the file").1;
            let lines: BTreeSet<&str> = other.lines().collect();
            assert!(content.lines().all(|line| lines.contains(line)), "{name} of seed {seed}");
        }
        for (a, b) in plain.lines.iter().zip(&minted.lines) {
            let other = |line: &str| {
                let mut event: Value = serde_json::from_str(line).expect("JSON");
                let fields = event.as_object_mut().expect("an object");
                for key in ["code", "region"] {
                    fields.remove(key);
                }
                event
            };
            assert_eq!(other(a), other(b), "seed {seed}");
        }
    }
}
