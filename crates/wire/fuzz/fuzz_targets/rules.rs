//! Rules: the TOML text and, after NUL bytes, the registers. Rules that pass hold together and survive publishing.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use domain::model::money::PPM;
use domain::model::rules::{Mode, Rules, Successor};
use domain::model::time::TIME_MAX;
use libfuzzer_sys::fuzz_target;
use wire::rules::{Reference, from_object, object, read};

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.split(|&b| b == 0);
    let Ok(text) = std::str::from_utf8(parts.next().unwrap_or_default()) else { return };
    let mut registers: Vec<&[u8]> = parts.collect();
    registers.reverse();
    let mut open = |reference: Reference<'_>| match reference {
        Reference::Secret(_) => Ok("11".repeat(32).into_bytes()),
        Reference::Register(path) => registers.pop().map(<[u8]>::to_vec).ok_or_else(|| format!("no {path}")),
    };
    match read("rules.toml", text, &mut open) {
        Ok(checked) => {
            check(&checked.rules);
            assert!((0..checked.rules.ranges.len()).all(|i| checked.place(&checked.range_key(i).expect("a key")).is_some()));
            assert_eq!(from_object(&object(&checked.rules)), Ok(checked.rules));
        }
        Err(mistakes) => {
            let lines_max = bytes.iter().filter(|&&b| b == b'\n' || b == b'\r').count() + 1;
            assert!(!mistakes.is_empty());
            assert!(mistakes.iter().all(|mistake| (1..=lines_max).contains(&mistake.line)));
            assert!(mistakes.iter().all(|mistake| !mistake.message.is_empty()));
        }
    }
});

fn check(rules: &Rules) {
    let is_unseen = |char: char| char.is_whitespace() || matches!(char, '\u{200B}'..='\u{200F}' | '\u{FEFF}');
    let is_plain = |id: &str| !id.chars().any(char::is_control) && !id.starts_with(is_unseen) && !id.ends_with(is_unseen);
    let is_id = |id: &str| (1..=64).contains(&id.len()) && is_plain(id);
    let is_time = |at: i64| (0..=TIME_MAX).contains(&at);
    assert!(is_id(&rules.merchant));
    let stores: BTreeSet<&str> = rules.stores.iter().map(|store| store.id.as_str()).collect();
    let guides: BTreeSet<&str> = rules.guides.iter().map(|guide| guide.id.as_str()).collect();
    let campaigns: BTreeSet<&str> = rules.campaigns.iter().map(|campaign| campaign.id.as_str()).collect();
    let codes: BTreeSet<&str> = rules.codes.iter().map(|code| code.id.as_str()).collect();
    assert!(stores.iter().chain(&guides).chain(&campaigns).all(|id| is_id(id)));
    assert!(codes.iter().all(|id| (1..=512).contains(&id.len()) && is_plain(id)));
    let counts = [stores.len(), guides.len(), campaigns.len(), codes.len()];
    assert_eq!(counts, [rules.stores.len(), rules.guides.len(), rules.campaigns.len(), rules.codes.len()]);
    for guide in &rules.guides {
        assert!(guide.store.as_deref().is_none_or(|store| stores.contains(store)) && guide.left.is_none_or(is_time));
        assert!(guide.store.is_some() || guide.successor != Successor::Store);
        let next = |id: &str| match &rules.guides.iter().find(|guide| guide.id == id)?.successor {
            Successor::Guide(to) => Some(to.clone()),
            Successor::Store | Successor::Keep => None,
        };
        let chain = std::iter::successors(Some(guide.id.clone()), |id| next(id));
        assert!(chain.take(guides.len() + 1).count() <= guides.len(), "successors in a cycle");
    }
    for code in &rules.codes {
        assert!(code.guide.as_deref().is_none_or(|id| guides.contains(id)));
        assert!(code.store.as_deref().is_none_or(|id| stores.contains(id)));
        assert!(code.campaign.as_deref().is_none_or(|id| campaigns.contains(id)));
    }
    check_batches(rules);
    for terms in &rules.commissions {
        assert!(terms.rate_ppm <= PPM && terms.from.zip(terms.to).is_none_or(|(from, to)| from < to));
    }
    for campaign in &rules.campaigns {
        assert!(campaign.from < campaign.to && is_time(campaign.from) && is_time(campaign.to));
        let prizes: BTreeSet<&str> = campaign.prizes.iter().map(|prize| prize.id.as_str()).collect();
        assert!(prizes.len() == campaign.prizes.len() && !prizes.contains("thanks"));
        assert!(campaign.prizes.iter().all(|p| p.otherwise.as_deref().is_none_or(|id| prizes.contains(id))));
        for phase in &campaign.phases {
            assert!(phase.entries.0 >= 1 && phase.entries.1.is_none_or(|last| last >= phase.entries.0));
            assert!(phase.odds.keys().all(|prize| prizes.contains(prize.as_str())));
            assert!(phase.odds.values().all(|odds| odds.numerator <= odds.denominator));
        }
    }
}

fn check_batches(rules: &Rules) {
    let batches: BTreeMap<u32, u64> = rules.batches.iter().map(|batch| (batch.number, batch.count)).collect();
    assert_eq!(batches.len(), rules.batches.len());
    for pair in rules.ranges.windows(2) {
        assert!((pair[0].batch, pair[0].to) <= (pair[1].batch, pair[1].from) || pair[0].batch < pair[1].batch);
    }
    assert!(rules.ranges.iter().all(|range| range.from < range.to && range.to <= batches[&range.batch]));
    for campaign in rules.campaigns.iter().filter(|campaign| campaign.mode != Mode::Odds) {
        let count: u64 = campaign.prizes.iter().filter_map(|prize| prize.count).sum();
        let of = |id: &Option<String>| id.as_ref() == Some(&campaign.id);
        let own: Vec<u64> = rules.batches.iter().filter(|batch| of(&batch.campaign)).map(|batch| batch.count).collect();
        assert!(campaign.phases.is_empty());
        if campaign.mode == Mode::Sealed {
            assert!(own.len() == 1 && own[0] >= 1_000 && count <= own[0] && !rules.codes.iter().any(|code| of(&code.campaign)));
        } else {
            assert!(count <= 1_000_000);
        }
    }
}
