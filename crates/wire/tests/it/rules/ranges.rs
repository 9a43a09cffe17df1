//! Ranges of batches, in the file and in the register.

use domain::model::rules::{Range, RangeState};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use wire::rules::Checked;

use super::{COMMIT, HEAD, check, read_with, told};

/// Two batches, the second one dark; so after three lines of a file, what follows begins in the seventeenth.
fn batches() -> String {
    let batch = |number: u32, more: &str| {
        format!(
            "[[batch]]\nnumber = {number}\nkind = \"sales\"\ncount = 1000\nsecret = \"file:a.key\"\ncommit = \"{COMMIT}\"\n{more}"
        )
    };
    format!("{}{}", batch(7, ""), batch(8, "activate = \"ranges\"\n"))
}

fn check_ranges(ranges: &str, expect: Expect) {
    check(&format!("{}{ranges}", batches()), expect);
}

fn with_register(csv: &str, more: &str) -> Result<Checked, Vec<wire::rules::Mistake>> {
    read_with(&format!("{HEAD}[registers]\nranges = \"r.csv\"\n{}{more}", batches()), &[("r.csv", csv.as_bytes())])
}

fn check_register(csv: &str, expect: Expect) {
    expect.assert_eq(&told(with_register(csv, "")));
}

fn range(batch: u32, from: u64, to: u64) -> Range {
    Range { batch, from, to, state: RangeState::Active, guide: None, store: None, region: None, channel: None }
}

#[test]
fn ranges_are_sorted_by_batch_and_serial() {
    let more = "[[store]]\nid = \"s\"\n[[guide]]\nid = \"g\"\n\
        [[range]]\nbatch = 8\nfrom = 5\nto = 6\n\
        [[range]]\nbatch = 7\nfrom = 500\nto = 1000\nstate = \"void\"\nregion = \"33\"\nstore = \"s\"\nguide = \"g\"\nchannel = \"c\"\n";
    let checked =
        with_register("from,to,batch,state\n0,1,8,\n6,0010,8,frozen\n,,,\n0,500,7,active\n", more).expect("rules");
    let some = |text: &str| Some(text.to_owned());
    let void = Range {
        state: RangeState::Void,
        guide: some("g"),
        store: some("s"),
        region: some("33"),
        channel: some("c"),
        ..range(7, 500, 1000)
    };
    let frozen = Range { state: RangeState::Frozen, ..range(8, 6, 10) };
    assert_eq!(checked.rules.ranges, [range(7, 0, 500), void, range(8, 0, 1), range(8, 5, 6), frozen]);
    assert_eq!(checked.warnings, []);
    let keys: Vec<String> = (0..6).map_while(|i| checked.range_key(i)).collect();
    assert_eq!(keys, ["r.csv:5", "range[1]", "r.csv:2", "range[0]", "r.csv:3"]);
}

