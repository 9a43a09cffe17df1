//! Settings: which may be overridden, and that no secret is shown.

use eventlog::error::LogError;
use eventlog::kafka::settings::Settings;
use eventlog::kafka::topics::origin::meta;
use testkit::kafka::{Kafka, Options};

use super::make;

fn with(name: &str, value: &str) -> Settings {
    let mut settings = Settings::new("127.0.0.1:1");
    settings.client.insert(name.to_owned(), value.to_owned());
    settings
}

#[test]
fn settings_of_guarantees_cannot_be_overridden() {
    for name in [
        "acks",
        "request.required.acks",
        "enable.idempotence",
        "enable.gapless.guarantee",
        "message.timeout.ms",
        "delivery.timeout.ms",
        "retries",
        "enable.auto.commit",
        "auto.offset.reset",
        "partition.assignment.strategy",
        "isolation.level",
        "transactional.id",
        "group.id",
        "group.instance.id",
        "bootstrap.servers",
        "check.crcs",
        "allow.auto.create.topics",
    ] {
        let error = with(name, "1").check().expect_err("refused").to_string();
        assert!(error.contains(&format!("the Kafka setting {name} is refused: it cannot be overridden: ")), "{error}");
    }
    for (name, value) in [("max.in.flight", "6"), ("batch.size", "2000000"), ("batch.size", "many")] {
        let mut settings = Settings::new("127.0.0.1:1");
        settings.producer.insert(name.to_owned(), value.to_owned());
        let error = settings.check().expect_err("refused").to_string();
        assert!(error.contains(name) && error.contains("at most"), "{error}");
    }
    let mut settings = with("socket.timeout.ms", "7000");
    settings.producer.extend([("queue.buffering.max.ms".to_owned(), "3".to_owned())]);
    settings.consumer.extend([("fetch.wait.max.ms".to_owned(), "30".to_owned())]);
    settings.check().expect("these may be overridden");
}

#[test]
fn unknown_setting_gives_the_error_of_librdkafka() {
    let error = with("no.such.setting", "1").check().expect_err("refused").to_string();
    assert!(error.contains("no.such.setting") && error.contains("No such configuration property"), "{error}");
    let error = with("socket.timeout.ms", "soon").check().expect_err("refused").to_string();
    assert!(error.contains("socket.timeout.ms"), "{error}");
    let error = Settings { prefix: "a b".to_owned(), ..Settings::new("x") }.check().expect_err("refused").to_string();
    assert!(error.contains("a b"), "{error}");
}

#[test]
fn secrets_are_not_shown() {
    for name in ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"] {
        let results = format!("{:?}", with(name, "hush"));
        assert!(results.contains(name) && !results.contains("hush"), "{results}");
    }
    let error = with("enable.ssl.certificate.verification", "hush").check().expect_err("refused").to_string();
    assert!(error.contains("enable.ssl.certificate.verification"), "{error}");
    let LogError::Setting { why, .. } = with("ssl.key.pem", "hush\0").check().expect_err("refused") else { panic!() };
    assert!(!why.contains("hush"), "{why}");
}

#[test]
fn unreachable_kafka_is_named_with_the_cause() {
    let error = meta(&with("reconnect.backoff.max.ms", "100")).expect_err("no process listens").to_string();
    assert!(error.contains("127.0.0.1:1") && error.contains("Connection refused"), "{error}");
}

#[test]
fn users_and_certificates_are_settings() {
    let Some(kafka) = Kafka::start(&Options { secure: true, ..Options::default() }) else { return };
    let secure = kafka.secure().expect("it was asked for");
    let mut settings = Settings::new(&secure.sasl);
    let ca = secure.ca.display().to_string();
    for (name, value) in [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", &secure.user),
        ("sasl.password", &secure.password),
        ("ssl.ca.location", &ca),
    ] {
        settings.client.insert(name.to_owned(), value.to_owned());
    }
    let created = make(&settings);
    assert_eq!(created.report.mistakes, Vec::<String>::new());
    settings.client.insert("sasl.password".to_owned(), "another-one".to_owned());
    let error = meta(&settings).expect_err("the password is wrong").to_string();
    assert!(error.contains("uthentication") && !error.contains("another-one"), "{error}");
}
