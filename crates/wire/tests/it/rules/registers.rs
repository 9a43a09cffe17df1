//! Stores, guides and codes, in the file and in registers.

use expect_test::{Expect, expect};

use super::{HEAD, check, read_with, told};

fn check_stores(csv: impl AsRef<[u8]>, more: &str, expect: Expect) {
    let text = format!("{HEAD}[registers]\nstores = \"s.csv\"\n{more}");
    expect.assert_eq(&told(read_with(&text, &[("s.csv", csv.as_ref())])));
}

#[test]
fn stores_and_guides() {
    check(
        "[[store]]\nname = \"West\"\n[[store]]\nid = \"s-1\"\n[[store]]\nid = \"s-1\"\n",
        expect![[r#"
        acme.toml:4: store[0].id: is missing; a store needs it
        acme.toml:9: store[2].id: is "s-1", as is another store's at acme.toml:7"#]],
    );
    check(
        "[[store]]\nid = \"s-1\"\ngln = \"6901234000017\"\n",
        expect![[r#"acme.toml:6: store[0].gln: is "6901234000017", whose check digit (the last) is wrong"#]],
    );
    check(
        "[[store]]\nid = \"s-1\"\ngln = 6901234000016\n",
        expect!["acme.toml:6: store[0].gln: is an integer; write a text, in quotes"],
    );
    check(
        "[[store]]\nid = \"s-1\"\ngln = \"901234000016\"\n",
        expect![[r#"acme.toml:6: store[0].gln: is "901234000016"; a GLN has 13 digits"#]],
    );
    check(
        "[[store]]\nid = \"s-1\"\ngln = \"6901234000016\"\n[[store]]\nid = \"s-2\"\ngln = \"6901234000016\"\n",
        expect![[r#"acme.toml:9: store[1].gln: is "6901234000016", as is another store's at acme.toml:6"#]],
    );
    check("[[guide]]\nid = \"g-1\"\n", expect!["fine"]);
    check(
        "[[guide]]\nid = \"g-1\"\nstore = \"s-9\"\n",
        expect![[r#"acme.toml:6: guide[0].store: is "s-9", which is no store here"#]],
    );
    // A store that is wrong in itself is still known.
    check(
        "[[store]]\nid = \"s-1\"\nregion = 33\n[[guide]]\nid = \"g-1\"\nstore = \"s-1\"\n",
        expect!["acme.toml:6: store[0].region: is an integer; write a text, in quotes"],
    );
    check(
        "[[store]]\nid = \"s-1\"\n[[guide]]\nid = \"g-1\"\nstore = \"s-1\"\ngsrn = \"690123400000000019\"\n",
        expect![[r#"acme.toml:9: guide[0].gsrn: is "690123400000000019", whose check digit (the last) is wrong"#]],
    );
    check(
        "[[store]]\nid = \"s-1\"\n[[guide]]\nid = \"g-1\"\nstore = \"s-1\"\nleft = 2026-11-10\n",
        expect!["acme.toml:9: guide[0].left: is only half of a time; write a date and a time with an offset"],
    );
}

#[test]
fn guides_without_store_are_kept_by_default() {
    use domain::model::rules::Successor;
    let text = format!("{HEAD}[[store]]\nid = \"s\"\n[[guide]]\nid = \"a\"\n[[guide]]\nid = \"b\"\nstore = \"s\"\n");
    let guides = read_with(&text, &[]).expect("rules").rules.guides;
    assert_eq!((guides[0].store.as_deref(), &guides[0].successor), (None, &Successor::Keep));
    assert_eq!((guides[1].store.as_deref(), &guides[1].successor), (Some("s"), &Successor::Store));
    check(
        "[[guide]]\nid = \"a\"\nsuccessor = \"keep\"\n[[guide]]\nid = \"b\"\nsuccessor = \"store\"\n",
        expect![[
            r#"acme.toml:9: guide[1].successor: is "store", and the guide has no store; write a guide's id, or "keep""#
        ]],
    );
    let text = format!("{HEAD}[registers]\nguides = \"g.csv\"\n");
    let register = b"id,store,successor\na,,\nb,,store\nc,,a\n";
    expect![[r#"g.csv:3: successor: is "store", and the guide has no store; write a guide's id, or "keep""#]]
        .assert_eq(&told(read_with(&text, &[("g.csv", register)])));
}

#[test]
fn ids_with_unseen_ends_are_refused() {
    let code = |id: &str| format!("[[code]]\nid = \"{id}\"\nkind = \"media\"\n");
    check(&code("QR 1"), expect!["fine"]);
    check(&code("\u{2764}\u{FE0F}"), expect!["fine"]);
    check(
        &code("QR1 "),
        expect![[r#"acme.toml:5: code[0].id: is "QR1 ", which ends with the blank U+0020; write it without"#]],
    );
    check(
        &code("\u{A0}QR1"),
        expect![[r#"acme.toml:5: code[0].id: is "\u{a0}QR1", which begins with the blank U+00A0; write it without"#]],
    );
    check(
        &code("\u{FEFF}QR1"),
        expect![[
            r#"acme.toml:5: code[0].id: is "\u{feff}QR1", which begins with the invisible character U+FEFF; write it without"#
        ]],
    );
    check(
        &code("QR1\u{200B}"),
        expect![[
            r#"acme.toml:5: code[0].id: is "QR1\u{200b}", which ends with the invisible character U+200B; write it without"#
        ]],
    );
    check(
        "[[store]]\nid = \"s-1\u{3000}\"\n[[guide]]\nid = \"g-1\u{200D}\"\nstore = \"\u{2060}s-1\"\n",
        expect![[r#"
            acme.toml:5: store[0].id: is "s-1\u{3000}", which ends with the blank U+3000; write it without
            acme.toml:7: guide[0].id: is "g-1\u{200d}", which ends with the invisible character U+200D; write it without
            acme.toml:8: guide[0].store: is "\u{2060}s-1", which begins with the invisible character U+2060; write it without"#]],
    );
    check_stores(
        "id,region\n s-1,33 \n",
        "",
        expect![[r#"
        s.csv:2: id: is " s-1", which begins with the blank U+0020; write it without
        s.csv:2: region: is "33 ", which ends with the blank U+0020; write it without"#]],
    );
}

#[test]
fn registers_with_torn_quotes_are_refused() {
    let codes = |csv: &str| {
        let text = format!("{HEAD}[registers]\ncodes = \"codes.csv\"\n[[store]]\nid = \"s-1\"\n");
        told(read_with(&text, &[("codes.csv", csv.as_bytes())]))
    };
    expect![[r#"
        codes.csv:2: id: is "QR1 ", which ends with the blank U+0020; write it without
        codes.csv:3: channel: the quoted cell at column 12 does not end; send the whole file, or close the quote"#]]
    .assert_eq(&codes("id,kind,store,channel\nQR1 ,store,s-1,\nQR4,media,,\"poster\n"));
    expect![
        "codes.csv:2: channel: the quoted cell at column 11 goes on behind its quote; write a quote within it twice"
    ]
    .assert_eq(&codes("id,kind,channel\nQR4,media,\"poster\nQR5,media,\"x\"\n"));
    expect!["codes.csv:1: the quoted cell at column 4 does not end; send the whole file, or close the quote"]
        .assert_eq(&codes("id,\"kind"));
    expect!["fine"].assert_eq(&codes("id,kind,channel\nQR4,media,\"a \"\"poster\"\"\"\n"));
}

#[test]
fn rows_of_commas_only_are_passed_over() {
    check_stores(",,,\nid,region,name\ns-1,,\n,,\n , ,\u{A0}\n,,,,\n\ns-2,,\n,,", "", expect!["fine"]);
}

#[test]
fn words_that_mean_something_else() {
    let guide = |id: &str| format!("[[store]]\nid = \"s\"\n[[guide]]\nid = \"{id}\"\nstore = \"s\"\n");
    check(
        &guide("keep"),
        expect![[
            r#"acme.toml:7: guide[0].id: is "keep", which means something else as a `successor`; name the guide otherwise"#
        ]],
    );
    check(
        &guide("store"),
        expect![[
            r#"acme.toml:7: guide[0].id: is "store", which means something else as a `successor`; name the guide otherwise"#
        ]],
    );
    check(
        "[[funnel]]\nname = \"f\"\nsteps = [\"visit\"]\nwithin = \"0s\"\n",
        expect!["acme.toml:7: funnel[0].within: is nothing; write a duration of 1ms or more"],
    );
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
    check_successors(
        &[("x", "c"), ("a", "b"), ("b", "c"), ("c", "a"), ("d", "e"), ("e", "d")],
        expect![[r#"
        acme.toml:13: guide[1].successor: goes in a cycle: a → b → c → a
        acme.toml:25: guide[4].successor: goes in a cycle: d → e → d"#]],
    );
    check_successors(
        &[("a", "z"), ("b", "Store")],
        expect![[r#"
        acme.toml:9: guide[0].successor: is "z", which is no guide here
        acme.toml:13: guide[1].successor: is "Store", which is no guide here"#]],
    );
    let ring: Vec<String> = (0..12).map(|i| format!("g{i}")).collect();
    let pairs: Vec<(&str, &str)> = (0..12).map(|i| (ring[i].as_str(), ring[(i + 1) % 12].as_str())).collect();
    check_successors(
        &pairs,
        expect!["acme.toml:9: guide[0].successor: goes in a cycle: g0 → g1 → g2 → g3 → g4 → g5 → g6 → g7 → … → g0"],
    );
}

#[test]
fn codes() {
    check(
        "[[code]]\nid = \"G1\"\nkind = \"guide\"\n[[code]]\nid = \"S1\"\nkind = \"store\"\n",
        expect![[r#"
        acme.toml:4: code[0].guide: is missing; a code of the kind guide needs it
        acme.toml:7: code[1].store: is missing; a code of the kind store needs it"#]],
    );
    check(
        "[[code]]\nid = \"G1\"\nkind = \"guide\"\nguide = \"g-9\"\nstore = \"s-9\"\ncampaign = \"c-9\"\n",
        expect![[r#"
            acme.toml:7: code[0].guide: is "g-9", which is no guide here
            acme.toml:8: code[0].store: is "s-9", which is no store here
            acme.toml:9: code[0].campaign: is "c-9", which is no campaign here"#]],
    );
    check(
        "[[code]]\nid = \"A\"\nkind = \"forged\"\n[[code]]\nid = \"A\"\nkind = \"unknown\"\n",
        expect![[r#"
        acme.toml:6: code[0].kind: is "forged"; write one of "product", "service", "media", "interactive", "store", "guide", "sales", "unlock", "repair"
        acme.toml:8: code[1].id: is "A", as is another code's at acme.toml:5
        acme.toml:9: code[1].kind: is "unknown"; write one of "product", "service", "media", "interactive", "store", "guide", "sales", "unlock", "repair""#]],
    );
    check("[[code]]\nkind = \"media\"\n", expect!["acme.toml:4: code[0].id: is missing; a code needs it"]);
    check("[[code]]\nid = \"A\"\n", expect!["acme.toml:4: code[0].kind: is missing; a code needs it"]);
    check(&format!("[[code]]\nid = \"{}\"\nkind = \"interactive\"\n", "c".repeat(512)), expect!["fine"]);
    check(
        &format!("[[code]]\nid = \"{}\"\nkind = \"media\"\n", "c".repeat(513)),
        expect!["acme.toml:5: code[0].id: has 513 bytes; write 1 to 512"],
    );
}

#[test]
fn registers() {
    check(
        "[registers]\nstores = \"s.csv\"\nshops = \"t.csv\"\n",
        expect![[r#"
            acme.toml:5: registers.stores: names "s.csv", which cannot be read: there is no such file
            acme.toml:6: registers.shops: is no known key; known are stores, guides, codes, ranges"#]],
    );
    check_stores("", "", expect!["s.csv:1: is empty; begin with a header such as id,region,name,gln"]);
    check_stores("id,region\n", "", expect!["fine"]);
    check_stores(
        "ID,region,gnl,gnl\ns-1,33,,\n",
        "",
        expect![[r#"
            s.csv:1: ID: is no known column; known are id, region, name, gln
            s.csv:1: gnl: is no known column; did you mean gln?
            s.csv:1: gnl: is no known column; did you mean gln?
            s.csv:1: id: is missing in the header; a store needs it"#]],
    );
    check_stores(
        "id,region,region,id\ns-1,33,33,s-1\n",
        "",
        expect![[r#"
        s.csv:1: region: stands twice in the header
        s.csv:1: id: stands twice in the header"#]],
    );
    check_stores(
        "id,gln\n\ns-1,6901234000016\ns-2,6901234000016\n,\ns-1,12\n",
        "",
        expect![[r#"
            s.csv:4: gln: is "6901234000016", as is another store's at s.csv:3
            s.csv:6: id: is "s-1", as is another store's at s.csv:3
            s.csv:6: gln: is "12"; a GLN has 13 digits"#]],
    );
    check_stores(
        "id\ns-1\n",
        "[[store]]\nid = \"s-1\"\n",
        expect![[r#"s.csv:2: id: is "s-1", as is another store's at acme.toml:7"#]],
    );
    check_stores(
        "id,name\ns-1\ns-2,\"a\nb\"\ns-3,c,d\n",
        "",
        expect![[r#"
        s.csv:2: has 1 cells, the header 2; write one for each column
        s.csv:3: name: has the control character U+000A; write text without them
        s.csv:5: has 3 cells, the header 2; write one for each column"#]],
    );
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
