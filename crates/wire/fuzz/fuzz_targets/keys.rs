//! The file of API keys: keys that pass hold together, and what is refused has a line and a message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::keys::{Quota, parse};

fuzz_target!(|text: &str| {
    match parse(text) {
        Ok(file) => {
            for (id, key) in &file.keys {
                assert!((1..=64).contains(&id.len()) && !id.contains(['.', ' ']), "{id:?}");
                assert!(!key.merchants.is_empty() && !key.scopes.is_empty());
                key.quota.into_iter().for_each(check);
            }
            file.quotas.into_values().for_each(check);
        }
        Err(mistake) => {
            let lines_max = text.matches('\n').count() + 1;
            assert!((1..=lines_max).contains(&mistake.line), "{mistake:?}");
            assert!(!mistake.message.is_empty() && mistake.to_string().ends_with(&mistake.message));
        }
    }
});

fn check(quota: Quota) {
    assert!(quota.events_per_second >= 1 && quota.burst() >= quota.events_per_second);
}
