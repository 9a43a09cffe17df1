//! The public notice of draws: what must be made public before a draw begins, as one HTML page that needs no other file.
//!
//! Pure: it makes a text of rules. Every text of the rules is escaped where it is written, in `html`.
//!
//! - `campaign`: a draw's part of the page
//! - `prizes`: its prizes, and their numbers or odds
//! - `proof`: how it is drawn, and how anyone recomputes that
//! - `language`, `texts`, `zh`, `en`: what there is to say, in each language
//! - `html`, `numbers`: how it is written

mod campaign;
mod html;
pub(crate) mod language;
mod numbers;
mod prizes;
mod proof;
#[cfg(test)]
mod tests;
mod texts;

use std::slice::from_ref;

use domain::model::rules::{Campaign, Rules, version_text};

use html::Html;
use language::Language;
use texts::{Texts, fill};

/// What a notice is made of.
pub(crate) struct Notice<'r> {
    pub(crate) rules: &'r Rules,
    /// SHA-256 of the published object.
    pub(crate) sha256: [u8; 32],
    /// The draws of these rules that are on the page.
    pub(crate) campaigns: Vec<&'r Campaign>,
}

/// The keys that a notice needs and a campaign lacks.
pub(crate) fn missing(campaign: &Campaign) -> impl Iterator<Item = &'static str> + use<> {
    let keys = [
        ("organiser", campaign.organiser.is_none()),
        ("contact", campaign.contact.is_none()),
        ("redeem", campaign.redeem.is_none()),
    ];
    keys.into_iter().filter(|(_, is_missing)| *is_missing).map(|(key, _)| key)
}

impl Notice<'_> {
    /// The page.
    pub(crate) fn page(&self, language: Language) -> String {
        let texts = language.texts();
        let mut html = Html::default();
        html.raw("<!DOCTYPE html>\n");
        html.raw(match language {
            Language::Zh => "<html lang=\"zh-CN\">",
            Language::En => "<html lang=\"en\">",
        });
        html.around("head", |html| {
            html.raw("<meta charset=\"utf-8\">");
            html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
            // Nothing is loaded, and no script runs, even if a text were not escaped.
            html.raw(
                "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            );
            html.element("title", &format!("{} · {}", texts.title, self.rules.merchant));
            html.raw("<style>\n");
            html.raw(include_str!("style.css"));
            html.raw("</style>");
        });
        html.around("body", |html| {
            html.element("h1", texts.title);
            html.around("dl", |html| {
                html.pair(texts.merchant, from_ref(&self.rules.merchant));
                html.pair(texts.version, &[version_text(&self.sha256)]);
                html.pair(texts.currency, from_ref(&self.rules.currency));
                html.pair(texts.time_zone, from_ref(&self.rules.time_zone));
            });
            self.missing(html, texts);
            for campaign in &self.campaigns {
                html.around("section", |html| {
                    campaign::about(html, texts, self.rules, campaign);
                    prizes::prizes(html, texts, self.rules, campaign);
                    prizes::chances(html, texts, self.rules, campaign);
                    proof::proof(html, texts, self.rules, campaign);
                    proof::commits(html, texts, (self.rules, &self.sha256), campaign);
                });
            }
        });
        html.raw("</html>\n");
        html.end()
    }

    /// Names what the rules lack.
    fn missing(&self, html: &mut Html, texts: &Texts) {
        let label = |key| match key {
            "organiser" => texts.organiser,
            "contact" => texts.contact,
            _ => texts.redeem,
        };
        let items: Vec<String> = (self.campaigns.iter())
            .flat_map(|campaign| missing(campaign).map(move |key| (&campaign.id, key)))
            .map(|(id, key)| {
                fill(texts.missing_item, &[("campaign", id), ("what", &format!("{} ({key})", label(key)))])
            })
            .collect();
        if !items.is_empty() {
            html.around("div class=\"box\"", |html| {
                html.element("p class=\"missing\"", texts.missing);
                html.around("ul", |html| items.iter().for_each(|item| html.element("li", item)));
            });
        }
    }
}
