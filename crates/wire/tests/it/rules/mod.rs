//! Rules files, good and bad (contract section 4).

mod batches;
mod campaigns;
mod places;
mod ranges;
mod registers;

use std::collections::BTreeMap;

use domain::model::rules::secrets::{Secret, Secrets};
use expect_test::{Expect, expect, expect_file};
use wire::rules::{Checked, Mistake, Reference, from_object, object, read, version};

/// SHA-256 of 32 bytes 0x11.
const COMMIT: &str = "02d449a31fbb267c8f352e9968a79e3e5fc95c1bbeaa502fd6454ebde5a4bedc";
const HEAD: &str = "merchant = \"acme\"\ncurrency = \"CNY\"\ntime_zone = \"Asia/Shanghai\"\n";

fn read_with(text: &str, files: &[(&str, &[u8])]) -> Result<Checked, Vec<Mistake>> {
    let files: BTreeMap<&str, &[u8]> = files.iter().copied().collect();
    read("acme.toml", text, &mut |reference| match reference {
        Reference::Secret("file:a.key") => Ok(format!("\n {}\r\n", "11".repeat(32)).into_bytes()),
        Reference::Secret("env:SHORT") => Ok(b"1111".to_vec()),
        Reference::Secret(_) => Err("there is no such file".to_owned()),
        Reference::Register(path) => {
            files.get(path).map(|bytes| bytes.to_vec()).ok_or_else(|| "there is no such file".to_owned())
        }
    })
}

fn told(read: Result<Checked, Vec<Mistake>>) -> String {
    let (word, notes) = match read {
        Ok(checked) => ("warning: ", checked.warnings),
        Err(mistakes) => ("", mistakes),
    };
    if notes.is_empty() {
        "fine".to_owned()
    } else {
        notes.iter().map(|m| format!("{word}{m}")).collect::<Vec<_>>().join("\n")
    }
}

/// What is wrong with a whole file.
fn check_file(text: &str, expect: Expect) {
    expect.assert_eq(&told(read_with(text, &[])));
}

/// What is wrong with a file that begins with three good lines; so the fourth is the first of `more`.
fn check(more: &str, expect: Expect) {
    check_file(&format!("{HEAD}{more}"), expect);
}

/// A campaign with odds; so the twelfth line is the first of `more`.
fn check_campaign(more: &str, expect: Expect) {
    check(&campaign(more), expect);
}

fn campaign(more: &str) -> String {
    format!(
        "[[campaign]]\nid = \"c\"\nmode = \"odds\"\nfrom = 2026-11-01T00:00:00+08:00\nto = 2026-12-01T00:00:00+08:00\n\
         secret = \"file:a.key\"\ncommit = \"{COMMIT}\"\nlimit_wins = 3\n{more}"
    )
}

/// A campaign with one prize and a phase; so the sixteenth line is the first of `prize`.
fn check_prize(prize: &str, phase: &str, expect: Expect) {
    check_campaign(
        &format!("[[campaign.prize]]\nid = \"p\"\nkind = \"goods\"\nstock = 1\n{prize}\n[[campaign.phase]]\n{phase}\n"),
        expect,
    );
}

/// The registers of `acme.toml`.
const REGISTERS: [(&str, &[u8]); 3] = [
    ("stores.csv", b"id,region,name,gln\r\ns-90,330106,\"Lake, East\",\r\ns-91,,,\r\n"),
    ("guides.csv", b"\xEF\xBB\xBFsuccessor,store,id,left\nkeep,s-90,g-90,2026-11-10T00:00:00+08:00\n,s-12,g-91,\n"),
    ("codes.csv", "id,kind,guide,channel\nG90,guide,g-90,\n码,media,,magazine\n".as_bytes()),
];

#[test]
fn a_complete_example() {
    let text = include_str!("../acme.toml");
    let checked = read_with(text, &REGISTERS).expect("rules");
    let json = object(&checked.rules);
    let pretty: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    expect_file!["../acme.json"].assert_eq(&format!("{pretty:#}\n"));
    expect!["6c30f6f1e8b4"].assert_eq(&domain::model::rules::version_text(&version(&json)));
    assert_eq!(from_object(&json), Ok(checked.rules));
    let campaigns = BTreeMap::from([("lucky-wheel".to_owned(), Secret::new([0x11; 32]))]);
    assert_eq!(checked.secrets, Secrets { campaigns, batches: BTreeMap::new() });
    assert_eq!(checked.warnings, []);
}

