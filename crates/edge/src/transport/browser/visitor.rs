//! Who opens a link without meaning to scan.

use axum::http::{HeaderMap, HeaderName, Method, header};

/// Why opening a link is no scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAScan {
    /// Only its head was asked for.
    Head,
    /// The browser fetches ahead what its owner may open.
    Prefetch,
    /// A robot that makes a preview, or an index.
    Robot,
}

impl NotAScan {
    pub(crate) const ALL: [Self; 3] = [Self::Head, Self::Prefetch, Self::Robot];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Prefetch => "prefetch",
            Self::Robot => "robot",
        }
    }
}

/// The Fetch standard's header, and what browsers sent before it.
static PURPOSES: [HeaderName; 4] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-purpose"),
    HeaderName::from_static("x-moz"),
];

/// Parts of the names, in lower case, by which robots call themselves; whole words, so that a telephone named CUBOT is none. Few, and
/// of robots only: a person who is taken for one loses a scan.
const ROBOTS: [&str; 25] = [
    "facebookexternalhit",
    "facebookcatalog",
    "facebot",
    "meta-externalagent",
    "meta-externalfetcher",
    "twitterbot",
    "whatsapp",
    "telegrambot",
    "slackbot",
    "slack-imgproxy",
    "discordbot",
    "linkedinbot",
    "skypeuripreview",
    "vkshare",
    "redditbot",
    "embedly",
    "googlebot",
    "google-inspectiontool",
    "googleother",
    "bingbot",
    "bingpreview",
    "applebot",
    "yandexbot",
    "baiduspider",
    "bytespider",
];
/// Words by which the rest of them may be known.
const ROBOT_WORDS: [&str; 5] = ["bot", "crawler", "spider", "preview", "robot"];

/// Why a request for a code's link is no scan, if it is none.
pub(crate) fn uncounted(method: &Method, headers: &HeaderMap) -> Option<NotAScan> {
    if method == Method::HEAD {
        return Some(NotAScan::Head);
    }
    let fetches_ahead = |value: &str| {
        let value = value.to_ascii_lowercase();
        ["prefetch", "prerender", "preview"].iter().any(|word| value.contains(word))
    };
    let mut purposes = PURPOSES.iter().filter_map(|name| headers.get(name)?.to_str().ok());
    if purposes.any(fetches_ahead) {
        return Some(NotAScan::Prefetch);
    }
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    is_robot(agent).then_some(NotAScan::Robot)
}

fn is_robot(agent: &str) -> bool {
    let agent = agent.to_ascii_lowercase();
    let mut words = agent.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let is_known = |word: &str| ROBOTS.contains(&word) || ROBOT_WORDS.contains(&word);
    words.any(|word| is_known(word) || word.split('-').any(is_known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn robots_and_people() {
        for robot in [
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "WhatsApp/2.23.20.0 A",
            "TelegramBot (like TwitterBot)",
            "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
            "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1.1 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
            "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com",
            "some-new bot/1.0",
        ] {
            assert!(is_robot(robot), "{robot}");
        }
        for person in [
            "",
            "Mozilla/5.0 (Linux; Android 11; CUBOT NOTE 20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/108.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.42(0x18002a2f) NetType/WIFI Language/zh_CN",
            "Mozilla/5.0 (Linux; Android 13; SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/119.0 Mobile Safari/537.36 Instagram 309.0",
            "Mozilla/5.0 (Linux; U; Android 12; zh-CN) AppleWebKit/537.36 Chrome/100.0 UCBrowser/15.5.2 Mobile Safari/537.36 AliApp(DingTalk/6.5.45)",
        ] {
            assert!(!is_robot(person), "{person}");
        }
    }

    #[test]
    fn what_is_fetched_ahead() {
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a value"));
            uncounted(&Method::GET, &headers)
        };
        assert_eq!(with("sec-purpose", "prefetch;prerender"), Some(NotAScan::Prefetch));
        assert_eq!(with("purpose", "prefetch"), Some(NotAScan::Prefetch));
        assert_eq!(with("x-moz", "prefetch"), Some(NotAScan::Prefetch));
        assert_eq!(with("x-purpose", "preview"), Some(NotAScan::Prefetch));
        assert_eq!(with("sec-fetch-mode", "navigate"), None);
        assert_eq!(uncounted(&Method::HEAD, &HeaderMap::new()), Some(NotAScan::Head));
    }
}
