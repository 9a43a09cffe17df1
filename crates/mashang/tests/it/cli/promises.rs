//! What was promised stays: `rules check --against`, `serve`, `rules list`; and the public notice of a draw.

use std::path::Path;

use data_encoding::HEXLOWER;
use expect_test::expect;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::check;
use crate::program::{done, mashang};
use crate::serve::server::Server;

/// A draw that is on for decades.
const RULES: &str = r#"merchant = "tea"
currency = "CNY"
time_zone = "Asia/Shanghai"

[[campaign]]
id = "wheel"
mode = "odds"
from = 2020-11-01T00:00:00+08:00
to   = 2090-01-01T00:00:00+08:00
secret = "file:wheel.key"
commit = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"
[[campaign.prize]]
id = "red"
kind = "cash"
amount = 100
stock = 1000
[[campaign.prize]]
id = "tin"
kind = "goods"
[[campaign.phase]]
entries = "1"
odds = { "red" = "1/2", "tin" = "1/20" }
[[campaign.phase]]
odds = { "red" = "1/3" }

[[code]]
id = "POSTER"
kind = "media"
channel = "metro"
campaign = "wheel"
"#;

fn shop() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "rules.toml", RULES);
    write(dir.path(), "wheel.key", &HEXLOWER.encode(&(0..32).collect::<Vec<u8>>()));
    dir
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).expect("a file");
}

/// The exit status of `rules check --against`, and the lines of standard error.
fn against(dir: &Path, new: &str) -> (i32, Vec<String>) {
    write(dir, "new.toml", new);
    let output = mashang(dir, &["rules", "check", "new.toml", "--against", "rules.toml"]);
    let told = String::from_utf8(output.stderr).expect("UTF-8");
    (output.status.code().expect("no signal"), told.lines().map(ToOwned::to_owned).collect())
}

#[test]
fn worse_draws_are_refused_by_key() {
    let dir = shop();
    for (was, is, key) in [
        ("stock = 1000", "stock = 999", "campaign[0].prize[0].stock: was 1000, is 999"),
        ("amount = 100", "amount = 99", "campaign[0].prize[0].amount: was 100, is 99"),
        ("\"tin\" = \"1/20\"", "\"tin\" = \"1/21\"", "campaign[0].phase[0].odds.tin: was 1/20, is 1/21"),
        (", \"tin\" = \"1/20\"", "", "campaign[0].phase[0].odds.tin: was 1/20, is none"),
        ("entries = \"1\"", "entries = \"2\"", "campaign[0].phase[0].entries: was 1, is 2"),
        ("[[campaign.phase]]\nodds = { \"red\" = \"1/3\" }", "", "campaign[0].phase[1]: was there, is removed"),
        ("2090-01-01", "2089-01-01", "campaign[0].to: was 2090-01-01T00:00:00+08:00, is 2089-01-01T00:00:00+08:00"),
        ("2020-11-01", "2020-11-02", "campaign[0].from: was 2020-11-01T00:00:00+08:00, is 2020-11-02T00:00:00+08:00"),
        ("secret =", "limit_day = 5\nsecret =", "campaign[0].limit_day: was none, is 5"),
        ("secret =", "budget = 5\nsecret =", "campaign[0].budget: was none, is 5"),
        ("secret =", "areas = [\"33\"]\nsecret =", "campaign[0].areas: was everywhere, is 1 area"),
        ("stock =", "unlock = \"join\"\nstock =", "campaign[0].prize[0].unlock: was none, is join"),
        ("id = \"wheel\"", "id = \"wheel-2\"", "campaign: was wheel (on until 2090-01-01T00:00:00+08:00), is removed"),
    ] {
        let new = RULES.replace(was, is).replace("campaign = \"wheel\"", &format!("campaign = {:?}", id(is)));
        let (status, told) = against(dir.path(), &new);
        let line = told.iter().find(|line| line.contains(key)).unwrap_or_else(|| panic!("{key}: {told:?}"));
        assert!(line.starts_with("new.toml:"), "{line}");
        assert!(line.ends_with(": keep it, or publish with --because TEXT"), "{line}");
        assert_eq!(told.iter().filter(|line| line.contains("--because")).count(), 1, "{told:?}");
        assert_eq!(told.last().map(String::as_str), Some("mashang: these rules cannot follow rules.toml"));
        assert_eq!(status, 2, "{key}");
    }
}

