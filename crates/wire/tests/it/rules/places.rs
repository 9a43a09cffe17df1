//! Where keys stand, for mistakes that are found after reading.

use super::{COMMIT, HEAD, campaign, read_with};

#[test]
fn keys_are_found_by_file_and_line() {
    let text = format!(
        "{HEAD}[dedup]\nhorizon = \"3d\"\n[registers]\nranges = \"r.csv\"\n{}\
         [[batch]]\nnumber = 7\nkind = \"sales\"\ncount = 1000\nsecret = \"file:a.key\"\ncommit = \"{COMMIT}\"\nactivate = \"ranges\"\n\
         [[range]]\nbatch = 7\nfrom = 0\nto = 5\n[[range]]\nbatch = 7\nfrom = 5\nto = 6\nstate = \"void\"\n\
         [[store]]\nid = \"s\"\n",
        campaign(
            "[[campaign.prize]]\nid = \"red 1\"\nkind = \"goods\"\n[[campaign.prize]]\nid = \"b\"\nkind = \"goods\"\nelse = \"red 1\"\n\
             [[campaign.phase]]\nodds = { \"red 1\" = \"1/2\", b = \"1/4\" }\n"
        )
    );
    let checked = read_with(&text, &[("r.csv", b"batch,from,to\n7,6,7\n")]).expect("rules");
    let line_of = |key: &str| {
        checked.place(key).map(|(file, line)| {
            assert_eq!(file, if key.starts_with("r.csv") { "r.csv" } else { "acme.toml" });
            let place =
                if file == "r.csv" { String::new() } else { text.lines().nth(line - 1).expect("a line").to_owned() };
            (line, place)
        })
    };
    let found = |key: &str| line_of(key).expect(key).1;
    assert_eq!(line_of("currency"), Some((2, "currency = \"CNY\"".to_owned())));
    assert_eq!(found("dedup.horizon"), "horizon = \"3d\"");
    assert_eq!(found("campaign[0]"), "[[campaign]]");
    assert_eq!(found("campaign[0].limit_wins"), "limit_wins = 3");
    assert_eq!(found("campaign[0].prize[1].else"), "else = \"red 1\"");
    assert_eq!(found("campaign[0].phase[0].odds.\"red 1\""), "odds = { \"red 1\" = \"1/2\", b = \"1/4\" }");
    assert_eq!(found("batch[0].activate"), "activate = \"ranges\"");
    assert_eq!(found("range[1].state"), "state = \"void\"");
    assert_eq!(found("store"), "[[store]]");
    // What is left out stands where its table does.
    assert_eq!(line_of("late"), Some((1, "merchant = \"acme\"".to_owned())));
    assert_eq!(found("dedup.debounce"), "[dedup]");
    assert_eq!(found("campaign[0].budget"), "[[campaign]]");
    assert_eq!(line_of("campaign[0].prize[0].stock"), line_of("campaign[0].prize[0]"));
    assert_ne!(line_of("campaign[0].prize[0].stock"), line_of("campaign[0].prize[1].stock"));
    assert_eq!(line_of("range[0].state"), line_of("range[0]"));
    // What is not there stands nowhere.
    for key in ["campaign[1]", "campaign[1].id", "campaign[0].prize[2].stock", "range[2]", "store[0].id"] {
        assert_eq!(line_of(key), None, "{key}");
    }
    assert_eq!(line_of("r.csv:2"), Some((2, String::new())));
    assert_eq!(line_of("r.csv:2.state"), Some((2, String::new())));
    assert_eq!(checked.range_key(2).as_deref(), Some("r.csv:2"));
    assert_eq!(checked.range_key(3), None);
}
