//! Scans that a phone's browser makes itself: where it is sent, what it may ask, who does not count.
//!
//! - `regions`: the region that the edge gives a scan
//! - `minted`: codes that are forged or dark
//! - `page`: a page of another origin, in a real browser

mod minted;
mod page;
mod regions;

use std::path::Path;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::{Server, get, send};
use super::setup::{key, write_keys};
use crate::program::{TABLES, done, export, run};

const RULES: &str = r#"
merchant = "tea"
currency = "CNY"
time_zone = "Asia/Shanghai"
[[store]]
id = "s-1"
gln = "6901234000016"
[[guide]]
id = "g-1"
store = "s-1"
gsrn = "690123400000000018"
[[campaign]]
id = "more"
mode = "odds"
from = 2020-11-01T00:00:00+08:00
to   = 2090-01-01T00:00:00+08:00
landing = "https://m.example/wheel?from=code#top"
secret = "file:wheel.key"
commit = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd"
[[campaign.prize]]
id = "bottle"
kind = "goods"
[[campaign.phase]]
odds = { "bottle" = "1" }
[[code]]
id = "BOTTLE-1"
kind = "interactive"
campaign = "more"
[[code]]
id = "BOTTLE-2"
kind = "interactive"
campaign = "more"
[[code]]
id = "POSTER"
kind = "media"
campaign = "more"
[[code]]
id = "PLAIN"
kind = "service"
"#;

fn shop() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("rules.toml"), RULES).expect("a file");
    let secret = HEXLOWER.encode(&(0..32).collect::<Vec<u8>>());
    std::fs::write(dir.path().join("wheel.key"), secret).expect("a file");
    dir
}

/// What a browser got.
#[derive(Debug)]
struct Page {
    status: u16,
    location: Option<String>,
    /// Name and value of the cookie, and how it was given.
    cookie: Option<String>,
    terms: String,
    cached: String,
    body: String,
}

impl Page {
    /// What the landing may ask with.
    fn r(&self) -> &str {
        let location = self.location.as_deref().unwrap_or_default();
        let r = location.strip_prefix("https://m.example/wheel?from=code&r=").and_then(|r| r.strip_suffix("#top"));
        let r = r.unwrap_or_else(|| panic!("{self:?}"));
        assert!(r.len() == 32 && r.bytes().all(|b| b.is_ascii_hexdigit()), "{r}");
        r
    }

    fn cookie(&self) -> &str {
        self.cookie.as_deref().unwrap_or_else(|| panic!("{self:?}"))
    }
}