/// The id of the campaign after a change.
fn id(change: &str) -> &str {
    if change.contains("wheel-2") { "wheel-2" } else { "wheel" }
}

/// The secret lies where it lay, and is another: what is compared is the old rules, not whether their secret is still there.
#[test]
fn replaced_secret_is_refused_by_key() {
    let dir = shop();
    write(dir.path(), "wheel.key", &HEXLOWER.encode(&[7; 32]));
    let commit = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd";
    let other = HEXLOWER.encode(&Sha256::digest([7; 32]));
    let (status, told) = against(dir.path(), &RULES.replace(commit, &other));
    let wanted = format!("new.toml:11: campaign[0].commit: was {commit}, is {other}");
    assert!(status == 2 && told.iter().any(|line| line.starts_with(&wanted)), "{told:?}");
}

#[test]
fn better_draws_may_follow() {
    let dir = shop();
    for (was, is) in [
        ("stock = 1000", "stock = 1001"),
        ("stock = 1000\n", ""),
        ("amount = 100", "amount = 101"),
        ("\"1/20\"", "\"1/19\""),
        ("entries = \"1\"", "entries = \"1..2\""),
        ("2090-01-01", "2091-01-01"),
        ("2020-11-01", "2020-10-01"),
        ("[[code]]", "[[campaign.phase]]\nodds = { \"tin\" = \"1/3\" }\n[[code]]"),
        ("kind = \"goods\"", "kind = \"goods\"\n[[campaign.prize]]\nid = \"box\"\nkind = \"goods\""),
        ("stock =", "else = \"tin\"\nstock ="),
    ] {
        let (status, told) = against(dir.path(), &RULES.replace(was, is));
        assert_eq!((status, told.iter().any(|line| line.contains("--because"))), (0, false), "{is}: {told:?}");
    }
    // Before it begins and after its end a draw may become anything.
    for (was, is) in [("2020-11-01", "2089-11-01"), ("2090-01-01", "2021-01-01")] {
        let rules = RULES.replace(was, is);
        write(dir.path(), "rules.toml", &rules);
        let (status, told) = against(dir.path(), &rules.replace("stock = 1000", "stock = 1"));
        assert_eq!(status, 0, "{told:?}");
    }
}

/// Runs `serve`, which must be refused; what it told.
fn refused(dir: &Path, more: &[&str]) -> String {
    let fixed = ["serve", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", "data", "--rules", "rules.toml"];
    let output = mashang(dir, &[&fixed[..], more].concat());
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).expect("UTF-8")
}

