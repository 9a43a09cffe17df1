//! Notices of rules made in code: what stands on the page, and that no text of the rules is markup.

use domain::model::rules::Rules;

use super::language::Language;
use super::{Notice, missing};
use crate::rules::sample::rules;

fn page(rules: &Rules, language: Language) -> String {
    Notice { rules, sha256: [0xAB; 32], campaigns: rules.campaigns.iter().collect() }.page(language)
}

/// The text of a page: what is between the tags, a line each.
fn text(page: &str) -> String {
    let body = page.split_once("<body>").expect("a body").1;
    let parts = body.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text.trim());
    parts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn page_has_what_must_be_public() {
    let rules = rules();
    let page = page(&rules, Language::En);
    let text = text(&page);
    for line in [
        "Draw one-more-bottle",
        "杭州顶点饮料有限公司",
        "400-000-0000",
        "凭瓶盖在任一门店领取，2027-03-01 截止",
        "from 2026-11-01 00:00:00 UTC+08:00 until 2027-01-01 00:00:00 UTC+08:00 (the end excluded)",
        "regions whose code begins with one of: 33, 31",
        "scan a one-item code of batch 7 (number of codes: 1,000,000)",
        "entries in all: at most 20\nentries a day: at most 5\nwins: at most 3; then no prize is granted",
        "the registered accounts of sales associates take no part",
        // Prize, kind, value, count, stock, stock of a day, condition, else.
        "bottle\ngoods\nworth CNY 5.00\n50,000\n50,000\nno limit\nnone\npoints-5",
        "points-5\npoints\n5 points\n200,000\n250,000\nno limit\nnone\nno prize",
        "bottle\n50,000\n1/20\n5 %\npoints-5\n200,000\n1/5\n20 %\nno prize\n750,000\n3/4\n75 %",
        "in all CNY 50,000.00\na day CNY 2,000.00",
        "red-1\ncash\nCNY 1.00 to CNY 1.88 (random)\nno limit\nno limit\nafter an order (within 7 day(s) of the win)\nno prize",
        "red-20\ncash\nCNY 20.00\n100\n10\nnone\nred-1",
        "1\nnumber 1\nthe whole draw\nred-1\n49/50\n98 %\nred-20\n1/50\n2 %\n2\nevery one\nfrom 2026-11-11 00:00:00 UTC+08:00 until 2026-11-12 00:00:00 UTC+08:00\nred-1\n1/4\n25 %\nred-20\n1/100\n1 %\nno prize\n37/50\n74 %",
        "half-price\ncoupon\nticket half; value missing\n60\n60\nno limit\nnone\nno prize",
        "half-price\n60\nHow it is drawn",
        "mashang draw verify --rules RULES.toml --campaign one-more-bottle \\\n  --secret SECRET.key --awards awards.csv",
        "mashang draw verify --rules RULES.toml --campaign golden-hour \\\n  --secret SECRET.key --awards awards.csv --log dump.ndjson",
        "abababababab",
        &rules.campaigns[0].commit,
        &rules.batches[0].commit,
        "Draw lucky-wheel: Organiser (organiser)\nDraw lucky-wheel: Contact (contact)",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
    assert_eq!(text.matches("(missing)").count(), 6, "three keys of two draws");
}

#[test]
fn chinese_page_says_the_same() {
    let rules = rules();
    let text = text(&page(&rules, Language::Zh));
    for line in [
        "活动 one-more-bottle",
        "2026-11-01 00:00:00 UTC+08:00 起，2027-01-01 00:00:00 UTC+08:00 止（不含终止时刻）",
        "bottle\n实物\n价值 5.00 元\n50,000\n50,000\n不限\n无\npoints-5",
        "red-1\n现金\n1.00 元 至 1.88 元（随机）\n不限\n不限\n下单后领取（自中奖起 7 天内有效）\n谢谢参与",
        "活动 golden-hour：兑奖方式 (redeem)",
    ] {
        assert!(text.contains(line), "{line}\nis not in\n{text}");
    }
}

/// A text that were markup would be seen here as a tag or an attribute.
#[test]
fn texts_of_rules_are_never_markup() {
    const EVIL: &str = "\"'><script>alert(1)</script>&amp;";
    let mut rules = rules();
    let plain: Vec<String> = [Language::Zh, Language::En].map(|language| page(&rules, language)).into();
    rules.merchant = EVIL.to_owned();
    rules.currency = EVIL.to_owned();
    rules.time_zone = EVIL.to_owned();
    for campaign in &mut rules.campaigns {
        for batch in rules.batches.iter_mut().filter(|batch| batch.campaign.as_ref() == Some(&campaign.id)) {
            (batch.campaign, batch.commit) = (Some(EVIL.to_owned()), EVIL.to_owned());
        }
        for code in rules.codes.iter_mut().filter(|code| code.campaign.as_ref() == Some(&campaign.id)) {
            code.campaign = Some(EVIL.to_owned());
        }
        campaign.id = EVIL.to_owned();
        campaign.commit = EVIL.to_owned();
        campaign.areas = vec![EVIL.to_owned()];
        for own in [&mut campaign.organiser, &mut campaign.contact, &mut campaign.redeem] {
            *own = Some(EVIL.to_owned());
        }
        for prize in &mut campaign.prizes {
            for phase in &mut campaign.phases {
                if let Some(odds) = phase.odds.remove(&prize.id) {
                    phase.odds.insert(format!("{EVIL}{}", prize.id), odds);
                }
            }
            prize.id = format!("{EVIL}{}", prize.id);
            (prize.ticket, prize.otherwise) = (Some(EVIL.to_owned()), Some(EVIL.to_owned()));
        }
    }
    for (language, plain) in [Language::Zh, Language::En].into_iter().zip(plain) {
        let page = page(&rules, language);
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;"));
        let tags = |page: &str| {
            let tags = page.split('<').skip(1).filter_map(|part| part.split_once('>')).map(|(tag, _)| tag.to_owned());
            tags.collect::<std::collections::BTreeSet<_>>()
        };
        assert!(tags(&page).is_subset(&tags(&plain)), "{:?}", tags(&page).difference(&tags(&plain)));
    }
}

#[test]
fn page_needs_no_other_file() {
    let rules = rules();
    for language in [Language::Zh, Language::En] {
        let page = page(&rules, language);
        for outside in ["http:", "https:", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("@page { size: A4"));
    }
}

#[test]
fn one_campaign_can_be_chosen() {
    let rules = rules();
    let notice = Notice { rules: &rules, sha256: [1; 32], campaigns: vec![&rules.campaigns[1]] };
    let text = text(&notice.page(Language::En));
    assert!(
        text.contains("Draw lucky-wheel") && !text.contains("one-more-bottle") && !text.contains("batch 7"),
        "{text}"
    );
    assert_eq!(missing(&rules.campaigns[1]).collect::<Vec<_>>(), ["organiser", "contact", "redeem"]);
    assert_eq!(missing(&rules.campaigns[0]).count(), 0);
}
