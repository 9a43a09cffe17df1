//! Campaigns with their prizes and phases, and what is not built yet.

use domain::model::rules::Campaign;
use expect_test::expect;

use super::{COMMIT, HEAD, campaign, check, check_campaign, check_prize, read_with, told};

#[test]
fn campaigns() {
    check(
        "[[campaign]]\n",
        expect![[r#"
        acme.toml:4: campaign[0].id: is missing; a campaign needs it
        acme.toml:4: campaign[0].mode: is missing; a campaign needs it
        acme.toml:4: campaign[0].from: is missing; a campaign needs it
        acme.toml:4: campaign[0].to: is missing; a campaign needs it
        acme.toml:4: campaign[0].secret: is missing; a campaign needs it
        acme.toml:4: campaign[0].commit: is missing; a campaign needs it"#]],
    );
    check_campaign("", expect!["warning: acme.toml:4: campaign[0]: has no phase, so that no entry wins anything"]);
    check(
        &campaign("").replace("\"odds\"", "\"luck\""),
        expect![[r#"acme.toml:6: campaign[0].mode: is "luck"; write one of "odds", "sealed", "moments""#]],
    );
    check(
        &campaign("").replace("2026-12-01", "2026-11-01"),
        expect!["acme.toml:8: campaign[0].to: is not after `from`; the interval holds no moment"],
    );
    check_campaign(
        "limit_total = 0\nlimit_day = -1\nbudget = -5\n",
        expect![[r#"
        acme.toml:12: campaign[0].limit_total: is 0; write 1 to 4294967295
        acme.toml:13: campaign[0].limit_day: is -1; write 1 to 4294967295
        acme.toml:14: campaign[0].budget: is -5; write 0 to 9223372036854775807"#]],
    );
    check_campaign(
        "limit_total = 4294967296\nbudget = 99999999999999999999999999999999\n",
        expect![[r#"
        acme.toml:12: campaign[0].limit_total: is 4294967296; write 1 to 4294967295
        acme.toml:13: campaign[0].budget: is 999999999999999999999999999999…; write 0 to 9223372036854775807"#]],
    );
    check_campaign(
        "landing = \"http://m.example/wheel\"\n",
        expect![[
            r#"acme.toml:12: campaign[0].landing: is "http://m.example/wheel"; write an absolute https URL, such as "https://m.example/wheel", encoded where needed"#
        ]],
    );
    check_campaign(
        "landing = \"/wheel\"\n",
        expect![[
            r#"acme.toml:12: campaign[0].landing: is "/wheel"; write an absolute https URL, such as "https://m.example/wheel", encoded where needed"#
        ]],
    );
    check_campaign(
        "landing = \"https://\"\n",
        expect![[
            r#"acme.toml:12: campaign[0].landing: is "https://"; write an absolute https URL, such as "https://m.example/wheel", encoded where needed"#
        ]],
    );
    check_campaign(
        "landing = \"https://user@m.example/\"\n",
        expect![[
            r#"acme.toml:12: campaign[0].landing: is "https://user@m.example/"; write an absolute https URL, such as "https://m.example/wheel", encoded where needed"#
        ]],
    );
    check_campaign(
        "landing = \"https://m.example/a b\"\n",
        expect![[
            r#"acme.toml:12: campaign[0].landing: is "https://m.example/a b"; write an absolute https URL, such as "https://m.example/wheel", encoded where needed"#
        ]],
    );
    check_campaign(
        "landing = \"https://m.example/码\"\n",
        expect![[
            r#"acme.toml:12: campaign[0].landing: is "https://m.example/码"; write an absolute https URL, such as "https://m.example/wheel", encoded where needed"#
        ]],
    );
    check_campaign(
        "landing = \"https://m.example:8443/%20?a=b#c\"\n",
        expect!["warning: acme.toml:4: campaign[0]: has no phase, so that no entry wins anything"],
    );
    check(
        &format!("{0}{0}", campaign("")),
        expect![[r#"acme.toml:13: campaign[1].id: is "c", as is another campaign's at acme.toml:5"#]],
    );
}

#[test]
fn secrets() {
    check(
        &campaign("").replace(COMMIT, &"0".repeat(64)),
        expect![
            "acme.toml:10: campaign[0].commit: is not the SHA-256 of the secret, which is 02d449a31fbb267c8f352e9968a79e3e5fc95c1bbeaa502fd6454ebde5a4bedc"
        ],
    );
    check(
        &campaign("").replace(COMMIT, "12"),
        expect![[r#"acme.toml:10: campaign[0].commit: is "12"; write a SHA-256, 64 hex digits"#]],
    );
    check(
        &campaign("").replace(COMMIT, &COMMIT.to_uppercase()),
        expect!["warning: acme.toml:4: campaign[0]: has no phase, so that no entry wins anything"],
    );
    check(
        &campaign("").replace("file:a.key", "file:b.key"),
        expect![[
            r#"acme.toml:9: campaign[0].secret: names "file:b.key", which cannot be read: there is no such file"#
        ]],
    );
    check(
        &campaign("").replace("file:a.key", "env:SHORT"),
        expect![[
            r#"acme.toml:9: campaign[0].secret: names "env:SHORT", which does not hold 64 hex digits and nothing else"#
        ]],
    );
    check(
        &campaign("").replace("file:a.key", "env:"),
        expect![[
            r#"acme.toml:9: campaign[0].secret: is no reference to a secret; write "file:PATH" or "env:NAME", never the secret"#
        ]],
    );
    check(
        &campaign("").replace("file:a.key", &"11".repeat(32)),
        expect![[
            r#"acme.toml:9: campaign[0].secret: is no reference to a secret; write "file:PATH" or "env:NAME", never the secret"#
        ]],
    );
}

#[test]
fn prizes() {
    check_prize(
        "else = \"thanks\"\nunlock = \"join\"\nunlock_within = \"7d\"",
        "odds = { p = \"1\" }",
        expect!["fine"],
    );
    check_prize(
        "amount = 5",
        "odds = {}",
        expect!["acme.toml:16: campaign[0].prize[0].amount: means nothing for a prize of the kind goods; take it out"],
    );
    check_prize(
        "ticket = \"t\"",
        "odds = {}",
        expect!["acme.toml:16: campaign[0].prize[0].ticket: means nothing for a prize of the kind goods; take it out"],
    );
    check_prize(
        "[[campaign.prize]]\nid = \"q\"\nkind = \"points\"",
        "odds = {}",
        expect!["acme.toml:16: campaign[0].prize[1].amount: is missing; a prize of the kind points needs it"],
    );
    check_prize(
        "[[campaign.prize]]\nid = \"q\"\nkind = \"coupon\"\namount = 0",
        "odds = {}",
        expect![[r#"
            acme.toml:16: campaign[0].prize[1].ticket: is missing; a prize of the kind coupon needs it
            acme.toml:19: campaign[0].prize[1].amount: means nothing for a prize of the kind coupon; take it out"#]],
    );
    check_prize(
        "[[campaign.prize]]\nid = \"q\"\nkind = \"cash\"\namount = 1000000000000001\nstock = 1",
        "odds = {}",
        expect!["acme.toml:19: campaign[0].prize[1].amount: is 1000000000000001; write 0 to 1000000000000000"],
    );
    check_prize(
        "[[campaign.prize]]\nid = \"thanks\"\nkind = \"car\"",
        "odds = {}",
        expect![[r#"
        acme.toml:17: campaign[0].prize[1].id: is "thanks", which means no prize; choose another id
        acme.toml:18: campaign[0].prize[1].kind: is "car"; write one of "cash", "points", "coupon", "goods""#]],
    );
    check_prize(
        "[[campaign.prize]]\nid = \"p\"\nkind = \"goods\"\nstock = -1",
        "odds = {}",
        expect![[r#"
        acme.toml:17: campaign[0].prize[1].id: is "p", as is another prize's at acme.toml:13
        acme.toml:19: campaign[0].prize[1].stock: is -1; write 0 to 9223372036854775807"#]],
    );
    check_prize(
        "unlock = \"scan\"",
        "odds = {}",
        expect![[r#"acme.toml:16: campaign[0].prize[0].unlock: is "scan"; write one of "order", "join", "follow""#]],
    );
    check_prize(
        "unlock_within = \"7d\"",
        "odds = {}",
        expect![
            "acme.toml:16: campaign[0].prize[0].unlock_within: needs `unlock`; say what unlocks the prize or take it out"
        ],
    );
    check_prize(
        "else = \"q\"",
        "odds = {}",
        expect![[r#"acme.toml:16: campaign[0].prize[0].else: is "q", which is no prize here"#]],
    );
    check_prize(
        "else = \"p\"",
        "odds = {}",
        expect!["acme.toml:16: campaign[0].prize[0].else: goes in a cycle: p → p"],
    );
    check_prize(
        "else = \"q\"\n[[campaign.prize]]\nid = \"q\"\nkind = \"goods\"\nelse = \"p\"",
        "odds = {}",
        expect!["acme.toml:16: campaign[0].prize[0].else: goes in a cycle: p → q → p"],
    );
    check_prize(
        "count = 5",
        "odds = {}",
        expect!["acme.toml:16: campaign[0].prize[0].count: is of sealed draws and moments; write stock"],
    );
    check_prize(
        "[[campaign.prize]]\nid = \"q\"\nkind = \"cash\"\namount = 5",
        "odds = {}",
        expect![
            "warning: acme.toml:16: campaign[0].prize[1]: is cash with neither stock nor budget: nothing bounds what it costs"
        ],
    );
}

#[test]
fn cash_above_the_usual_is_a_warning() {
    let cash = |amount: u64| format!("[[campaign.prize]]\nid = \"q\"\nkind = \"cash\"\namount = {amount}\nstock = 1");
    check_prize(&cash(5_000_000), "odds = {}", expect!["fine"]);
    check_prize(
        &cash(5_000_001),
        "odds = {}",
        expect![
            "warning: acme.toml:19: campaign[0].prize[1].amount: is 5000001, above 5000000 (50,000 yuan), which prize draws in China may not pass"
        ],
    );
    check_prize(&format!("{}\namount_max = 5000000", cash(1)), "odds = {}", expect!["fine"]);
    check_prize(
        &format!("{}\namount_max = 5000001\nvalue = 5000002", cash(5_000_000)),
        "odds = {}",
        expect![[r#"
        warning: acme.toml:21: campaign[0].prize[1].amount_max: is 5000001, above 5000000 (50,000 yuan), which prize draws in China may not pass
        warning: acme.toml:22: campaign[0].prize[1].value: is 5000002, above 5000000 (50,000 yuan), which prize draws in China may not pass"#]],
    );
    check_prize(
        "value = 5000001",
        "odds = {}",
        expect![
            "warning: acme.toml:16: campaign[0].prize[0].value: is 5000001, above 5000000 (50,000 yuan), which prize draws in China may not pass"
        ],
    );
    check_prize("value = 5000000", "odds = {}", expect!["fine"]);
    let points = cash(5_000_001).replace("cash", "points");
    check_prize(&points, "odds = {}", expect!["fine"]);
    let yen = format!("{HEAD}{}", campaign(&format!("{}\nvalue = 5000001", cash(5_000_001)))).replace("CNY", "JPY");
    expect!["warning: acme.toml:4: campaign[0]: has no phase, so that no entry wins anything"]
        .assert_eq(&told(read_with(&yen, &[])));
}

#[test]
fn odds() {
    check_prize(
        "",
        "odds = { p = \"1/2\", q = \"1/2\" }",
        expect![[r#"acme.toml:18: campaign[0].phase[0].odds.q: is "q", which is no prize here"#]],
    );
    check_prize(
        "",
        "odds = { p = 0.5 }",
        expect![[
            r#"acme.toml:18: campaign[0].phase[0].odds.p: is a float; write a text, in quotes, such as "1/20", "5%" or "0.05": ratios are exact"#
        ]],
    );
    check_prize(
        "",
        "odds = { p = \"3/2\" }",
        expect![[r#"acme.toml:18: campaign[0].phase[0].odds.p: is "3/2"; write at most 1"#]],
    );
    check_prize(
        "",
        "odds = { p = \"1/0\" }",
        expect![[r#"acme.toml:18: campaign[0].phase[0].odds.p: has 0 below the line: "1/0""#]],
    );
    check_prize(
        "",
        "entries = \"1\"",
        expect!["acme.toml:17: campaign[0].phase[0].odds: is missing; a phase needs it"],
    );
    let two = "[[campaign.prize]]\nid = \"q\"\nkind = \"goods\"\n[[campaign.prize]]\nid = \"r\"\nkind = \"goods\"";
    check_prize(two, "odds = { p = \"1/3\", q = \"1/3\", r = \"1/3\" }", expect!["fine"]);
    let above = "odds = { p = \"1/3\", q = \"1/3\", r = \"333333333333333334/999999999999999999\" }";
    check_prize(
        two,
        above,
        expect!["acme.toml:23: campaign[0].phase[0].odds: add up to more than 1; together they may be 1 at most"],
    );
    check_prize(
        "",
        "entries = \"0\"\nodds = {}",
        expect![[
            r#"acme.toml:18: campaign[0].phase[0].entries: is "0"; write entries from 1 on, such as "1", "2.." or "2..5""#
        ]],
    );
    check_prize(
        "",
        "entries = \"5..2\"\nodds = {}",
        expect![[r#"acme.toml:18: campaign[0].phase[0].entries: is "5..2", which ends before it begins"#]],
    );
    check_prize(
        "",
        "entries = 1\nodds = {}",
        expect!["acme.toml:18: campaign[0].phase[0].entries: is an integer; write a text, in quotes"],
    );
    check_prize(
        "",
        "from = 2026-11-12T00:00:00Z\nto = 2026-11-11T00:00:00Z\nodds = {}",
        expect!["acme.toml:19: campaign[0].phase[0].to: is not after `from`; the interval holds no moment"],
    );
}

#[test]
fn phases_out_of_reach() {
    let phases = |more: &[&str]| {
        let phases: String = more.iter().map(|phase| format!("[[campaign.phase]]\nodds = {{}}\n{phase}\n")).collect();
        format!("limit_total = 5\n{phases}")
    };
    check_campaign(&phases(&["entries = \"1\"", "entries = \"2..4\"", ""]), expect!["fine"]);
    check_campaign(
        &phases(&["entries = \"1\"", "entries = \"2..5\"", ""]),
        expect![
            "warning: acme.toml:19: campaign[0].phase[2]: no entry can reach it: the phases before it take all of its entries"
        ],
    );
    check_campaign(
        &phases(&["entries = \"6..\"", "from = 2026-12-01T00:00:00+08:00"]),
        expect![[r#"
        warning: acme.toml:13: campaign[0].phase[0]: no entry can reach it: its entries are beyond the campaign's `limit_total`
        warning: acme.toml:16: campaign[0].phase[1]: no entry can reach it: it lies outside the campaign's `from` and `to`"#]],
    );
    check_campaign(
        &phases(&[
            "to = 2026-11-11T00:00:00+08:00",
            "from = 2026-11-11T00:00:00+08:00\nentries = \"2..\"",
            "entries = \"1..2\"\nfrom = 2026-11-11T00:00:00+08:00\nto = 2026-11-12T00:00:00+08:00",
            "entries = \"1\"\nto = 2026-11-12T00:00:00+08:00",
            "",
            "",
        ]),
        expect![[r#"
            warning: acme.toml:25: campaign[0].phase[3]: no entry can reach it: the phases before it take all of its entries
            warning: acme.toml:32: campaign[0].phase[5]: no entry can reach it: the phases before it take all of its entries"#]],
    );
}

#[test]
fn what_this_build_does_not_have() {
    check(
        "[[incentive]]\nname = \"recruit\"\n[[incentive]]\n",
        expect![[r#"
        acme.toml:4: incentive[0]: incentives are not in this build; take it out
        acme.toml:6: incentive[1]: incentives are not in this build; take it out"#]],
    );
}

#[test]
fn guides_are_excluded_by_default() {
    let rules = |more: &str| read_with(&format!("{HEAD}{}", campaign(more)), &[]).expect("rules").rules;
    assert!(rules("").campaigns[0].exclude_guides);
    assert!(!rules("exclude_guides = false\n").campaigns[0].exclude_guides);
    check_campaign(
        "exclude_guides = \"no\"\nbudget_day = -1\n",
        expect![[r#"
        acme.toml:12: campaign[0].exclude_guides: is a text; write true or false
        acme.toml:13: campaign[0].budget_day: is -1; write 0 to 9223372036854775807"#]],
    );
}

#[test]
fn texts_of_the_notice() {
    let notice = "organiser = \"Acme Drinks, Hangzhou\"\ncontact = \"400-000-0000\"\nredeem = \"At any store\"\n";
    let rules = read_with(&format!("{HEAD}{}", campaign(notice)), &[]).expect("rules").rules;
    let Campaign { organiser, contact, redeem, .. } = &rules.campaigns[0];
    let texts = [organiser, contact, redeem].map(|text| text.as_deref());
    assert_eq!(texts, [Some("Acme Drinks, Hangzhou"), Some("400-000-0000"), Some("At any store")]);
    check_campaign(
        &format!("organiser = \"\"\ncontact = 400\nredeem = \"{}\"\norganizer = \"Acme\"\n", "r".repeat(2049)),
        expect![[r#"
            acme.toml:12: campaign[0].organiser: is empty; write 1 to 2048 bytes
            acme.toml:13: campaign[0].contact: is an integer; write a text, in quotes
            acme.toml:14: campaign[0].redeem: has 2049 bytes; write 1 to 2048
            acme.toml:15: campaign[0].organizer: is no known key; did you mean organiser?"#]],
    );
}

#[test]
fn amounts_between_two_bounds() {
    let prize = |prize: &str| format!("[[campaign.prize]]\nid = \"q\"\nstock = 1\n{prize}");
    check_prize(&prize("kind = \"cash\"\namount = 0\namount_max = 188\nstock_day = 0"), "odds = {}", expect!["fine"]);
    check_prize(
        &prize("kind = \"points\"\namount = 5\namount_max = 4"),
        "odds = {}",
        expect!["acme.toml:21: campaign[0].prize[1].amount_max: is below `amount`, which is 5; write that or more"],
    );
    check_prize(
        &prize("kind = \"goods\"\namount_max = 4\nvalue = -1\nstock_day = -1"),
        "odds = {}",
        expect![[r#"
        acme.toml:20: campaign[0].prize[1].amount_max: means nothing for a prize of the kind goods; take it out
        acme.toml:21: campaign[0].prize[1].value: is -1; write 0 to 1000000000000000
        acme.toml:22: campaign[0].prize[1].stock_day: is -1; write 0 to 9223372036854775807"#]],
    );
    check_prize(
        &prize("kind = \"cash\"\namount = -1\namount_max = \"9\""),
        "odds = {}",
        expect![[r#"
        acme.toml:20: campaign[0].prize[1].amount: is -1; write 0 to 1000000000000000
        acme.toml:21: campaign[0].prize[1].amount_max: is a text; write an integer, 0 to 1000000000000000"#]],
    );
    // The default is no part of the object.
    let text = |max: &str| format!("{HEAD}{}", campaign(&prize(&format!("kind = \"points\"\namount = 5\n{max}"))));
    let rules = |max: &str| read_with(&text(max), &[]).expect("rules").rules;
    assert_eq!(rules("amount_max = 5\n"), rules(""));
    assert_eq!(rules("amount_max = 6\n").campaigns[0].prizes[0].amount_max, Some(6));
}