fn listed(dir: &Path) -> Vec<Value> {
    let printed = done(dir, &["rules", "list", "--data", "data", "--format", "json"]);
    printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn serve_breaks_a_promise_for_a_reason_alone() {
    let dir = shop();
    let dir = dir.path();
    assert!(Server::start(dir, &[]).stop().0.success());
    write(dir, "rules.toml", &RULES.replace("stock = 1000", "stock = 10").replace("1/20", "1/30"));
    let told = refused(dir, &[]);
    assert!(
        told.contains(": campaign[0].prize[0].stock: was 1000, is 10: keep it, or publish with --because"),
        "{told}"
    );
    assert!(told.contains(": campaign[0].phase[0].odds.tin: was 1/20, is 1/30: keep it, or publish"), "{told}");
    assert!(
        told.ends_with("mashang: 2 promises of draws that are on would be broken: nothing was published\n"),
        "{told}"
    );
    assert_eq!(listed(dir).len(), 1);
    for (text, wrong) in
        [("", "is empty"), ("a\nb", "has the control character U+000A"), (&*"x".repeat(1_001), "has 1001 bytes")]
    {
        let told = refused(dir, &["--because", text]);
        assert!(told.contains(wrong), "{told}");
    }
    let server = Server::start(dir, &["--because", "recall: <tins> \"rust\" 码"]);
    server.stop();
    // The rules in force need no reason again, and those before them can come back.
    assert!(Server::start(dir, &[]).stop().0.success());
    write(dir, "rules.toml", RULES);
    assert!(Server::start(dir, &["--because", "the first ones again"]).stop().0.success());
    let versions = listed(dir);
    let column = |key: &str| versions.iter().map(|version| version[key].clone()).collect::<Vec<_>>();
    assert_eq!(column("seq"), [1, 2, 3]);
    assert_eq!(column("because"), [Value::Null, "recall: <tins> \"rust\" 码".into(), "the first ones again".into()]);
    assert_eq!(column("in_force"), [false, false, true]);
    assert_eq!(column("placed"), [true; 3]);
    assert_eq!(column("merchant"), ["tea"; 3]);
    let version = column("version");
    assert!(version[0] == version[2] && version[0] != version[1], "{version:?}");
    let printed = done(dir, &["rules", "list", "--data", "data"]);
    let lines: Vec<&str> = printed.lines().collect();
    let second = version[1].as_str().expect("a text");
    assert!(lines[1].starts_with(&format!("2 tea {second} behaviour ")), "{printed}");
    assert!(lines[0].ends_with("Z replaced") && lines[1].ends_with("Z replaced, because: recall: <tins> \"rust\" 码"));
    assert!(lines[2].ends_with("Z in force, because: the first ones again"), "{printed}");
}

#[test]
fn versions_are_listed_from_a_log_alone() {
    let dir = shop();
    check(
        dir.path(),
        &["rules", "list", "--data", "nowhere"],
        &expect![[r#"
            mashang: nowhere/log: there is no log: name the directory that `serve --data` wrote
            exit status 2
        "#]],
    );
    let output = mashang(dir.path(), &["rules", "list"]);
    assert_eq!(output.status.code(), Some(2));
    let output = mashang(dir.path(), &["rules", "list", "--kafka", "127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(2), "a store is needed");
}

#[test]
fn notice_is_one_page_and_escapes_ids() {
    let dir = shop();
    let dir = dir.path();
    let evil = RULES.replace("\"tin\"", "\"<script>alert(1)</script>\"");
    write(dir, "evil.toml", &evil);
    let output = mashang(dir, &["rules", "notice", "evil.toml"]);
    let (page, told) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
    let (page, told) = (page.expect("UTF-8"), told.expect("UTF-8"));
    assert!(output.status.success(), "{told}");
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    assert!(
        page.contains("抽奖活动公示") && page.contains("<td class=\"n\">1/20</td><td class=\"p\">5 %</td>"),
        "{page}"
    );
    for key in ["organiser", "contact", "redeem"] {
        assert!(told.contains(&format!("warning: evil.toml: campaign wheel: {key} is missing")), "{told}");
        assert!(page.contains(&format!("({key})")), "{page}");
    }
    // The version is that which the check prints.
    let checked = done(dir, &["rules", "check", "rules.toml"]);
    let version = checked.split("version ").nth(1).expect("a version")[..12].to_owned();
    let page = done(dir, &["rules", "notice", "rules.toml", "--lang", "en", "--campaign", "wheel"]);
    assert!(page.contains("Public notice of prize draws") && page.contains(&version), "{page}");
    assert!(page.contains("630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"));
}

#[test]
fn notice_of_an_unknown_draw_names_those_that_are() {
    let dir = shop();
    check(
        dir.path(),
        &["rules", "notice", "rules.toml", "--campaign", "whee"],
        &expect![[r#"
            mashang: --campaign whee: rules.toml has no such campaign; it has wheel
            exit status 2
        "#]],
    );
    write(dir.path(), "none.toml", "merchant = \"a\"\ncurrency = \"CNY\"\ntime_zone = \"UTC\"\n");
    check(
        dir.path(),
        &["rules", "notice", "none.toml"],
        &expect![[r#"
            mashang: none.toml: has no campaign, so that there is nothing to make public
            exit status 2
        "#]],
    );
}
