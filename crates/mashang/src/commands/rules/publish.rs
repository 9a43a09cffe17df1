//! `mashang rules publish`.

use std::sync::Arc;

use anyhow::{Context, Result};
use domain::model::rules::version_text;
use domain::protocol::publish::Registry as Published;
use eventlog::files::Files;
use eventlog::kafka::appender::{KafkaAppender, Metrics, Options};
use eventlog::kafka::consumer::KafkaConsumer;
use eventlog::kafka::topics::origin::meta;
use prometheus::Registry;
use wire::rules::{object, version};

use crate::cli::rules_args::RulesPublishArgs;
use crate::config::options::LogFormat;
use crate::process::logging::log_as;
use crate::process::output::print;
use crate::rules::files::read_all;
use crate::rules::publish::RulesPublisher;
use crate::rules::store::RulesStore;
use crate::store::{RULES, Store};

const CLIENT_ID: &str = "mashang-rules";

/// Publishes rules, one merchant after the other.
pub(crate) fn publish(args: &RulesPublishArgs, files: Arc<dyn Files>) -> Result<()> {
    let kafka = args.kafka.settings()?;
    let store = Store::of_option("store", &args.store)?;
    let given = read_all(&args.files, args.secrets.as_deref())?;
    log_as(LogFormat::Text, "warn");
    // Edges may not be allowed to write there.
    store.visitor_key()?;
    let meta = meta(&kafka)?;
    let mut consumer = KafkaConsumer::new(&kafka, &meta, CLIENT_ID)?;
    let appender = KafkaAppender::start(&kafka, CLIENT_ID, Options::edge(), &Metrics::new(&Registry::new()))?;
    let mut published = Published::default();
    let store = RulesStore::of_store(store.open(files)?, RULES);
    let mut publisher = RulesPublisher {
        meta: &meta,
        consumer: &mut consumer,
        appender: &appender,
        store: &store,
        registry: &mut published,
        because: args.because.as_ref(),
    };
    for (file, checked) in args.files.iter().zip(&given) {
        let merchant = &checked.rules.merchant;
        let (seq, is_new) = publisher.publish(file, checked).with_context(|| format!("rules of {merchant}"))?;
        let version = version_text(&version(&object(&checked.rules)));
        let how = if is_new { "published" } else { "in force already" };
        print(format_args!("{merchant}: version {version} {how}, number {seq}"))?;
    }
    Ok(())
}
