//! Links of minted codes at the edge: a code that is forged or dark is answered as one that is unknown, and its scan is in the log of
//! the merchant whose batch it names.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use domain::frame::Frame;
use domain::model::code::Kind;
use domain::model::event::Event;
use domain::model::rules::batches::ItemState;
use domain::model::rules::rulebook::Rulebook;
use domain::model::rules::secrets::Secrets;
use domain::model::rules::{Activate, Batch, Range, RangeState, Rules, RulesSeq};
use domain::model::token::BatchKeys;
use edge::ingest::batcher::{BatchPolicy, Batcher, Busy};
use edge::ingest::clock::Stamps;
use edge::ingest::limits::Limits;
use edge::ingest::service::IngestService;
use edge::metrics::Metrics;
use edge::spool::append_target::AppendTarget;
use edge::transport::browser;
use edge::transport::browser::cookie::VisitorKey;
use edge::transport::browser::region::{RegionSources, Regions};
use eventlog::api::{Append, Appender, Done, Health, OnFull};
use http_body_util::BodyExt;
use prometheus::Registry;
use tower_service::Service;
use web::client_address::Client;
use web::merchants::MerchantCatalog;
use web::quota::client_limits::{ClientLimits, ClientRates};

const SECRET: [u8; 32] = [7; 32];
const BATCH: u32 = 7;
const COUNT: u64 = 1_000;
const GTIN: u64 = 6_901_234_567_892;
const LANDING: &str = "https://m.example/wheel";

/// A log that keeps what it gets, and answers at once.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Vec<u8>>>);

impl Appender for Kept {
    fn append(&self, records: Vec<Append>, _: OnFull, done: Done) {
        self.0.lock().expect("no thread panicked").extend(records.into_iter().map(|append| append.record));
        done(Ok(()));
    }

    fn health(&self) -> Health {
        Health::Good
    }

    fn close(&self) {}
}

/// Rules with a code `LISTED`, and a campaign with a landing.
fn rules(merchant: &str) -> Rules {
    let commit = "630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd";
    let text = format!(
        r#"
merchant = "{merchant}"
currency = "CNY"
time_zone = "Asia/Shanghai"
[[campaign]]
id = "more"
mode = "odds"
from = 2020-11-01T00:00:00+08:00
to   = 2090-01-01T00:00:00+08:00
landing = "{LANDING}"
secret = "file:wheel.key"
commit = "{commit}"
[[campaign.prize]]
id = "bottle"
kind = "goods"
[[campaign.phase]]
odds = {{ "bottle" = "1" }}
[[code]]
id = "LISTED-{merchant}"
kind = "interactive"
campaign = "more"
"#
    );
    let secret: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
    let checked = wire::rules::read("rules.toml", &text, &mut |_| Ok(secret.clone().into_bytes()));
    checked.expect("rules").rules
}

/// The same with a batch: serials 0..10 are active, 10..20 frozen, all others dark.
fn with_batch(merchant: &str) -> Arc<Rulebook> {
    let mut rules = rules(merchant);
    rules.batches.push(Batch {
        number: BATCH,
        kind: Kind::Interactive,
        count: COUNT,
        campaign: Some("more".to_owned()),
        gtin: Some(GTIN),
        url: None,
        secret: "file:batch.key".to_owned(),
        commit: String::new(),
        alarm_shoppers: None,
        activate: Activate::Ranges,
        guide: None,
        store: None,
        channel: None,
    });
    for (from, to, state) in [(0, 10, RangeState::Active), (10, 20, RangeState::Frozen)] {
        let range = Range { batch: BATCH, from, to, state, guide: None, store: None, region: None, channel: None };
        rules.ranges.push(range);
    }
    let batches = BTreeMap::from([(BATCH, SECRET.into())]);
    let secrets = Secrets { batches, ..Secrets::default() };
    Arc::new(Rulebook::new(rules, RulesSeq(1), [1; 32], &secrets).expect("a rulebook"))
}

fn without_batch(merchant: &str) -> Arc<Rulebook> {
    Arc::new(Rulebook::new(rules(merchant), RulesSeq(2), [2; 32], &Secrets::default()).expect("a rulebook"))
}

