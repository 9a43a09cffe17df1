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
    refused("[[key]]\nid = 7\n", &expect![""]);
    refused("[[key]]\nid = \"a\n", &expect![""]);
    refused("[[key]]\nid = \"a\"\n", &expect![""]);
    refused(&key("color = \"red\""), &expect![""]);
    refused(&key("").replace("ingest", "write"), &expect![""]);
    refused(&key("quota = { events-per-second = -1 }"), &expect![""]);
    refused("# é\nkeys = []\n", &expect![""]);
}

#[test]
fn mistakes_in_values_have_a_key() {
    refused(&format!("\n{}", key("").replace("\"a\"", "\"a.b\"")), &expect![""]);
    refused(&key("").replace("\"a\"", "\"\""), &expect![""]);
    refused(&key("").replace("\"a\"", &format!("\"{}\"", "a".repeat(65))), &expect![""]);
    refused(&key("").replace("1ec1", "1ec"), &expect![""]);
    refused(&key("").replace("[\"m\"]", "[]"), &expect![""]);
    refused(&key("").replace("[\"ingest\"]", "[]"), &expect![""]);
    refused(&key("actions = [\"fly\"]"), &expect![""]);
    refused(&key("quota = { events-per-second = 0 }"), &expect![""]);
    refused(&key("quota = { events-per-second = 5, burst = 4 }"), &expect![""]);
    refused(&[key(""), key("")].concat(), &expect![""]);
    refused("[quotas]\nacme = { events-per-second = 0 }\n", &expect![""]);
}
