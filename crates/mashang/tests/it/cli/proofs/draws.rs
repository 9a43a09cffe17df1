//! `draw commit`, `draw pick`, `draw verify`.

use std::path::Path;

use data_encoding::HEXLOWER;
use expect_test::expect;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::cli::{check, rules_files, shop};
use crate::program::{done, export, mashang, run};

/// The secret of every draw here: the bytes 0 … 31.
pub(super) const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
pub(super) const COMMIT: &str = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd";

const WHEEL: &str = r#"
merchant = "acme"
currency = "CNY"
time_zone = "Asia/Shanghai"

[[code]]
id = "MAG-7"
kind = "media"
campaign = "wheel"

[[code]]
id = "X-1"
kind = "interactive"
campaign = "wheel"

[[code]]
id = "X-2"
kind = "interactive"
campaign = "other"

[[campaign]]
id = "other"
mode = "odds"
from = 2026-11-01T00:00:00+08:00
to = 2027-01-01T00:00:00+08:00
secret = "file:other.key"
commit = "$OTHER"

[[campaign.prize]]
id = "red-1"
kind = "cash"
amount = 1

[[campaign.phase]]
odds = { "red-1" = "1" }

[[campaign]]
id = "wheel"
mode = "odds"
from = 2026-11-11T00:00:00+08:00
to = 2026-11-12T00:00:00+08:00
secret = "file:secret.key"
commit = "$COMMIT"

[[campaign.prize]]
id = "red-20"
kind = "cash"
amount = 2000
stock = 1
else = "red-1"

[[campaign.prize]]
id = "red-1"
kind = "cash"
amount = 100

[[campaign.phase]]
entries = "1"
odds = { "red-20" = "1/2", "red-1" = "1/2" }

[[campaign.phase]]
from = 2026-11-11T00:00:00.005+08:00
to = 2026-11-11T12:00:00+08:00
odds = { "red-1" = "1/3" }

[[campaign.phase]]
odds = { "red-1" = "1/10" }
"#;

/// A directory with rules, secrets, and entries of nine shoppers; what became of them is in `out` and `awards.csv`.
pub(super) fn wheel() -> TempDir {
    let other = HEXLOWER.encode(&Sha256::digest([7; 32]));
    let mut events = String::new();
    for n in 0..27_i64 {
        let code = if n == 3 {
            "X-1"
        } else if n == 4 {
            "X-2"
        } else {
            "MAG-7"
        };
        let event = json!({
            "id": format!("e{n}"), "action": "scan", "shopper": format!("u{}", n / 3), "merchant": "acme", "code": code,
            "time": 1_794_326_400_000 + n,
        });
        events.push_str(&format!("{event}\n"));
    }
    let dir = shop(&WHEEL.replace("$COMMIT", COMMIT).replace("$OTHER", &other), &events);
    write(dir.path(), "secret.key", &format!("{SECRET}\n"));
    write(dir.path(), "other.key", &"07".repeat(32));
    run(dir.path(), &rules_files(), "out");
    write(dir.path(), "awards.csv", &export(dir.path(), "out", "awards"));
    // A verifier has the secret that is shown after the draw, and no other.
    std::fs::rename(dir.path().join("secret.key"), dir.path().join("shown.key")).expect("a file");
    std::fs::remove_file(dir.path().join("other.key")).expect("a file");
    dir
}

pub(super) fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).expect("a file");
}

pub(super) fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).expect("a file")
}

const VERIFY: [&str; 8] = ["draw", "verify", "--rules", "rules.toml", "--campaign", "wheel", "--secret", "shown.key"];

