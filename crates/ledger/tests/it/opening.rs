//! Which databases can be opened as ledgers, and the errors of all others.

use std::path::Path;

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

/// Statements that copy the rows of a ledger of today's schema into tables of schema 2.
fn to_schema_2(tables: &[&str]) -> String {
    let copy = |table: &&str| {
        // Today's counters have a column more, which is 0 for sums as small as these.
        let columns = if *table == "counters" { "merchant, scope, key, day, metric, facts, value" } else { "*" };
        format!("INSERT INTO {table} SELECT {columns} FROM now_{table};")
    };
    let seen = "INSERT INTO seen SELECT merchant, code, time, shopper, region, outcome, campaign, entry, event
      FROM now_seen ORDER BY facts_of_code, place, item;";
    tables.iter().map(copy).collect::<String>() + seen
}

const TABLES: [&str; 11] = [
    "positions",
    "progress",
    "rules",
    "counters",
    "funnels",
    "postings",
    "orders",
    "members",
    "awards",
    "unlocking",
    "codes",
];

#[test]
fn ledger_of_schema_2_is_upgraded_and_continued() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("ledger.sqlite");
    let facts = facts(8, 300);
    half(&LedgerUrl::file(&file), &facts);
    let db = rusqlite::Connection::open(&file).expect("a database");
    let old = make_old(SQLITE_2, "ALTER TABLE");
    db.execute_batch(&old).expect("schema 2");
    drop(db);
    goes_on(&LedgerUrl::file(&file), &facts);

    let Some(postgres) = Postgres::shared() else { return };
    let to = url(&postgres.create_database("schema_2"));
    half(&to, &facts);
    postgres.sql("schema_2", &make_old(POSTGRES_2, "ALTER TABLE"));
    goes_on(&to, &facts);
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

/// Writes about half of the records.
fn half(url: &LedgerUrl, facts: &crate::traffic::Facts) {
    let mut writer = Writer::open(url, 0..PARTITIONS.facts).expect("a ledger");
    for partition in 0..PARTITIONS.facts {
        facts.add(&mut writer, partition, facts.0[usize::from(partition)].len() / 2);
    }
    writer.close().expect("closed");
}

/// Statements that replace today's tables by those of schema 2 with the same rows.
fn make_old(tables_2: &str, rename: &str) -> String {
    let mut sql = "DROP INDEX postings_by_order; DROP INDEX awards_by_code; DROP INDEX unlocking_by_shopper;
      DROP INDEX seen_by_code; "
        .to_owned();
    let all = TABLES.iter().chain(&["seen", "answers", "meta"]);
    // Schema 2 has no such table.
    sql.push_str("DROP TABLE alarms;");
    for table in all.clone() {
        sql.push_str(&format!("{rename} {table} RENAME TO now_{table};"));
    }
    // Postgres keeps the names of keys when their tables are renamed.
    if tables_2.contains("BYTEA") {
        for table in all.clone() {
            sql.push_str(&format!("ALTER INDEX IF EXISTS {table}_pkey RENAME TO now_{table}_pkey;"));
        }
    }
    sql.push_str(tables_2);
    sql.push_str(META_2);
    sql.push_str(&to_schema_2(&TABLES).replace("facts_of_code, ", ""));
    sql.push_str(
        "INSERT INTO answers SELECT hour, event, received, desk, told, code, campaign, prize, claim_time, claim_region
         FROM now_answers;",
    );
    for table in all {
        sql.push_str(&format!("DROP TABLE now_{table};"));
    }
    sql
}

fn goes_on(url: &LedgerUrl, facts: &crate::traffic::Facts) {
    let error = Ledger::open(url).expect_err("only a service upgrades it").to_string();
    assert!(error.contains("the ledger is of schema 2, this build works with schema 6: start `serve`"), "{error}");
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
        assert!(said.contains("the ledger is of schema 99, this build works with schema 6: use the build"), "{said}");
    }
    postgres.sql("newer", "UPDATE meta SET value = '6' WHERE key = 'schema'");
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
