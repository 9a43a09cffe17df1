//! The region of a keyless scan (contract section 9). It is stamped at the edge, into the event itself, so that a replay has it.
//!
//! - [`geoip`]: the region of the client's address, by a MaxMind database
//! - [`map`]: the region of what a header or the database says

pub mod geoip;
pub mod map;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use eventlog::api::now_ms;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use tracing::{info, warn};
use web::client_address::Client;

use self::geoip::Geoip;
use self::map::RegionMap;

/// Maximum length of a region, bytes, as of every text of an event; a longer text is no region.
const REGION_BYTES_MAX: usize = 64;
/// Time between two checks whether the file of the database has changed.
const RELOAD_EVERY: Duration = Duration::from_secs(10);

/// What the region of a keyless scan is taken from.
#[derive(Debug, Default)]
pub struct RegionSources {
    /// The header of trusted proxies that names it; it goes before the database.
    pub header: Option<HeaderName>,
    /// The database of addresses.
    pub geoip: Option<Geoip>,
    /// The regions of what the other two say; a text that it lacks is no region.
    pub map: Option<RegionMap>,
}

/// Finds the regions of keyless scans.
#[derive(Debug)]
pub struct Regions {
    sources: RegionSources,
    metrics: Metrics,
}

impl Regions {
    /// # Errors
    /// Metrics of these names are in the registry already.
    pub fn new(sources: RegionSources, registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Metrics::new(registry, sources.geoip.is_some())?;
        let regions = Self { sources, metrics };
        regions.set_age();
        Ok(regions)
    }

    /// The region of a scan: by the header, if a trusted proxy sent it, else by the client's address.
    pub(crate) fn find<'a>(&'a self, headers: &'a HeaderMap, client: Option<&Client>) -> Option<Cow<'a, str>> {
        let client = client?;
        let RegionSources { geoip, map, .. } = &self.sources;
        let by_address = || geoip.as_ref()?.region(client.address);
        let found = match self.header(headers, client) {
            Some(text) => Some((Cow::Borrowed(text), Source::Header)),
            None => by_address().map(|text| (Cow::Owned(text), Source::Geoip)),
        };
        let (region, source) = match (found, map) {
            (None, _) => (None, Source::None),
            (Some((text, source)), None) => (Some(text), source),
            (Some((text, source)), Some(map)) => match map.region(&text) {
                Some(region) => (Some(Cow::Borrowed(region)), source),
                None => (None, Source::Unmapped),
            },
        };
        self.metrics.found(source);
        region
    }

    /// What the header says; nothing if it is empty, no region, or of a sender that is not trusted.
    fn header<'a>(&self, headers: &'a HeaderMap, client: &Client) -> Option<&'a str> {
        // The nearest proxy's line is the last.
        let value = headers.get_all(self.sources.header.as_ref()?).iter().next_back()?;
        if !client.is_proxied {
            self.metrics.ignored(Ignored::Untrusted);
            return None;
        }
        if value.is_empty() {
            return None;
        }
        let text = std::str::from_utf8(value.as_bytes()).ok().filter(|text| is_region(text));
        if text.is_none() {
            self.metrics.ignored(Ignored::Invalid);
        }
        text
    }

    /// Runs permanently and reads the database again when its file changes; returns at once if there is none.
    pub async fn reload(self: Arc<Self>) {
        while self.sources.geoip.is_some() {
            tokio::time::sleep(RELOAD_EVERY).await;
            let own = Arc::clone(&self);
            if tokio::task::spawn_blocking(move || own.check()).await.is_err_and(|error| error.is_cancelled()) {
                return;
            }
        }
    }

    /// Reads the database again if its file has changed. A file that cannot be used changes nothing, and is reported once.
    ///
    /// The gauge is set first: who reads the line in the log finds it as the line says.
    fn check(&self) {
        let Some(geoip) = &self.sources.geoip else { return };
        let was_stale = self.metrics.geoip_stale.get() != 0;
        match geoip.check() {
            Ok(is_new) => {
                self.metrics.geoip_stale.set(0);
                if is_new || was_stale {
                    info!(path = %geoip.path().display(), "database of addresses reloaded");
                }
            }
            Err(error) => {
                self.metrics.geoip_stale.set(1);
                if !was_stale {
                    warn!(%error, "the database of addresses stays as it was");
                }
            }
        }
        self.set_age();
    }

    fn set_age(&self) {
        let Some(geoip) = &self.sources.geoip else { return };
        let age_s = now_ms() / 1_000 - geoip.built_s();
        self.metrics.geoip_age.set(age_s.max(0));
    }
}

/// Whether a text may be the region of an event.
fn is_region(text: &str) -> bool {
    (1..=REGION_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// What gave a scan its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Header,
    Geoip,
    /// The map lacks what the header or the database says: no region.
    Unmapped,
    /// Neither says anything: no region.
    None,
}

impl Source {
    const ALL: [Self; 4] = [Self::Header, Self::Geoip, Self::Unmapped, Self::None];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Geoip => "geoip",
            Self::Unmapped => "unmapped",
            Self::None => "none",
        }
    }
}

/// Why a header was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ignored {
    /// Its sender is no trusted proxy.
    Untrusted,
    /// Its value is too long, no UTF-8, or has control characters.
    Invalid,
}

impl Ignored {
    const ALL: [Self; 2] = [Self::Untrusted, Self::Invalid];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Invalid => "invalid",
        }
    }
}

/// The metrics of regions; those of the database only where there is one.
#[derive(Clone, Debug)]
struct Metrics {
    found: IntCounterVec,
    ignored: IntCounterVec,
    geoip_age: IntGauge,
    geoip_stale: IntGauge,
}

impl Metrics {
    fn new(registry: &Registry, has_geoip: bool) -> Result<Self, prometheus::Error> {
        let vec = |name: &str, help: &str, label: &str| IntCounterVec::new(Opts::new(name, help), &[label]);
        let metrics = Self {
            found: vec("mashang_scan_regions_total", "Keyless scans by what gave their region", "source")?,
            ignored: vec("mashang_region_headers_ignored_total", "Region headers ignored, by reason", "reason")?,
            geoip_age: IntGauge::new("mashang_geoip_age_seconds", "Since the database of addresses in use was made")?,
            geoip_stale: IntGauge::new(
                "mashang_geoip_stale",
                "1 while the file of the database of addresses cannot be used and an earlier one is in use",
            )?,
        };
        for source in Source::ALL {
            metrics.found.with_label_values(&[source.as_str()]);
        }
        for reason in Ignored::ALL {
            metrics.ignored.with_label_values(&[reason.as_str()]);
        }
        registry.register(Box::new(metrics.found.clone()))?;
        registry.register(Box::new(metrics.ignored.clone()))?;
        if has_geoip {
            registry.register(Box::new(metrics.geoip_age.clone()))?;
            registry.register(Box::new(metrics.geoip_stale.clone()))?;
        }
        Ok(metrics)
    }

    fn found(&self, source: Source) {
        self.found.with_label_values(&[source.as_str()]).inc();
    }

    fn ignored(&self, why: Ignored) {
        self.ignored.with_label_values(&[why.as_str()]).inc();
    }
}

#[cfg(test)]
mod tests;
