//! Where there is no Kafka, tests say that they are skipped, or fail if they must not be.

use std::process::{Command, Output};

/// Another test of this binary, where there are no jars.
fn without_jars(must: bool) -> Output {
    let empty = tempfile::tempdir().expect("a directory");
    let mut test = Command::new(std::env::current_exe().expect("this binary"));
    test.args(["--exact", "clusters::a_broker_keeps_its_records_where_it_is_told", "--nocapture"]);
    test.env("MASHANG_KAFKA_JARS", empty.path()).env_remove("MASHANG_NO_SKIP");
    if must {
        test.env("MASHANG_NO_SKIP", "1");
    }
    test.output().expect("this binary runs")
}

#[test]
fn a_missing_kafka_is_said_and_is_a_failure_where_nothing_may_be_skipped() {
    let skipped = without_jars(false);
    let told = String::from_utf8_lossy(&skipped.stderr);
    assert!(skipped.status.success() && told.contains("skipped: kafka: "), "{told}");
    assert!(!without_jars(true).status.success());
}
