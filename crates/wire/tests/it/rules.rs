//! Rules files, good and bad (contract section 4).

use std::collections::BTreeMap;

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

fn check_stores(csv: impl AsRef<[u8]>, more: &str, expect: Expect) {
    let text = format!("{HEAD}[registers]\nstores = \"s.csv\"\n{more}");
    expect.assert_eq(&told(read_with(&text, &[("s.csv", csv.as_ref())])));
}

#[test]
fn a_complete_example() {
    let text = include_str!("acme.toml");
    let files: [(&str, &[u8]); 3] = [
        ("stores.csv", b"id,region,name,gln\r\ns-90,330106,\"Lake, East\",\r\ns-91,,,\r\n"),
        ("guides.csv", b"\xEF\xBB\xBFsuccessor,store,id,left\nkeep,s-90,g-90,2026-11-10T00:00:00+08:00\n,s-12,g-91,\n"),
        ("codes.csv", "id,kind,guide,channel\nG90,guide,g-90,\n码,media,,magazine\n".as_bytes()),
    ];
    let checked = read_with(text, &files).expect("rules");
    let json = object(&checked.rules);
    let pretty: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    expect_file!["acme.json"].assert_eq(&format!("{pretty:#}\n"));
    expect!["033851c132f2"].assert_eq(&domain::model::rules::version_text(&version(&json)));
    assert_eq!(from_object(&json), Ok(checked.rules));
    assert_eq!(checked.secrets, BTreeMap::from([("lucky-wheel".to_owned(), [0x11; 32])]));
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
    check_file("merchant = acme\n", expect!["acme.toml:1: is not TOML: string values must be quoted, expected literal string"]);
    check_file("merchant = \"acme\"\nmerchant = \"acme\"\n", expect!["acme.toml:2: is not TOML: duplicate key"]);
    check("[[commission]]\nrate = 5%\nhold = \"x\"\n[[commission\nrate = \"1%\"\n", expect![[r#"
        acme.toml:5: is not TOML: string values must be quoted, expected literal string
        acme.toml:6: commission[0].hold: is "x"; write an integer and a unit, such as "500ms", "10s", "15m", "48h" or "15d"
        acme.toml:7: is not TOML: unclosed array table, expected `]]`"#]]);
    check("late = \"2d\n[dedup]\nhorizon = 3\n", expect![[r#"
        acme.toml:4: is not TOML: invalid basic string, expected `"`
        acme.toml:6: dedup.horizon: is an integer; write a text, in quotes, such as "500ms", "10s", "15m", "48h" or "15d""#]]);
    check("a = [1, 2\n", expect!["acme.toml:4: is not TOML: unclosed array, expected `]`"]);
}

#[test]
fn the_merchant() {
    check_file("", expect![[r#"
        acme.toml:1: merchant: is missing; a rules file needs it
        acme.toml:1: currency: is missing; a rules file needs it
        acme.toml:1: time_zone: is missing; a rules file needs it"#]]);
    check_file("merchant = \"\"\ncurrency = 12\ntime_zone = \"Mars\"\n", expect![[r#"
        acme.toml:1: merchant: is empty; write 1 to 64 bytes
        acme.toml:2: currency: is an integer; write a text, in quotes
        acme.toml:3: time_zone: is "Mars"; write a time zone of the IANA database, such as "Asia/Shanghai""#]]);
    check_file("merchant = \"a\\u0007\"\ncurrency = \"cny\"\ntime_zone = true\n", expect![[r#"
        acme.toml:1: merchant: has the control character U+0007; write text without them
        acme.toml:2: currency: is "cny"; write a code of ISO 4217, such as "CNY"
        acme.toml:3: time_zone: is true or false; write a text, in quotes"#]]);
    check_file(&HEAD.replace("acme", &"m".repeat(65)).replace("CNY", "XAU"), expect![[r#"
        acme.toml:1: merchant: has 65 bytes; write 1 to 64
        acme.toml:2: currency: is "XAU", which has no minor unit in ISO 4217; write another currency"#]]);
    check_file(&HEAD.replace("CNY", "XTS").replace("Asia/Shanghai", "Etc/Unknown"), expect![[r#"
        acme.toml:2: currency: is "XTS", which has no minor unit in ISO 4217; write another currency
        acme.toml:3: time_zone: is "Etc/Unknown"; write a time zone of the IANA database, such as "Asia/Shanghai""#]]);
    check_file(&HEAD.replace("CNY", "XXX"), expect![[r#"acme.toml:2: currency: is "XXX", which has no minor unit in ISO 4217; write another currency"#]]);
    check_file(&HEAD.replace("CNY", "JPY"), expect!["fine"]);
}

#[test]
fn unknown_keys() {
    check("laet = \"2d\"\n", expect!["acme.toml:4: laet: is no known key; did you mean late?"]);
    check("[[guides]]\nid = \"g-1\"\n", expect!["acme.toml:4: guides: is no known key; did you mean guide?"]);
    check("[dedup]\nhorizont = \"3d\"\ncolour = \"red\"\n\"a b\" = 1\n", expect![[r#"
        acme.toml:5: dedup.horizont: is no known key; did you mean horizon?
        acme.toml:6: dedup.colour: is no known key; known are horizon, debounce
        acme.toml:7: dedup."a b": is no known key; known are horizon, debounce"#]]);
    check("[attribution]\nwindow = \"15d\"\nwidow = \"15d\"\n", expect!["acme.toml:6: attribution.widow: is no known key; did you mean window?"]);
    check_prize("elze = \"p\"", "odds = {}\nentry = \"1\"", expect![[r#"
        acme.toml:16: campaign[0].prize[0].elze: is no known key; did you mean else?
        acme.toml:19: campaign[0].phase[0].entry: is no known key; known are from, to, entries, odds"#]]);
}

#[test]
fn shapes() {
    check("dedup = 3\n", expect!["acme.toml:4: dedup: is an integer; write [dedup]"]);
    check("[[dedup]]\nhorizon = \"3d\"\n", expect!["acme.toml:4: dedup: is a list; write [dedup]"]);
    check("[store]\nid = \"s-1\"\n", expect!["acme.toml:4: store: is a table; write [[store]]"]);
    check("store = [{ id = \"s-1\" }, \"s-2\"]\n", expect!["acme.toml:4: store[1]: is a text; write [[store]]"]);
    check_campaign("areas = \"33\"\n", expect!["acme.toml:12: campaign[0].areas: is a text; write a list, in []"]);
    check_campaign("areas = [\"33\", 31, \"\"]\n", expect![[r#"
        acme.toml:12: campaign[0].areas[1]: is an integer; write a text, in quotes
        acme.toml:12: campaign[0].areas[2]: is empty; write 1 to 64 bytes"#]]);
    check_prize("", "odds = [\"1/2\"]", expect!["acme.toml:18: campaign[0].phase[0].odds: is a list; write a table, in {}"]);
}

#[test]
fn durations() {
    check("late = \"500ms\"\n", expect!["fine"]);
    check("late = \"0s\"\n", expect!["fine"]);
    check("late = \"36501d\"\n", expect![[r#"acme.toml:4: late: is "36501d"; write at most "36500d""#]]);
    check("late = \"99999999999999999999s\"\n", expect![[r#"acme.toml:4: late: is "99999999999999999999s"; write at most "36500d""#]]);
    check("late = \"2 d\"\n", expect![[r#"acme.toml:4: late: is "2 d"; write an integer and a unit, such as "500ms", "10s", "15m", "48h" or "15d""#]]);
    check("late = \"1.5d\"\n", expect![[r#"acme.toml:4: late: is "1.5d"; write an integer and a unit, such as "500ms", "10s", "15m", "48h" or "15d""#]]);
    check("late = \"d\"\n", expect![[r#"acme.toml:4: late: is "d"; write an integer and a unit, such as "500ms", "10s", "15m", "48h" or "15d""#]]);
    check("late = \"-2d\"\n", expect![[r#"acme.toml:4: late: is "-2d"; write an integer and a unit, such as "500ms", "10s", "15m", "48h" or "15d""#]]);
    check("late = \"2w\"\n", expect![[r#"acme.toml:4: late: is "2w"; write an integer and a unit, such as "500ms", "10s", "15m", "48h" or "15d""#]]);
    check("late = 2\n", expect![[r#"acme.toml:4: late: is an integer; write a text, in quotes, such as "500ms", "10s", "15m", "48h" or "15d""#]]);
    check("[dedup]\nhorizon = \"90s\"\n", expect![[r#"acme.toml:5: dedup.horizon: is no whole number of minutes; write for example "90m" or "3d""#]]);
    check("[dedup]\nhorizon = \"46d\"\n", expect!["acme.toml:5: dedup.horizon: is longer than 45 days; write at most that"]);
    check("[dedup]\nhorizon = \"45d\"\ndebounce = \"10\"\n", expect![[r#"acme.toml:6: dedup.debounce: is "10"; write an integer and a unit, such as "500ms", "10s", "15m", "48h" or "15d""#]]);
}

#[test]
fn attribution() {
    check("[attribution]\nmodel = \"middle\"\nmembers = \"old\"\n", expect![[r#"
        acme.toml:5: attribution.model: is "middle"; write one of "last", "first", "linear", "position"
        acme.toml:6: attribution.members: is "old"; write one of "all", "new""#]]);
    check(
        "[attribution]\nmodel = \"position\"\nmembers = \"new\"\nprotect = \"48h\"\ntouches_max = 65536\n",
        expect!["fine"],
    );
    check("[attribution]\ntouches_max = 0\n", expect!["acme.toml:5: attribution.touches_max: is 0; write 1 to 65536"]);
    check("[attribution]\ntouches_max = 65537\n", expect!["acme.toml:5: attribution.touches_max: is 65537; write 1 to 65536"]);
    check("[attribution]\ntouches_max = \"256\"\nwindow = 15\n", expect![[r#"
        acme.toml:5: attribution.touches_max: is a text; write an integer, 1 to 65536
        acme.toml:6: attribution.window: is an integer; write a text, in quotes, such as "500ms", "10s", "15m", "48h" or "15d""#]]);
    check("[attribution]\ntouches_max = 2.5\n", expect!["acme.toml:5: attribution.touches_max: is a float; write an integer, 1 to 65536"]);
}

#[test]
fn rates() {
    check("[[commission]]\nrate = 0.05\n", expect![[r#"acme.toml:5: commission[0].rate: is a float; write a text, in quotes, such as "1/20", "5%" or "0.05": ratios are exact"#]]);
    check("[[commission]]\nrate = \"1/3\"\n", expect![[r#"acme.toml:5: commission[0].rate: is no whole number of millionths; write for example "1/20" or "0.052500""#]]);
    check("[[commission]]\nrate = \"101%\"\n", expect![[r#"acme.toml:5: commission[0].rate: is "101%"; write at most 1"#]]);
    check("[[commission]]\nrate = \"0.0000001\"\n", expect![[r#"acme.toml:5: commission[0].rate: is no whole number of millionths; write for example "1/20" or "0.052500""#]]);
    check("[[commission]]\nrate = \"five\"\n", expect![[r#"acme.toml:5: commission[0].rate: is no exact ratio: write "1/20", "5%" or "0.05": "five""#]]);
    check("[[commission]]\nrate = \"100%\"\nhold = \"0s\"\n", expect!["fine"]);
    check("[[commission]]\n", expect!["acme.toml:4: commission[0].rate: is missing; a commission needs it"]);
    check("[[commission]]\nrate = \"5%\"\npayee = \"brand\"\n", expect![[r#"acme.toml:6: commission[0].payee: is "brand"; write one of "guide", "store""#]]);
    check("[[commission]]\nrate = \"5%\"\nguide = \"g-9\"\nstore = \"s-9\"\n", expect![[r#"
        acme.toml:6: commission[0].guide: is "g-9", which is no guide here
        acme.toml:7: commission[0].store: is "s-9", which is no store here"#]]);
}

#[test]
fn times() {
    check("[[commission]]\nrate = \"5%\"\nfrom = 2026-11-01T00:00:00\n", expect!["acme.toml:6: commission[0].from: has no offset; end it with Z or, for example, +08:00"]);
    check("[[commission]]\nrate = \"5%\"\nfrom = 2026-11-01\n", expect!["acme.toml:6: commission[0].from: is only half of a time; write a date and a time with an offset"]);
    check("[[commission]]\nrate = \"5%\"\nfrom = 07:30:00\n", expect!["acme.toml:6: commission[0].from: is only half of a time; write a date and a time with an offset"]);
    check("[[commission]]\nrate = \"5%\"\nfrom = 1969-12-31T23:59:59Z\n", expect!["acme.toml:6: commission[0].from: is outside 1970-01-01T00:00:00Z … 9999-12-31T23:59:59.999Z"]);
    check(
        "[[commission]]\nrate = \"5%\"\nfrom = 2026-11-01 00:00Z\nto = \"2026-12-01T00:00:00+08:00\"\n",
        expect!["fine"],
    );
    check("[[commission]]\nrate = \"5%\"\nfrom = \"tomorrow\"\nto = 1793462400000\n", expect![[r#"
        acme.toml:6: commission[0].from: not RFC 3339 with an offset, such as 2026-11-11T00:00:03.120+08:00: "tomorrow"
        acme.toml:7: commission[0].to: is an integer; write a time with an offset, such as 2026-11-01T00:00:00+08:00"#]]);
    check(
        "[[commission]]\nrate = \"5%\"\nfrom = 2026-11-01T08:00:00+08:00\nto = 2026-11-01T00:00:00Z\n",
        expect!["acme.toml:7: commission[0].to: is not after `from`; the interval holds no moment"],
    );
}

#[test]
fn stores_and_guides() {
    check("[[store]]\nname = \"West\"\n[[store]]\nid = \"s-1\"\n[[store]]\nid = \"s-1\"\n", expect![[r#"
        acme.toml:4: store[0].id: is missing; a store needs it
        acme.toml:9: store[2].id: is "s-1", as is another store's at acme.toml:7"#]]);
    check("[[store]]\nid = \"s-1\"\ngln = \"6901234000017\"\n", expect![[r#"acme.toml:6: store[0].gln: is "6901234000017", whose check digit (the last) is wrong"#]]);
    check("[[store]]\nid = \"s-1\"\ngln = 6901234000016\n", expect!["acme.toml:6: store[0].gln: is an integer; write a text, in quotes"]);
    check("[[store]]\nid = \"s-1\"\ngln = \"901234000016\"\n", expect![[r#"acme.toml:6: store[0].gln: is "901234000016"; a GLN has 13 digits"#]]);
    check(
        "[[store]]\nid = \"s-1\"\ngln = \"6901234000016\"\n[[store]]\nid = \"s-2\"\ngln = \"6901234000016\"\n",
        expect![[r#"acme.toml:9: store[1].gln: is "6901234000016", as is another store's at acme.toml:6"#]],
    );
    check("[[guide]]\nid = \"g-1\"\n", expect!["acme.toml:4: guide[0].store: is missing; a guide needs it"]);
    check("[[guide]]\nid = \"g-1\"\nstore = \"s-9\"\n", expect![[r#"acme.toml:6: guide[0].store: is "s-9", which is no store here"#]]);
    // A store that is wrong in itself is still known.
    check("[[store]]\nid = \"s-1\"\nregion = 33\n[[guide]]\nid = \"g-1\"\nstore = \"s-1\"\n", expect!["acme.toml:6: store[0].region: is an integer; write a text, in quotes"]);
    check(
        "[[store]]\nid = \"s-1\"\n[[guide]]\nid = \"g-1\"\nstore = \"s-1\"\ngsrn = \"690123400000000019\"\n",
        expect![[r#"acme.toml:9: guide[0].gsrn: is "690123400000000019", whose check digit (the last) is wrong"#]],
    );
    check("[[store]]\nid = \"s-1\"\n[[guide]]\nid = \"g-1\"\nstore = \"s-1\"\nleft = 2026-11-10\n", expect!["acme.toml:9: guide[0].left: is only half of a time; write a date and a time with an offset"]);
}

/// Guides of one store, each with a successor.
fn check_successors(pairs: &[(&str, &str)], expect: Expect) {
    let guide = |(id, to): &(&str, &str)| format!("[[guide]]\nid = \"{id}\"\nstore = \"s\"\nsuccessor = \"{to}\"\n");
    check(&format!("[[store]]\nid = \"s\"\n{}", pairs.iter().map(guide).collect::<String>()), expect);
}

#[test]
fn successors() {
    check_successors(&[("a", "b"), ("b", "c"), ("c", "store"), ("d", "keep")], expect!["fine"]);
    check_successors(&[("a", "a")], expect!["acme.toml:9: guide[0].successor: goes in a cycle: a → a"]);
    check_successors(&[("x", "c"), ("a", "b"), ("b", "c"), ("c", "a"), ("d", "e"), ("e", "d")], expect![[r#"
        acme.toml:13: guide[1].successor: goes in a cycle: a → b → c → a
        acme.toml:25: guide[4].successor: goes in a cycle: d → e → d"#]]);
    check_successors(&[("a", "z"), ("b", "Store")], expect![[r#"
        acme.toml:9: guide[0].successor: is "z", which is no guide here
        acme.toml:13: guide[1].successor: is "Store", which is no guide here"#]]);
    let ring: Vec<String> = (0..12).map(|i| format!("g{i}")).collect();
    let pairs: Vec<(&str, &str)> = (0..12).map(|i| (ring[i].as_str(), ring[(i + 1) % 12].as_str())).collect();
    check_successors(&pairs, expect!["acme.toml:9: guide[0].successor: goes in a cycle: g0 → g1 → g2 → g3 → g4 → g5 → g6 → g7 → … → g0"]);
}

#[test]
fn codes() {
    check("[[code]]\nid = \"G1\"\nkind = \"guide\"\n[[code]]\nid = \"S1\"\nkind = \"store\"\n", expect![[r#"
        acme.toml:4: code[0].guide: is missing; a code of the kind guide needs it
        acme.toml:7: code[1].store: is missing; a code of the kind store needs it"#]]);
    check(
        "[[code]]\nid = \"G1\"\nkind = \"guide\"\nguide = \"g-9\"\nstore = \"s-9\"\ncampaign = \"c-9\"\n",
        expect![[r#"
            acme.toml:7: code[0].guide: is "g-9", which is no guide here
            acme.toml:8: code[0].store: is "s-9", which is no store here
            acme.toml:9: code[0].campaign: is "c-9", which is no campaign here"#]],
    );
    check("[[code]]\nid = \"A\"\nkind = \"forged\"\n[[code]]\nid = \"A\"\nkind = \"unknown\"\n", expect![[r#"
        acme.toml:6: code[0].kind: is "forged"; write one of "product", "service", "media", "interactive", "store", "guide", "sales", "unlock", "repair"
        acme.toml:8: code[1].id: is "A", as is another code's at acme.toml:5
        acme.toml:9: code[1].kind: is "unknown"; write one of "product", "service", "media", "interactive", "store", "guide", "sales", "unlock", "repair""#]]);
    check("[[code]]\nkind = \"media\"\n", expect!["acme.toml:4: code[0].id: is missing; a code needs it"]);
    check("[[code]]\nid = \"A\"\n", expect!["acme.toml:4: code[0].kind: is missing; a code needs it"]);
    check(&format!("[[code]]\nid = \"{}\"\nkind = \"interactive\"\n", "c".repeat(512)), expect!["fine"]);
    check(&format!("[[code]]\nid = \"{}\"\nkind = \"media\"\n", "c".repeat(513)), expect!["acme.toml:5: code[0].id: has 513 bytes; write 1 to 512"]);
}

#[test]
fn registers() {
    check("[registers]\nstores = \"s.csv\"\nshops = \"t.csv\"\n", expect![[r#"
        acme.toml:5: registers.stores: names "s.csv", which cannot be read: there is no such file
        acme.toml:6: registers.shops: is no known key; known are stores, guides, codes"#]]);
    check_stores("", "", expect!["s.csv:1: is empty; begin with a header such as id,region,name,gln"]);
    check_stores("id,region\n", "", expect!["fine"]);
    check_stores("ID,region,gnl,gnl\ns-1,33,,\n", "", expect![[r#"
        s.csv:1: ID: is no known column; known are id, region, name, gln
        s.csv:1: gnl: is no known column; known are id, region, name, gln
        s.csv:1: gnl: is no known column; known are id, region, name, gln
        s.csv:1: id: is missing in the header; a store needs it"#]]);
    check_stores("id,region,region,id\ns-1,33,33,s-1\n", "", expect![[r#"
        s.csv:1: region: stands twice in the header
        s.csv:1: id: stands twice in the header"#]]);
    check_stores("id,gln\n\ns-1,6901234000016\ns-2,6901234000016\n,\ns-1,12\n", "", expect![[r#"
        s.csv:4: gln: is "6901234000016", as is another store's at s.csv:2
        s.csv:5: id: is missing; a store needs it
        s.csv:6: id: is "s-1", as is another store's at s.csv:2
        s.csv:6: gln: is "12"; a GLN has 13 digits"#]]);
    check_stores("id\ns-1\n", "[[store]]\nid = \"s-1\"\n", expect![[r#"s.csv:2: id: is "s-1", as is another store's at acme.toml:7"#]]);
    check_stores("id,name\ns-1\ns-2,\"a\nb\"\ns-3,c,d\n", "", expect![[r#"
        s.csv:2: has 1 cells, the header 2; write one for each column
        s.csv:3: name: has the control character U+000A; write text without them
        s.csv:5: has 3 cells, the header 2; write one for each column"#]]);
    check_stores(b"id,name\ns-1,\xff\ns-2,ok\n", "", expect!["s.csv:2: is not UTF-8; save the file as UTF-8"]);
    check_stores(b"\xff\ns-1\n", "", expect!["s.csv:1: is not UTF-8; save the file as UTF-8"]);
    let text = format!("{HEAD}[registers]\nguides = \"g.csv\"\ncodes = \"c.csv\"\n[[store]]\nid = \"s\"\n");
    let guides = b"id,store,left,successor\ng-1,s,2026-11-10,g-2\ng-2,t,,g-1\n";
    let codes = b"id,kind,guide\nA,guide,g-1\nB,guide,\nC,guide,g-3\nD,poster,\n";
    expect![[r#"
        c.csv:3: guide: is missing; a code of the kind guide needs it
        c.csv:4: guide: is "g-3", which is no guide here
        c.csv:5: kind: is "poster"; write one of "product", "service", "media", "interactive", "store", "guide", "sales", "unlock", "repair"
        g.csv:2: left: not RFC 3339 with an offset, such as 2026-11-11T00:00:03.120+08:00: "2026-11-10"
        g.csv:2: successor: goes in a cycle: g-1 → g-2 → g-1
        g.csv:3: store: is "t", which is no store here"#]].assert_eq(&told(read_with(&text, &[("g.csv", guides), ("c.csv", codes)])));
}

#[test]
fn campaigns() {
    check("[[campaign]]\n", expect![[r#"
        acme.toml:4: campaign[0].id: is missing; a campaign needs it
        acme.toml:4: campaign[0].mode: is missing; a campaign needs it
        acme.toml:4: campaign[0].from: is missing; a campaign needs it
        acme.toml:4: campaign[0].to: is missing; a campaign needs it
        acme.toml:4: campaign[0].secret: is missing; a campaign needs it
        acme.toml:4: campaign[0].commit: is missing; a campaign needs it"#]]);
    check_campaign("", expect!["warning: acme.toml:4: campaign[0]: has no phase, so that no entry wins anything"]);
    check(&campaign("").replace("\"odds\"", "\"luck\""), expect![[r#"acme.toml:6: campaign[0].mode: is "luck"; write one of "odds", "sealed", "moments""#]]);
    check(&campaign("").replace("2026-12-01", "2026-11-01"), expect!["acme.toml:8: campaign[0].to: is not after `from`; the interval holds no moment"]);
    check_campaign("limit_total = 0\nlimit_day = -1\nbudget = -5\n", expect![[r#"
        acme.toml:12: campaign[0].limit_total: is 0; write 1 to 4294967295
        acme.toml:13: campaign[0].limit_day: is -1; write 1 to 4294967295
        acme.toml:14: campaign[0].budget: is -5; write 0 to 9223372036854775807"#]]);
    check_campaign("limit_total = 4294967296\nbudget = 99999999999999999999999999999999\n", expect![[r#"
        acme.toml:12: campaign[0].limit_total: is 4294967296; write 1 to 4294967295
        acme.toml:13: campaign[0].budget: is 999999999999999999999999999999…; write 0 to 9223372036854775807"#]]);
    check_campaign("landing = \"http://m.example/wheel\"\n", expect![[r#"acme.toml:12: campaign[0].landing: is "http://m.example/wheel"; write an absolute https URL, such as "https://m.example/wheel", encoded where needed"#]]);
    check_campaign("landing = \"/wheel\"\n", expect![[r#"acme.toml:12: campaign[0].landing: is "/wheel"; write an absolute https URL, such as "https://m.example/wheel", encoded where needed"#]]);
    check_campaign("landing = \"https://\"\n", expect![[r#"acme.toml:12: campaign[0].landing: is "https://"; write an absolute https URL, such as "https://m.example/wheel", encoded where needed"#]]);
    check_campaign("landing = \"https://user@m.example/\"\n", expect![[r#"acme.toml:12: campaign[0].landing: is "https://user@m.example/"; write an absolute https URL, such as "https://m.example/wheel", encoded where needed"#]]);
    check_campaign("landing = \"https://m.example/a b\"\n", expect![[r#"acme.toml:12: campaign[0].landing: is "https://m.example/a b"; write an absolute https URL, such as "https://m.example/wheel", encoded where needed"#]]);
    check_campaign("landing = \"https://m.example/码\"\n", expect![[r#"acme.toml:12: campaign[0].landing: is "https://m.example/码"; write an absolute https URL, such as "https://m.example/wheel", encoded where needed"#]]);
    check_campaign("landing = \"https://m.example:8443/%20?a=b#c\"\n", expect!["warning: acme.toml:4: campaign[0]: has no phase, so that no entry wins anything"]);
    check(&format!("{0}{0}", campaign("")), expect![[r#"acme.toml:13: campaign[1].id: is "c", as is another campaign's at acme.toml:5"#]]);
}

#[test]
fn secrets() {
    check(&campaign("").replace(COMMIT, &"0".repeat(64)), expect!["acme.toml:10: campaign[0].commit: is not the SHA-256 of the secret, which is 02d449a31fbb267c8f352e9968a79e3e5fc95c1bbeaa502fd6454ebde5a4bedc"]);
    check(&campaign("").replace(COMMIT, "12"), expect![[r#"acme.toml:10: campaign[0].commit: is "12"; write a SHA-256, 64 hex digits"#]]);
    check(&campaign("").replace(COMMIT, &COMMIT.to_uppercase()), expect!["warning: acme.toml:4: campaign[0]: has no phase, so that no entry wins anything"]);
    check(&campaign("").replace("file:a.key", "file:b.key"), expect![[r#"acme.toml:9: campaign[0].secret: names "file:b.key", which cannot be read: there is no such file"#]]);
    check(&campaign("").replace("file:a.key", "env:SHORT"), expect![[r#"acme.toml:9: campaign[0].secret: names "env:SHORT", which does not hold 64 hex digits and nothing else"#]]);
    check(&campaign("").replace("file:a.key", "env:"), expect![[r#"acme.toml:9: campaign[0].secret: is no reference to a secret; write "file:PATH" or "env:NAME", never the secret"#]]);
    check(&campaign("").replace("file:a.key", &"11".repeat(32)), expect![[r#"acme.toml:9: campaign[0].secret: is no reference to a secret; write "file:PATH" or "env:NAME", never the secret"#]]);
}

#[test]
fn prizes() {
    check_prize("else = \"thanks\"\nunlock = \"join\"\nunlock_within = \"7d\"", "odds = { p = \"1\" }", expect!["fine"]);
    check_prize("amount = 5", "odds = {}", expect!["acme.toml:16: campaign[0].prize[0].amount: means nothing for a prize of the kind goods; take it out"]);
    check_prize("ticket = \"t\"", "odds = {}", expect!["acme.toml:16: campaign[0].prize[0].ticket: means nothing for a prize of the kind goods; take it out"]);
    check_prize("[[campaign.prize]]\nid = \"q\"\nkind = \"points\"", "odds = {}", expect!["acme.toml:16: campaign[0].prize[1].amount: is missing; a prize of the kind points needs it"]);
    check_prize("[[campaign.prize]]\nid = \"q\"\nkind = \"coupon\"\namount = 0", "odds = {}", expect![[r#"
        acme.toml:16: campaign[0].prize[1].ticket: is missing; a prize of the kind coupon needs it
        acme.toml:19: campaign[0].prize[1].amount: is 0; write 1 to 1000000000000000
        acme.toml:19: campaign[0].prize[1].amount: means nothing for a prize of the kind coupon; take it out"#]]);
    check_prize(
        "[[campaign.prize]]\nid = \"q\"\nkind = \"cash\"\namount = 1000000000000001\nstock = 1",
        "odds = {}",
        expect!["acme.toml:19: campaign[0].prize[1].amount: is 1000000000000001; write 1 to 1000000000000000"],
    );
    check_prize("[[campaign.prize]]\nid = \"thanks\"\nkind = \"car\"", "odds = {}", expect![[r#"
        acme.toml:17: campaign[0].prize[1].id: is "thanks", which means no prize; choose another id
        acme.toml:18: campaign[0].prize[1].kind: is "car"; write one of "cash", "points", "coupon", "goods""#]]);
    check_prize("[[campaign.prize]]\nid = \"p\"\nkind = \"goods\"\nstock = -1", "odds = {}", expect![[r#"
        acme.toml:17: campaign[0].prize[1].id: is "p", as is another prize's at acme.toml:13
        acme.toml:19: campaign[0].prize[1].stock: is -1; write 0 to 9223372036854775807"#]]);
    check_prize("unlock = \"scan\"", "odds = {}", expect![[r#"acme.toml:16: campaign[0].prize[0].unlock: is "scan"; write one of "order", "join", "follow""#]]);
    check_prize("unlock_within = \"7d\"", "odds = {}", expect!["acme.toml:16: campaign[0].prize[0].unlock_within: needs `unlock`; say what unlocks the prize or take it out"]);
    check_prize("else = \"q\"", "odds = {}", expect![[r#"acme.toml:16: campaign[0].prize[0].else: is "q", which is no prize here"#]]);
    check_prize("else = \"p\"", "odds = {}", expect!["acme.toml:16: campaign[0].prize[0].else: goes in a cycle: p → p"]);
    check_prize(
        "else = \"q\"\n[[campaign.prize]]\nid = \"q\"\nkind = \"goods\"\nelse = \"p\"",
        "odds = {}",
        expect!["acme.toml:16: campaign[0].prize[0].else: goes in a cycle: p → q → p"],
    );
    check_prize("count = 5", "odds = {}", expect!["acme.toml:16: campaign[0].prize[0].count: is of sealed draws and moments, which are not in this build; write stock"]);
    check_prize("[[campaign.prize]]\nid = \"q\"\nkind = \"cash\"\namount = 5", "odds = {}", expect!["warning: acme.toml:16: campaign[0].prize[1]: is cash with neither stock nor budget: nothing bounds what it costs"]);
}

#[test]
fn odds() {
    check_prize("", "odds = { p = \"1/2\", q = \"1/2\" }", expect![[r#"acme.toml:18: campaign[0].phase[0].odds.q: is "q", which is no prize here"#]]);
    check_prize("", "odds = { p = 0.5 }", expect![[r#"acme.toml:18: campaign[0].phase[0].odds.p: is a float; write a text, in quotes, such as "1/20", "5%" or "0.05": ratios are exact"#]]);
    check_prize("", "odds = { p = \"3/2\" }", expect![[r#"acme.toml:18: campaign[0].phase[0].odds.p: is "3/2"; write at most 1"#]]);
    check_prize("", "odds = { p = \"1/0\" }", expect![[r#"acme.toml:18: campaign[0].phase[0].odds.p: has 0 below the line: "1/0""#]]);
    check_prize("", "entries = \"1\"", expect!["acme.toml:17: campaign[0].phase[0].odds: is missing; a phase needs it"]);
    let two = "[[campaign.prize]]\nid = \"q\"\nkind = \"goods\"\n[[campaign.prize]]\nid = \"r\"\nkind = \"goods\"";
    check_prize(two, "odds = { p = \"1/3\", q = \"1/3\", r = \"1/3\" }", expect!["fine"]);
    let above = "odds = { p = \"1/3\", q = \"1/3\", r = \"333333333333333334/999999999999999999\" }";
    check_prize(two, above, expect!["acme.toml:23: campaign[0].phase[0].odds: add up to more than 1; together they may be 1 at most"]);
    check_prize("", "entries = \"0\"\nodds = {}", expect![[r#"acme.toml:18: campaign[0].phase[0].entries: is "0"; write entries from 1 on, such as "1", "2.." or "2..5""#]]);
    check_prize("", "entries = \"5..2\"\nodds = {}", expect![[r#"acme.toml:18: campaign[0].phase[0].entries: is "5..2", which ends before it begins"#]]);
    check_prize("", "entries = 1\nodds = {}", expect!["acme.toml:18: campaign[0].phase[0].entries: is an integer; write a text, in quotes"]);
    check_prize("", "from = 2026-11-12T00:00:00Z\nto = 2026-11-11T00:00:00Z\nodds = {}", expect!["acme.toml:19: campaign[0].phase[0].to: is not after `from`; the interval holds no moment"]);
}

#[test]
fn phases_out_of_reach() {
    let phases = |more: &[&str]| {
        let phases: String = more.iter().map(|phase| format!("[[campaign.phase]]\nodds = {{}}\n{phase}\n")).collect();
        format!("limit_total = 5\n{phases}")
    };
    check_campaign(&phases(&["entries = \"1\"", "entries = \"2..4\"", ""]), expect!["fine"]);
    check_campaign(&phases(&["entries = \"1\"", "entries = \"2..5\"", ""]), expect!["warning: acme.toml:19: campaign[0].phase[2]: no entry can reach it: the phases before it take all of its entries"]);
    check_campaign(&phases(&["entries = \"6..\"", "from = 2026-12-01T00:00:00+08:00"]), expect![[r#"
        warning: acme.toml:13: campaign[0].phase[0]: no entry can reach it: its entries are beyond the campaign's `limit_total`
        warning: acme.toml:16: campaign[0].phase[1]: no entry can reach it: it lies outside the campaign's `from` and `to`"#]]);
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
fn funnels() {
    check(
        "[[funnel]]\nname = \"f\"\nsteps = [\"visit\", \"return\"]\nwithin = \"7d\"\nticket = \"t\"\nkind = \"media\"\n",
        expect!["fine"],
    );
    check("[[funnel]]\n", expect![[r#"
        acme.toml:4: funnel[0].name: is missing; a funnel needs it
        acme.toml:4: funnel[0].steps: is missing; a funnel needs it
        acme.toml:4: funnel[0].within: is missing; a funnel needs it"#]]);
    check("[[funnel]]\nname = \"f\"\nsteps = []\nwithin = \"7d\"\n", expect!["acme.toml:6: funnel[0].steps: has 0 items; write 1 to 16"]);
    check(
        "[[funnel]]\nname = \"f\"\nsteps = [\"visit\", \"refund\", 3]\nwithin = \"7d\"\nkind = \"forged\"\n",
        expect![[r#"
            acme.toml:6: funnel[0].steps[1]: is "refund"; write one of "visit", "scan", "follow", "join", "claim", "return", "redeem", "order"
            acme.toml:6: funnel[0].steps[2]: is an integer; write one of "visit", "scan", "follow", "join", "claim", "return", "redeem", "order"
            acme.toml:8: funnel[0].kind: is "forged"; write one of "product", "service", "media", "interactive", "store", "guide", "sales", "unlock", "repair", "unknown""#]],
    );
    check(&format!("[[funnel]]\nname = \"f\"\nsteps = [{}]\nwithin = \"7d\"\n", "\"scan\",".repeat(17)), expect!["acme.toml:6: funnel[0].steps: has 17 items; write 1 to 16"]);
    let funnel = "[[funnel]]\nname = \"f\"\nsteps = [\"visit\"]\nwithin = \"7d\"\n";
    check(&format!("{funnel}{funnel}"), expect![[r#"acme.toml:9: funnel[1].name: is "f", as is another funnel's at acme.toml:5"#]]);
}

#[test]
fn what_this_build_does_not_have() {
    check("[[batch]]\nnumber = 7\nkind = \"interactive\"\n[[batch]]\nnumber = 8\n", expect![[r#"
        acme.toml:4: batch[0]: minted batches are not in this build; take it out
        acme.toml:7: batch[1]: minted batches are not in this build; take it out"#]]);
    check("[[incentive]]\nname = \"recruit\"\n", expect!["acme.toml:4: incentive[0]: incentives are not in this build; take it out"]);
    // The campaign's id is known all the same, and nothing else is told of it.
    let sealed = "[[campaign]]\nid = \"c\"\nmode = \"sealed\"\n[[campaign.prize]]\nid = \"p\"\ncount = 5\n";
    check(&format!("{sealed}[[code]]\nid = \"A\"\nkind = \"media\"\ncampaign = \"c\"\n"), expect![[r#"acme.toml:6: campaign[0].mode: sealed draws are not in this build; write "odds""#]]);
    check("[[campaign]]\nid = \"c\"\nmode = \"moments\"\n", expect![[r#"acme.toml:6: campaign[0].mode: draws by moments are not in this build; write "odds""#]]);
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