/// Opens a link, as browsers do, with these headers; nothing is followed.
fn open(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> Page {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", server.http));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent.run(request.body(()).expect("a request")).expect("an answer");
    let header = |name: &str| response.headers().get(name).map(|v| v.to_str().expect("ASCII").to_owned());
    let (location, cached) = (header("location"), header("cache-control").unwrap_or_default());
    let given = header("set-cookie");
    let cookie = given.as_ref().map(|given| given.split("; ").next().expect("a part").to_owned());
    let terms = given.as_ref().and_then(|given| Some(given.split_once("; ")?.1.to_owned())).unwrap_or_default();
    let status = response.status().as_u16();
    Page { status, location, cookie, terms, cached, body: response.body_mut().read_to_string().expect("a body") }
}

fn scan(server: &Server, path: &str, cookie: Option<&str>) -> Page {
    let headers: Vec<_> = cookie.map(|cookie| ("Cookie", cookie)).into_iter().collect();
    let page = open(server, "GET", path, &headers);
    assert_eq!(page.cached, "no-store");
    page
}

fn result(server: &Server, r: &str) -> Value {
    let answer = server.get(&format!("/r/{r}?wait=20000"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn accepted(server: &Server) -> u64 {
    server.metric("mashang_events_accepted_total{transport=\"http\"}")
}

fn counter(dir: &Path, scope: &str, key: &str, metric: &str) -> u64 {
    let table = export(dir, "data", "counters");
    let rows = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let mine = rows.filter(|row| row[1] == scope && row[2] == key && row[4] == metric);
    mine.map(|row| row[5].parse::<u64>().expect("a number")).sum()
}

#[test]
fn scanned_codes_prize_is_read_from_the_landing() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let first = scan(&server, "/c/BOTTLE-1", None);
    assert_eq!(first.status, 307, "{first:?}");
    assert!(first.terms.contains("HttpOnly") && first.terms.contains("SameSite=Lax"), "{}", first.terms);
    let won = json!({ "id": first.r(), "state": "entered", "draw": { "campaign": "more", "result": "prize", "prize": "bottle", "kind": "goods" } });
    assert_eq!(result(&server, first.r()), won);

    // The page is opened again: the same shopper, and the same prize.
    let again = scan(&server, "/c/BOTTLE-1", Some(first.cookie()));
    assert_eq!(again.cookie(), first.cookie());
    assert_ne!(again.r(), first.r());
    let told = result(&server, again.r());
    assert_eq!((&told["state"], &told["draw"]["prize"]), (&json!("counted"), &json!("bottle")));
    assert_eq!(told["draw"]["again"], json!(true));
    server.settle();
    assert_eq!(result(&server, again.r()), told, "from the ledger");

    // Another one, who also made up whose phone it is.
    let other = scan(&server, "/c/BOTTLE-1", Some("mashang=u1"));
    assert_ne!(other.cookie(), first.cookie());
    assert_eq!(result(&server, other.r())["draw"]["result"], json!("already-claimed"));

    server.settle();
    let members = export(dir.path(), "data", "awards");
    assert_eq!(members.lines().count(), 2, "{members}");
    assert!(members.contains(",web:"), "{members}");
    assert_eq!(counter(dir.path(), "merchant", "*", "scans"), 3);
}

#[test]
fn results_of_other_shoppers_are_not_returned() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let id = "0123456789abcdef0123456789abcdef";
    let event = json!({ "id": id, "action": "scan", "shopper": "u1", "code": "BOTTLE-1" }).to_string();
    assert_eq!(server.post("application/json", event.as_bytes()).expect("an answer").status, 202);
    server.settle();
    let known = server.get(&format!("/v1/results/{id}?shopper=u1")).json();
    assert_eq!(known["state"], json!("entered"));
    let asked = server.get(&format!("/r/{id}"));
    assert_eq!((asked.status, asked.json()), (200, json!({ "id": id, "state": "pending" })));
    for none in ["x", "0123456789ABCDEF0123456789ABCDEF", &id[1..]] {
        assert_eq!(server.get(&format!("/r/{none}")).status, 404, "{none}");
    }
}

#[test]
fn without_a_key_only_one_draw_codes_enter() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let page = scan(&server, "/c/POSTER", None);
    assert_eq!(page.status, 307);
    assert_eq!(result(&server, page.r()), json!({ "id": page.r(), "state": "counted" }));
    let with_key = json!({ "id": "1", "action": "scan", "shopper": "u1", "code": "POSTER" }).to_string();
    assert_eq!(server.post("application/json", with_key.as_bytes()).expect("an answer").status, 202);
    let told = server.get("/v1/results/1?shopper=u1&wait=20000").json();
    assert_eq!(told["draw"]["prize"], json!("bottle"));
    // A sender with a key cannot say that a scan was made without one.
    let said = json!({ "id": "2", "action": "scan", "shopper": "u2", "code": "POSTER", "keyless": true }).to_string();
    assert_eq!(server.post("application/json", said.as_bytes()).expect("an answer").status, 202);
    assert_eq!(server.get("/v1/results/2?shopper=u2&wait=20000").json()["state"], json!("entered"));
    server.settle();
    assert_eq!(counter(dir.path(), "campaign", "more", "scans"), 3);
    assert_eq!(counter(dir.path(), "campaign", "more", "entries"), 2);
}

#[test]
fn gs1_links_are_scans_anywhere_in_the_path() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let page = scan(&server, "/01/06901234567892/21/BOTTLE-2?utm=x", None);
    assert_eq!(result(&server, page.r())["draw"]["prize"], json!("bottle"));
    for path in [
        "/01/06901234567892",
        "/shop/%301/06901234567892/10/lot",
        "/414/6901234000016",
        "/8017/690123400000000018",
        "/c/PLAIN",
    ] {
        let page = scan(&server, path, None);
        let body: Value = serde_json::from_str(&page.body).expect("JSON");
        assert_eq!((page.status, &body["accepted"], &body["durable"]), (202, &json!(1), &json!("log")), "{path}");
        assert_eq!(result(&server, body["r"].as_str().expect("a text"))["state"], json!("counted"));
    }
    for (path, status) in [("/01/06901234567893", 404), ("/414/1", 404), ("/c/", 404), ("/c/a/b", 404), ("/", 200)] {
        assert_eq!(open(&server, "GET", path, &[]).status, status, "{path}");
    }
    for (path, status) in [("/414/6901234000016", 405), ("/c/PLAIN", 405), ("/q/PLAIN", 405), ("/q/unlisted", 404)] {
        assert_eq!(open(&server, "POST", path, &[]).status, status, "{path}");
    }
    assert_eq!(open(&server, "GET", &format!("/c/{}", "x".repeat(513)), &[]).status, 400);
    server.settle();
    let of_kind = |kind: &str| counter(dir.path(), "kind", kind, "scans");
    assert_eq!(["product", "store", "guide", "interactive", "service", "unknown"].map(of_kind), [2, 1, 1, 1, 1, 4]);
    assert_eq!(counter(dir.path(), "guide", "g-1", "scans"), 1);
    assert_eq!(server.sum("mashang_events_received_total"), 11);
}

