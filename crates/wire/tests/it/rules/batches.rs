//! Batches of minted codes, and the campaigns that draw for them.

use domain::model::code::Kind;
use domain::model::rules::secrets::{Secret, Secrets};
use domain::model::rules::{Activate, Batch, Mode};
use expect_test::{Expect, expect};

use super::{COMMIT, HEAD, campaign, check, read_with, told};

/// The least batch; so after three lines of a file, `more` begins in its ninth line.
fn batch(number: u32, more: &str) -> String {
    format!(
        "[[batch]]\nnumber = {number}\nkind = \"interactive\"\ncount = 1000\nsecret = \"file:a.key\"\ncommit = \"{COMMIT}\"\n{more}"
    )
}

fn check_batch(more: &str, expect: Expect) {
    check(&batch(7, more), expect);
}

/// A campaign with another mode; its prizes begin in the eleventh line.
fn drawn(mode: &str, prizes: &str) -> String {
    campaign(prizes).replace("\"odds\"", &format!("\"{mode}\""))
}

fn prize(id: &str, more: &str) -> String {
    format!("[[campaign.prize]]\nid = \"{id}\"\nkind = \"goods\"\n{more}\n")
}

#[test]
fn batch_with_every_key() {
    let text = format!(
        "{HEAD}[[store]]\nid = \"s\"\n[[guide]]\nid = \"g\"\n{}{}",
        campaign(""),
        batch(
            1_048_575,
            "campaign = \"c\"\ngtin = \"6901234567892\"\nurl = \"https://m.example/c/\"\nalarm_shoppers = 1000\n\
             activate = \"all\"\nguide = \"g\"\nstore = \"s\"\nchannel = \"bottle\"\n"
        )
        .replace("= 1000\n", "= 4294967296\n")
        .replace("alarm_shoppers = 4294967296", "alarm_shoppers = 1000")
    );
    let checked = read_with(&text, &[]).expect("rules");
    let some = |text: &str| Some(text.to_owned());
    let expected = Batch {
        number: 1_048_575,
        kind: Kind::Interactive,
        count: 1 << 32,
        campaign: some("c"),
        gtin: Some(6_901_234_567_892),
        url: some("https://m.example/c/"),
        secret: "file:a.key".to_owned(),
        commit: COMMIT.to_owned(),
        alarm_shoppers: Some(1000),
        activate: Activate::All,
        guide: some("g"),
        store: some("s"),
        channel: some("bottle"),
    };
    assert_eq!(checked.rules.batches, [expected]);
    let secret = Secret::new([0x11; 32]);
    let campaigns = [("c".to_owned(), secret.clone())].into();
    assert_eq!(checked.secrets, Secrets { campaigns, batches: [(1_048_575, secret)].into() });
}

