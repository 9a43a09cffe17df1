//! Each bound is needed: with it, an event costs no more after a flood of others; without it, it does.

use sim::floods::{Bound, run};

#[test]
fn with_bounds_no_flood_makes_events_cost_more() {
    for bound in Bound::ALL {
        assert_eq!(run(bound, true), Ok(()), "{bound:?}");
    }
}

#[test]
fn without_a_bound_its_flood_makes_events_cost_more() {
    for bound in Bound::ALL {
        let harm = run(bound, false);
        println!("{harm:?}");
        assert!(harm.is_err(), "{bound:?}: events cost no more without it");
    }
}