/// A version is what was published: no build gives another one to rules that use nothing new.
#[test]
fn rules_without_new_features_keep_their_version() {
    let text = include_str!("../acme.toml").replace("landing =", "exclude_guides = false\nlanding =");
    let object = object(&read_with(&text, &REGISTERS).expect("rules").rules);
    // As the build before batches and ranges printed it.
    expect!["033851c132f2"].assert_eq(&domain::model::rules::version_text(&version(&object)));
}

#[test]
fn batches_and_all_modes_in_one_file() {
    let files: [(&str, &[u8]); 1] =
        [("ranges.csv", b"batch,from,to,state,store,guide,channel,region\n7,400500,400501,void,s-12,g-1,bottle,\n")];
    let checked = read_with(include_str!("../everything.toml"), &files).expect("rules");
    let json = object(&checked.rules);
    let pretty: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    expect_file!["../everything.json"].assert_eq(&format!("{pretty:#}\n"));
    assert_eq!(from_object(&json), Ok(checked.rules));
    assert_eq!(checked.secrets.campaigns.len(), 3);
    assert_eq!(checked.secrets.batches, BTreeMap::from([(7, Secret::new([0x11; 32]))]));
    assert_eq!(checked.warnings, []);
}

#[test]
fn the_least_that_is_enough() {
    check("", expect!["fine"]);
    let rules = read_with(HEAD, &[]).expect("rules").rules;
    assert_eq!(rules.dedup.horizon_minutes, 3 * 24 * 60);
    assert_eq!(rules.attribution, domain::model::rules::Attribution::default());
}