#[test]
fn every_mistake_of_batches() {
    check(
        "[[batch]]\n",
        expect![[r#"
        acme.toml:4: batch[0].number: is missing; a batch needs it
        acme.toml:4: batch[0].kind: is missing; a batch needs it
        acme.toml:4: batch[0].count: is missing; a batch needs it
        acme.toml:4: batch[0].secret: is missing; a batch needs it
        acme.toml:4: batch[0].commit: is missing; a batch needs it"#]],
    );
    check(
        "[[batch]]\nnumber = 1048576\nkind = \"media\"\ncount = 0\nsecret = \"file:\"\ncommit = \"12\"\ncuont = 5\n\
         campaign = \"c\"\ngtin = \"6901234567893\"\nurl = \"m.example/c/\"\nalarm_shoppers = 0\nactivate = \"some\"\n\
         guide = \"g\"\nstore = \"s\"\nchannel = \"\"\nregion = \"33\"\n",
        expect![[r#"
            acme.toml:5: batch[0].number: is 1048576; write 0 to 1048575
            acme.toml:6: batch[0].kind: is "media"; write one of "interactive", "sales", "unlock", "repair"
            acme.toml:7: batch[0].count: is 0; write 1 to 4294967296
            acme.toml:8: batch[0].secret: is no reference to a secret; write "file:PATH" or "env:NAME", never the secret
            acme.toml:9: batch[0].commit: is "12"; write a SHA-256, 64 hex digits
            acme.toml:10: batch[0].cuont: is no known key; did you mean count?
            acme.toml:11: batch[0].campaign: is "c", which is no campaign here
            acme.toml:12: batch[0].gtin: is "6901234567893", whose check digit (the last) is wrong
            acme.toml:13: batch[0].url: is "m.example/c/"; write what URLs of codes begin with, such as "https://m.example/c/", encoded where needed
            acme.toml:14: batch[0].alarm_shoppers: is 0; write 1 to 1000
            acme.toml:15: batch[0].activate: is "some"; write one of "all", "ranges"
            acme.toml:16: batch[0].guide: is "g", which is no guide here
            acme.toml:17: batch[0].store: is "s", which is no store here
            acme.toml:18: batch[0].channel: is empty; write 1 to 64 bytes
            acme.toml:19: batch[0].region: is no known key; known are number, kind, count, campaign, gtin, url, secret, commit, alarm_shoppers, activate, guide, store, channel"#]],
    );
    check(
        "[[batch]]\nnumber = -1\nkind = \"unlock\"\ncount = 4294967297\nsecret = \"file:b.key\"\ncommit = 12\n\
         gtin = \"690123456789\"\nalarm_shoppers = 1001\nurl = \"ftp://m.example/\"\n",
        expect![[r#"
            acme.toml:5: batch[0].number: is -1; write 0 to 1048575
            acme.toml:7: batch[0].count: is 4294967297; write 1 to 4294967296
            acme.toml:8: batch[0].secret: names "file:b.key", which cannot be read: there is no such file
            acme.toml:9: batch[0].commit: is an integer; write a text, in quotes
            acme.toml:10: batch[0].gtin: is "690123456789", whose check digit (the last) is wrong
            acme.toml:11: batch[0].alarm_shoppers: is 1001; write 1 to 1000
            acme.toml:12: batch[0].url: is "ftp://m.example/"; write what URLs of codes begin with, such as "https://m.example/c/", encoded where needed"#]],
    );
    check(
        &format!("{}{}", batch(7, ""), batch(7, "")),
        expect!["acme.toml:11: batch[1].number: is 7, as is another batch's at acme.toml:5"],
    );
    check(
        &batch(7, "").replace(COMMIT, &"0".repeat(64)),
        expect![
            "acme.toml:9: batch[0].commit: is not the SHA-256 of the secret, which is 02d449a31fbb267c8f352e9968a79e3e5fc95c1bbeaa502fd6454ebde5a4bedc"
        ],
    );
    check_batch(
        "gtin = 6901234567892\n",
        expect!["acme.toml:10: batch[0].gtin: is an integer; write a text, in quotes"],
    );
    check_batch(
        "gtin = \"69012345678921\"\n",
        expect![[r#"acme.toml:10: batch[0].gtin: is "69012345678921", whose check digit (the last) is wrong"#]],
    );
    check_batch(
        "gtin = \"690123456789\"\n",
        expect![[r#"acme.toml:10: batch[0].gtin: is "690123456789", whose check digit (the last) is wrong"#]],
    );
    check_batch(
        "gtin = \"6901234567\"\n",
        expect![[r#"acme.toml:10: batch[0].gtin: is "6901234567"; a GTIN has 8, 12, 13 or 14 digits"#]],
    );
    check("batch = 7\n", expect!["acme.toml:4: batch: is an integer; write [[batch]]"]);
}

#[test]
fn gtins_are_kept_as_14_digits() {
    for (text, number) in
        [("96385074", 96_385_074), ("036000291452", 36_000_291_452), ("06901234567892", 6_901_234_567_892)]
    {
        let rules =
            read_with(&format!("{HEAD}{}", batch(0, &format!("gtin = \"{text}\"\n"))), &[]).expect("rules").rules;
        assert_eq!(rules.batches[0].gtin, Some(number));
    }
}

#[test]
fn urls_must_lead_to_their_codes() {
    for url in ["https://m.example/c/", "http://m.example/", "HTTPS://m.example:8443/?c=", "https://m.example/x?a=b&c="]
    {
        assert_eq!(
            told(read_with(&format!("{HEAD}{}", batch(7, &format!("url = \"{url}\"\n"))), &[])),
            "fine",
            "{url}"
        );
    }
    check_batch(
        "url = \"https://m.example/c\"\n",
        expect![[
            r#"warning: acme.toml:10: batch[0].url: is "https://m.example/c", and no code is found in a URL of it and a token; end it with "/" or with "?c=""#
        ]],
    );
    check_batch(
        "url = \"https://m.example\"\n",
        expect![[
            r#"warning: acme.toml:10: batch[0].url: is "https://m.example", and no code is found in a URL of it and a token; end it with "/" or with "?c=""#
        ]],
    );
    check_batch(
        "url = \"https://m.example/?code=\"\n",
        expect![[
            r#"warning: acme.toml:10: batch[0].url: is "https://m.example/?code=", and no code is found in a URL of it and a token; end it with "/" or with "?c=""#
        ]],
    );
    // With a GTIN the URL is not used.
    check_batch("url = \"https://m.example\"\ngtin = \"06901234567892\"\n", expect!["fine"]);
    check_batch(
        "url = \"https:///c/\"\n",
        expect![[
            r#"acme.toml:10: batch[0].url: is "https:///c/"; write what URLs of codes begin with, such as "https://m.example/c/", encoded where needed"#
        ]],
    );
    check_batch(
        "url = \"https://m.example/a b/\"\n",
        expect![[
            r#"acme.toml:10: batch[0].url: is "https://m.example/a b/"; write what URLs of codes begin with, such as "https://m.example/c/", encoded where needed"#
        ]],
    );
    check_batch(&format!("url = \"https://m.example/{}/\"\n", "u".repeat(473)), expect!["fine"]);
    check_batch(
        &format!("url = \"https://m.example/{}/\"\n", "u".repeat(474)),
        expect!["acme.toml:10: batch[0].url: has 493 bytes; write 1 to 492"],
    );
}

#[test]
fn names_of_minted_codes_are_no_ids() {
    let code = |id: &str| format!("[[code]]\nid = \"{id}\"\nkind = \"media\"\n");
    check(
        &format!("{}{}", batch(7, ""), code("7:12")),
        expect![[
            r#"acme.toml:11: code[0].id: is "7:12", a name of minted codes of the batch at acme.toml:5; choose another id"#
        ]],
    );
    check(
        &format!("{}{}", batch(7, ""), code("7:4294967296")),
        expect![[
            r#"acme.toml:11: code[0].id: is "7:4294967296", a name of minted codes of the batch at acme.toml:5; choose another id"#
        ]],
    );
    let others = ["8:12", "7:", ":12", "7:012", "07:12", "7:+1", "7:1:2", "7-12", "000E-0000-0000-0000-0001"];
    for id in others {
        assert_eq!(told(read_with(&format!("{HEAD}{}{}", batch(7, ""), code(id)), &[])), "fine", "{id}");
    }
    let text = format!("{HEAD}[registers]\ncodes = \"c.csv\"\n{}", batch(7, ""));
    expect![[r#"c.csv:2: id: is "7:0", a name of minted codes of the batch at acme.toml:7; choose another id"#]]
        .assert_eq(&told(read_with(&text, &[("c.csv", b"id,kind\n7:0,media\n")])));
}

#[test]
fn sealed_campaign_has_exact_counts_of_one_batch() {
    let prizes = format!("{}{}", prize("a", "count = 400\nelse = \"b\""), prize("b", "count = 600"));
    let text = format!("{HEAD}{}{}", drawn("sealed", &prizes), batch(7, "campaign = \"c\"\n"));
    let rules = read_with(&text, &[]).expect("rules").rules;
    let campaign = &rules.campaigns[0];
    assert_eq!((campaign.mode, campaign.phases.len()), (Mode::Sealed, 0));
    assert_eq!(campaign.prizes.iter().map(|prize| prize.count).collect::<Vec<_>>(), [Some(400), Some(600)]);
    // By default a prize has its count in stock, but the `else` of another has no limit.
    assert_eq!(campaign.prizes.iter().map(|prize| prize.stock).collect::<Vec<_>>(), [Some(400), None]);
}

#[test]
fn stock_by_default_is_the_count() {
    let stocks = |mode: &str, prizes: &str| {
        let text = format!("{HEAD}{}{}", drawn(mode, prizes), batch(7, "campaign = \"c\"\n"));
        let rules = read_with(&text, &[]).expect("rules").rules;
        rules.campaigns[0].prizes.iter().map(|prize| prize.stock).collect::<Vec<_>>()
    };
    let prizes = [
        prize("a", "count = 5\nelse = \"d\""),
        prize("b", "count = 6\nstock = 7"),
        prize("c", "else = \"e\""),
        prize("d", "count = 8\nelse = \"c\""),
        prize("e", "stock = 9"),
        prize("f", "count = 0\nelse = \"thanks\""),
    ]
    .concat();
    for mode in ["sealed", "moments"] {
        assert_eq!(stocks(mode, &prizes), [Some(5), Some(7), None, None, Some(9), Some(0)]);
    }
    assert_eq!(stocks("odds", &prize("a", "")), [None]);
}

#[test]
fn mistakes_of_sealed_campaigns() {
    let sealed = |prizes: &str| drawn("sealed", prizes);
    let least = prize("a", "count = 1");
    let of_c = "campaign = \"c\"\n";
    check(
        &sealed(&least),
        expect![[r#"acme.toml:6: campaign[0].mode: is "sealed", and no batch names the campaign; exactly one must"#]],
    );
    check(
        &format!("{}{}{}", batch(7, of_c), batch(8, of_c), sealed(&least)),
        expect![[
            r#"acme.toml:17: batch[1].campaign: is "c", a sealed campaign that the batch at acme.toml:10 names as well; only one may"#
        ]],
    );
    check(
        &format!("{}{}", batch(7, of_c).replace("1000", "999"), sealed(&least)),
        expect!["acme.toml:7: batch[0].count: is 999, and its campaign is sealed; write 1000 or more"],
    );
    let above = format!("{}{}", prize("a", "count = 400"), prize("b", "count = 601"));
    check(
        &format!("{}{}", batch(7, of_c), sealed(&above)),
        expect![
            "acme.toml:19: campaign[0].prize: have counts that add up to 1001, above the 1000 codes of the batch at acme.toml:10; lower them"
        ],
    );
    let huge = format!("{}{}", prize("a", "count = 4294967296"), prize("b", "count = 4294967297"));
    check(
        &format!("{}{}", batch(7, of_c), sealed(&huge)),
        expect![[r#"
        acme.toml:19: campaign[0].prize: have counts that add up to 4294967296, above the 1000 codes of the batch at acme.toml:10; lower them
        acme.toml:26: campaign[0].prize[1].count: is 4294967297; write 0 to 4294967296"#]],
    );
    let code = "[[code]]\nid = \"A\"\nkind = \"media\"\ncampaign = \"c\"\n";
    check(
        &format!("{}{}{code}", batch(7, of_c), sealed(&least)),
        expect![[
            r#"acme.toml:26: code[0].campaign: is "c", a sealed campaign, which draws for the codes of its batch alone; name another or none"#
        ]],
    );
    let uncounted = format!("{}{}{}", prize("a", ""), prize("b", "else = \"d\""), prize("d", "else = \"thanks\""));
    check(
        &format!("{}{}", batch(7, of_c), sealed(&uncounted)),
        expect![[r#"
        acme.toml:19: campaign[0].prize[0].count: is missing; a prize in the mode sealed needs it, unless it is the `else` of another
        acme.toml:23: campaign[0].prize[1].count: is missing; a prize in the mode sealed needs it, unless it is the `else` of another"#]],
    );
    let phase = "[[campaign.phase]]\nodds = { a = \"1\" }\n";
    check(
        &format!("{}{}{phase}", batch(7, of_c), sealed(&least)),
        expect!["acme.toml:23: campaign[0].phase: is of draws by odds, and the mode is sealed; take the phases out"],
    );
    check(
        &format!("{}{}", batch(7, of_c), sealed("")),
        expect!["warning: acme.toml:11: campaign[0]: has no prize, so that no entry wins anything"],
    );
    // A register's codes are found as well.
    let text = format!("{HEAD}[registers]\ncodes = \"c.csv\"\n{}{}", batch(7, of_c), sealed(&least));
    expect![[r#"c.csv:2: campaign: is "c", a sealed campaign, which draws for the codes of its batch alone; name another or none"#]].assert_eq(&told(read_with(&text, &[("c.csv", b"id,kind,campaign\nA,media,c\nB,media,\n")])));
}

#[test]
fn mistakes_of_moments() {
    let moments = |prizes: &str| drawn("moments", prizes);
    let media = "[[code]]\nid = \"A\"\nkind = \"media\"\ncampaign = \"c\"\n";
    let two =
        |a: u32, b: u32| format!("{}{}", prize("a", &format!("count = {a}")), prize("b", &format!("count = {b}")));
    check(&format!("{}{media}", moments(&two(1, 999_999))), expect!["fine"]);
    check(
        &moments(&two(1, 1_000_000)),
        expect![
            "acme.toml:12: campaign[0].prize: have counts that add up to 1000001; a campaign has 1000000 moments at most"
        ],
    );
    check(
        &format!("{}[[campaign.phase]]\nodds = {{}}\n", moments(&prize("a", "stock = 5"))),
        expect![[r#"
        acme.toml:12: campaign[0].prize[0].count: is missing; a prize in the mode moments needs it, unless it is the `else` of another
        acme.toml:16: campaign[0].phase: is of draws by odds, and the mode is moments; take the phases out"#]],
    );
    check(&moments(""), expect!["warning: acme.toml:4: campaign[0]: has no prize, so that no entry wins anything"]);
    // Codes and batches may enter it as they like.
    let batches = format!("{}{}", batch(7, "campaign = \"c\"\n"), batch(8, "campaign = \"c\"\n")).replace("1000", "1");
    check(&format!("{}{batches}{media}", moments(&two(1, 2))), expect!["fine"]);
}

#[test]
fn cash_of_exact_counts_has_a_bound() {
    let cash = |more: &str| format!("[[campaign.prize]]\nid = \"q\"\nkind = \"cash\"\namount = 5\n{more}\n");
    check(&drawn("moments", &cash("count = 5")), expect!["fine"]);
    let substitute = format!("{}{}", prize("a", "count = 5\nelse = \"q\""), cash("count = 5"));
    check(
        &drawn("moments", &substitute),
        expect![
            "warning: acme.toml:17: campaign[0].prize[1]: is cash with neither stock nor budget: nothing bounds what it costs"
        ],
    );
    check(
        &drawn("moments", &format!("budget_day = 5\n{substitute}")),
        expect![
            "warning: acme.toml:18: campaign[0].prize[1]: is cash with neither stock nor budget: nothing bounds what it costs"
        ],
    );
    check(&drawn("moments", &format!("budget = 5\n{substitute}")), expect!["fine"]);
}

#[test]
fn count_is_not_of_odds() {
    check(
        &campaign(&prize("a", "count = 5")),
        expect!["acme.toml:15: campaign[0].prize[0].count: is of sealed draws and moments; write stock"],
    );
}
