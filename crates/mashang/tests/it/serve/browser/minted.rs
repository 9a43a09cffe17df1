//! Links of minted codes: one that is forged or dark answers as an unknown one, and moves its counter.

use serde_json::json;

use super::{Page, counter, result, scan};
use crate::serve::answers::minted::{token, write_rules};
use crate::serve::server::Server;

/// What a person sees of an answer; a cookie has a random value.
fn seen(page: &Page) -> (u16, &str, &str, Option<usize>, &str) {
    (page.status, &page.body, &page.cached, page.cookie.as_ref().map(String::len), &page.terms)
}

#[test]
fn forged_and_dark_links_answer_as_unknown_and_are_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    write_rules(dir.path(), "[[range]]\nbatch = 7\nfrom = 0\nto = 10\n");
    let (active, dark) = (token(dir.path(), 5), token(dir.path(), 500));
    let last = if dark.ends_with('0') { "1" } else { "0" };
    let forged = format!("{}{last}", &dark[..dark.len() - 1]);
    let server = Server::start(dir.path(), &[]);
    let unknown = scan(&server, "/c/unlisted", None);
    assert_eq!((unknown.status, unknown.cookie.is_some()), (404, true), "{unknown:?}");
    for code in [&dark, &forged] {
        let page = scan(&server, &format!("/c/{code}"), None);
        assert_eq!(seen(&page), seen(&unknown), "{code}");
    }
    let page = scan(&server, &format!("/c/{active}"), None);
    let r = serde_json::from_str::<serde_json::Value>(&page.body).expect("JSON")["r"].clone();
    assert_eq!(page.status, 202, "{page:?}");
    assert_ne!(result(&server, r.as_str().expect("a text"))["state"], json!("pending"));
    server.settle();
    let of = |metric| counter(dir.path(), "merchant", "*", metric);
    assert_eq!(["scans", "unknown", "forged", "inactive"].map(of), [3, 1, 1, 1]);
    assert_eq!(counter(dir.path(), "kind", "forged", "forged"), 1);
}