#[test]
fn what_is_no_toml() {
    check_file(
        "merchant = acme\n",
        expect!["acme.toml:1: is not TOML: string values must be quoted, expected literal string"],
    );
    check_file("merchant = \"acme\"\nmerchant = \"acme\"\n", expect!["acme.toml:2: is not TOML: duplicate key"]);
    check(
        "[[commission]]\nrate = 5%\nhold = \"x\"\n[[commission\nrate = \"1%\"\n",
        expect![[r#"
        acme.toml:5: is not TOML: string values must be quoted, expected literal string
        acme.toml:6: commission[0].hold: is "x"; write an integer and a unit, such as "500ms", "10s", "15m", "48h" or "15d"
        acme.toml:7: is not TOML: unclosed array table, expected `]]`"#]],
    );
    check(
        "late = \"2d\n[dedup]\nhorizon = 3\n",
        expect![[r#"
        acme.toml:4: is not TOML: invalid basic string, expected `"`
        acme.toml:6: dedup.horizon: is an integer; write a text, in quotes, such as "500ms", "10s", "15m", "48h" or "15d""#]],
    );
    check("a = [1, 2\n", expect!["acme.toml:4: is not TOML: unclosed array, expected `]`"]);
}

#[test]
fn the_merchant() {
    check_file(
        "",
        expect![[r#"
        acme.toml:1: merchant: is missing; a rules file needs it
        acme.toml:1: currency: is missing; a rules file needs it
        acme.toml:1: time_zone: is missing; a rules file needs it"#]],
    );
    check_file(
        "merchant = \"\"\ncurrency = 12\ntime_zone = \"Mars\"\n",
        expect![[r#"
        acme.toml:1: merchant: is empty; write 1 to 64 bytes
        acme.toml:2: currency: is an integer; write a text, in quotes
        acme.toml:3: time_zone: is "Mars"; write a time zone of the IANA database, such as "Asia/Shanghai""#]],
    );
    check_file(
        "merchant = \"a\\u0007\"\ncurrency = \"cny\"\ntime_zone = true\n",
        expect![[r#"
        acme.toml:1: merchant: has the control character U+0007; write text without them
        acme.toml:2: currency: is "cny"; write a code of ISO 4217, such as "CNY"
        acme.toml:3: time_zone: is true or false; write a text, in quotes"#]],
    );
    check_file(
        &HEAD.replace("acme", &"m".repeat(65)).replace("CNY", "XAU"),
        expect![[r#"
        acme.toml:1: merchant: has 65 bytes; write 1 to 64
        acme.toml:2: currency: is "XAU", which has no minor unit in ISO 4217; write another currency"#]],
    );
    check_file(
        &HEAD.replace("CNY", "XTS").replace("Asia/Shanghai", "Etc/Unknown"),
        expect![[r#"
        acme.toml:2: currency: is "XTS", which has no minor unit in ISO 4217; write another currency
        acme.toml:3: time_zone: is "Etc/Unknown"; write a time zone of the IANA database, such as "Asia/Shanghai""#]],
    );
    check_file(
        &HEAD.replace("CNY", "XXX"),
        expect![[r#"acme.toml:2: currency: is "XXX", which has no minor unit in ISO 4217; write another currency"#]],
    );
    check_file(&HEAD.replace("CNY", "JPY"), expect!["fine"]);
}

#[test]
fn unknown_keys() {
    check("laet = \"2d\"\n", expect!["acme.toml:4: laet: is no known key; did you mean late?"]);
    check("[[guides]]\nid = \"g-1\"\n", expect!["acme.toml:4: guides: is no known key; did you mean guide?"]);
    check(
        "[dedup]\nhorizont = \"3d\"\ncolour = \"red\"\n\"a b\" = 1\n",
        expect![[r#"
        acme.toml:5: dedup.horizont: is no known key; did you mean horizon?
        acme.toml:6: dedup.colour: is no known key; known are horizon, debounce
        acme.toml:7: dedup."a b": is no known key; known are horizon, debounce"#]],
    );
    check(
        "[attribution]\nwindow = \"15d\"\nwidow = \"15d\"\n",
        expect!["acme.toml:6: attribution.widow: is no known key; did you mean window?"],
    );
    check_prize(
        "elze = \"p\"",
        "odds = {}\nentry = \"1\"",
        expect![[r#"
        acme.toml:16: campaign[0].prize[0].elze: is no known key; did you mean else?
        acme.toml:19: campaign[0].phase[0].entry: is no known key; known are from, to, entries, odds"#]],
    );
}

#[test]
fn shapes() {
    check("dedup = 3\n", expect!["acme.toml:4: dedup: is an integer; write [dedup]"]);
    check("[[dedup]]\nhorizon = \"3d\"\n", expect!["acme.toml:4: dedup: is a list; write [dedup]"]);
    check("[store]\nid = \"s-1\"\n", expect!["acme.toml:4: store: is a table; write [[store]]"]);
    check("store = [{ id = \"s-1\" }, \"s-2\"]\n", expect!["acme.toml:4: store[1]: is a text; write [[store]]"]);
    check_campaign("areas = \"33\"\n", expect!["acme.toml:12: campaign[0].areas: is a text; write a list, in []"]);
    check_campaign(
        "areas = [\"33\", 31, \"\"]\n",
        expect![[r#"
        acme.toml:12: campaign[0].areas[1]: is an integer; write a text, in quotes
        acme.toml:12: campaign[0].areas[2]: is empty; write 1 to 64 bytes"#]],
    );
    check_prize(
        "",
        "odds = [\"1/2\"]",
        expect!["acme.toml:18: campaign[0].phase[0].odds: is a list; write a table, in {}"],
    );
}

#[test]
fn durations() {
    check("late = \"500ms\"\n", expect!["fine"]);
    check("late = \"0s\"\n", expect!["fine"]);
    check("late = \"36501d\"\n", expect![[r#"acme.toml:4: late: is "36501d"; write at most "36500d""#]]);
    check(
        "late = \"99999999999999999999s\"\n",
        expect![[r#"acme.toml:4: late: is "99999999999999999999s"; write at most "36500d""#]],
    );
    check(
        "late = \"2 d\"\n",
        expect![[
            r#"acme.toml:4: late: is "2 d"; write an integer and a unit, such as "500ms", "10s", "15m", "48h" or "15d""#
        ]],
    );
    check(
        "late = \"1.5d\"\n",
        expect![[
            r#"acme.toml:4: late: is "1.5d"; write an integer and a unit, such as "500ms", "10s", "15m", "48h" or "15d""#
        ]],
    );
    check(
        "late = \"d\"\n",
        expect![[
            r#"acme.toml:4: late: is "d"; write an integer and a unit, such as "500ms", "10s", "15m", "48h" or "15d""#
        ]],
    );
    check(
        "late = \"-2d\"\n",
        expect![[
            r#"acme.toml:4: late: is "-2d"; write an integer and a unit, such as "500ms", "10s", "15m", "48h" or "15d""#
        ]],
    );
    check(
        "late = \"2w\"\n",
        expect![[
            r#"acme.toml:4: late: is "2w"; write an integer and a unit, such as "500ms", "10s", "15m", "48h" or "15d""#
        ]],
    );
    check(
        "late = 2\n",
        expect![[
            r#"acme.toml:4: late: is an integer; write a text, in quotes, such as "500ms", "10s", "15m", "48h" or "15d""#
        ]],
    );
    check(
        "[dedup]\nhorizon = \"90s\"\n",
        expect![[r#"acme.toml:5: dedup.horizon: is no whole number of minutes; write for example "90m" or "3d""#]],
    );
    check(
        "[dedup]\nhorizon = \"46d\"\n",
        expect!["acme.toml:5: dedup.horizon: is longer than 45 days; write at most that"],
    );
    check(
        "[dedup]\nhorizon = \"45d\"\ndebounce = \"10\"\n",
        expect![[
            r#"acme.toml:6: dedup.debounce: is "10"; write an integer and a unit, such as "500ms", "10s", "15m", "48h" or "15d""#
        ]],
    );
}

#[test]
fn attribution() {
    check(
        "[attribution]\nmodel = \"middle\"\nmembers = \"old\"\n",
        expect![[r#"
        acme.toml:5: attribution.model: is "middle"; write one of "last", "first", "linear", "position"
        acme.toml:6: attribution.members: is "old"; write one of "all", "new""#]],
    );
    check(
        "[attribution]\nmodel = \"position\"\nmembers = \"new\"\nprotect = \"48h\"\ntouches_max = 65536\n",
        expect!["fine"],
    );
    check("names_max = 0\n[attribution]\norders_max = 1\n", expect!["fine"]);
    check(
        "names_max = 10000001\n[attribution]\norders_max = 1000001\n",
        expect![[r"
            acme.toml:4: names_max: is 10000001; write 0 to 10000000
            acme.toml:6: attribution.orders_max: is 1000001; write 1 to 1000000"]],
    );
    check(
        "names_max = -1\n[attribution]\norders_max = 0\n",
        expect![[r"
        acme.toml:4: names_max: is -1; write 0 to 10000000
        acme.toml:6: attribution.orders_max: is 0; write 1 to 1000000"]],
    );
    check("[attribution]\ntouches_max = 0\n", expect!["acme.toml:5: attribution.touches_max: is 0; write 1 to 65536"]);
    check(
        "[attribution]\ntouches_max = 65537\n",
        expect!["acme.toml:5: attribution.touches_max: is 65537; write 1 to 65536"],
    );
    check(
        "[attribution]\ntouches_max = \"256\"\nwindow = 15\n",
        expect![[r#"
        acme.toml:5: attribution.touches_max: is a text; write an integer, 1 to 65536
        acme.toml:6: attribution.window: is an integer; write a text, in quotes, such as "500ms", "10s", "15m", "48h" or "15d""#]],
    );
    check(
        "[attribution]\ntouches_max = 2.5\n",
        expect!["acme.toml:5: attribution.touches_max: is a float; write an integer, 1 to 65536"],
    );
}

#[test]
fn rates() {
    check(
        "[[commission]]\nrate = 0.05\n",
        expect![[
            r#"acme.toml:5: commission[0].rate: is a float; write a text, in quotes, such as "1/20", "5%" or "0.05": ratios are exact"#
        ]],
    );
    check(
        "[[commission]]\nrate = \"1/3\"\n",
        expect![[
            r#"acme.toml:5: commission[0].rate: is no whole number of millionths; write for example "1/20" or "0.052500""#
        ]],
    );
    check(
        "[[commission]]\nrate = \"101%\"\n",
        expect![[r#"acme.toml:5: commission[0].rate: is "101%"; write at most 1"#]],
    );
    check(
        "[[commission]]\nrate = \"0.0000001\"\n",
        expect![[
            r#"acme.toml:5: commission[0].rate: is no whole number of millionths; write for example "1/20" or "0.052500""#
        ]],
    );
    check(
        "[[commission]]\nrate = \"five\"\n",
        expect![[r#"acme.toml:5: commission[0].rate: is no exact ratio: write "1/20", "5%" or "0.05": "five""#]],
    );
    check("[[commission]]\nrate = \"100%\"\nhold = \"0s\"\n", expect!["fine"]);
    check("[[commission]]\n", expect!["acme.toml:4: commission[0].rate: is missing; a commission needs it"]);
    check(
        "[[commission]]\nrate = \"5%\"\npayee = \"brand\"\n",
        expect![[r#"acme.toml:6: commission[0].payee: is "brand"; write one of "guide", "store""#]],
    );
    check(
        "[[commission]]\nrate = \"5%\"\nguide = \"g-9\"\nstore = \"s-9\"\n",
        expect![[r#"
        acme.toml:6: commission[0].guide: is "g-9", which is no guide here
        acme.toml:7: commission[0].store: is "s-9", which is no store here"#]],
    );
}

#[test]
fn times() {
    check(
        "[[commission]]\nrate = \"5%\"\nfrom = 2026-11-01T00:00:00\n",
        expect!["acme.toml:6: commission[0].from: has no offset; end it with Z or, for example, +08:00"],
    );
    check(
        "[[commission]]\nrate = \"5%\"\nfrom = 2026-11-01\n",
        expect!["acme.toml:6: commission[0].from: is only half of a time; write a date and a time with an offset"],
    );
    check(
        "[[commission]]\nrate = \"5%\"\nfrom = 07:30:00\n",
        expect!["acme.toml:6: commission[0].from: is only half of a time; write a date and a time with an offset"],
    );
    check(
        "[[commission]]\nrate = \"5%\"\nfrom = 1969-12-31T23:59:59Z\n",
        expect!["acme.toml:6: commission[0].from: is outside 1970-01-01T00:00:00Z … 9999-12-31T23:59:59.999Z"],
    );
    check(
        "[[commission]]\nrate = \"5%\"\nfrom = 2026-11-01 00:00Z\nto = \"2026-12-01T00:00:00+08:00\"\n",
        expect!["fine"],
    );
    check(
        "[[commission]]\nrate = \"5%\"\nfrom = \"tomorrow\"\nto = 1793462400000\n",
        expect![[r#"
        acme.toml:6: commission[0].from: not RFC 3339 with an offset, such as 2026-11-11T00:00:03.120+08:00: "tomorrow"
        acme.toml:7: commission[0].to: is an integer; write a time with an offset, such as 2026-11-01T00:00:00+08:00"#]],
    );
    check(
        "[[commission]]\nrate = \"5%\"\nfrom = 2026-11-01T08:00:00+08:00\nto = 2026-11-01T00:00:00Z\n",
        expect!["acme.toml:7: commission[0].to: is not after `from`; the interval holds no moment"],
    );
}

#[test]
fn funnels() {
    check(
        "[[funnel]]\nname = \"f\"\nsteps = [\"visit\", \"return\"]\nwithin = \"7d\"\nticket = \"t\"\nkind = \"media\"\n",
        expect!["fine"],
    );
    check(
        "[[funnel]]\n",
        expect![[r#"
        acme.toml:4: funnel[0].name: is missing; a funnel needs it
        acme.toml:4: funnel[0].steps: is missing; a funnel needs it
        acme.toml:4: funnel[0].within: is missing; a funnel needs it"#]],
    );
    check(
        "[[funnel]]\nname = \"f\"\nsteps = []\nwithin = \"7d\"\n",
        expect!["acme.toml:6: funnel[0].steps: has 0 items; write 1 to 16"],
    );
    check(
        "[[funnel]]\nname = \"f\"\nsteps = [\"visit\", \"refund\", 3]\nwithin = \"7d\"\nkind = \"forged\"\n",
        expect![[r#"
            acme.toml:6: funnel[0].steps[1]: is "refund"; write one of "visit", "scan", "follow", "join", "claim", "return", "redeem", "order"
            acme.toml:6: funnel[0].steps[2]: is an integer; write one of "visit", "scan", "follow", "join", "claim", "return", "redeem", "order"
            acme.toml:8: funnel[0].kind: is "forged"; write one of "product", "service", "media", "interactive", "store", "guide", "sales", "unlock", "repair", "unknown""#]],
    );
    check(
        &format!("[[funnel]]\nname = \"f\"\nsteps = [{}]\nwithin = \"7d\"\n", "\"scan\",".repeat(17)),
        expect!["acme.toml:6: funnel[0].steps: has 17 items; write 1 to 16"],
    );
    let funnel = "[[funnel]]\nname = \"f\"\nsteps = [\"visit\"]\nwithin = \"7d\"\n";
    check(
        &format!("{funnel}{funnel}"),
        expect![[r#"acme.toml:9: funnel[1].name: is "f", as is another funnel's at acme.toml:5"#]],
    );
}

#[test]
fn every_mistake_at_once() {
    check(
        "late = 2\n[[guide]]\nid = \"g-1\"\nstore = \"s-1\"\nlevle = \"gold\"\n[[commission]]\nrate = \"1/3\"\n[dedup]\nhorizon = \"46d\"\n",
        expect![[r#"
            acme.toml:4: late: is an integer; write a text, in quotes, such as "500ms", "10s", "15m", "48h" or "15d"
            acme.toml:7: guide[0].store: is "s-1", which is no store here
            acme.toml:8: guide[0].levle: is no known key; did you mean level?
            acme.toml:10: commission[0].rate: is no whole number of millionths; write for example "1/20" or "0.052500"
            acme.toml:12: dedup.horizon: is longer than 45 days; write at most that"#]],
    );
}

#[test]
fn what_is_no_object_of_rules() {
    assert!(from_object(b"{}").is_err());
    assert!(from_object(b"").is_err());
}
