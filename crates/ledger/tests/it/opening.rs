//! Which databases can be opened as ledgers, and the errors of all others.

use std::collections::BTreeMap;
use std::path::Path;

use domain::frame::Frame;
use domain::model::fact::{Fact, Metric, Scope, What};
use ledger::error::LedgerError;
use ledger::export::{Format, Table};
use ledger::reader::Ledger;
use ledger::url::LedgerUrl;
use ledger::writer::Writer;
use testkit::postgres::{PASSWORD, PASSWORD_IN_URL, Postgres, Wanted};

use crate::traffic::{PARTITIONS, apply, facts};

/// The tables of schema 2 as released.
const SQLITE_2: &str = include_str!("../../src/schema/2.sqlite.sql");
const POSTGRES_2: &str = include_str!("../../src/schema/2.postgres.sql");
const META_2: &str = "INSERT INTO meta VALUES ('schema', '2'), ('origin', 'serve');";

fn url(text: &str) -> LedgerUrl {
    text.parse().expect("a URL")
}

#[test]
fn concurrent_writers_open_an_empty_database() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut urls = vec![LedgerUrl::file(&dir.path().join("ledger.sqlite"))];
    urls.extend(Postgres::shared().map(|p| url(&p.create_database("at_once"))));
    let facts = facts(7, 200);
    for url in urls {
        std::thread::scope(|scope| {
            for partition in 0..PARTITIONS.facts {
                let (url, facts) = (&url, &facts);
                scope.spawn(move || {
                    let mut writer = Writer::open(url, [partition]).expect("every writer opens it");
                    facts.add_all(&mut writer, 3);
                    writer.close().expect("closed");
                });
            }
        });
        assert_eq!(facts.everything(&url), facts.undisturbed());
    }
}

/// The tables that schemas 2 and 6 have as today's.
const TABLES: [&str; 10] =
    ["positions", "progress", "rules", "counters", "funnels", "postings", "orders", "members", "awards", "unlocking"];

/// The steps from schema 2 to 6 as released.
const SQLITE_3_TO_6: &str = concat!(
    include_str!("../../src/schema/3.sqlite.sql"),
    include_str!("../../src/schema/4.sqlite.sql"),
    include_str!("../../src/schema/5.sqlite.sql"),
    include_str!("../../src/schema/6.sqlite.sql")
);
const POSTGRES_3_TO_6: &str = concat!(
    include_str!("../../src/schema/3.postgres.sql"),
    include_str!("../../src/schema/4.postgres.sql"),
    include_str!("../../src/schema/5.postgres.sql"),
    include_str!("../../src/schema/6.postgres.sql")
);

#[test]
fn ledger_of_schema_2_is_upgraded_and_continued() {
    older_is_upgraded(2);
}

#[test]
fn ledger_of_schema_6_is_upgraded_and_continued() {
    older_is_upgraded(6);
}

fn older_is_upgraded(schema: i64) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("ledger.sqlite");
    let facts = facts(8, 300);
    half(&LedgerUrl::file(&file), &facts);
    let db = rusqlite::Connection::open(&file).expect("a database");
    let steps = if schema == 6 { [SQLITE_2, SQLITE_3_TO_6].concat() } else { SQLITE_2.to_owned() };
    db.execute_batch(&make_old(schema, &steps, &facts)).expect("an older schema");
    drop(db);
    goes_on(schema, &LedgerUrl::file(&file), &facts);

    let Some(postgres) = Postgres::shared() else { return };
    let name = format!("schema_{schema}");
    let to = url(&postgres.create_database(&name));
    half(&to, &facts);
    let steps = if schema == 6 { [POSTGRES_2, POSTGRES_3_TO_6].concat() } else { POSTGRES_2.to_owned() };
    postgres.sql(&name, &make_old(schema, &steps, &facts));
    goes_on(schema, &to, &facts);
}

