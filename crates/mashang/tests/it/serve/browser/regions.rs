//! The region of a keyless scan: by a trusted proxy's header, else by the database of addresses, through the table of regions.
//!
//! The databases are those of the edge's own tests; `crates/edge/src/transport/browser/region/tests.rs` says how they were made and what
//! is in them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::{RULES, counter, open, result, scan, shop};
use crate::program::{TABLES, done, export, mashang, run};
use crate::serve::server::Server;

/// A database of the edge's tests.
fn database(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../edge/tests/data").join(name);
    path.to_str().expect("UTF-8").to_owned()
}

/// The region of each code's scan in the log.
fn regions(dir: &Path) -> BTreeMap<String, Option<String>> {
    let dump = done(dir, &["log", "dump", "--data", "data"]);
    std::fs::write(dir.join("events.ndjson"), &dump).expect("a file");
    let region = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let code = event["code"].as_str().expect("a code");
        let id = code.rsplit('/').next().expect("a part").to_owned();
        (id, event["region"].as_str().map(ToOwned::to_owned))
    };
    dump.lines().map(region).collect()
}

/// A scan behind a proxy, by the client of this address.
fn scan_from(server: &Server, code: &str, address: &str, region: Option<&str>) -> super::Page {
    let named = region.map(|region| ("X-Region", region));
    let headers: Vec<_> = [("X-Forwarded-For", address)].into_iter().chain(named).collect();
    open(server, "GET", &format!("/c/{code}"), &headers)
}

#[test]
fn region_in_the_log_is_header_else_address() {
    let dir = shop();
    let database = database("regions.mmdb");
    let args = ["--proxy-trust", "127.0.0.0/8", "--region-header", "X-Region", "--geoip", &database];
    let server = Server::start(dir.path(), &args);
    for (code, address, region) in [
        ("BOTTLE-1", "203.0.113.9", Some("330100")),
        ("BOTTLE-2", "127.0.0.2", None),
        ("PLAIN", "127.0.0.3", Some("")),
        ("POSTER", "203.0.113.9", None),
        ("unlisted", "::1", Some("a\tb")),
    ] {
        scan_from(&server, code, address, region);
    }
    let by = |source| server.metric(&format!("mashang_scan_regions_total{{source=\"{source}\"}}"));
    assert_eq!(["header", "geoip", "unmapped", "none"].map(by), [1, 3, 0, 1]);
    assert_eq!(server.metric("mashang_region_headers_ignored_total{reason=\"invalid\"}"), 1);
    assert_eq!(server.metric("mashang_geoip_stale"), 0);
    server.settle();
    assert!(server.stop().0.success());
    let wanted = [
        ("BOTTLE-1", Some("330100")),
        ("BOTTLE-2", Some("CN-ZJ")),
        ("PLAIN", Some("US-CA")),
        ("POSTER", None),
        ("unlisted", Some("CN")),
    ];
    let wanted = wanted.map(|(code, region)| (code.to_owned(), region.map(ToOwned::to_owned)));
    assert_eq!(regions(dir.path()), BTreeMap::from(wanted));
    assert_eq!(counter(dir.path(), "region", "CN-ZJ", "scans"), 1);
    // A replay has the regions without the header and the database.
    run(dir.path(), &["rules.toml".to_owned()], "again");
    for table in TABLES {
        assert_eq!(export(dir.path(), "data", table), export(dir.path(), "again", table), "{table}");
    }
}

#[test]
fn untrusted_senders_header_is_ignored() {
    let dir = shop();
    let server = Server::start(dir.path(), &["--proxy-trust", "10.0.0.0/8", "--region-header", "X-Region"]);
    let page = open(&server, "GET", "/c/BOTTLE-1", &[("X-Region", "330100"), ("X-Forwarded-For", "10.0.0.1")]);
    assert_eq!(page.status, 307);
    scan(&server, "/c/BOTTLE-2", None);
    assert_eq!(server.metric("mashang_region_headers_ignored_total{reason=\"untrusted\"}"), 1);
    assert_eq!(server.metric("mashang_scan_regions_total{source=\"none\"}"), 2);
    assert!(server.stop().0.success());
    let none = ["BOTTLE-1", "BOTTLE-2"].map(|code| (code.to_owned(), None));
    assert_eq!(regions(dir.path()), BTreeMap::from(none));
}

