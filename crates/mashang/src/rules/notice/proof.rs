//! How a draw is drawn, how anyone recomputes it, and the commits that this stands on.

use data_encoding::HEXLOWER;
use domain::model::rules::{Campaign, Mode, Rules, version_text};

use super::campaign::{code_kinds, drawing};
use super::html::Html;
use super::texts::{Texts, fill};

/// Writes the arithmetic of the draw, the commands that recompute it, and what stays.
pub(super) fn proof(html: &mut Html, texts: &Texts, rules: &Rules, campaign: &Campaign) {
    let drawing = drawing(texts, campaign.mode);
    html.element("h3", texts.how);
    html.element("p", drawing.text);
    html.element("pre", drawing.formula);
    if campaign.prizes.iter().any(|prize| prize.amount_max > prize.amount) {
        html.element("p", texts.how_amount);
        html.element("pre", texts.formula_amount);
    }
    html.element("h3", texts.verify);
    html.element("p", texts.verify_note);
    let mut steps = vec![&texts.verify_rules, &texts.verify_secret];
    if campaign.mode == Mode::Moments {
        steps.push(&texts.verify_moments);
    } else {
        steps.push(&texts.verify_awards);
        let (has_item, has_other) = code_kinds(rules, campaign);
        steps.extend(has_item.then_some(&texts.verify_item));
        steps.extend(has_other.then_some(&texts.verify_entry));
    }
    html.around("ol", |html| {
        for step in steps {
            html.around("li", |html| {
                html.element("span", step.text);
                html.element("pre", &fill(step.command, &[("campaign", &quoted(&campaign.id))]));
            });
        }
    });
    html.element("h3", texts.promise);
    html.element("p", texts.promise_text);
}

/// Writes the version and the commits.
pub(super) fn commits(html: &mut Html, texts: &Texts, (rules, sha256): (&Rules, &[u8; 32]), campaign: &Campaign) {
    html.element("h3", texts.commits);
    html.around("dl", |html| {
        let mut code = |label: &str, hash: &str| {
            html.element("dt", label);
            html.around("dd", |html| html.element("code", hash));
        };
        code(texts.version, &version_text(sha256));
        code(texts.commit_sha256, &HEXLOWER.encode(sha256));
        code(texts.commit_campaign, &campaign.commit);
        for batch in rules.batches.iter().filter(|batch| batch.campaign.as_ref() == Some(&campaign.id)) {
            code(&fill(texts.commit_batch, &[("batch", &batch.number.to_string())]), &batch.commit);
        }
    });
}

/// A word of a command line.
fn quoted(word: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !word.starts_with('-') && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
