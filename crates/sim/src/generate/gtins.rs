//! A product that rules list by its GTIN.

/// In 13 digits.
pub(super) const LISTED: &str = "4006381333931";

/// Its rows as a code (id, kind, guide, store, campaign, channel): by 14 digits, by 13 or by both, as `n` says.
pub(super) fn rows(n: usize, campaign: Option<&String>) -> Vec<Vec<Option<String>>> {
    let ids = match n % 3 {
        0 => vec![format!("0{LISTED}")],
        1 => vec![LISTED.to_string()],
        _ => vec![LISTED.to_string(), format!("0{LISTED}")],
    };
    let row = |id| vec![Some(id), Some("product".to_string()), None, None, campaign.cloned(), None];
    ids.into_iter().map(row).collect()
}
