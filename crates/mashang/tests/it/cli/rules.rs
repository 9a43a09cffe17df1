//! `rules check`.

use expect_test::expect;

use super::{RULES, check, shop};
use crate::program::{done, mashang};

#[test]
fn every_mistake_of_all_rules_is_reported() {
    let dir = shop(&RULES.replace("5%", "five").replace("Asia/Shanghai", "Asia/Shangai"), "");
    std::fs::write(dir.path().join("other.toml"), "merchant = \"b\"\ncurrency = \"XXX\"\ntime_zone = \"UTC\"\n")
        .expect("a file");
    check(
        dir.path(),
        &["rules", "check", "rules.toml", "other.toml"],
        &expect![[r#"
        rules.toml:4: time_zone: is "Asia/Shangai"; write a time zone of the IANA database, such as "Asia/Shanghai"
        rules.toml:7: commission[0].rate: is no exact ratio: write "1/20", "5%" or "0.05": "five"
        other.toml:2: currency: is "XXX", which has no minor unit in ISO 4217; write another currency
        mashang: 3 mistakes in the rules: nothing was done
        exit status 2
    "#]],
    );
    assert!(!dir.path().join("out").exists());
}

#[test]
fn rules_that_are_right_have_a_version() {
    let dir = shop(RULES, "");
    check(
        dir.path(),
        &["rules", "check", "rules.toml"],
        &expect![[r#"
        rules.toml: rules of acme, version ea57bc06c379: 1 stores, 1 guides, 2 codes, 0 campaigns, 0 funnels
        exit status 0
    "#]],
    );
    // A comment changes no version, a rate does.
    std::fs::write(dir.path().join("same.toml"), format!("# the same\n{RULES}")).expect("a file");
    std::fs::write(dir.path().join("other.toml"), RULES.replace("5%", "6%")).expect("a file");
    let version = |file| {
        let printed = done(dir.path(), &["rules", "check", file]);
        printed.split("version ").nth(1).expect("a version")[..12].to_owned()
    };
    assert_eq!(version("rules.toml"), version("same.toml"));
    assert_ne!(version("rules.toml"), version("other.toml"));
    // A merchant has one file.
    assert_eq!(mashang(dir.path(), &["rules", "check", "rules.toml", "other.toml"]).status.code(), Some(2));
}

#[test]
fn rules_are_held_against_those_that_they_follow() {
    let dir = shop(RULES, "");
    let next = RULES.replace("5%", "6%").replace("Asia/Shanghai", "UTC").replace("id = \"X-1\"", "id = \"X-2\"");
    std::fs::write(dir.path().join("next.toml"), &next).expect("a file");
    check(
        dir.path(),
        &["rules", "check", "next.toml", "--against", "rules.toml"],
        &expect![[r#"
        next.toml: rules of acme, version feac1d8e7574: 1 stores, 1 guides, 2 codes, 0 campaigns, 0 funnels
        - codes.X-1
        + codes.X-2
        ~ commissions.0.rate_ppm: 50000 -> 60000
        ~ time_zone: "Asia/Shanghai" -> "UTC"
        warning: acme: time_zone: is UTC, was Asia/Shanghai: days that were counted are not cut anew
        exit status 0
    "#]],
    );
    std::fs::write(dir.path().join("next.toml"), next.replace("CNY", "EUR")).expect("a file");
    check(
        dir.path(),
        &["rules", "check", "next.toml", "--against", "rules.toml"],
        &expect![[r#"
        next.toml: rules of acme, version 5f190b948ad4: 1 stores, 1 guides, 2 codes, 0 campaigns, 0 funnels
        - codes.X-1
        + codes.X-2
        ~ commissions.0.rate_ppm: 50000 -> 60000
        ~ currency: "CNY" -> "EUR"
        ~ time_zone: "Asia/Shanghai" -> "UTC"
        warning: acme: time_zone: is UTC, was Asia/Shanghai: days that were counted are not cut anew
        acme: currency: is EUR, was CNY: money that is posted stays as it is; begin another merchant for another currency
        mashang: these rules cannot follow rules.toml
        exit status 2
    "#]],
    );
    std::fs::write(dir.path().join("next.toml"), next.replace("acme", "bolt")).expect("a file");
    check(
        dir.path(),
        &["rules", "check", "next.toml", "--against", "rules.toml"],
        &expect![[r#"
        next.toml: rules of bolt, version 1980a41b5e62: 1 stores, 1 guides, 2 codes, 0 campaigns, 0 funnels
        mashang: --against rules.toml: is of acme, of which no rules are given
        exit status 2
    "#]],
    );
}
