//! Regions by headers, by the small databases in `tests/data` and through tables; files that are damaged or replaced.
//!
//! The databases were made with mmdb_writer 0.2.7 (PyPI): `MMDBWriter(ip_version=6, ipv4_compatible=True, …)`, and for each network
//! `insert_network(IPSet([NETWORK]), {"country": {"iso_code": …}, "subdivisions": [{"iso_code": …}]})`. `regions.mmdb` has 127.0.0.2/32 and
//! 2001:db8::/32 in CN with the subdivisions ZJ and HZ, 127.0.0.3/32 in US with CA, ::1/128 in CN, and 127.0.0.4/32 with a continent
//! alone; `regions_moved.mmdb` has 127.0.0.2/32 in CN with JS, and ::1/128 in CN; `no_country.mmdb` has the number of a network.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bumpalo::Bump;
use expect_test::{Expect, expect};
use prometheus::Registry;
use proptest::prelude::*;
use web::client_address::Client;
use wire::event::{KeylessScan, Merchants, keyless_scan};

use super::geoip::{Database, Geoip};
use super::map::RegionMap;
use super::{RegionSources, Regions, is_region};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A client, and whether a trusted proxy speaks for it.
fn client(text: &str, is_proxied: bool) -> Client {
    Client { is_proxied, ..Client::peer(address(text)) }
}

fn map(text: &str) -> Result<RegionMap, String> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("a file");
    let path = file.path().display().to_string();
    RegionMap::open(file.path()).map_err(|error| error.to_string().replace(&path, "FILE"))
}

fn regions(header: Option<&'static str>, geoip: Option<&Path>, rows: Option<&str>) -> Regions {
    let sources = RegionSources {
        header: header.map(HeaderName::from_static),
        geoip: geoip.map(|path| Geoip::open(path).expect("a database")),
        map: rows.map(|rows| map(rows).expect("a table")),
    };
    Regions::new(sources, &Registry::new()).expect("registered once")
}

