//! The architecture: which crate may depend on which, and what the pure crates never do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Every arrow between our crates; all point inwards.
const ARROWS: [(&str, &[&str]); 13] = [
    ("domain", &[]),
    ("wire", &["domain"]),
    ("eventlog", &["domain"]),
    ("ledger", &["domain"]),
    ("web", &["domain", "wire"]),
    ("worker", &["domain", "eventlog", "ledger"]),
    ("edge", &["domain", "eventlog", "web", "wire"]),
    ("console", &["domain", "eventlog", "ledger", "web"]),
    ("demo", &["domain"]),
    ("mashang", &["console", "demo", "domain", "edge", "eventlog", "ledger", "web", "wire", "worker"]),
    ("sim", &["domain", "eventlog", "ledger", "wire", "worker"]),
    ("testkit", &[]),
    ("mashang-bench", &["domain", "wire"]),
];
const PURE: [&str; 2] = ["domain", "wire"];

/// The folders of the binary's sources, from the bottom up: each uses only those before it.
const LAYERS: [&str; 7] = ["store", "config", "process", "rules", "cli", "roles", "commands"];

/// Maximum number of files in a folder of sources; more are grouped by meaning.
const FILES_MAX: usize = 10;

/// Maximum number of lines of a source file; a longer one is split.
const LINES_MAX: usize = 500;

/// What the source of a pure crate never says.
const IMPURE_WORDS: [&str; 20] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::time",
    "std::sync::Mutex",
    "std::sync::atomic",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "Zoned::now",
    "tokio",
    "tracing",
    "log::",
    "rand::",
    "println!",
    "eprintln!",
    "dbg!",
    "async fn",
];

/// What no dependency of a pure crate may be, however far down.
const IMPURE_CRATES: [&str; 14] = [
    "tokio",
    "mio",
    "socket2",
    "async-std",
    "smol",
    "rand",
    "rand_core",
    "getrandom",
    "fastrand",
    "tracing",
    "log",
    "rdkafka",
    "rusqlite",
    "reqwest",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace").to_owned()
}

fn metadata() -> Value {
    // What is built here: dependencies of other platforms need not be at hand.
    let rustc = Command::new("rustc").arg("-vV").output().expect("rustc runs").stdout;
    let version = String::from_utf8(rustc).expect("UTF-8");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", host]).current_dir(root());
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Names of the dependencies that a package is built with, tests aside.
fn built_with<'a>(metadata: &'a Value, id: &str) -> Vec<&'a str> {
    let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes");
    let node = nodes.iter().find(|n| n["id"] == id).expect("a node");
    let normal = |dep: &&Value| dep["dep_kinds"].as_array().expect("kinds").iter().any(|k| k["kind"].is_null());
    node["deps"].as_array().expect("deps").iter().filter(normal).map(|d| d["pkg"].as_str().expect("an id")).collect()
}

#[test]
fn arrows_point_inwards() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |id: &str| packages.iter().find(|p| p["id"] == id).and_then(|p| p["name"].as_str()).expect("a name");
    let members: Vec<&str> =
        metadata["workspace_members"].as_array().expect("members").iter().filter_map(Value::as_str).collect();
    let ours: BTreeSet<&str> = members.iter().map(|id| name(id)).collect();
    for id in members {
        let allowed =
            ARROWS.iter().find(|(from, _)| *from == name(id)).expect("every crate has its arrows in this table").1;
        for to in built_with(&metadata, id).into_iter().map(name).filter(|to| ours.contains(to)) {
            assert!(allowed.contains(&to), "{} must not know {to}", name(id));
        }
    }
}

#[test]
fn pure_crates_depend_on_nothing_impure() {
    for pure in PURE {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["tree", "--locked", "--package", pure, "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
        let output = cargo.current_dir(root()).output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8(output.stdout).expect("UTF-8");
        let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        let found: Vec<_> = IMPURE_CRATES.iter().filter(|name| names.contains(*name)).collect();
        assert!(found.is_empty(), "{pure} reaches {found:?}: cargo tree --package {pure} --edges normal");
        assert!(names.len() > 10, "the tree of {pure} must show its dependencies");
    }
}

/// All source files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The lines of a file that are code: comments and the tests at the end left out.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(path).expect("a file");
    let lines = text.lines().take_while(|line| !line.contains("#[cfg(test)]"));
    let lines = (1..).zip(lines).map(|(n, line)| (n, line.split("//").next().unwrap_or("").to_owned()));
    lines.collect()
}

#[test]
fn pure_crates_use_no_io_or_clock() {
    for pure in PURE {
        let files = sources(&root().join("crates").join(pure).join("src"));
        assert!(files.len() > 5);
        for file in files {
            for (number, line) in code(&file) {
                let word = IMPURE_WORDS.iter().find(|word| line.contains(*word));
                assert!(word.is_none(), "{}:{number}: {} in a pure crate", file.display(), word.expect("a word"));
                let float = line.contains("f64") || line.contains("f32");
                assert!(!float || pure == "wire", "{}:{number}: a float in domain", file.display());
            }
        }
    }
}

/// What the naive model never says: it shares no code of ours.
const OURS: [&str; 6] = ["domain::", "wire::", "ledger::", "eventlog::", "worker::", "crate::"];

