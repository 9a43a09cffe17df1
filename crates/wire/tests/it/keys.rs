//! The file of API keys: what is accepted, and every mistake with its line and message.

use domain::model::event::Action;
use expect_test::{Expect, expect};
use wire::keys::{Key, Scope, parse};

const SHA256: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

/// A key whose id is `a`, with more lines.
fn key(lines: &str) -> String {
    format!("[[key]]\nid = \"a\"\nsha256 = \"{SHA256}\"\nmerchants = [\"m\"]\nscopes = [\"ingest\"]\n{lines}\n")
}

/// Pins the line, the key and the message of a mistake.
fn refused(text: &str, expect: &Expect) {
    let mistake = parse(text).expect_err("a mistake");
    expect.assert_eq(&format!("{} [{}] {mistake}", mistake.line, mistake.key));
}

#[test]
fn keys_have_scopes_actions_and_quotas() {
    let more = "actions = [\"scan\", \"order\"]\nquota = { events-per-second = 100, burst = 1000 }";
    let upper = key("").replace("\"a\"", "\"b\"").replace(SHA256, &SHA256.to_uppercase()).replace("ingest", "admin");
    let quotas = "[quotas]\nacme = { events-per-second = 5000 }\n";
    let file = parse(&[&key(more), &upper, quotas].concat()).expect("keys");
    let ids: Vec<_> = file.keys.keys().collect();
    assert_eq!(ids, ["a", "b"]);
    let Key { sha256, merchants, scopes, actions, quota } = &file.keys["a"];
    assert_eq!((sha256[0], sha256[31]), (0x1E, 0xA0));
    assert_eq!((merchants.as_slice(), scopes.as_slice()), (["m".to_owned()].as_slice(), [Scope::Ingest].as_slice()));
    assert_eq!(actions.as_deref(), Some([Action::Scan, Action::Order].as_slice()));
    let quota = quota.expect("a quota");
    assert_eq!((quota.events_per_second, quota.burst()), (100, 1000));
    let other = &file.keys["b"];
    assert_eq!((other.sha256, other.scopes.as_slice()), (*sha256, [Scope::Admin].as_slice()));
    assert_eq!((&other.actions, other.quota), (&None, None));
    assert_eq!(file.quotas["acme"].burst(), 5000);
    assert_eq!(parse("").expect("no keys"), Default::default());
}

#[test]
fn mistakes_in_the_form_have_a_line() {
    refused("[[key]]\nid = 7\n", &expect!["2 [] line 2: invalid type: integer `7`, expected a string"]);
    refused("[[key]]\nid = \"a\n", &expect![[r#"2 [] line 2: invalid basic string, expected `"`"#]]);
    refused("[[key]]\nid = \"a\"\n", &expect!["1 [] line 1: missing field `sha256`"]);
    refused(
        &key("color = \"red\""),
        &expect![
            "6 [] line 6: unknown field `color`, expected one of `id`, `sha256`, `merchants`, `scopes`, `actions`, `quota`"
        ],
    );
    refused(
        &key("").replace("ingest", "write"),
        &expect!["5 [] line 5: unknown variant `write`, expected one of `ingest`, `read`, `admin`"],
    );
    refused(
        &key("quota = { events-per-second = -1 }"),
        &expect!["6 [] line 6: invalid value: integer `-1`, expected u32"],
    );
    refused(
        "# é\nkeys = []\n",
        &expect!["2 [] line 2: unknown field `keys`, expected one of `key`, `quotas`, `keyless`"],
    );
}

#[test]
fn mistakes_in_values_have_a_key() {
    refused(
        &format!("\n{}", key("").replace("\"a\"", "\"a.b\"")),
        &expect!["2 [key a.b] key a.b: the id must have 1 to 64 bytes, without a dot or a space"],
    );
    refused(
        &key("").replace("\"a\"", "\"\""),
        &expect!["1 [key ] key : the id must have 1 to 64 bytes, without a dot or a space"],
    );
    refused(
        &key("").replace("\"a\"", &format!("\"{}\"", "a".repeat(65))),
        &expect![
            "1 [key aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa] key aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: the id must have 1 to 64 bytes, without a dot or a space"
        ],
    );
    refused(
        &key("").replace("1ec1", "1ec"),
        &expect!["1 [key a] key a: sha256 must be the SHA-256 of the secret, 64 hex digits"],
    );
    refused(
        &key("").replace("[\"m\"]", "[]"),
        &expect!["1 [key a] key a: merchants and scopes must not be empty; remove the key instead"],
    );
    refused(
        &key("").replace("[\"ingest\"]", "[]"),
        &expect!["1 [key a] key a: merchants and scopes must not be empty; remove the key instead"],
    );
    refused(&key("actions = [\"fly\"]"), &expect!["1 [key a] key a: actions: fly is no action"]);
    refused(
        &key("quota = { events-per-second = 0 }"),
        &expect!["1 [key a] key a: quota: events-per-second must be at least 1; remove the key instead"],
    );
    refused(
        &key("quota = { events-per-second = 1000000001 }"),
        &expect!["1 [key a] key a: quota: events-per-second must be at most 1000000000; leave the quota out instead"],
    );
    refused(
        &key("quota = { events-per-second = 5, burst = 4 }"),
        &expect!["1 [key a] key a: quota: burst must be at least events-per-second, 5"],
    );
    refused(&[key(""), key("")].concat(), &expect!["7 [key a] key a: stands there twice; give each an id of its own"]);
    refused(
        "[quotas]\nacme = { events-per-second = 0 }\n",
        &expect!["2 [quotas: acme] quotas: acme: events-per-second must be at least 1; remove the key instead"],
    );
}
