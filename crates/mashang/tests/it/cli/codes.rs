//! `mint` and `code`.

use std::path::Path;
use std::process::{Command, Stdio};

use data_encoding::HEXLOWER;
use expect_test::expect;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{RULES, check, shop};
use crate::program::{done, mashang};

const SECRET: [u8; 32] = [7; 32];

/// A shop with two batches: 7 with a GTIN and ranges, 8 with neither.
fn factory() -> TempDir {
    let commit = HEXLOWER.encode(&Sha256::digest(SECRET));
    let rules = format!(
        r#"{RULES}
[[batch]]
number = 7
kind = "interactive"
count = 1000
gtin = "06901234567892"
url = "https://m.example/c/"
secret = "file:batch.key"
commit = "{commit}"
guide = "g-1"

[[range]]
batch = 7
from = 0
to = 10
store = "s-2"

[[store]]
id = "s-2"

[[batch]]
number = 8
kind = "sales"
count = 4294967296
secret = "file:batch.key"
commit = "{commit}"
"#
    );
    let dir = shop(&rules, "");
    std::fs::write(dir.path().join("batch.key"), HEXLOWER.encode(&SECRET)).expect("a file");
    dir
}

fn mint<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["mint", "--rules", "rules.toml", "--batch"], more].concat()
}

/// Runs `mint` and pins what it says.
fn check_mint(dir: &Path, args: &[&str], expect: &expect_test::Expect) {
    check(dir, &mint(args), expect);
}

fn meaning(dir: &Path, text: &str) -> Value {
    let printed = done(dir, &["code", text, "--rules", "rules.toml"]);
    assert_eq!(printed.lines().count(), 1);
    serde_json::from_str(&printed).expect("JSON")
}

/// The rows of a table, without its header.
fn rows(table: &str) -> Vec<Vec<&str>> {
    let (header, rows) = table.split_once('\n').expect("a header");
    assert_eq!(header, "serial,token,url");
    rows.lines().map(|row| row.split(',').collect()).collect()
}

#[test]
fn minted_codes_are_read_as_what_they_are() {
    let dir = factory();
    let dir = dir.path();
    let table = done(dir, &mint(&["7", "--from", "9", "--count", "2"]));
    let rows = rows(&table);
    for (row, (serial, store)) in rows.iter().zip([(9, "s-2"), (10, "s-1")]) {
        assert_eq!(row[0], serial.to_string());
        assert_eq!(row[2], format!("https://m.example/01/06901234567892/21/{}", row[1]));
        let wanted = json!({"kind": "interactive", "name": format!("7:{serial}"), "batch": 7, "serial": serial,
            "guide": "g-1", "store": store, "campaign": null});
        for text in [row[1], row[2], &row[1].to_lowercase()] {
            assert_eq!(meaning(dir, text), wanted, "{text}");
        }
    }
    assert_eq!(rows.len(), 2);
    let forged = rows[0][1].replace(&rows[0][1][19..], "") + if rows[0][1].ends_with('0') { "1" } else { "0" };
    assert_eq!(meaning(dir, &forged)["kind"], "forged");
    let null = |kind, name| json!({"kind": kind, "name": name, "batch": null, "serial": null, "guide": null, "store": null, "campaign": null});
    assert_eq!(meaning(dir, "https://m.example/nothing"), null("unknown", "nothing"));
    assert_eq!(meaning(dir, "6901234567892"), null("product", "06901234567892"));
    assert_eq!(meaning(dir, "GUIDE-1")["store"], "s-1");
    let refused = mashang(dir, &["code", "", "--rules", "rules.toml"]);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&refused.stderr), "mashang: the code has 0 bytes; give 1 to 512\n");
}

#[test]
fn parts_of_a_batch_join_to_the_whole() {
    let dir = factory();
    let dir = dir.path();
    let whole = done(dir, &mint(&["7"]));
    assert_eq!(whole.lines().count(), 1_001);
    assert_eq!(done(dir, &mint(&["7", "--out", "codes.csv"])), "");
    assert_eq!(std::fs::read_to_string(dir.join("codes.csv")).expect("a file"), whole);
    let (first, rest) =
        (done(dir, &mint(&["7", "--count", "300"])), done(dir, &mint(&["7", "--from", "300", "--out", "-"])));
    assert_eq!(first + rest.strip_prefix("serial,token,url\n").expect("a header"), whole);
    // A batch without a URL, to its very end.
    let last = done(dir, &mint(&["8", "--from", "4294967295"]));
    assert!(last.starts_with("serial,token,url\n4294967295,") && last.ends_with(",\n"), "{last}");
}

