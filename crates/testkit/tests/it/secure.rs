//! Clients that use TLS and passwords.

use testkit::kafka::{Kafka, Options, Secure};

use super::client::{Sender, read, topic};

fn settings<'a>(secure: &'a Secure, mechanism: &'a str, password: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", secure.ca.to_str().expect("UTF-8")),
        ("sasl.mechanism", mechanism),
        ("sasl.username", &secure.user),
        ("sasl.password", password),
    ]
}

#[test]
fn tls_plain_and_scram_work_without_wrong_passwords() {
    let Some(kafka) = Kafka::start(&Options { secure: true, ..Options::default() }) else { return };
    let secure = kafka.secure().expect("as wanted");
    topic(&kafka, "secure");
    let tls = [("security.protocol", "SSL"), ("ssl.ca.location", secure.ca.to_str().expect("UTF-8"))];
    assert_eq!(Sender::new(&secure.tls, "tls", "secure", &tls).send("tls"), Ok(0));
    let plain = settings(secure, "PLAIN", &secure.password);
    assert_eq!(Sender::new(&secure.sasl, "plain", "secure", &plain).send("plain"), Ok(1));
    let scram = settings(secure, "SCRAM-SHA-512", &secure.password);
    assert_eq!(Sender::new(&secure.sasl, "scram", "secure", &scram).send("scram"), Ok(2));
    assert_eq!(read(&secure.sasl, "secure", &scram), ["tls", "plain", "scram"]);

    let mut wrong = settings(secure, "SCRAM-SHA-512", "guessed").to_vec();
    wrong.push(("message.timeout.ms", "3000"));
    assert!(Sender::new(&secure.sasl, "wrong", "secure", &wrong).send("wrong").is_err());
    // The client does not know the certificate's authority.
    let stranger = [("security.protocol", "SSL"), ("message.timeout.ms", "3000")];
    assert!(Sender::new(&secure.tls, "stranger", "secure", &stranger).send("stranger").is_err());
}
