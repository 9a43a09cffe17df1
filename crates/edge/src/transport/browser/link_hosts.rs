//! Which merchant a link belongs to, by its host and path: for codes that the rules of several merchants have.

use std::str::FromStr;

/// A host, the path that its links begin with, and their merchant: `HOST[/PATH]=MERCHANT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkHost {
    /// In lowercase; without a port it stands for every port.
    host: String,
    /// Without slashes at its ends; empty for all paths.
    path: String,
    merchant: String,
}

impl FromStr for LinkHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = text.split_once('=').and_then(|(link, merchant)| {
            let (host, path) = link.split_once('/').unwrap_or((link, ""));
            let is_whole = !host.is_empty() && !merchant.is_empty() && !link.contains([' ', '?', '#', '@']);
            is_whole.then(|| Self {
                host: host.to_ascii_lowercase(),
                path: path.trim_matches('/').to_owned(),
                merchant: merchant.to_owned(),
            })
        });
        found
            .ok_or_else(|| format!("is {text}: write HOST=MERCHANT or HOST/PATH=MERCHANT, such as m.example/acme=acme"))
    }
}

impl LinkHost {
    /// Whether a link belongs to it.
    fn has(&self, host: &str, path: &str) -> bool {
        let is_host = |host: &str| self.host.eq_ignore_ascii_case(host);
        let without_port = || host.rsplit_once(':').map_or(host, |(name, _)| name);
        let rest = path.trim_start_matches('/').strip_prefix(&*self.path);
        (is_host(host) || is_host(without_port()))
            && rest.is_some_and(|rest| self.path.is_empty() || rest.is_empty() || rest.starts_with('/'))
    }
}

/// The merchant of a link: of those that it belongs to, that with the longest path.
pub(crate) fn merchant<'h>(hosts: &'h [LinkHost], host: &str, path: &str) -> Option<&'h str> {
    let of = hosts.iter().filter(|entry| entry.has(host, path));
    of.max_by_key(|entry| entry.path.len()).map(|entry| &*entry.merchant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_of_the_host_decides() {
        let hosts = ["m.example=acme", "M.example/Bolt/=bolt", "m.example/bolt/x=xeno", "h.example:8080=port"];
        let hosts: Vec<LinkHost> = hosts.iter().map(|text| text.parse().expect("an entry")).collect();
        for (host, path, wanted) in [
            ("m.example", "/c/T", Some("acme")),
            ("M.EXAMPLE:443", "/c/T", Some("acme")),
            ("m.example", "/Bolt/c/T", Some("bolt")),
            ("m.example", "//Bolt", Some("bolt")),
            ("m.example", "/Bolts/c/T", Some("acme")),
            ("m.example", "/bolt/x/c/T", Some("xeno")),
            ("h.example:8080", "/", Some("port")),
            ("h.example", "/", None),
            ("x.m.example", "/c/T", None),
        ] {
            assert_eq!(merchant(&hosts, host, path), wanted, "{host}{path}");
        }
        for text in ["", "m.example", "=acme", "m.example=", "a b=acme", "m.example?x=acme"] {
            assert!(text.parse::<LinkHost>().is_err(), "{text}");
        }
    }
}
