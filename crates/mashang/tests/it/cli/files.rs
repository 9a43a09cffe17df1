//! Files that are compressed, torn or no text, and outputs that take nothing.

use std::io::Write;
use std::path::Path;

use expect_test::expect;
use serde_json::json;

use super::{RULES, RUN, check, rules_files, shop};
use crate::program::{export, mashang, run};

#[test]
fn torn_register_is_refused_with_line_and_column() {
    let dir = shop(&format!("{RULES}[registers]\ncodes = \"codes.csv\"\n"), "");
    std::fs::write(dir.path().join("codes.csv"), "id,kind,store,channel\nQR1 ,store,s-1,\nQR4,media,,\"poster")
        .expect("a file");
    check(
        dir.path(),
        &["rules", "check", "rules.toml"],
        &expect![[r#"
            codes.csv:2: id: is "QR1 ", which ends with the blank U+0020; write it without
            codes.csv:3: channel: the quoted cell at column 12 does not end; send the whole file, or close the quote
            mashang: 2 mistakes in the rules: nothing was done
            exit status 2
        "#]],
    );
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory")
}

fn utf16(text: &str) -> Vec<u8> {
    "\u{FEFF}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

#[test]
fn packed_files_run_as_plain_ones_do() {
    let events =
        "\u{FEFF}{\"id\":\"b\",\"action\":\"scan\",\"shopper\":\"u1\",\"code\":\"Q\",\"time\":1794326400000}\n";
    let rules = format!("{RULES}[registers]\ncodes = \"codes.csv\"\n");
    let codes = "\u{FEFF}id,kind,channel\nQ,media,magazine\n";
    let dir = shop(&rules, events);
    let dir = dir.path();
    std::fs::write(dir.join("codes.csv"), codes).expect("a file");
    let plain = run(dir, &rules_files(), "out");
    assert_eq!((&plain["accepted"], &plain["received"]), (&json!(1), &json!(1)));
    let wanted = export(dir, "out", "counters");
    assert!(wanted.contains("acme,channel,magazine,2026-11-11,scans,1\n"), "{wanted}");
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).expect("memory");
    for (pack, name) in [(&gzip as &dyn Fn(&[u8]) -> Vec<u8>, "gzip"), (&zstd, "zstd")] {
        for (file, text) in [("rules.toml", &*rules), ("codes.csv", codes), ("events.ndjson", events)] {
            std::fs::write(dir.join(file), pack(text.as_bytes())).expect("a file");
        }
        assert_eq!(run(dir, &rules_files(), name), plain);
        assert_eq!(export(dir, name, "counters"), wanted);
    }
}

#[test]
fn files_that_are_no_text_replace_nothing() {
    let event = "{\"id\":\"b\",\"action\":\"visit\",\"shopper\":\"u1\",\"time\":1794326400000}\n";
    let dir = shop(RULES, event);
    let dir = dir.path();
    run(dir, &rules_files(), "out");
    let ledger = std::fs::read(dir.join("out/ledger.sqlite")).expect("a ledger");
    let packed = gzip(event.repeat(1_000).as_bytes());
    for (file, bytes, told) in [
        ("events.ndjson", utf16(event), "mashang: --events events.ndjson: is UTF-16; save it as UTF-8\n"),
        (
            "events.ndjson",
            b"\x89PNG\r\n\x1a\n\0\0".to_vec(),
            "mashang: --events events.ndjson: is no text: its byte 9 is NUL; name a text file in UTF-8\n",
        ),
        (
            "events.ndjson",
            packed[..packed.len() - 9].to_vec(),
            "mashang: --events events.ndjson: cannot be read: the gzip file is broken or cut off (",
        ),
        (
            "rules.toml",
            utf16(RULES),
            "rules.toml:1: is UTF-16; save it as UTF-8\nmashang: 1 mistake in the rules: nothing was done\n",
        ),
        (
            "rules.toml",
            b"merchant = \"\xE9\"\n".to_vec(),
            "rules.toml:1: the rules are not UTF-8; save the file as UTF-8\n",
        ),
    ] {
        let before = std::fs::read(dir.join(file)).expect("a file");
        std::fs::write(dir.join(file), bytes).expect("a file");
        let output = mashang(dir, &RUN);
        let says = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && says.starts_with(told), "{told}: {says}");
        assert_eq!(std::fs::read(dir.join("out/ledger.sqlite")).expect("a ledger"), ledger, "{told}");
        std::fs::write(dir.join(file), before).expect("a file");
    }
}

#[test]
fn what_cannot_be_read_is_exit_status_2() {
    let dir = shop(RULES, "");
    let dir = dir.path();
    check(
        dir,
        &["run", "--rules", "none.toml", "--events", "events.ndjson", "--out", "out"],
        &expect![[r#"
            none.toml:1: the rules cannot be read: No such file or directory (os error 2)
            mashang: 1 mistake in the rules: nothing was done
            exit status 2
        "#]],
    );
    check(
        dir,
        &["run", "--rules", "rules.toml", "--events", "none.ndjson", "--out", "out"],
        &expect![[r#"
        mashang: --events none.ndjson: cannot be read: No such file or directory (os error 2)
        exit status 2
    "#]],
    );
    check(
        dir,
        &["run", "--rules", "rules.toml", "--events", ".", "--out", "out"],
        &expect![[r#"
        mashang: --events .: is a directory; name a file of NDJSON, or - for standard input
        exit status 2
    "#]],
    );
    check(
        dir,
        &["run", "--rules", "rules.toml", "--events", "events.ndjson", "--out", "rules.toml"],
        &expect![[r#"
        mashang: --out rules.toml: cannot be written: Not a directory (os error 20)
        exit status 2
    "#]],
    );
    check(
        dir,
        &["export", "counters", "--ledger", "none.sqlite"],
        &expect![[r#"
        mashang: none.sqlite: there is no such ledger; name the file that `run` or `serve` wrote, DIR/ledger.sqlite
        exit status 2
    "#]],
    );
    check(
        dir,
        &["export", "counters", "--ledger", "mysql://u:pw@localhost/x"],
        &expect![[r#"
        mashang: mysql://…: a ledger is in sqlite:FILE, in a file named by its path, or in postgres://USER:PASSWORD@HOST/DATABASE
        exit status 2
    "#]],
    );
    check(
        dir,
        &["export", "counters", "--ledger", "rules.toml"],
        &expect![[r#"
            mashang: rules.toml: this is no ledger of mashang: name another file or directory
            exit status 2
        "#]],
    );
    assert_eq!(mashang(dir, &["export", "nothing", "--ledger", "x"]).status.code(), Some(2));
    assert_eq!(mashang(dir, &["fly"]).status.code(), Some(2));
    assert_eq!(mashang(dir, &[]).status.code(), Some(2));
}

/// Adds more postings than a pipe holds.
fn grow(ledger: &Path) {
    let db = rusqlite::Connection::open(ledger).expect("the ledger");
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
      INSERT INTO postings SELECT 'acme', i, 'u', 'guide', 'g-1', i, 0, 'e' FROM n";
    db.execute_batch(rows).expect("rows");
}

#[test]
fn broken_pipe_is_ok_but_full_disk_fails() {
    let dir = shop(RULES, "{\"id\":\"b\"}\n");
    let shell = |line: &str| {
        let line = format!("set -o pipefail; {}", line.replace("mashang", env!("CARGO_BIN_EXE_mashang")));
        let output =
            std::process::Command::new("bash").args(["-c", &line]).current_dir(dir.path()).output().expect("bash runs");
        (output.status.code().expect("no signal"), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let run = "mashang run --rules rules.toml --events events.ndjson --out out";
    assert_eq!(shell(&format!("{run} | true")).0, 0);
    assert_eq!(shell(&format!("{run} 2>/dev/full")).0, 0);
    assert_eq!(shell(&format!("{run} 2>&1 >/dev/null | true")).0, 0);
    for format in ["csv", "ndjson"] {
        let export = format!("mashang export postings --ledger out/ledger.sqlite --format {format} | head -1");
        grow(&dir.path().join("out/ledger.sqlite"));
        assert_eq!(shell(&export), (0, String::new()), "{format}");
    }
    let (status, told) = shell(&format!("{run} > /dev/full"));
    assert!(status == 1 && told.contains("No space left"), "{status}: {told}");
    assert_eq!(shell("mashang rules check rules.toml > /dev/full").0, 1);
    let (status, told) = shell("mashang run --rules rules.toml --events /proc/self/mem --out out");
    assert!(status == 2 && told.contains("--events /proc/self/mem: cannot be read"), "{status}: {told}");
}