/// The token of a serial, under this number of a batch and this secret.
fn token(batch: u32, serial: u64, secret: [u8; 32]) -> String {
    let keys = BatchKeys::new(batch, u64::MAX, &secret);
    String::from_utf8(keys.mint(serial).expect("a serial").text().to_vec()).expect("ASCII")
}

/// The links of codes that are no code to a person: each with what it is.
fn nothings() -> Vec<(&'static str, String)> {
    let tokens = [
        ("unknown", token(BATCH + 1, 3, SECRET)),
        ("forged", token(BATCH, 3, [8; 32])),
        ("beyond", token(BATCH, COUNT, SECRET)),
        ("dark", token(BATCH, 500, SECRET)),
    ];
    let paths = tokens.into_iter().map(|(what, token)| (what, format!("/c/{token}")));
    paths.chain([("unlisted", format!("/c/{}", "X".repeat(20)))]).collect()
}

/// The edge's routes for browsers, over a log that keeps events.
struct Edge {
    router: Router,
    log: Arc<Kept>,
    books: Vec<Arc<Rulebook>>,
}

/// What a browser gets: all of it but the value of the cookie.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: StatusCode,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Edge {
    fn new(books: &[Arc<Rulebook>], scans_per_s: u32) -> Self {
        let registry = Registry::new();
        let log = Arc::new(Kept::default());
        let appender: Arc<dyn Appender> = Arc::<Kept>::clone(&log);
        let metrics = Metrics::new(&registry).expect("once");
        let policy = BatchPolicy { rounds_max: 2, linger: Duration::ZERO..=Duration::ZERO, busy: Busy::default() };
        let batcher = Batcher::start(AppendTarget::Log(appender), 1, Stamps::Wall, policy, metrics.clone());
        let served = books.iter().map(|book| (book.rules.merchant.clone(), Arc::clone(book))).collect();
        let rates = ClientRates { connections: 0, requests_per_s: 0, scans_per_s };
        let limits = Limits {
            inflight_bytes_max: 1 << 26,
            shopper_events_per_s: 0,
            client_limits: Some(ClientLimits::new(rates)),
            link_hosts: Vec::new(),
            shedding: Arc::default(),
        };
        let regions = Arc::new(Regions::new(RegionSources::default(), &registry).expect("once"));
        let key = VisitorKey::new([9; 32]);
        let served = Arc::new(MerchantCatalog::new(served));
        let ingest = Arc::new(IngestService::new(vec![batcher], served, None, metrics, limits, key, regions));
        let router = browser::routes(&ingest).fallback(browser::links(&ingest));
        Self { router, log, books: books.to_vec() }
    }

    async fn ask(&self, method: Method, path: &str, more: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "m.example");
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).expect("a request");
        request.extensions_mut().insert(Client::peer(IpAddr::from([203, 0, 113, 9])));
        let response = self.router.clone().call(request).await.expect("no error is possible");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes().to_vec();
        Answer { status: head.status, headers: texts(&head.headers), body }
    }

    /// The scans in the log: merchant, and what the code is under its rules.
    fn scans(&self) -> Vec<(String, Kind, Option<ItemState>)> {
        let records = std::mem::take(&mut *self.log.0.lock().expect("no thread panicked"));
        let mut scans = Vec::new();
        for record in &records {
            for event in Frame::open(record).expect("a frame").items::<Event<'_>>() {
                let event = event.expect("an event");
                assert!(event.keyless && event.shopper.starts_with("web:"));
                let book = self.books.iter().find(|book| book.rules.merchant == event.merchant).expect("a merchant");
                let found = book.resolve(&event.code.expect("a code"));
                scans.push((event.merchant.to_owned(), found.kind, found.item.map(|item| item.state)));
            }
        }
        scans
    }
}

/// Headers as text; of a cookie its length and its terms.
fn texts(headers: &HeaderMap) -> BTreeMap<String, String> {
    let text = |name: &str, value: &str| match value.split_once("; ") {
        Some((cookie, terms)) if name == "set-cookie" => format!("{} bytes; {terms}", cookie.len()),
        _ => value.to_owned(),
    };
    let one = |name: &str, value: &str| (name.to_owned(), text(name, value));
    headers.iter().map(|(name, value)| one(name.as_str(), value.to_str().expect("ASCII"))).collect()
}