/// Verifies with more arguments: exit status and standard output.
fn verify(dir: &Path, more: &[&str]) -> (i32, String) {
    let output = mashang(dir, &[&VERIFY, more].concat());
    (output.status.code().expect("no signal"), String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn a_commit_is_the_hash_of_the_bytes() {
    let dir = wheel();
    assert_eq!(done(dir.path(), &["draw", "commit", "shown.key"]), format!("{COMMIT}\n"));
    write(dir.path(), "short.key", &SECRET[1..]);
    check(
        dir.path(),
        &["draw", "commit", "short.key"],
        &expect![[r#"
            mashang: short.key: holds no secret: write 64 hex digits and nothing else
            exit status 2
        "#]],
    );
    check(
        dir.path(),
        &["draw", "commit", "none.key"],
        &expect![[r#"
            mashang: there is no file none.key
            exit status 2
        "#]],
    );
}

#[test]
fn awards_of_a_run_are_as_drawn() {
    let dir = wheel();
    let awards = read(dir.path(), "awards.csv");
    assert!(awards.lines().filter(|row| row.starts_with("acme,wheel,")).count() > 9, "{awards}");
    for more in [&["--awards", "awards.csv"][..], &["--awards", "awards.csv", "--log", "events.ndjson"]] {
        assert_eq!(verify(dir.path(), more), (0, String::new()));
    }
    // The published object says the same.
    let object = std::fs::read_dir(dir.path().join("out/rules")).expect("a directory").next().expect("a file");
    let object = object.expect("a file").path().to_string_lossy().into_owned();
    let output = mashang(
        dir.path(),
        &[
            "draw",
            "verify",
            "--rules",
            &object,
            "--campaign",
            "wheel",
            "--secret",
            "shown.key",
            "--awards",
            "awards.csv",
        ],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Changes the awards of the wheel in all ways that are noticed without a log, and in two that need one.
pub(super) fn tamper(dir: &Path) {
    let awards = read(dir, "awards.csv");
    let mut lines: Vec<String> = awards.lines().map(ToOwned::to_owned).collect();
    let first = lines.iter().position(|row| row.starts_with("acme,wheel,")).expect("a row");
    let item = lines.iter().position(|row| row.contains(",X-1,")).expect("a row");
    let again = lines[item].replace(",u1,", ",u7,");
    let cell = |lines: &mut Vec<String>, at: usize, column: usize, value: &str| {
        let mut cells: Vec<&str> = lines[at].split(',').collect();
        cells[column] = value;
        lines[at] = cells.join(",");
    };
    cell(&mut lines, first, 7, "red-100");
    cell(&mut lines, first + 1, 10, "99");
    cell(&mut lines, first + 2, 2, "0123456789ab");
    cell(&mut lines, first + 3, 6, "2026-11-12T00:00:00.000Z");
    cell(&mut lines, first + 4, 3, "MAG-8");
    cell(&mut lines, first + 5, 8, "red-2");
    lines.push(again);
    lines.push(lines[first + 6].clone());
    write(dir, "bad.csv", &(lines.join("\n") + "\n"));
}

#[test]
fn every_row_that_differs_is_named() {
    let dir = wheel();
    tamper(dir.path());
    let (status, found) = verify(dir.path(), &["--awards", "bad.csv"]);
    assert_eq!(status, 1);
    expect![[r#"
        line 3: MAG-7 u0: drawn red-100, should be red-1
        line 4: MAG-7 u2: amount 99, should be 2000
        line 5: MAG-7 u2: rules 0123456789ab, should be b549b6156aa4
        line 6: MAG-7 u3: drawn red-20, should be - (2026-11-12T00:00:00.000Z is not within the campaign)
        line 7: MAG-8 u4: drawn red-20, should be - (the code enters no draw of this campaign)
        line 8: MAG-7 u4: awarded red-2, should be red-1 or thanks
        line 18: X-1 u7: drawn red-1, should be - (the code draws once, and line 17 has it)
        line 19: MAG-7 u5: drawn red-20, should be - (line 9 has entry 1 of this shopper)
    "#]]
    .assert_eq(&found);
}

#[test]
fn rows_are_compared_with_the_entries_of_a_log() {
    let dir = wheel();
    let awards = read(dir.path(), "awards.csv");
    let row = awards.lines().find(|row| row.contains(",MAG-7,")).expect("a row");
    let invented = row.replace(&format!(",{},", row.split(',').nth(4).expect("a shopper")), ",friend,");
    let without = awards.replace(&format!("{row}\n"), "").replace(",X-1,u1,", ",X-1,friend,") + &invented + "\n";
    write(dir.path(), "bad.csv", &without);
    let (status, found) = verify(dir.path(), &["--awards", "bad.csv", "--log", "events.ndjson"]);
    assert_eq!(status, 1);
    expect![[r#"
        line 16: X-1 friend: no entry
        line 17: MAG-7 friend: drawn red-1, should be - (line 16 has entry 1 of this shopper)
        line 17: MAG-7 friend: no entry
        missing: MAG-7 u0: drawn red-1
        missing: X-1 u1: drawn red-1
    "#]]
    .assert_eq(&found);
    // Without the log only what the draw itself says is noticed.
    let (_, found) = verify(dir.path(), &["--awards", "bad.csv"]);
    assert!(!found.contains("missing") && !found.contains("no entry"), "{found}");
}

/// Whatever field of a row is changed: with the log at hand, the row or the missing one is named.
#[test]
fn every_field_of_a_row_is_compared() {
    let dir = wheel();
    let table = read(dir.path(), "awards.csv");
    let rows: Vec<Vec<&str>> = table.lines().map(|row| row.split(',').collect()).collect();
    let own: Vec<usize> = (1..rows.len()).filter(|&line| rows[line][1] == "wheel").collect();
    for (column, name) in rows[0].iter().enumerate() {
        for line in [own[0], own[own.len() - 1]] {
            let mut changed = rows.clone();
            changed[line][column] = match *name {
                "entry" | "amount" => "3",
                "time" => "2026-11-11T11:11:11.111Z",
                "state" if rows[line][column] == "thanks" => "granted",
                "state" => "thanks",
                _ => "other",
            };
            assert_ne!(changed, rows, "{name}");
            let text: String = changed.iter().map(|row| format!("{}\n", row.join(","))).collect();
            write(dir.path(), "bad.csv", &text);
            let (status, found) = verify(dir.path(), &["--awards", "bad.csv", "--log", "events.ndjson"]);
            let line = format!("line {}: ", line + 1);
            assert!(status == 1 && (found.contains(&line) || found.contains("missing: ")), "{name}: {found}");
        }
    }
}

#[test]
fn one_draw_is_recomputed_from_its_code() {
    let dir = wheel();
    let one = |more: &[&str]| verify(dir.path(), &[&["--code"], more].concat());
    // u of MAG-7, u1, 2 is 0xd0717bcc77a95730: the last 3 of 16 parts; that of X-1 is 0x801b2ef53bc3b081.
    assert_eq!(one(&["X-1", "--entry", "1"]), (0, "red-1\n".to_owned()));
    let mag = ["MAG-7", "--shopper", "u1", "--entry"];
    assert_eq!(one(&[&mag[..], &["1"]].concat()).0, 0);
    let second = [&mag[..], &["2", "--time", "2026-11-11T00:00:00+08:00"]].concat();
    assert_eq!(one(&second), (0, "-\n".to_owned()));
    for (args, wanted) in [
        (&["MAG-7"][..], "--code MAG-7: the code draws for each entry: give --shopper S --entry N"),
        (&["X-1"], "--code X-1: phase 1 is for some entries alone: give --entry N"),
        (&["X-1", "--entry", "2"], "--code X-1: phase 2 is for some time alone: give --time T"),
        (&["X-2"], "--code X-2: the code enters no draw of campaign wheel"),
    ] {
        let output = mashang(dir.path(), &[&VERIFY[..], &["--code"], args].concat());
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*told), (Some(2), &*format!("mashang: {wanted}\n")));
    }
}

#[test]
fn wrong_secret_campaign_and_table_are_refused() {
    let dir = wheel();
    write(dir.path(), "wrong.key", &"08".repeat(32));
    let verify = |campaign: &str, secret: &str, awards: &str| {
        let args =
            ["draw", "verify", "--rules", "rules.toml", "--campaign", campaign, "--secret", secret, "--awards", awards];
        let output = mashang(dir.path(), &args);
        format!("{}: {}", output.status.code().expect("no signal"), String::from_utf8_lossy(&output.stderr))
    };
    let told = [
        verify("wheel", "wrong.key", "awards.csv"),
        verify("whell", "shown.key", "awards.csv"),
        verify("wheel", "shown.key", "rules.toml"),
        verify("wheel", "shown.key", "none.csv"),
    ];
    expect![[r#"
        1: mashang: wrong.key: it is not the secret of campaign wheel: its SHA-256 is 2578ccf8645b2d1dc10c465eff843585970f3a7e22296a92cad55d489a272072, the rules commit to 630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd
        2: mashang: --campaign whell: is not in rules.toml, which has other, wheel
        2: mashang: rules.toml:3: missing field `merchant`; give what `mashang export awards` printed
        2: mashang: --awards none.csv: cannot be read: No such file or directory (os error 2)
    "#]].assert_eq(&told.concat());
    let awards = read(dir.path(), "awards.csv");
    write(dir.path(), "torn.csv", &awards.replace(",2026-", ",soon 2026-"));
    let told = verify("wheel", "shown.key", "torn.csv");
    assert!(told.starts_with("2: mashang: torn.csv:") && told.contains(": time: is \"soon 2026-"), "{told}");
}

#[test]
fn picked_entries_can_be_checked() {
    let dir = wheel();
    write(dir.path(), "list.txt", "ann\nbob\r\ncho\ndan");
    let args = ["draw", "pick", "--list", "list.txt", "--secret", "shown.key", "--name", "lucky", "--count"];
    let picked = done(dir.path(), &[&args[..], &["4"]].concat());
    assert_eq!(picked, "cho\nann\nbob\ndan\n");
    write(dir.path(), "list.txt", "dan\ncho\nbob\nann\n");
    assert_eq!(done(dir.path(), &[&args[..], &["2"]].concat()), "cho\nann\n");
    let mut told = String::new();
    for (count, text) in [("2", "cho\nann\n"), ("2", "ann\ncho\n"), ("3", "cho\nann\n"), ("1", "cho\nann\n"), ("5", "")]
    {
        write(dir.path(), "picked.txt", text);
        let output = mashang(dir.path(), &[&args[..], &[count, "--check", "picked.txt"]].concat());
        let status = output.status.code().expect("no signal");
        let text = [output.stdout, output.stderr].concat();
        told.push_str(&format!("{status}: {}", String::from_utf8_lossy(&text)));
    }
    write(dir.path(), "list.txt", "ann\n\nbob\nann\n");
    let output = mashang(dir.path(), &[&args[..], &["1"]].concat());
    told.push_str(&format!("{:?}: {}", output.status.code(), String::from_utf8_lossy(&output.stderr)));
    expect![[r#"
        0: 2 of 4 entries, as picked.txt
        1: mashang: picked.txt: line 1: is ann, should be cho
        1: mashang: picked.txt: line 3: is the end, should be bob
        1: mashang: picked.txt: line 2: is ann, should be the end
        2: mashang: --count 5: list.txt has 4 entries; give that number or a smaller one
        Some(2): list.txt:2: the line is empty: remove it
        list.txt:4: is the same as line 1: each entry once
        mashang: 2 mistakes in --list list.txt: nothing was picked
    "#]]
    .assert_eq(&told);
}