#[test]
fn links_resolve_at_the_edge_as_in_events() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let links = [
        ("/c/BOTTLE-1/", "interactive", 307),
        ("//c/BOTTLE-1", "interactive", 307),
        ("/c//%42OTTLE-1//", "interactive", 307),
        ("/01/6901234567892/21/BOTTLE-1", "interactive", 307),
        ("/gtin/06901234567892/ser/BOTTLE-1", "interactive", 307),
        ("/a//gtin/036000291452/lot/7//ser/BOTTLE-1/", "interactive", 307),
        ("/BOTTLE-1", "interactive", 307),
        ("/q?c=BOTTLE-1", "interactive", 307),
        ("/c/PLAIN?c=BOTTLE-1", "interactive", 307),
        ("/v.2/q/BOTTLE-1", "interactive", 307),
        ("/01/96385074", "product", 202),
        ("/gln/6901234000016/", "store", 202),
        ("/gsrnp/690123400000000018", "guide", 202),
        ("/c/BOTTLE-1%0A", "unknown", 404),
        ("/c/%ff", "unknown", 404),
        ("/c/(01)06901234567892(21)BOTTLE-1", "unknown", 404),
        ("/c/a.b", "unknown", 404),
        ("/q/unlisted", "unknown", 404),
        ("/gtin/06901234567893", "unknown", 404),
    ];
    for (n, (path, _, status)) in links.iter().enumerate() {
        let page = scan(&server, path, None);
        assert_eq!((page.status, page.cookie.is_some()), (*status, true), "{path}: {page:?}");
        let code = format!("https://m.example{path}");
        let event = json!({ "id": n.to_string(), "action": "scan", "shopper": "u1", "code": code }).to_string();
        assert_eq!(server.post("application/json", event.as_bytes()).expect("an answer").status, 202, "{path}");
    }
    server.settle();
    for kind in ["interactive", "product", "store", "guide", "unknown"] {
        let of_kind = links.iter().filter(|link| link.1 == kind).count() as u64;
        assert_eq!(counter(dir.path(), "kind", kind, "scans"), 2 * of_kind, "{kind}");
    }
    assert_eq!(counter(dir.path(), "merchant", "*", "scans"), 2 * links.len() as u64);
}

#[test]
fn long_query_that_says_nothing_is_left_out() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let long = "x".repeat(2_000);
    scan(&server, &format!("/c/BOTTLE-1?fbclid={long}"), None).r();
    scan(&server, &format!("/01/06901234567892/21/BOTTLE-2?fbclid={long}"), None).r();
    assert_eq!(scan(&server, &format!("/q?c={long}"), None).status, 400);
}