/// Positions without a checksum are continued; there is nothing to compare.
#[test]
fn ledger_of_schema_8_is_upgraded_and_continued() {
    const OLD: &str = "ALTER TABLE progress DROP COLUMN checksum; UPDATE meta SET value = '8' WHERE key = 'schema';";
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("ledger.sqlite");
    let facts = facts(8, 300);
    half(&LedgerUrl::file(&file), &facts);
    rusqlite::Connection::open(&file).expect("a database").execute_batch(OLD).expect("an older schema");
    goes_on(8, &LedgerUrl::file(&file), &facts);

    let Some(postgres) = Postgres::shared() else { return };
    let to = url(&postgres.create_database("schema_8"));
    half(&to, &facts);
    postgres.sql("schema_8", OLD);
    goes_on(8, &to, &facts);
}

/// A sum near the end of what schema 4 could hold goes on beyond it.
#[test]
fn large_counter_of_schema_2_is_upgraded_and_continued() {
    const KEY: &str = "INSERT INTO counters VALUES ('m', 'store', 's', 20000, 'gmv', 0, 9223372036854775807),
      ('m', 'store', 't', 20000, 'gmv', 0, -9223372036854775807);";
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("ledger.sqlite");
    let db = rusqlite::Connection::open(&file).expect("a database");
    db.execute_batch(&[SQLITE_2, META_2, KEY].concat()).expect("schema 2");
    drop(db);
    let mut urls = vec![LedgerUrl::file(&file)];
    if let Some(postgres) = Postgres::shared() {
        urls.push(url(&postgres.create_database("large")));
        postgres.sql("large", &[POSTGRES_2, META_2, KEY].concat());
    }
    for url in urls {
        let mut writer = Writer::open(&url, [0]).expect("upgraded");
        let count = |key, delta| Fact {
            merchant: "m",
            what: What::Count { scope: Scope::Store, key, day: 20_000, metric: Metric::Gmv, delta },
        };
        apply(&mut writer, 0, 1, &[count("s", i64::MAX), count("t", -1)]);
        writer.close().expect("closed");
        let mut said = Vec::new();
        Ledger::open(&url).expect("a ledger").export(Table::Counters, Format::Csv, &mut said).expect("exported");
        let said = String::from_utf8(said).expect("UTF-8");
        let values: Vec<_> = said.lines().skip(1).filter_map(|row| row.rsplit(',').next()).collect();
        assert_eq!(values, ["18446744073709551614", "-9223372036854775808"], "{url}");
    }
}

/// The records of a partition that [`half`] writes.
fn first_half(facts: &crate::traffic::Facts, partition: u16) -> &[Vec<u8>] {
    let records = &facts.0[usize::from(partition)];
    &records[..records.len() / 2]
}

/// Writes about half of the records.
fn half(url: &LedgerUrl, facts: &crate::traffic::Facts) {
    let mut writer = Writer::open(url, 0..PARTITIONS.facts).expect("a ledger");
    for partition in 0..PARTITIONS.facts {
        facts.add(&mut writer, partition, first_half(facts, partition).len());
    }
    writer.close().expect("closed");
}

/// Statements that replace today's tables by those of an older schema with the same contents.
fn make_old(schema: i64, steps: &str, facts: &crate::traffic::Facts) -> String {
    let is_postgres = steps.contains("BYTEA");
    let mut sql = "DROP INDEX postings_by_order; DROP INDEX awards_by_code; DROP INDEX unlocking_by_shopper;
      DROP TABLE segments; DROP TABLE segment_blocks; ALTER TABLE alarms RENAME TO now_alarms;"
        .to_owned();
    let all = TABLES.iter().chain(&["meta"]);
    for table in all.clone() {
        sql += &format!("ALTER TABLE {table} RENAME TO now_{table};");
    }
    // Postgres keeps the names of keys when their tables are renamed.
    if is_postgres {
        for table in all.clone().chain(&["alarms"]) {
            sql += &format!("ALTER INDEX IF EXISTS {table}_pkey RENAME TO now_{table}_pkey;");
        }
    }
    sql += steps;
    sql += &META_2.replace('2', &schema.to_string());
    for table in TABLES {
        // Counters have a column more since schema 5, which is 0 for sums as small as these.
        let columns = "merchant, scope, key, day, metric, facts, value";
        sql += &match table {
            "counters" => format!("INSERT INTO counters({columns}) SELECT {columns} FROM now_counters;"),
            // The checksum came with schema 9.
            "progress" => "INSERT INTO progress SELECT facts, next, received FROM now_progress;".to_owned(),
            _ => format!("INSERT INTO {table} SELECT * FROM now_{table};"),
        };
    }
    if schema == 6 {
        sql += "INSERT INTO alarms SELECT * FROM now_alarms;";
    }
    for table in all.chain(&["alarms"]) {
        sql += &format!("DROP TABLE now_{table};");
    }
    sql + &old_rows(schema, is_postgres, facts)
}