/// The region of a request with these headers.
fn find(regions: &Regions, client: Client, lines: &[(&'static str, &[u8])]) -> Option<String> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value).expect("a value"));
    }
    regions.find(&headers, Some(&client)).map(std::borrow::Cow::into_owned)
}

#[test]
fn address_gives_country_and_first_subdivision() {
    let regions = regions(None, Some(&data("regions.mmdb")), None);
    for (text, wanted) in [
        ("127.0.0.2", Some("CN-ZJ")),
        ("::ffff:127.0.0.2", Some("CN-ZJ")),
        ("127.0.0.3", Some("US-CA")),
        ("2001:db8::7", Some("CN-ZJ")),
        ("::1", Some("CN")),
        ("127.0.0.4", None),
        ("127.0.0.1", None),
        ("2001:db9::7", None),
    ] {
        assert_eq!(find(&regions, client(text, false), &[]).as_deref(), wanted, "{text}");
    }
    assert_eq!(regions.find(&HeaderMap::new(), None), None);
    let by = |source| regions.metrics.found.with_label_values(&[source]).get();
    assert_eq!(["header", "geoip", "unmapped", "none"].map(by), [0, 5, 0, 3]);
    assert!(regions.metrics.geoip_age.get() >= 0);
}

#[test]
fn header_of_trusted_proxy_goes_before_address() {
    let regions = regions(Some("x-region"), Some(&data("regions.mmdb")), None);
    let check = |is_proxied, lines: &[(&'static str, &[u8])], wanted: &str| {
        assert_eq!(find(&regions, client("127.0.0.2", is_proxied), lines).as_deref(), Some(wanted), "{lines:?}");
    };
    check(true, &[("x-region", b"330100")], "330100");
    check(true, &[("X-Region", "浙江".as_bytes())], "浙江");
    check(true, &[("x-region", &[b'7'; 64])], &"7".repeat(64));
    // The nearest proxy's line is the last.
    check(true, &[("x-region", b"110000"), ("x-region", b"330100")], "330100");
    // A proxy that says nothing leaves it to the address.
    check(true, &[], "CN-ZJ");
    check(true, &[("x-region", b"")], "CN-ZJ");
    let ignored = |reason| regions.metrics.ignored.with_label_values(&[reason]).get();
    assert_eq!(["untrusted", "invalid"].map(ignored), [0, 0]);
    for value in [&[b'7'; 65][..], b"a\tb", b"\xff\xfe", "\u{85}".as_bytes()] {
        check(true, &[("x-region", value)], "CN-ZJ");
    }
    assert_eq!(["untrusted", "invalid"].map(ignored), [0, 4]);
    check(false, &[("x-region", b"330100")], "CN-ZJ");
    assert_eq!(["untrusted", "invalid"].map(ignored), [1, 4]);
}

#[test]
fn header_of_stranger_gives_no_region() {
    let regions = regions(Some("x-region"), None, None);
    assert_eq!(find(&regions, client("127.0.0.2", false), &[("x-region", b"330100")]), None);
    assert_eq!(find(&regions, client("127.0.0.2", true), &[("x-region", b"330100")]).as_deref(), Some("330100"));
    let none = self::regions(None, None, None);
    assert_eq!(find(&none, client("127.0.0.2", true), &[("x-region", b"330100")]), None);
}

#[test]
fn table_gives_the_region_of_either() {
    let rows = "\u{feff}from,region\r\nCN-ZJ,33\r\n\r\n\"HZ, old\",330100\r\n,\r\nhz,1\r\n";
    let regions = regions(Some("x-region"), Some(&data("regions.mmdb")), Some(rows));
    let check = |text, lines: &[(&'static str, &[u8])], wanted: Option<&str>| {
        assert_eq!(find(&regions, client(text, true), lines).as_deref(), wanted, "{text} {lines:?}");
    };
    check("127.0.0.2", &[], Some("33"));
    check("127.0.0.3", &[], None);
    check("127.0.0.3", &[("x-region", b"HZ, old")], Some("330100"));
    // Another case is another text; what the table lacks is no region, whatever the address says.
    check("127.0.0.2", &[("x-region", b"HZ")], None);
    check("127.0.0.2", &[("x-region", b"hz")], Some("1"));
    let by = |source| regions.metrics.found.with_label_values(&[source]).get();
    assert_eq!(["header", "geoip", "unmapped", "none"].map(by), [2, 1, 2, 0]);
}

#[test]
fn mistakes_in_a_table_are_all_named() {
    let check = |text: &str, expect: &Expect| expect.assert_eq(&map(text).expect_err("mistakes"));
    let long = "x".repeat(65);
    check(
        &format!("from,region\nCN-ZJ,33\nCN\n\nCN-ZJ,34\n{long},1\nUS,\"a\tb\"\nDE, 49\nFR,\nIT,39,1\n"),
        &expect![[r#"
            --region-map FILE:3: has 1 cells: write two, from and region
            --region-map FILE:5: CN-ZJ stands in line 2 already: remove one
            --region-map FILE:6: from is no text of 1 to 64 bytes without control characters
            --region-map FILE:7: region is no text of 1 to 64 bytes without control characters
            --region-map FILE:8: region has blanks at an end: remove them
            --region-map FILE:9: region is no text of 1 to 64 bytes without control characters
            --region-map FILE:10: has 3 cells: write two, from and region"#]],
    );
    check("", &expect!["--region-map FILE:1: is empty: begin with the header from,region"]);
    check("region,from\nCN,1\n", &expect!["--region-map FILE:1: is no header: write from,region"]);
    check(
        "from,region\nCN,1\nUS,\"2\nDE,3\n",
        &expect!["--region-map FILE:3: has a quote that is not closed: close it, or write a quote within a cell twice"],
    );
    let wrong = map(&format!("from,region\n{}", "x\n".repeat(30))).expect_err("mistakes");
    assert!(wrong.ends_with("\n--region-map FILE: 10 more mistakes"), "{wrong}");
    let rows: String = (0..100_001).map(|row| format!("{row},1\n")).collect();
    let wrong = map(&format!("from,region\n{rows}")).expect_err("too many");
    assert!(wrong.contains("FILE:100002: is beyond the 100000 rows"), "{wrong}");
    assert!(RegionMap::open(Path::new("nothing.csv")).expect_err("none").to_string().contains("cannot be read"));
    let dir = tempfile::tempdir().expect("a directory");
    assert!(RegionMap::open(dir.path()).expect_err("none").to_string().contains("is no file"));
}

#[test]
fn replaced_database_applies_and_damaged_one_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("city.mmdb");
    let replace = |bytes: &[u8]| {
        std::fs::write(dir.path().join("new"), bytes).expect("a file");
        std::fs::rename(dir.path().join("new"), &path).expect("the same directory");
    };
    let [first, second] = ["regions.mmdb", "regions_moved.mmdb"].map(|name| std::fs::read(data(name)).expect("a file"));
    replace(&first);
    let regions = regions(None, Some(&path), None);
    let check = |wanted: &str, stale: i64| {
        regions.check();
        assert_eq!(find(&regions, client("127.0.0.2", false), &[]).as_deref(), Some(wanted));
        assert_eq!(regions.metrics.geoip_stale.get(), stale);
    };
    check("CN-ZJ", 0);
    replace(&second);
    check("CN-JS", 0);
    replace(&first[..first.len() / 2]);
    check("CN-JS", 1);
    check("CN-JS", 1);
    std::fs::remove_file(&path).expect("a file");
    check("CN-JS", 1);
    replace(&std::fs::read(data("no_country.mmdb")).expect("a file"));
    check("CN-JS", 1);
    // Written in place, with the same name and inode.
    std::fs::write(&path, &first).expect("a file");
    check("CN-ZJ", 0);
}

#[test]
fn file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = dir.path().join("text");
    std::fs::write(&text, "from,region\n").expect("a file");
    for (path, wanted) in [
        (dir.path().join("nothing"), "cannot be read: "),
        (dir.path().to_owned(), "is no file: give a database"),
        (text, "is damaged, or no database of countries: "),
        (data("no_country.mmdb"), "knows the country of no network: give a City or Country database"),
    ] {
        let error = Geoip::open(&path).expect_err("no database").to_string();
        assert!(error.starts_with(&format!("--geoip {}: {wanted}", path.display())), "{error}");
    }
}

/// Takes these bytes as a database and asks it; returns whether it was taken.
fn ask(bytes: &[u8]) -> bool {
    let Ok(database) = Database::new((0, 0, 0, 0), bytes.to_vec()) else { return false };
    for text in ["127.0.0.2", "127.0.0.3", "127.0.0.4", "255.255.255.255", "::1", "::", "2001:db8::7", "ffff::"] {
        if let Some(region) = database.region(address(text)) {
            assert!(is_region(&region), "{region:?}");
        }
    }
    true
}

#[test]
fn truncated_database_is_refused() {
    let whole = std::fs::read(data("regions.mmdb")).expect("a file");
    assert!(ask(&whole));
    // The last key of the metadata may be optional to a reader, but not to this one.
    assert!((0..whole.len()).all(|length| !ask(&whole[..length])));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn damaged_database_never_panics(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::weighted(0.3, any::<(prop::sample::Index, prop::sample::Index)>()),
    ) {
        let mut bytes = std::fs::read(data("regions.mmdb")).expect("a file");
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some((from, to)) = cut {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            bytes.drain(from.min(to)..from.max(to));
        }
        ask(&bytes);
    }

    #[test]
    fn bytes_that_are_no_database_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        is_marked in any::<bool>(),
    ) {
        let marker: &[u8] = if is_marked { b"\xab\xcd\xefMaxMind.com" } else { b"" };
        let at = bytes.len() / 2;
        ask(&[&bytes[..at], marker, &bytes[at..]].concat());
    }

    #[test]
    fn region_is_what_an_event_may_have(text in "\\PC{0,4}[\\x00-\\x20\u{7f}-\u{a1}]{0,1}[ -~]{0,64}") {
        let merchants = Merchants::new([("tea", "CNY")]);
        let scan = KeylessScan { merchant: "tea", shopper: "web:1", id: "1", code: "x", region: Some(&text) };
        let arena = Bump::new();
        let accepted = keyless_scan(scan, &merchants, &arena);
        prop_assert_eq!(accepted.is_ok(), is_region(&text));
        if let Ok(accepted) = accepted {
            prop_assert_eq!(accepted.event.region, Some(&*text));
        }
    }
}