#[test]
fn the_naive_model_shares_no_code_of_ours() {
    let files = sources(&root().join("crates/sim/src/naive"));
    assert!(files.len() > 5);
    for file in files {
        for (number, line) in code(&file) {
            let word = OURS.iter().find(|word| line.contains(*word));
            assert!(word.is_none(), "{}:{number}: {} in the naive model", file.display(), word.expect("a word"));
        }
    }
}

/// `desk::shopper::order` of a file, as path segments below the crate.
fn module(src: &Path, file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(src).expect("below src").with_extension("");
    let mut path: Vec<String> = relative.iter().map(|s| s.to_string_lossy().into_owned()).collect();
    if matches!(path.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        path.pop();
    }
    path
}

/// The paths that a line uses from its own crate: after `crate::` and `super::`.
fn uses(module: &[String], line: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::").chain(line.match_indices("super::")) {
        let before = line[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &line[at..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
        let mut base = module.to_vec();
        let mut path = Vec::new();
        for segment in rest[..end].split("::").filter(|s| !s.is_empty()) {
            match segment {
                "crate" => base.clear(),
                "super" => drop(base.pop()),
                other => path.push(other.to_owned()),
            }
        }
        base.extend(path);
        found.push(base);
    }
    found
}

#[test]
fn no_cycle_inside_a_crate() {
    for (name, _) in ARROWS {
        let src = if name == "mashang-bench" {
            root().join("benches/src")
        } else {
            root().join("crates").join(name).join("src")
        };
        let files = sources(&src);
        let modules: BTreeMap<Vec<String>, &PathBuf> = files.iter().map(|f| (module(&src, f), f)).collect();
        let mut arrows: BTreeMap<&Vec<String>, BTreeSet<&Vec<String>>> = BTreeMap::new();
        for (from, file) in &modules {
            for path in code(file).iter().flat_map(|(_, line)| uses(from, line)) {
                // The deepest file on the path is what is used; a folder's own `mod.rs` only declares its modules.
                let to = (1..=path.len()).rev().find_map(|n| modules.get_key_value(&path[..n]));
                if let Some((to, _)) = to
                    && to != from
                {
                    arrows.entry(from).or_default().insert(to);
                }
            }
        }
        for start in arrows.keys() {
            let mut reached = BTreeSet::new();
            let mut next: Vec<&Vec<String>> = arrows[start].iter().copied().collect();
            while let Some(module) = next.pop() {
                assert!(module != *start, "{name}: {} is in a cycle of imports", start.join("::"));
                if reached.insert(module) {
                    next.extend(arrows.get(module).into_iter().flatten());
                }
            }
        }
        assert!(name != "domain" || arrows.len() > 10, "the arrows of {name} must be found");
    }
}

#[test]
fn layers_of_the_binary_use_only_lower_ones() {
    let src = root().join("crates/mashang/src");
    let mut checked = 0;
    for (at, layer) in LAYERS.iter().enumerate() {
        for file in sources(&src.join(layer)) {
            for (number, line) in code(&file) {
                let above = LAYERS[at + 1..].iter().find(|above| line.contains(&format!("crate::{above}::")));
                assert_eq!(above, None, "{}:{number}: {layer} must not use what is above it", file.display());
                checked += usize::from(line.contains("use crate::"));
            }
        }
    }
    assert!(checked > 50, "the sources name {checked} modules of their own crate");
}

/// Folders stay small enough to be read at a glance, and files to be read at one sitting.
#[test]
fn folders_and_files_stay_small_and_have_heads() {
    let mut by_folder: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for file in ["crates", "benches"].iter().flat_map(|folder| sources(&root().join(folder))) {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines, more than {LINES_MAX}", file.display());
        let first = text.lines().next().unwrap_or_default();
        let is_fuzz = first.starts_with("#![");
        assert!(first.starts_with("//!") || is_fuzz, "{} does not begin by saying what it is", file.display());
        *by_folder.entry(file.parent().expect("a folder").to_owned()).or_default() += 1;
    }
    for (folder, files) in by_folder {
        assert!(files <= FILES_MAX, "{} has {files} files, more than {FILES_MAX}", folder.display());
    }
}

/// A page that names a file which has moved sends a reader astray.
#[test]
fn docs_name_only_files_that_exist() {
    let root = root();
    let mut pages: Vec<PathBuf> = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    for folder in ["docs", "docs/adding"] {
        let entries = std::fs::read_dir(root.join(folder)).expect("a folder");
        pages.extend(entries.map(|e| e.expect("an entry").path()).filter(|p| p.extension().is_some_and(|e| e == "md")));
    }
    let mut checked = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("a page");
        let quoted = text.split('`').skip(1).step_by(2);
        // A name in capitals stands for any name.
        let is_path = |path: &&str| path.ends_with(".rs") && path.contains("/src/") && !path.contains([' ', '*']);
        let is_name = |path: &&str| !path.contains(|c: char| c.is_ascii_uppercase());
        for path in quoted.filter(is_path).filter(is_name) {
            let found = [root.join(path), root.join("crates").join(path)].iter().any(|path| path.exists());
            assert!(found, "{}: there is no file {path}", page.display());
            checked += 1;
        }
    }
    assert!(checked > 50, "the pages name {checked} source files");
}