/// Statements that insert what is in segments today, from the facts themselves.
fn old_rows(schema: i64, is_postgres: bool, facts: &crate::traffic::Facts) -> String {
    let text = |text: Option<&str>| text.map_or("NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''")));
    let int = |int: Option<i64>| int.map_or("NULL".to_owned(), |int| int.to_string());
    let event = |key: u128| if is_postgres { format!("'\\x{key:032x}'") } else { format!("x'{key:032x}'") };
    let (mut codes, mut answers, mut seen) = (BTreeMap::new(), BTreeMap::new(), String::new());
    for partition in 0..PARTITIONS.facts {
        for (offset, record) in first_half(facts, partition).iter().enumerate() {
            let frame = Frame::open(record).expect("a frame");
            for (item, fact) in frame.items::<Fact<'_>>().enumerate() {
                let Fact { merchant, what } = fact.expect("a fact");
                let granted = match &what {
                    What::Granted { kind, amount, .. } => (Some(kind.as_str()), *amount),
                    _ => (None, None),
                };
                match what {
                    What::Code { code, kind, scans, first_time, first_region } => {
                        let kind = kind.as_str();
                        let [m, code, kind, region] = [Some(merchant), Some(code), Some(kind), first_region].map(text);
                        let row = format!("{kind}, {scans}, {first_time}, {region}");
                        codes.insert(format!("{m}, {code}"), row);
                    }
                    What::Seen { key, code, time, shopper, region, outcome, campaign, entry } => {
                        let texts =
                            [Some(merchant), Some(code), Some(shopper), region, Some(outcome.as_str()), campaign];
                        let [m, code, shopper, region, outcome, campaign] = texts.map(text);
                        let (entry, event) = (int(entry.map(u64::cast_signed)), event(key));
                        let position = if schema == 6 { format!(", {offset}, {item}") } else { String::new() };
                        seen += &format!(
                            "INSERT INTO seen VALUES ({m}, {code}, {time}, {shopper}, {region}, {outcome}, {campaign}, {entry}, {event}{position});"
                        );
                    }
                    What::Answer(a) | What::Granted { answer: a, .. } => {
                        let whose = a.shopper.map(|shopper| (merchant, shopper));
                        let (claim, region) = a.claim.map_or((None, None), |(time, region)| (Some(time), region));
                        let texts = [Some(a.result.as_str()), a.code, a.campaign, a.prize, region].map(text);
                        let [told, code, campaign, prize, region] = texts;
                        let mut row = format!(
                            "{}, {}, {told}, {code}, {campaign}, {prize}, {}, {region}",
                            a.received,
                            a.desk,
                            int(claim)
                        );
                        if schema == 6 {
                            let [m, shopper, kind] = [whose.map(|w| w.0), whose.map(|w| w.1), granted.0].map(text);
                            row += &format!(", {m}, {shopper}, {kind}, {}", int(granted.1));
                        }
                        let at = format!("{}, {}", a.received.div_euclid(3_600_000), event(a.key));
                        let rank = (a.received, a.desk);
                        let latest = answers.entry(at).or_insert_with(|| (rank, row.clone()));
                        if rank >= latest.0 {
                            *latest = (rank, row);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    let codes = codes.into_iter().map(|(key, row)| format!("INSERT INTO codes VALUES ({key}, {row});"));
    let answers = answers.into_iter().map(|(key, (_, row))| format!("INSERT INTO answers VALUES ({key}, {row});"));
    seen + &codes.collect::<String>() + &answers.collect::<String>()
}

fn goes_on(schema: i64, url: &LedgerUrl, facts: &crate::traffic::Facts) {
    let error = Ledger::open(url).expect_err("only a service upgrades it").to_string();
    let wanted = format!("the ledger is of schema {schema}, this build works with schema 9: start `serve`");
    assert!(error.contains(&wanted), "{error}");
    let mut writer = Writer::open(url, 0..PARTITIONS.facts).expect("upgraded");
    facts.add_all(&mut writer, 7);
    writer.close().expect("closed");
    assert_eq!(facts.everything(url), facts.undisturbed());
}

#[test]
fn newer_ledger_is_refused_and_older_writer_stops() {
    let Some(postgres) = Postgres::shared() else { return };
    let ledger_url = url(&postgres.create_database("newer"));
    let facts = facts(9, 100);
    let mut writer = Writer::open(&ledger_url, [0]).expect("a ledger");
    facts.add(&mut writer, 0, 2);
    writer.commit().expect("written");
    postgres.sql("newer", "UPDATE meta SET value = '99' WHERE key = 'schema'");
    facts.add(&mut writer, 0, 2);
    for error in [
        writer.commit().expect_err("it is too old"),
        Writer::open(&ledger_url, [0]).expect_err("it is too old"),
        Ledger::open(&ledger_url).expect_err("it is too old"),
    ] {
        let said = error.to_string();
        assert!(said.contains("the ledger is of schema 99, this build works with schema 9: use the build"), "{said}");
    }
    postgres.sql("newer", "UPDATE meta SET value = '9' WHERE key = 'schema'");
    writer.commit().expect("the schema is right again");
    assert_eq!(writer.committed(0), 4);
}

#[test]
fn errors_name_the_database_without_its_password() {
    let Some(postgres) = Postgres::shared() else { return };
    let good = postgres.create_database("places");
    let said = |text: &str| {
        let error = Ledger::open(&url(text)).expect_err("wrong");
        let said = format!("{error} {error:?} {}", error.cause());
        assert!(!said.contains("s3cr3t") && !said.contains("wrong-pw"), "{said}");
        (error.to_string(), error.is_passing())
    };
    let (empty, _) = said(&good);
    assert!(
        empty.ends_with(
            "/places: there is no ledger in this database yet: start `ledger` on it once, which makes the tables"
        ),
        "{empty}"
    );
    let (password, is_passing) = said(&good.replace("s3cr3t", "wrong-pw"));
    assert!(password.contains("password authentication failed for user \"mashang\"") && !is_passing, "{password}");
    assert!(password.contains("correct the user and password"), "{password}");
    let (database, is_passing) = said(&postgres.url("nowhere"));
    assert!(database.contains("database \"nowhere\" does not exist") && !is_passing, "{database}");
    let (port, is_passing) = said("postgres://u:s3cr3t@127.0.0.1:1/d");
    assert!(port.starts_with("postgres://u@127.0.0.1:1/d: ") && is_passing, "{port}");
    let (none, _) = said(&good.replace(&format!(":{PASSWORD_IN_URL}"), ""));
    assert!(none.contains("password"), "{none}");

    postgres.sql("places", "CREATE TABLE somebody_elses(a int)");
    let occupied = Writer::open(&url(&good), [0]).expect_err("occupied");
    assert!(matches!(occupied, LedgerError::Occupied(_)), "{occupied}");
    // By a socket too, which has no TLS.
    let socket = Writer::open(&url(&postgres.socket_url("places")), [0]).expect_err("occupied");
    assert!(matches!(socket, LedgerError::Occupied(_)), "{socket}");
    // A schema of its own is enough.
    postgres.sql("places", "CREATE SCHEMA ours");
    let own = url(&format!("{good}?options=-c%20search_path%3Dours"));
    Writer::open(&own, [0]).expect("a ledger of its own").close().expect("closed");
    Ledger::open(&own).expect("a ledger");
}

/// Environment variable with the URL for the child process of [`password_comes_from_the_environment`].
const CHILD_URL: &str = "MASHANG_TEST_LEDGER";

#[test]
fn password_comes_from_the_environment() {
    let Some(postgres) = Postgres::shared() else { return };
    let url = postgres.create_database("environment").replace(&format!(":{PASSWORD_IN_URL}@"), "@");
    let child = |password: &str| {
        let mut child = std::process::Command::new(std::env::current_exe().expect("this test"));
        child.args(["--ignored", "--exact", "opening::the_child"]).env(CHILD_URL, &url).env("PGPASSWORD", password);
        child.output().expect("it runs")
    };
    assert!(child(PASSWORD).status.success());
    let wrong = child("wrong-pw");
    assert!(!wrong.status.success() && !String::from_utf8_lossy(&wrong.stdout).contains("wrong-pw"));
}

#[test]
#[ignore = "part of another test"]
fn the_child() {
    let Ok(child_url) = std::env::var(CHILD_URL) else { return };
    Writer::open(&url(&child_url), [0]).expect("the password is right");
}

#[test]
fn reader_needs_only_the_right_to_read() {
    let Some(postgres) = Postgres::shared() else { return };
    let owner = postgres.create_database("roles");
    let reader = owner.replace(&format!("mashang:{PASSWORD_IN_URL}"), "reader:s3cr3t");
    postgres.sql(
        "roles",
        "CREATE ROLE reader LOGIN PASSWORD 's3cr3t'; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader;",
    );
    let facts = facts(12, 100);
    let mut writer = Writer::open(&url(&owner), 0..PARTITIONS.facts).expect("a ledger");
    facts.add_all(&mut writer, usize::MAX);
    assert_eq!(facts.everything(&url(&reader)), facts.undisturbed());
    let refused = Writer::open(&url(&reader), [0]).expect_err("it may not write");
    let said = refused.to_string();
    assert!(!refused.is_passing() && said.contains("permission denied") && said.contains("docs/ledger.md"), "{said}");
}

#[test]
fn ledger_may_be_dropped_on_a_runtime_thread() {
    let Some(postgres) = Postgres::shared() else { return };
    let ledger_url = url(&postgres.create_database("runtime"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    runtime.block_on(async {
        let opened = tokio::task::spawn_blocking(move || {
            let writer = Writer::open(&ledger_url, [0]).expect("a ledger");
            (writer, Ledger::open(&ledger_url).expect("a ledger"))
        });
        let (writer, mut ledger) = opened.await.expect("no panic");
        drop(writer);
        let (ledger, progress) = tokio::task::spawn_blocking(move || (ledger.progress(), ledger))
            .await
            .map(|(p, l)| (l, p))
            .expect("no panic");
        assert_eq!(progress.expect("the progress"), [(0, 0)]);
        drop(ledger);
    });
}

#[test]
fn tls_follows_the_url() {
    let Some(postgres) = Postgres::start(Wanted { tls: true, ..Wanted::default() }) else { return };
    let by_address = postgres.create_database("tls");
    let by_name = by_address.replace("127.0.0.1", "localhost");
    let root = std::fs::read(postgres.root()).expect("a certificate");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("root.crt");
    std::fs::write(&file, root).expect("written");
    let open = |base: &str, query: &str| Writer::open(&url(&format!("{base}?{query}")), [0]).map(drop);
    let vouched = format!("sslrootcert={}", file.display());
    for (base, query) in [
        (&by_address, "sslmode=disable".to_owned()),
        (&by_address, String::new()),
        (&by_address, "sslmode=require".to_owned()),
        (&by_address, format!("sslmode=verify-ca&{vouched}")),
        (&by_name, format!("sslmode=verify-full&{vouched}")),
    ] {
        open(base, &query).unwrap_or_else(|error| panic!("{query}: {error}"));
    }
    for (base, query) in [
        (&by_name, "sslmode=verify-full".to_owned()),
        (&by_name, "sslmode=verify-ca".to_owned()),
        (&by_address, format!("sslmode=verify-full&{vouched}")),
    ] {
        let error = open(base, &query).expect_err("not trusted");
        assert!(!error.is_passing() && error.to_string().contains("TLS"), "{query}: {error}");
    }
    let plain = Postgres::shared().map(|p| p.url("postgres") + "?sslmode=require");
    if let Some(plain) = plain {
        let error = Ledger::open(&url(&plain)).expect_err("the server has no TLS").to_string();
        assert!(error.contains("TLS"), "{error}");
    }
    let missing = open(&by_name, "sslmode=verify-ca&sslrootcert=/nowhere").expect_err("no such file");
    assert!(missing.to_string().contains("the files of TLS cannot be used"), "{missing}");
    assert!(Path::new(&file).exists());
}
