//! `mashang rules publish`.

use std::sync::Arc;

use anyhow::{Context, Result};
use domain::model::rules::version_text;
use domain::publish::Registry as Published;
use log::files::Files;
use log::kafka::appender::{KafkaAppender, Metrics, Options};
use log::kafka::feed::KafkaFeed;
use log::kafka::topics::origin::meta;
use prometheus::Registry;
use wire::rules::{object, version};

use super::args::RulesPublishArgs;
use super::settings::kafka_and_store;
use crate::options::LogFormat;
use crate::publish::Press;
use crate::rules::read_all;
use crate::serve::tell_as;
use crate::tell::answer;

const CLIENT_ID: &str = "mashang-rules";

/// Publishes rules, one merchant after the other.
pub(crate) fn publish(args: RulesPublishArgs, files: Arc<dyn Files>) -> Result<()> {
    let (kafka, store) = kafka_and_store(args.kafka, args.store)?;
    let given = read_all(&args.files, args.secrets.as_deref())?;
    tell_as(LogFormat::Text, "warn");
    let meta = meta(&kafka)?;
    let mut feed = KafkaFeed::new(&kafka, &meta, CLIENT_ID)?;
    let appender = KafkaAppender::start(&kafka, CLIENT_ID, Options::edge(), &Metrics::new(&Registry::new()))?;
    let mut published = Published::default();
    let shelf = store.shelf(files);
    let mut press =
        Press { meta: &meta, feed: &mut feed, appender: &appender, shelf: &shelf, registry: &mut published };
    for checked in &given {
        let merchant = &checked.rules.merchant;
        let (order, is_new) = press.publish(&checked.rules).with_context(|| format!("rules of {merchant}"))?;
        let version = version_text(&version(&object(&checked.rules)));
        let how = if is_new { "published" } else { "in force already" };
        answer(format_args!("{merchant}: version {version} {how}, number {order}"))?;
    }
    Ok(())
}