#[tokio::test]
async fn forged_and_dark_codes_answer_as_unknown_ones() {
    let edge = Edge::new(&[with_batch("tea")], 0);
    let robot: &[_] = &[("User-Agent", "WhatsApp/2.23.20.0 A")];
    let prefetch: &[_] = &[("Sec-Purpose", "prefetch")];
    for (method, headers) in [
        (Method::GET, &[][..]),
        (Method::GET, robot),
        (Method::GET, prefetch),
        (Method::HEAD, &[]),
        (Method::GET, &[("Cookie", "mashang=0123456789abcdef0123456789abcdef")]),
        (Method::POST, &[]),
    ] {
        let wanted = edge.ask(method.clone(), "/c/unlisted", headers).await;
        if method == Method::POST {
            assert_eq!(wanted.status, StatusCode::METHOD_NOT_ALLOWED);
        } else {
            assert_eq!((wanted.status, &*wanted.headers["cache-control"]), (StatusCode::NOT_FOUND, "no-store"));
        }
        for (what, path) in nothings() {
            assert_eq!(edge.ask(method.clone(), &path, headers).await, wanted, "{method} {what}");
        }
    }
}

#[tokio::test]
async fn forged_and_dark_codes_are_in_the_log() {
    let edge = Edge::new(&[with_batch("tea")], 0);
    for (what, path) in nothings() {
        edge.ask(Method::GET, &path, &[]).await;
        let wanted = match what {
            "forged" | "beyond" => (Kind::Forged, None),
            "dark" => (Kind::Interactive, Some(ItemState::Dark)),
            _ => (Kind::Unknown, None),
        };
        assert_eq!(edge.scans(), [("tea".to_owned(), wanted.0, wanted.1)], "{what}");
    }
    // A token of the batch in the link of another product.
    let path = format!("/01/06901234567908/21/{}", token(BATCH, 3, SECRET));
    assert_eq!(edge.ask(Method::GET, &path, &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(edge.scans(), [("tea".to_owned(), Kind::Forged, None)]);
}

#[tokio::test]
async fn minted_code_redirects_to_its_batchs_campaign() {
    let edge = Edge::new(&[without_batch("wine"), with_batch("tea")], 0);
    for (serial, state) in [(3, ItemState::Active), (13, ItemState::Frozen)] {
        let token = token(BATCH, serial, SECRET);
        for path in [format!("/c/{token}"), format!("/01/0{GTIN}/21/{}", token.to_lowercase())] {
            let answer = edge.ask(Method::GET, &path, &[]).await;
            assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT, "{path}: {answer:?}");
            assert!(answer.headers["location"].starts_with(&format!("{LANDING}?r=")));
            assert_eq!(edge.scans(), [("tea".to_owned(), Kind::Interactive, Some(state))]);
        }
    }
}

#[tokio::test]
async fn token_belongs_to_the_merchant_of_its_batch() {
    let edge = Edge::new(&[without_batch("wine"), with_batch("tea")], 0);
    // No merchant has the code: nothing is counted, and the answer is the same.
    let wanted = edge.ask(Method::GET, "/c/unlisted", &[]).await;
    assert_eq!(edge.scans(), []);
    assert!(wanted.headers.contains_key("set-cookie"), "{wanted:?}");
    for (what, path) in nothings() {
        assert_eq!(edge.ask(Method::GET, &path, &[]).await, wanted, "{what}");
        let merchants: Vec<String> = edge.scans().into_iter().map(|scan| scan.0).collect();
        let is_of_batch = ["forged", "beyond", "dark"].contains(&what);
        assert_eq!(merchants, if is_of_batch { vec!["tea"] } else { vec![] }, "{what}");
    }
}

#[tokio::test]
async fn limit_of_scans_is_the_same_for_unknown_and_forged() {
    let edge = Edge::new(&[without_batch("wine"), with_batch("tea")], 1);
    let mut last = None;
    for _ in 0..200 {
        last = Some(edge.ask(Method::GET, "/c/unlisted", &[]).await);
    }
    let last = last.expect("an answer");
    assert_eq!(last.status, StatusCode::TOO_MANY_REQUESTS);
    for (what, path) in nothings() {
        assert_eq!(edge.ask(Method::GET, &path, &[]).await, last, "{what}");
    }
}