#[test]
fn replaced_database_applies_to_the_areas_of_a_draw() {
    let dir = shop();
    let rules = RULES.replace("landing =", "areas = [\"33\"]\nlanding =");
    std::fs::write(dir.path().join("rules.toml"), rules).expect("a file");
    std::fs::write(dir.path().join("map.csv"), "from,region\nCN-ZJ,330000\nCN-JS,320000\n").expect("a file");
    let city = dir.path().join("city.mmdb");
    std::fs::copy(database("regions.mmdb"), &city).expect("a file");
    let args = ["--proxy-trust", "127.0.0.1", "--geoip", "city.mmdb", "--region-map", "map.csv"];
    let server = Server::start(dir.path(), &args);
    let draw = |code, address| result(&server, scan_from(&server, code, address, None).r())["draw"]["result"].clone();
    // In another area, in none, and in one that the table lacks.
    assert_eq!(draw("BOTTLE-1", "127.0.0.3"), json!("out-of-area"));
    assert_eq!(draw("BOTTLE-1", "127.0.0.4"), json!("out-of-area"));
    assert_eq!(draw("BOTTLE-1", "127.0.0.2"), json!("prize"));
    let replace = |bytes: &[u8]| {
        std::fs::write(dir.path().join("new"), bytes).expect("a file");
        std::fs::rename(dir.path().join("new"), &city).expect("the same directory");
    };
    replace(b"not a database");
    server.hears("the database of addresses stays as it was");
    assert_eq!(server.metric("mashang_geoip_stale"), 1);
    replace(&std::fs::read(database("regions_moved.mmdb")).expect("a file"));
    server.hears("database of addresses reloaded");
    assert_eq!(server.metric("mashang_geoip_stale"), 0);
    assert_eq!(draw("BOTTLE-2", "127.0.0.2"), json!("out-of-area"));
    server.settle();
    assert_eq!(counter(dir.path(), "region", "320000", "scans"), 1);
    assert_eq!(counter(dir.path(), "region", "330000", "scans"), 1);
}

#[test]
fn start_with_wrong_region_settings_is_refused() {
    let dir = shop();
    std::fs::write(dir.path().join("map.csv"), "from,region\nCN,1\nCN,2\n").expect("a file");
    std::fs::write(dir.path().join("torn.mmdb"), &std::fs::read(database("regions.mmdb")).expect("a file")[..900])
        .expect("a file");
    let own = database("regions.mmdb");
    for (more, wanted) in [
        (
            &["--region-header", "X-Region"][..],
            "region-header: no sender would be believed: give the proxies' networks in --proxy-trust",
        ),
        (
            &["--region-header", "X Region", "--proxy-trust", "127.0.0.1"],
            "X Region is no name of a header: give letters, digits and hyphens",
        ),
        (
            &["--region-map", "map.csv"],
            "region-map is for what a header or a database says: give --region-header or --geoip too",
        ),
        (
            &["--geoip", &own, "--region-map", "map.csv"],
            "--region-map map.csv:3: CN stands in line 2 already: remove one",
        ),
        (&["--geoip", "none.mmdb"], "--geoip none.mmdb: cannot be read: "),
        (&["--geoip", "torn.mmdb"], "--geoip torn.mmdb: is damaged, or no database of countries: "),
    ] {
        let fixed =
            ["serve", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", "data", "--rules", "rules.toml"];
        let output = mashang(dir.path(), &[&fixed, more].concat());
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(wanted), "{told}");
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(!dir.path().join("data").exists());
    }
}
