//! Draws, worked out by hand from section 6 of the contract.

use expect_test::expect;

use super::check;
use crate::program::done;

#[test]
fn odds_are_drawn_by_shopper_and_entry() {
    // u, with the secret 00 01 … 1f (here of u1's first entry):
    //   python3 -c 'import hmac; print(hmac.digest(bytes(range(32)), b"draw\x1fwheel\x1fMAG7\x1fu1\x1f1", "sha256")[:8].hex())'
    // Thresholds, floor(2^64 x sum), prizes in file order whatever the order inside `odds`:
    //   entry 1:  big 1/5  = 3333333333333333, + small 1/4   = 9/20 = 7333333333333333
    //   entry 2…: big 1/20 = 0ccccccccccccccc, + small 1/100 = 6/100 = 0f5c28f5c28f5c28
    //        n = 1                            n = 2
    //   u1   b6ed09bc6886e3eb nothing         043a7b880675f423 big
    //   u2   457502dbfe7011db small           6c2ca7d4e4ceba1b nothing (small at entry 1)
    //   u3   6b214a1f8ae174e3 small           0ec0f63010c67a61 small (big if `odds` gave the order: small below 028f…)
    //   u4   2678c0e3ecc5169a big             d9f977171d67e469 nothing
    //   u7   74c0130a77bdb730 nothing         0c3b1e3478e72935 big
    check(
        r#"
[[code]]
id = "MAG7"
kind = "media"
campaign = "wheel"
[[campaign]]
id = "wheel"
mode = "odds"
from = 2026-11-01T00:00:00Z
to = 2027-01-01T00:00:00Z
budget = 1000000
$secret
[[campaign.prize]]
id = "big"
kind = "cash"
amount = 2000
[[campaign.prize]]
id = "small"
kind = "cash"
amount = 100
[[campaign.phase]]
entries = "1"
odds = { "small" = "1/4", "big" = "1/5" }
[[campaign.phase]]
entries = "2.."
odds = { "small" = "1/100", "big" = "1/20" }
"#,
        r#"
{"id":"1","action":"scan","shopper":"u1","time":"2026-11-02T10:00:00Z","code":"MAG7"}
{"id":"1","action":"scan","shopper":"u2","time":"2026-11-02T10:01:00Z","code":"MAG7"}
{"id":"1","action":"scan","shopper":"u3","time":"2026-11-02T10:02:00Z","code":"MAG7"}
{"id":"1","action":"scan","shopper":"u4","time":"2026-11-02T10:03:00Z","code":"MAG7"}
{"id":"1","action":"scan","shopper":"u7","time":"2026-11-02T10:04:00Z","code":"MAG7"}
{"id":"2","action":"scan","shopper":"u1","time":"2026-11-02T11:00:00Z","code":"MAG7"}
{"id":"2","action":"scan","shopper":"u2","time":"2026-11-02T11:01:00Z","code":"MAG7"}
{"id":"2","action":"scan","shopper":"u3","time":"2026-11-02T11:02:00Z","code":"MAG7"}
{"id":"2","action":"scan","shopper":"u4","time":"2026-11-02T11:03:00Z","code":"MAG7"}
{"id":"2","action":"scan","shopper":"u7","time":"2026-11-02T11:04:00Z","code":"MAG7"}
"#,
        &[
            (
                "awards",
                expect![[r#"
                    acme,wheel,RULES,MAG7,u1,2,2026-11-02T11:00:00.000Z,big,big,cash,2000,granted
                    acme,wheel,RULES,MAG7,u2,1,2026-11-02T10:01:00.000Z,small,small,cash,100,granted
                    acme,wheel,RULES,MAG7,u3,1,2026-11-02T10:02:00.000Z,small,small,cash,100,granted
                    acme,wheel,RULES,MAG7,u3,2,2026-11-02T11:02:00.000Z,small,small,cash,100,granted
                    acme,wheel,RULES,MAG7,u4,1,2026-11-02T10:03:00.000Z,big,big,cash,2000,granted
                    acme,wheel,RULES,MAG7,u7,2,2026-11-02T11:04:00.000Z,big,big,cash,2000,granted
                "#]],
            ),
            (
                "counters ,campaign,",
                // 3 x 2000 + 3 x 100 = 6300.
                expect![[r#"
                    acme,campaign,wheel,2026-11-02,entries,10
                    acme,campaign,wheel,2026-11-02,prize_cash,6300
                    acme,campaign,wheel,2026-11-02,scans,10
                    acme,campaign,wheel,2026-11-02,shoppers,5
                    acme,campaign,wheel,2026-11-02,wins,6
                "#]],
            ),
        ],
    );
}

#[test]
fn a_one_item_code_is_claimed_once() {
    // BOTTLE-1: u1 claims it (u1's n = 1); again 5 s later: a repeat, no draw, but its own count rises; u2 at 10:05: an
    // entry (u2's n = 1), already claimed; u1 at 10:10: `yours`, no entry.  Scans 4, first 10:00, region of s-1.
    // BOTTLE-2: u2's scan of 10:01 comes after 10:10: first_time is its `received`; u2's n = 2, though the first was no draw.
    // Its second delivery is a duplicate: 1 scan.
    // Entries 3; counted scans, interactions: u1 2, u2 2 = 4; repeats 1; wins 2 (odds 100 %: every u is below 2^64).
    let dir = check(
        r#"
[dedup]
debounce = "10s"
[[code]]
id = "BOTTLE-1"
kind = "interactive"
campaign = "bottles"
[[code]]
id = "BOTTLE-2"
kind = "interactive"
campaign = "bottles"
[[campaign]]
id = "bottles"
mode = "odds"
from = 2026-11-01T00:00:00Z
to = 2027-01-01T00:00:00Z
$secret
[[campaign.prize]]
id = "bottle"
kind = "goods"
[[campaign.phase]]
odds = { "bottle" = "100%" }
"#,
        r#"
{"id":"a","action":"scan","shopper":"u1","time":"2026-11-02T10:00:00Z","code":"BOTTLE-1","store":"s-1"}
{"id":"b","action":"scan","shopper":"u1","time":"2026-11-02T10:00:05Z","code":"BOTTLE-1","store":"s-1"}
{"id":"a","action":"scan","shopper":"u2","time":"2026-11-02T10:05:00Z","code":"BOTTLE-1","store":"s-2"}
{"id":"c","action":"scan","shopper":"u1","time":"2026-11-02T10:10:00Z","code":"BOTTLE-1","store":"s-1"}
{"id":"b","action":"scan","shopper":"u2","time":"2026-11-02T10:01:00Z","code":"BOTTLE-2","store":"s-2"}
{"id":"b","action":"scan","shopper":"u2","time":"2026-11-02T10:01:00Z","code":"BOTTLE-2","store":"s-2"}
"#,
        &[
            (
                "awards",
                expect![[r#"
                    acme,bottles,RULES,BOTTLE-1,u1,1,2026-11-02T10:00:00.000Z,bottle,bottle,goods,,granted
                    acme,bottles,RULES,BOTTLE-2,u2,2,2026-11-02T10:10:00.000Z,bottle,bottle,goods,,granted
                "#]],
            ),
            (
                "codes",
                expect![[r#"
                    acme,BOTTLE-1,interactive,4,2026-11-02T10:00:00.000Z,330100
                    acme,BOTTLE-2,interactive,1,2026-11-02T10:10:00.000Z,310000
                "#]],
            ),
            (
                "counters ,campaign,",
                expect![[r#"
                    acme,campaign,bottles,2026-11-02,entries,3
                    acme,campaign,bottles,2026-11-02,interactions,4
                    acme,campaign,bottles,2026-11-02,repeats,1
                    acme,campaign,bottles,2026-11-02,scans,4
                    acme,campaign,bottles,2026-11-02,shoppers,2
                    acme,campaign,bottles,2026-11-02,wins,2
                "#]],
            ),
        ],
    );
    // The contract words the answers, not the lines.
    let history = done(dir.path(), &["explain", "code", "BOTTLE-1", "--ledger", "out/ledger.sqlite"]);
    assert_eq!(history.matches("already-claimed").count(), 1, "{history}");
    assert_eq!(history.matches("yours").count(), 1, "{history}");
}

#[test]
fn stock_and_budget_run_out_along_the_chain() {
    // Entry 1 draws a, later ones c; one win a shopper, two entries a shopper; budget 1600.
    //   u1 1: a (1000, 600 left)   u2 1: no a left, b (600, to the last fen)   u3 1: no a, no money, d   u4 1: no a, b, d: thanks
    //   u1 2: c, but u1 has won: thanks, c is still there   u4 2: thanks was no win: c   u4 3: over the limit, no entry, no row
    //   u5 1: thanks   u5 2: no c left: thanks
    // Entries 2 + 1 + 1 + 2 + 2 = 8 of 9 scans; wins a b c d = 4; cash 1600.
    // `awarded` reads thanks: it is what `else` grants (acme.toml), no prize, so it has no kind and no amount.
    check(
        r#"
[[code]]
id = "MAG9"
kind = "media"
campaign = "pool"
[[campaign]]
id = "pool"
mode = "odds"
from = 2026-11-01T00:00:00Z
to = 2027-01-01T00:00:00Z
limit_total = 2
limit_wins = 1
budget = 1600
$secret
[[campaign.prize]]
id = "a"
kind = "cash"
amount = 1000
stock = 1
else = "b"
[[campaign.prize]]
id = "b"
kind = "cash"
amount = 600
else = "d"
[[campaign.prize]]
id = "c"
kind = "points"
amount = 8
stock = 1
[[campaign.prize]]
id = "d"
kind = "points"
amount = 5
stock = 1
[[campaign.phase]]
entries = "1"
odds = { "a" = "100%" }
[[campaign.phase]]
odds = { "c" = "100%" }
"#,
        r#"
{"id":"1","action":"scan","shopper":"u1","time":"2026-11-02T10:00:00Z","code":"MAG9"}
{"id":"1","action":"scan","shopper":"u2","time":"2026-11-02T10:01:00Z","code":"MAG9"}
{"id":"1","action":"scan","shopper":"u3","time":"2026-11-02T10:02:00Z","code":"MAG9"}
{"id":"1","action":"scan","shopper":"u4","time":"2026-11-02T10:03:00Z","code":"MAG9"}
{"id":"2","action":"scan","shopper":"u1","time":"2026-11-02T10:04:00Z","code":"MAG9"}
{"id":"2","action":"scan","shopper":"u4","time":"2026-11-02T10:05:00Z","code":"MAG9"}
{"id":"3","action":"scan","shopper":"u4","time":"2026-11-02T10:06:00Z","code":"MAG9"}
{"id":"1","action":"scan","shopper":"u5","time":"2026-11-02T10:07:00Z","code":"MAG9"}
{"id":"2","action":"scan","shopper":"u5","time":"2026-11-02T10:08:00Z","code":"MAG9"}
"#,
        &[
            (
                "awards",
                expect![[r#"
                    acme,pool,RULES,MAG9,u1,1,2026-11-02T10:00:00.000Z,a,a,cash,1000,granted
                    acme,pool,RULES,MAG9,u1,2,2026-11-02T10:04:00.000Z,c,thanks,,,thanks
                    acme,pool,RULES,MAG9,u2,1,2026-11-02T10:01:00.000Z,a,b,cash,600,granted
                    acme,pool,RULES,MAG9,u3,1,2026-11-02T10:02:00.000Z,a,d,points,5,granted
                    acme,pool,RULES,MAG9,u4,1,2026-11-02T10:03:00.000Z,a,thanks,,,thanks
                    acme,pool,RULES,MAG9,u4,2,2026-11-02T10:05:00.000Z,c,c,points,8,granted
                    acme,pool,RULES,MAG9,u5,1,2026-11-02T10:07:00.000Z,a,thanks,,,thanks
                    acme,pool,RULES,MAG9,u5,2,2026-11-02T10:08:00.000Z,c,thanks,,,thanks
                "#]],
            ),
            (
                "counters ,campaign,",
                expect![[r#"
                    acme,campaign,pool,2026-11-02,entries,8
                    acme,campaign,pool,2026-11-02,prize_cash,1600
                    acme,campaign,pool,2026-11-02,scans,9
                    acme,campaign,pool,2026-11-02,shoppers,5
                    acme,campaign,pool,2026-11-02,wins,4
                "#]],
            ),
        ],
    );
}

#[test]
fn award_is_unlocked_by_order_in_its_span() {
    // Awards of 1 Nov 10:00 are unlocked by an order with a time in [1 Nov 10:00, 8 Nov 10:00).
    //   u1 order 1 ms before the end: unlocked          u2 at the end: not; the latest `received` is the end itself: expired
    //   u3's award is of 2 Nov, its end 9 Nov: locked    u4's order is at the award's ms, before it in the log: unlocked
    //   u5's order is 1 ms before the award: expired     u6's order is of 8 Nov 09:00 and comes after the end: unlocked
    // Wins and cash count when granted, locked or not: 1 Nov 5 and 500, 2 Nov 1 and 100.
    check(
        r#"
[[code]]
id = "MAG7"
kind = "media"
campaign = "red"
[[campaign]]
id = "red"
mode = "odds"
from = 2026-11-01T00:00:00Z
to = 2027-01-01T00:00:00Z
$secret
[[campaign.prize]]
id = "red-1"
kind = "cash"
amount = 100
stock = 10
unlock = "order"
unlock_within = "7d"
[[campaign.phase]]
odds = { "red-1" = "100%" }
"#,
        r#"
{"id":"o","action":"order","shopper":"u5","time":"2026-11-01T09:59:59.999Z","order":"o-5","amount":100}
{"id":"o","action":"order","shopper":"u4","time":"2026-11-01T10:00:00Z","order":"o-4","amount":100}
{"id":"s","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00Z","code":"MAG7"}
{"id":"s","action":"scan","shopper":"u2","time":"2026-11-01T10:00:00Z","code":"MAG7"}
{"id":"s","action":"scan","shopper":"u4","time":"2026-11-01T10:00:00Z","code":"MAG7"}
{"id":"s","action":"scan","shopper":"u5","time":"2026-11-01T10:00:00Z","code":"MAG7"}
{"id":"s","action":"scan","shopper":"u6","time":"2026-11-01T10:00:00Z","code":"MAG7"}
{"id":"s","action":"scan","shopper":"u3","time":"2026-11-02T10:00:00Z","code":"MAG7"}
{"id":"o","action":"order","shopper":"u1","time":"2026-11-08T09:59:59.999Z","order":"o-1","amount":100}
{"id":"o","action":"order","shopper":"u2","time":"2026-11-08T10:00:00Z","order":"o-2","amount":100}
{"id":"o","action":"order","shopper":"u6","time":"2026-11-08T09:00:00Z","order":"o-6","amount":100}
"#,
        &[
            (
                "awards",
                expect![[r#"
                    acme,red,RULES,MAG7,u1,1,2026-11-01T10:00:00.000Z,red-1,red-1,cash,100,unlocked
                    acme,red,RULES,MAG7,u2,1,2026-11-01T10:00:00.000Z,red-1,red-1,cash,100,expired
                    acme,red,RULES,MAG7,u3,1,2026-11-02T10:00:00.000Z,red-1,red-1,cash,100,locked
                    acme,red,RULES,MAG7,u4,1,2026-11-01T10:00:00.000Z,red-1,red-1,cash,100,unlocked
                    acme,red,RULES,MAG7,u5,1,2026-11-01T10:00:00.000Z,red-1,red-1,cash,100,expired
                    acme,red,RULES,MAG7,u6,1,2026-11-01T10:00:00.000Z,red-1,red-1,cash,100,unlocked
                "#]],
            ),
            (
                "counters *,2026-11-01,wins *,2026-11-02,wins ,*,2026-11-01,prize ,*,2026-11-02,prize",
                expect![[r#"
                    acme,merchant,*,2026-11-01,prize_cash,500
                    acme,merchant,*,2026-11-01,wins,5
                    acme,merchant,*,2026-11-02,prize_cash,100
                    acme,merchant,*,2026-11-02,wins,1
                "#]],
            ),
        ],
    );
}