#[test]
fn unknown_links_of_software_are_not_counted() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    for path in ["/favicon.ico", "/robots.txt", "/.well-known/x", "/x/index.php?c=unlisted", "/v1/x", "/r/x/y"] {
        let page = open(&server, "GET", path, &[]);
        assert_eq!((page.status, &page.cookie), (404, &None), "{path}");
    }
    for (method, headers) in [("HEAD", ("Accept", "*/*")), ("GET", ("User-Agent", "WhatsApp/2.23.20.0 A"))] {
        let page = open(&server, method, "/c/unlisted", &[headers]);
        assert_eq!((page.status, &page.cookie, page.cached.as_str()), (404, &None, "no-store"), "{method}");
    }
    assert_eq!(server.sum("mashang_events_received_total"), 0);
    assert_eq!(scan(&server, "/c/unlisted", None).status, 404);
    assert_eq!(server.sum("mashang_events_received_total"), 1);
}

#[test]
fn robots_and_prefetches_do_not_count() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let landing = Some("https://m.example/wheel?from=code#top".to_owned());
    let nothing = |page: &Page| {
        assert_eq!((&page.cookie, page.cached.as_str()), (&None, "no-store"), "{page:?}");
    };
    for agent in ["WhatsApp/2.23.20.0 A", "facebookexternalhit/1.1", "Mozilla/5.0 (compatible; Discordbot/2.0)"] {
        let page = open(&server, "GET", "/c/BOTTLE-1", &[("User-Agent", agent)]);
        assert_eq!((page.status, &page.location), (307, &landing));
        nothing(&page);
    }
    let page = open(&server, "HEAD", "/01/06901234567892/21/BOTTLE-1", &[]);
    assert_eq!((page.status, &page.location), (307, &landing));
    nothing(&page);
    let page = open(&server, "GET", "/c/BOTTLE-1", &[("Sec-Purpose", "prefetch;prerender")]);
    assert_eq!((page.status, &page.location), (204, &None), "it is fetched again when it is opened");
    nothing(&page);
    assert_eq!(server.sum("mashang_events_received_total"), 0);
    assert_eq!(server.metric("mashang_links_uncounted_total{reason=\"robot\"}"), 3);
    assert_eq!(server.sum("mashang_links_uncounted_total"), 5);
}

/// Robots that open what a chat shows, of the maker's own documents.
const PREVIEWS: [&str; 9] = [
    "DingTalkBot-LinkService/1.0 (+https://open-doc.dingtalk.com/microapp/faquestions/ftpfeu)",
    "MicrosoftPreview/2.0; +https://aka.ms/MicrosoftPreview",
    "Iframely/1.3.1 (+https://iframely.com/docs/about)",
    "Mozilla/5.0 (compatible; SnapURLPreview/1.0; +https://www.snapchat.com)",
    "Mozilla/5.0 (compatible; Linespider/1.1; +https://lin.ee/4dwXkTH)",
    "Valve/Steam HTTP Client 1.0 (SteamChatURLLookup)",
    "Mozilla/5.0 (compatible;PetalBot;+https://webmaster.petalsearch.com/site/petalbot)",
    "Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; Trident/5.0); 360Spider",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.2; +https://openai.com/gptbot",
];

#[test]
fn robots_of_chats_leave_the_prize_to_people() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    for agent in PREVIEWS {
        let page = open(&server, "GET", "/c/BOTTLE-1", &[("User-Agent", agent)]);
        assert_eq!((page.status, &page.cookie), (307, &None), "{agent}");
    }
    assert_eq!(server.metric("mashang_links_uncounted_total{reason=\"robot\"}"), PREVIEWS.len() as u64);
    let wechat = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.42(0x18002a2f) NetType/WIFI Language/zh_CN";
    let cubot = "Mozilla/5.0 (Linux; Android 11; CUBOT NOTE 20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/108.0.0.0 Mobile Safari/537.36";
    for (agent, wanted) in [(wechat, "prize"), (cubot, "already-claimed")] {
        let page = open(&server, "GET", "/c/BOTTLE-1", &[("User-Agent", agent)]);
        assert_eq!(result(&server, page.r())["draw"]["result"], json!(wanted), "{agent}");
    }
    server.settle();
    assert_eq!(counter(dir.path(), "merchant", "*", "scans"), 2);
}