#[test]
fn mint_refuses_what_is_not_there() {
    let dir = factory();
    let dir = dir.path();
    std::fs::write(dir.join("codes.csv"), "mine").expect("a file");
    check_mint(
        dir,
        &["9"],
        &expect![[r#"
        mashang: --batch 9: is not in the rules of acme; they have 7, 8
        exit status 2
    "#]],
    );
    check_mint(
        dir,
        &["7", "--from", "1000"],
        &expect![[r#"
        mashang: --from 1000: batch 7 ends with serial 999; give a smaller one
        exit status 2
    "#]],
    );
    check_mint(
        dir,
        &["7", "--from", "990", "--count", "11"],
        &expect![[r#"
        mashang: --count 11: from serial 990 on batch 7 has 10 codes; give at most that
        exit status 2
    "#]],
    );
    check_mint(
        dir,
        &["7", "--out", "codes.csv"],
        &expect![[r#"
        mashang: --out codes.csv: exists; name another file, or replace it with --force
        exit status 2
    "#]],
    );
    check_mint(
        dir,
        &["7", "--out", "none/codes.csv"],
        &expect![[r#"
        mashang: --out none/codes.csv: cannot be written: No such file or directory (os error 2); make the directory first
        exit status 2
    "#]],
    );
    check_mint(
        dir,
        &["7", "--format", "svg"],
        &expect![[r#"
        mashang: --format svg: needs a new directory for the pictures; give --out DIR
        exit status 2
    "#]],
    );
    check_mint(
        dir,
        &["7", "--sheet", "4x6", "--out", "pages"],
        &expect![[r#"
        mashang: --sheet: is for pictures; give --format svg too
        exit status 2
    "#]],
    );
    for wrong in
        [&["7", "--count", "0"][..], &["7", "--sheet", "4"], &["7", "--sheet", "0x6"], &["1048576"], &["7", "--force"]]
    {
        assert_eq!(mashang(dir, &mint(wrong)).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(std::fs::read(dir.join("codes.csv")).expect("a file"), b"mine");
    // Another secret than the rules have promised, then none.
    for secret in [Some([8; 32]), None] {
        match secret {
            Some(secret) => std::fs::write(dir.join("batch.key"), HEXLOWER.encode(&secret)).expect("a file"),
            None => std::fs::remove_file(dir.join("batch.key")).expect("removed"),
        }
        let refused = mashang(dir, &mint(&["7"]));
        assert_eq!((refused.status.code(), &*refused.stdout), (Some(2), &b""[..]));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("batch"));
    }
}

#[test]
fn pictures_are_there_when_all_are() {
    let dir = factory();
    let dir = dir.path();
    done(dir, &mint(&["7", "--count", "3", "--format", "svg", "--out", "codes"]));
    done(dir, &mint(&["7", "--count", "7", "--format", "svg", "--sheet", "2x2", "--out", "pages/"]));
    let names = |folder: &str| {
        let entries = std::fs::read_dir(dir.join(folder)).expect("a directory");
        let mut names: Vec<_> =
            entries.map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    };
    assert_eq!(names("codes"), ["7-000.svg", "7-001.svg", "7-002.svg"]);
    assert_eq!(names("pages"), ["7-000-003.svg", "7-004-006.svg"]);
    let page = std::fs::read_to_string(dir.join("pages/7-004-006.svg")).expect("a page");
    assert_eq!(page.matches("<path").count(), 3);
    check_mint(
        dir,
        &["7", "--count", "3", "--format", "svg", "--out", "codes"],
        &expect![[r#"
        mashang: --out codes: is not empty; name a new directory
        exit status 2
    "#]],
    );
}

#[test]
fn outputs_that_fail_and_stop_say_so() {
    let dir = factory();
    let shell = |line: &str| {
        let line = format!("set -o pipefail; {}", line.replace("mashang", env!("CARGO_BIN_EXE_mashang")));
        let output = Command::new("bash").args(["-c", &line]).current_dir(dir.path()).output().expect("bash runs");
        (output.status.code().expect("no signal"), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let all = "mashang mint --rules rules.toml --batch 8";
    assert_eq!(shell(&format!("{all} | head -1")), (0, String::new()));
    let (status, told) = shell(&format!("{all} --count 9 > /dev/full"));
    assert!(status == 1 && told.contains("No space left on device"), "{status}: {told}");
    // 4 billion codes; the limit of the file's size ends them, with the signal that says so ignored.
    let (status, told) = shell(&format!("trap '' XFSZ; ulimit -f 100; {all} --out big.csv"));
    assert!(
        status == 1 && told.contains("big.csv.part: File too large") && told.contains("continue with --from "),
        "{status}: {told}"
    );
    assert!(!dir.path().join("big.csv").exists());
}

#[test]
fn interrupted_mint_continues_to_the_same_table() {
    let dir = factory();
    let dir = dir.path();
    let part = dir.join("codes.csv.part");
    let mut minting = Command::new(env!("CARGO_BIN_EXE_mashang"))
        .args(mint(&["8", "--out", "codes.csv"]))
        .current_dir(dir)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    while std::fs::metadata(&part).map_or(0, |meta| meta.len()) < 1_000_000 {
        assert!(minting.try_wait().expect("a child").is_none(), "4 billion codes take longer");
        std::thread::yield_now();
    }
    let pid = minting.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
    let output = minting.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let after =
        |what: &str| told.split(what).nth(1).and_then(|rest| rest.split([' ', ':', '\n']).next()).expect("a number");
    let next: u64 = after("--from ").parse().expect("a serial");
    assert_eq!(after("--count "), ((1_u64 << 32) - next).to_string());
    assert!(told.starts_with("mashang: codes.csv.part: interrupted; it has the codes before serial"), "{told}");
    assert!(!dir.join("codes.csv").exists());

    done(dir, &mint(&["8", "--from", &next.to_string(), "--count", "5", "--out", "codes.csv"]));
    let table = std::fs::read_to_string(dir.join("codes.csv")).expect("a table");
    assert_eq!(table, done(dir, &mint(&["8", "--count", &(next + 5).to_string()])));
}