#[test]
fn every_mistake_of_ranges() {
    check_ranges(
        "[[range]]\n",
        expect![[r#"
        acme.toml:17: range[0].batch: is missing; a range needs it
        acme.toml:17: range[0].from: is missing; a range needs it
        acme.toml:17: range[0].to: is missing; a range needs it"#]],
    );
    check_ranges(
        "[[range]]\nbatch = 9\nfrom = 5\nto = 5\nstate = \"lost\"\nguide = \"g\"\nstore = \"s\"\nregion = \"\"\n\
         channel = 3\nserial = 1\n[[range]]\nbatch = \"8\"\nfrom = -1\nto = 1001\n[[range]]\nbatch = 1048576\nfrom = 6\nto = 5\n",
        expect![[r#"
            acme.toml:18: range[0].batch: is 9, which is no batch here
            acme.toml:20: range[0].to: is not above `from`; the range holds no serial
            acme.toml:21: range[0].state: is "lost"; write one of "active", "frozen", "void"
            acme.toml:22: range[0].guide: is "g", which is no guide here
            acme.toml:23: range[0].store: is "s", which is no store here
            acme.toml:24: range[0].region: is empty; write 1 to 64 bytes
            acme.toml:25: range[0].channel: is an integer; write a text, in quotes
            acme.toml:26: range[0].serial: is no known key; known are batch, from, to, state, guide, store, region, channel
            acme.toml:28: range[1].batch: is a text; write an integer, 0 to 1048575
            acme.toml:29: range[1].from: is -1; write 0 to 4294967296
            acme.toml:32: range[2].batch: is 1048576; write 0 to 1048575
            acme.toml:34: range[2].to: is not above `from`; the range holds no serial"#]],
    );
    check_register(
        "batch,from,to,state,guide,store,region\n9,5,5,lost,g,s, 33\n8,-1,1001,,,,\n8.0,6,5,,,,\n8,,4294967297,,,,\n",
        expect![[r#"
            r.csv:2: state: is "lost"; write one of "active", "frozen", "void"
            r.csv:2: guide: is "g", which is no guide here
            r.csv:2: store: is "s", which is no store here
            r.csv:2: region: is " 33", which begins with the blank U+0020; write it without
            r.csv:2: batch: is 9, which is no batch here
            r.csv:2: to: is not above `from`; the range holds no serial
            r.csv:3: from: is "-1"; write an integer, 0 to 4294967296
            r.csv:3: to: is 1001, above the 1000 codes of the batch at acme.toml:13; write 1000 at most
            r.csv:4: batch: is "8.0"; write an integer, 0 to 1048575
            r.csv:4: to: is not above `from`; the range holds no serial
            r.csv:5: from: is missing; a range needs it
            r.csv:5: to: is 4294967297; write 0 to 4294967296"#]],
    );
    check_register(
        "batch,from,until\n7,0,5\n",
        expect![[r#"
        r.csv:1: until: is no known column; known are batch, from, to, state, guide, store, region, channel
        r.csv:1: to: is missing in the header; a range needs it"#]],
    );
    check_register(
        "",
        expect!["r.csv:1: is empty; begin with a header such as batch,from,to,state,guide,store,region,channel"],
    );
    check(
        "[registers]\nranges = \"none.csv\"\n",
        expect![[r#"acme.toml:5: registers.ranges: names "none.csv", which cannot be read: there is no such file"#]],
    );
    check("range = 7\n", expect!["acme.toml:4: range: is an integer; write [[range]]"]);
}

#[test]
fn overlaps_name_both_places() {
    let range = |batch: u32, from: u32, to: u32| format!("[[range]]\nbatch = {batch}\nfrom = {from}\nto = {to}\n");
    check_ranges(
        &format!("{}{}{}{}", range(8, 0, 1), range(7, 5, 10), range(7, 0, 5), range(7, 10, 12)),
        expect!["fine"],
    );
    check_ranges(
        &format!("{}{}{}", range(8, 0, 1), range(7, 5, 10), range(7, 0, 6)),
        expect![
            "acme.toml:23: range[1].from: overlaps the range from 0 to 6 of batch 7 at acme.toml:27; end one where the other begins"
        ],
    );
    // Each range that lies in a long one, not only the first.
    check_ranges(
        &[range(8, 0, 1), range(7, 0, 900), range(7, 5, 6), range(7, 10, 12), range(7, 900, 901)].concat(),
        expect![[r#"
            acme.toml:27: range[2].from: overlaps the range from 0 to 900 of batch 7 at acme.toml:23; end one where the other begins
            acme.toml:31: range[3].from: overlaps the range from 0 to 900 of batch 7 at acme.toml:23; end one where the other begins"#]],
    );
    let register = "batch,from,to\n8,0,500\n8,499,501\n7,1,2\n";
    expect![[r#"
        r.csv:3: from: overlaps the range from 0 to 500 of batch 8 at r.csv:2; end one where the other begins
        r.csv:4: from: overlaps the range from 0 to 1000 of batch 7 at acme.toml:21; end one where the other begins"#]]
    .assert_eq(&told(with_register(register, &range(7, 0, 1000))));
}

#[test]
fn dark_batch_without_ranges_is_a_warning() {
    check_ranges(
        "",
        expect![[
            r#"warning: acme.toml:16: batch[1].activate: is "ranges", and batch 8 has none: all of its codes are dark"#
        ]],
    );
    check_ranges(
        "[[range]]\nbatch = 7\nfrom = 0\nto = 1\n",
        expect![[
            r#"warning: acme.toml:16: batch[1].activate: is "ranges", and batch 8 has none: all of its codes are dark"#
        ]],
    );
    check_ranges("[[range]]\nbatch = 8\nfrom = 0\nto = 1\nstate = \"frozen\"\n", expect!["fine"]);
}

proptest! {
    /// Ranges are accepted if and only if no two have a serial in common, whatever their order.
    #[test]
    fn overlaps_agree_with_comparing_all_pairs(ranges in prop::collection::vec((7..9_u32, 0..30_u64, 1..6_u64), 1..8)) {
        let rows: Vec<Range> = ranges.iter().map(|&(batch, from, length)| range(batch, from, from + length)).collect();
        let csv: String = rows.iter().map(|r| format!("{},{},{}\n", r.batch, r.from, r.to)).collect();
        let mut sorted = rows.clone();
        sorted.sort_by_key(|r| (r.batch, r.from));
        let overlap = |a: &Range, b: &Range| a.batch == b.batch && a.from < b.to && b.from < a.to;
        let some_overlap = rows.iter().enumerate().any(|(i, a)| rows[..i].iter().any(|b| overlap(a, b)));
        match with_register(&format!("batch,from,to\n{csv}"), "") {
            Ok(checked) => {
                prop_assert!(!some_overlap);
                prop_assert_eq!(checked.rules.ranges, sorted);
            }
            Err(_) => prop_assert!(some_overlap),
        }
    }
}

/// Compared pair by pair, these would not be read in minutes.
#[test]
fn large_register_is_read_and_searched() {
    const ROWS: u64 = 100_000;
    let mut csv = "batch,from,to,region\n".to_owned();
    for i in (0..ROWS).rev() {
        csv.push_str(&format!("7,{},{},33\n", i * 10, i * 10 + 10));
    }
    let text = format!("{HEAD}[registers]\nranges = \"r.csv\"\n{}", batches()).replace("= 1000\n", "= 1000000\n");
    let checked = read_with(&text, &[("r.csv", csv.as_bytes())]).expect("rules");
    assert_eq!(checked.rules.ranges.len(), 100_000);
    assert_eq!(checked.range_key(0).as_deref(), Some("r.csv:100001"));
    csv.push_str("7,999995,999996,33\n");
    expect!["r.csv:100002: from: overlaps the range from 999990 to 1000000 of batch 7 at r.csv:2; end one where the other begins"]
        .assert_eq(&told(read_with(&text, &[("r.csv", csv.as_bytes())])));
}