#[test]
fn browser_scans_need_no_key_but_have_quotas() {
    let dir = shop();
    let till = key("till", "s3cret", "merchants = [\"tea\"]\nscopes = [\"ingest\"]");
    write_keys(dir.path(), &format!("[keyless]\ntea = {{ events-per-second = 1, burst = 2 }}\n{till}"));
    let server = Server::start(dir.path(), &["--keys", "keys.toml"]);
    let pages: Vec<Page> = (0..6).map(|_| scan(&server, "/c/BOTTLE-1", None)).collect();
    let [found, turned_away] = [307, 429].map(|status| pages.iter().filter(|page| page.status == status).count());
    assert!(found >= 2 && turned_away >= 1 && found + turned_away == 6, "{pages:?}");
    // Each page is another shopper, whose scans may lie in another partition: any of them may be the first at the code.
    let draws: Vec<Value> =
        pages.iter().filter(|page| page.status == 307).map(|page| result(&server, page.r())["draw"].take()).collect();
    let of = |result: &str| draws.iter().filter(|draw| draw["result"] == json!(result)).count();
    assert_eq!((of("prize"), of("already-claimed")), (1, found - 1), "{draws:?}");
    assert_eq!(send(&server.http, &[("Content-Type", "application/json")], b"{}").expect("an answer").status, 401);
    let shed = server.metric("mashang_events_shed_total{reason=\"quota\"}");
    assert_eq!((accepted(&server), shed), (found as u64, turned_away as u64));
}

#[test]
fn with_several_merchants_ambiguous_codes_get_404() {
    let dir = shop();
    let two = RULES.replace("\"tea\"", "\"wine\"").replace("BOTTLE", "FLASK").replace("m.example", "w.example");
    let two = two.replace("6901234000016", "6901234000023").replace("690123400000000018", "690123400000000025");
    std::fs::write(dir.path().join("wine.toml"), two).expect("a file");
    let server = Server::start(dir.path(), &["--rules", "rules.toml", "--rules", "wine.toml"]);
    assert!(scan(&server, "/c/FLASK-1", None).location.expect("one").starts_with("https://w.example/wheel"));
    scan(&server, "/c/BOTTLE-1", None).r();
    assert_eq!(scan(&server, "/414/6901234000016", None).status, 202);
    for path in ["/c/POSTER", "/c/unlisted", "/01/06901234567892"] {
        let page = scan(&server, path, None);
        assert_eq!((page.status, page.cookie.is_some()), (404, true), "{path}");
    }
    server.settle();
    let scans = done(dir.path(), &["export", "counters", "--ledger", "data/ledger.sqlite"]);
    let of = |merchant: &str| scans.lines().filter(|l| l.starts_with(merchant) && l.contains(",merchant,*,")).count();
    assert!(of("tea,") > 0 && of("wine,") > 0, "{scans}");
    assert!(get(&format!("{}/metrics", server.admin), None).expect("metrics").body.contains("status=\"404\""));
}

#[test]
fn dump_says_which_scans_had_no_key() {
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let cookie = scan(&server, "/c/POSTER", None).cookie().to_owned();
    for path in ["/c/BOTTLE-1", "/c/POSTER", "/414/6901234000016", "/c/BOTTLE-1"] {
        scan(&server, path, Some(&cookie));
        scan(&server, path, None);
    }
    server.settle();
    assert!(server.stop().0.success());
    let dump = done(dir.path(), &["log", "dump", "--data", "data"]);
    assert_eq!(dump.matches("\"keyless\":true").count(), 9, "{dump}");
    std::fs::write(dir.path().join("events.ndjson"), &dump).expect("a file");
    run(dir.path(), &["rules.toml".to_owned()], "again");
    for table in TABLES {
        assert_eq!(export(dir.path(), "data", table), export(dir.path(), "again", table), "{table}");
    }
    assert_eq!(counter(dir.path(), "campaign", "more", "entries"), 3);
}

#[test]
fn cookie_set_over_tls_stays_on_tls() {
    let dir = shop();
    let server = Server::start(dir.path(), &["--proxy-trust", "127.0.0.1"]);
    let https = open(&server, "GET", "/c/BOTTLE-1", &[("X-Forwarded-Proto", "https")]);
    assert!(https.terms.contains("; Secure"), "{}", https.terms);
    let http = open(&server, "GET", "/c/BOTTLE-1", &[("X-Forwarded-Proto", "http")]);
    assert!(!http.terms.contains("Secure"), "{}", http.terms);
    assert!(http.terms.contains("SameSite=Lax"), "{}", http.terms);
}
