//! The status page: the totals of each merchant, and the state of the process.

use std::fmt::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use ledger::totals::Totals;
use web::problem::Problem;

use crate::results::Console;

/// A line on the state of the process: a name and a value.
pub type Lines = Arc<dyn Fn() -> Vec<(String, String)> + Send + Sync>;

#[derive(Clone)]
struct Page {
    console: Arc<Console>,
    lines: Lines,
}

/// The routes of the page; `lines` gives the state of the process.
pub fn routes(console: &Arc<Console>, lines: Lines) -> Router {
    Router::new().route("/", get(page)).with_state(Page { console: Arc::clone(console), lines })
}

async fn page(State(page): State<Page>, headers: HeaderMap) -> Response {
    match render(&page, &headers).await {
        Ok(html) => Html(html).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn render(page: &Page, headers: &HeaderMap) -> Result<String, Problem> {
    let grant = page.console.grant(headers)?;
    let mut html = String::from(HEAD);
    for merchant in page.console.served.now().keys().filter(|m| grant.may_for(m)) {
        let name = merchant.clone();
        let totals = page.console.ask(move |ledger| ledger.totals(&name)).await?;
        section(&mut html, merchant, &totals);
    }
    html.push_str("<h2>process</h2><table>");
    for (name, value) in (page.lines)() {
        row(&mut html, &name, &value);
    }
    html.push_str("</table></body></html>\n");
    Ok(html)
}

fn section(html: &mut String, merchant: &str, totals: &Totals) {
    let _ = write!(html, "<h2>{}</h2><table>", escaped(merchant));
    for (metric, sum) in &totals.sums {
        row(html, metric.as_str(), &sum.to_string());
    }
    html.push_str("</table>");
    for (title, rows) in [("stores by gmv", &totals.stores), ("guides by commission", &totals.guides)] {
        if rows.is_empty() {
            continue;
        }
        let _ = write!(html, "<h3>{title}</h3><table>");
        for (name, sum) in rows {
            row(html, name, &sum.to_string());
        }
        html.push_str("</table>");
    }
}

fn row(html: &mut String, name: &str, value: &str) {
    let _ = write!(html, "<tr><td>{}</td><td>{}</td></tr>", escaped(name), escaped(value));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta http-equiv=\"refresh\" content=\"2\"><meta name=\"viewport\" content=\"width=device-width\"><title>Mashang</title><style>\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse}td{padding:.15rem 1rem .15rem 0;border-bottom:1px solid #eee}\
td+td{text-align:right;font-variant-numeric:tabular-nums}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}\
h3{font-size:1rem}</style></head><body><h1>Mashang</h1>\
<p>Sums over all days, as the ledger has them. Money is in minor units.</p>";
