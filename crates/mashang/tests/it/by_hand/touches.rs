//! Touches, credit and payees, worked out by hand from section 5 of the contract.

use expect_test::expect;

use super::check;

#[test]
fn guides_of_the_head_office_have_no_store() {
    // h-1, h-2 and h-3 have no store; the last two left on the 1st: h-2's successor is `keep` by default, h-3's is h-1.
    // 10 % of each 100 is 10. u1 and u4 pay h-1, u2 h-2. u3 visits h-1 in s-1: h-1 is paid, the store is the visit's own.
    check(
        r#"
[[commission]]
rate = "10%"
[[commission]]
payee = "store"
rate = "1%"
[[guide]]
id = "h-1"
[[guide]]
id = "h-2"
left = 2026-11-01T00:00:00Z
[[guide]]
id = "h-3"
left = 2026-11-01T00:00:00Z
successor = "h-1"
[[code]]
id = "H1"
kind = "guide"
guide = "h-1"
[[code]]
id = "H2"
kind = "guide"
guide = "h-2"
[[code]]
id = "H3"
kind = "guide"
guide = "h-3"
"#,
        r#"
{"id":"s","action":"scan","shopper":"u1","time":"2026-11-02T10:00:00Z","code":"H1"}
{"id":"s","action":"scan","shopper":"u2","time":"2026-11-02T10:00:00Z","code":"H2"}
{"id":"s","action":"visit","shopper":"u3","time":"2026-11-02T10:00:00Z","guide":"h-1","store":"s-1"}
{"id":"s","action":"scan","shopper":"u4","time":"2026-11-02T10:00:00Z","code":"H3"}
{"id":"o","action":"order","shopper":"u1","time":"2026-11-02T11:00:00Z","order":"o-1","amount":100}
{"id":"o","action":"order","shopper":"u2","time":"2026-11-02T11:00:00Z","order":"o-2","amount":100}
{"id":"o","action":"order","shopper":"u3","time":"2026-11-02T11:00:00Z","order":"o-3","amount":100}
{"id":"o","action":"order","shopper":"u4","time":"2026-11-02T11:00:00Z","order":"o-4","amount":100}
"#,
        &[
            (
                "postings",
                expect![[r#"
                    acme,o-1,u1,guide,h-1,10,CNY,2026-11-02T11:00:00.000Z,o
                    acme,o-2,u2,guide,h-2,10,CNY,2026-11-02T11:00:00.000Z,o
                    acme,o-3,u3,guide,h-1,10,CNY,2026-11-02T11:00:00.000Z,o
                    acme,o-4,u4,guide,h-1,10,CNY,2026-11-02T11:00:00.000Z,o
                "#]],
            ),
            (
                "orders",
                expect![[r#"
                    acme,o-1,u1,2026-11-02T11:00:00.000Z,100,0,CNY,guide,h-1,
                    acme,o-2,u2,2026-11-02T11:00:00.000Z,100,0,CNY,guide,h-2,
                    acme,o-3,u3,2026-11-02T11:00:00.000Z,100,0,CNY,guide,h-1,s-1
                    acme,o-4,u4,2026-11-02T11:00:00.000Z,100,0,CNY,guide,h-3,
                "#]],
            ),
            (
                "counters ,scans,",
                expect![[r#"
                    acme,guide,h-1,2026-11-02,scans,1
                    acme,guide,h-2,2026-11-02,scans,1
                    acme,guide,h-3,2026-11-02,scans,1
                    acme,kind,guide,2026-11-02,scans,3
                    acme,merchant,*,2026-11-02,scans,3
                "#]],
            ),
        ],
    );
}

#[test]
fn a_touch_exactly_one_window_earlier_is_out() {
    // Orders at c = 16 Nov 10:00:00.000; c − 15 d = 1 Nov 10:00:00.000.
    //   u1 touched at c − 15 d: out          u2 1 ms later: in, 10000 x 5 % = 500
    //   u3 touches at c itself, after the order in the log: in (t ≤ c), so that touch is the posting's cause
    //   u4 1 ms after c: out
    check(
        r#"
[attribution]
window = "15d"
[[commission]]
rate = "5%"
"#,
        r#"
{"id":"t","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"t","action":"scan","shopper":"u2","time":"2026-11-01T10:00:00.001Z","code":"G1"}
{"id":"o","action":"order","shopper":"u1","time":"2026-11-16T10:00:00Z","order":"o-1","amount":10000}
{"id":"o","action":"order","shopper":"u2","time":"2026-11-16T10:00:00Z","order":"o-2","amount":10000}
{"id":"o","action":"order","shopper":"u3","time":"2026-11-16T10:00:00Z","order":"o-3","amount":10000}
{"id":"o","action":"order","shopper":"u4","time":"2026-11-16T10:00:00Z","order":"o-4","amount":10000}
{"id":"t","action":"scan","shopper":"u3","time":"2026-11-16T10:00:00Z","code":"G2"}
{"id":"t","action":"scan","shopper":"u4","time":"2026-11-16T10:00:00.001Z","code":"G1"}
"#,
        &[
            (
                "orders",
                expect![[r#"
                    acme,o-1,u1,2026-11-16T10:00:00.000Z,10000,0,CNY,,,
                    acme,o-2,u2,2026-11-16T10:00:00.000Z,10000,0,CNY,guide,g-1,s-1
                    acme,o-3,u3,2026-11-16T10:00:00.000Z,10000,0,CNY,guide,g-2,s-1
                    acme,o-4,u4,2026-11-16T10:00:00.000Z,10000,0,CNY,,,
                "#]],
            ),
            (
                "postings",
                expect![[r#"
                    acme,o-2,u2,guide,g-1,500,CNY,2026-11-16T10:00:00.000Z,o
                    acme,o-3,u3,guide,g-2,500,CNY,2026-11-16T10:00:00.000Z,t
                "#]],
            ),
        ],
    );
}

#[test]
fn a_higher_rank_beats_a_later_touch() {
    // u1 guide 1st, store and media 5th: the guide; 25900 x 5 % = 1295.
    // u2 store 1st, media 2nd: the store, which no [[commission]] pays.
    // u3 media code with a guide of its own on the 2nd (rank guide, kind media), store 5th: g-3 of s-2; 10001 x 5 % = 500.05.
    check(
        r#"
[[commission]]
rate = "5%"
"#,
        r#"
{"id":"a","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"a","action":"scan","shopper":"u2","time":"2026-11-01T10:00:00Z","code":"SHOP1"}
{"id":"b","action":"scan","shopper":"u2","time":"2026-11-02T10:00:00Z","code":"MAG"}
{"id":"a","action":"scan","shopper":"u3","time":"2026-11-02T10:00:00Z","code":"MAG","guide":"g-3"}
{"id":"b","action":"scan","shopper":"u1","time":"2026-11-05T10:00:00Z","code":"SHOP1"}
{"id":"b","action":"scan","shopper":"u3","time":"2026-11-05T10:00:00Z","code":"SHOP1"}
{"id":"c","action":"scan","shopper":"u1","time":"2026-11-05T12:00:00Z","code":"MAG"}
{"id":"o","action":"order","shopper":"u1","time":"2026-11-06T10:00:00Z","order":"o-1","amount":25900}
{"id":"o","action":"order","shopper":"u2","time":"2026-11-06T10:00:00Z","order":"o-2","amount":25900}
{"id":"o","action":"order","shopper":"u3","time":"2026-11-06T10:00:00Z","order":"o-3","amount":10001}
"#,
        &[
            (
                "orders",
                expect![[r#"
                    acme,o-1,u1,2026-11-06T10:00:00.000Z,25900,0,CNY,guide,g-1,s-1
                    acme,o-2,u2,2026-11-06T10:00:00.000Z,25900,0,CNY,store,,s-1
                    acme,o-3,u3,2026-11-06T10:00:00.000Z,10001,0,CNY,media,g-3,s-2
                "#]],
            ),
            (
                "postings",
                expect![[r#"
                    acme,o-1,u1,guide,g-1,1295,CNY,2026-11-06T10:00:00.000Z,o
                    acme,o-3,u3,guide,g-3,500,CNY,2026-11-06T10:00:00.000Z,o
                "#]],
            ),
            (
                "counters ,credited_orders,",
                expect![[r#"
                    acme,guide,g-1,2026-11-06,credited_orders,1
                    acme,guide,g-3,2026-11-06,credited_orders,1
                    acme,kind,guide,2026-11-06,credited_orders,1
                    acme,kind,media,2026-11-06,credited_orders,1
                    acme,kind,store,2026-11-06,credited_orders,1
                    acme,store,s-1,2026-11-06,credited_orders,2
                    acme,store,s-2,2026-11-06,credited_orders,1
                "#]],
            ),
        ],
    );
}

#[test]
fn a_holder_is_safe_from_rivals_for_protect() {
    // g-1 holds from 1 Nov 10:00; + 48 h = 3 Nov 10:00:00.000.
    //   u1 rival 1 ms before: g-1 stays          u2 rival then: g-2
    //   u3 g-1 again after 24 h renews the hold to 4 Nov 10:00: the rival of the 3rd fails
    //   u4 g-2 after 24 h fails and holds nothing, so g-3 at 48 h is measured against g-1's touch: g-3
    check(
        r#"
[attribution]
protect = "48h"
[[commission]]
rate = "5%"
"#,
        r#"
{"id":"a","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"a","action":"scan","shopper":"u2","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"a","action":"scan","shopper":"u3","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"a","action":"scan","shopper":"u4","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"b","action":"scan","shopper":"u3","time":"2026-11-02T10:00:00Z","code":"G1"}
{"id":"b","action":"scan","shopper":"u4","time":"2026-11-02T10:00:00Z","code":"G2"}
{"id":"b","action":"scan","shopper":"u1","time":"2026-11-03T09:59:59.999Z","code":"G2"}
{"id":"b","action":"scan","shopper":"u2","time":"2026-11-03T10:00:00Z","code":"G2"}
{"id":"c","action":"scan","shopper":"u3","time":"2026-11-03T10:00:00Z","code":"G2"}
{"id":"c","action":"scan","shopper":"u4","time":"2026-11-03T10:00:00Z","code":"G3"}
{"id":"o","action":"order","shopper":"u1","time":"2026-11-05T10:00:00Z","order":"o-1","amount":10000}
{"id":"o","action":"order","shopper":"u2","time":"2026-11-05T10:00:00Z","order":"o-2","amount":10000}
{"id":"o","action":"order","shopper":"u3","time":"2026-11-05T10:00:00Z","order":"o-3","amount":10000}
{"id":"o","action":"order","shopper":"u4","time":"2026-11-05T10:00:00Z","order":"o-4","amount":10000}
"#,
        &[(
            "postings",
            expect![[r#"
                acme,o-1,u1,guide,g-1,500,CNY,2026-11-05T10:00:00.000Z,o
                acme,o-2,u2,guide,g-2,500,CNY,2026-11-05T10:00:00.000Z,o
                acme,o-3,u3,guide,g-1,500,CNY,2026-11-05T10:00:00.000Z,o
                acme,o-4,u4,guide,g-3,500,CNY,2026-11-05T10:00:00.000Z,o
            "#]],
        )],
    );
}

#[test]
fn a_guide_who_left_is_followed_by_successors() {
    // x-1 left on the 1st for x-2, who left on the 3rd for the store; terms stay the credited guide's: 25900 x 8 % = 2072.
    //   o-1 1 ms before the 1st: x-1   o-2 at the 1st (left ≤ c): x-2   o-3 at the 3rd: x-2's store, s-2
    // No payee = "store" is needed: the touch has a guide, even if another payee is paid.
    //   o-4 x-3 keeps: paid as guide   o-5 x-4 names no successor: the store, s-1; 25900 x 5 % = 1295
    check(
        r#"
[[guide]]
id = "x-1"
store = "s-1"
left = 2026-11-01T00:00:00Z
successor = "x-2"
[[guide]]
id = "x-2"
store = "s-2"
left = 2026-11-03T00:00:00Z
successor = "store"
[[guide]]
id = "x-3"
store = "s-1"
left = 2026-11-01T00:00:00Z
successor = "keep"
[[guide]]
id = "x-4"
store = "s-1"
left = 2026-11-01T00:00:00Z
[[commission]]
guide = "x-1"
rate = "8%"
[[commission]]
rate = "5%"
"#,
        r#"
{"id":"v","action":"visit","shopper":"u1","time":"2026-10-31T10:00:00Z","guide":"x-1"}
{"id":"v","action":"visit","shopper":"u3","time":"2026-10-31T10:00:00Z","guide":"x-3"}
{"id":"v","action":"visit","shopper":"u4","time":"2026-10-31T10:00:00Z","guide":"x-4"}
{"id":"1","action":"order","shopper":"u1","time":"2026-10-31T23:59:59.999Z","order":"o-1","amount":25900}
{"id":"2","action":"order","shopper":"u1","time":"2026-11-01T00:00:00Z","order":"o-2","amount":25900}
{"id":"4","action":"order","shopper":"u3","time":"2026-11-01T00:00:00Z","order":"o-4","amount":25900}
{"id":"5","action":"order","shopper":"u4","time":"2026-11-01T00:00:00Z","order":"o-5","amount":25900}
{"id":"3","action":"order","shopper":"u1","time":"2026-11-03T00:00:00Z","order":"o-3","amount":25900}
"#,
        &[
            (
                "postings",
                expect![[r#"
                    acme,o-1,u1,guide,x-1,2072,CNY,2026-10-31T23:59:59.999Z,1
                    acme,o-2,u1,guide,x-2,2072,CNY,2026-11-01T00:00:00.000Z,2
                    acme,o-3,u1,store,s-2,2072,CNY,2026-11-03T00:00:00.000Z,3
                    acme,o-4,u3,guide,x-3,1295,CNY,2026-11-01T00:00:00.000Z,4
                    acme,o-5,u4,store,s-1,1295,CNY,2026-11-01T00:00:00.000Z,5
                "#]],
            ),
            (
                "orders ,o-3,",
                expect![[r#"
                    acme,o-3,u1,2026-11-03T00:00:00.000Z,25900,0,CNY,guide,x-1,s-1
                "#]],
            ),
        ],
    );
}

#[test]
fn guides_own_purchase_pays_no_commission() {
    // u-900 is y-1. o-1, credited to y-1: blocked. o-2, credited to y-2 whose successor is y-1: the guide to be paid, blocked.
    // u1's o-3, credited to y-1: 10000 x 5 % = 500. Blocked credits are counted, without commission:
    // y-1 the 1st 10000, the 2nd 10000 (o-3); y-2 the 2nd 10000; kind and store the 2nd 20000, 2 orders.
    check(
        r#"
[[guide]]
id = "y-1"
store = "s-1"
shopper = "u-900"
[[guide]]
id = "y-2"
store = "s-1"
left = 2026-11-01T00:00:00Z
successor = "y-1"
[[commission]]
rate = "5%"
"#,
        r#"
{"id":"v1","action":"visit","shopper":"u-900","time":"2026-11-01T10:00:00Z","guide":"y-1"}
{"id":"o1","action":"order","shopper":"u-900","time":"2026-11-01T12:00:00Z","order":"o-1","amount":10000}
{"id":"v","action":"visit","shopper":"u1","time":"2026-11-01T13:00:00Z","guide":"y-1"}
{"id":"v2","action":"visit","shopper":"u-900","time":"2026-11-02T10:00:00Z","guide":"y-2"}
{"id":"o2","action":"order","shopper":"u-900","time":"2026-11-02T12:00:00Z","order":"o-2","amount":10000}
{"id":"o3","action":"order","shopper":"u1","time":"2026-11-02T13:00:00Z","order":"o-3","amount":10000}
"#,
        &[
            (
                "postings",
                expect![[r#"
                    acme,o-3,u1,guide,y-1,500,CNY,2026-11-02T13:00:00.000Z,o3
                "#]],
            ),
            (
                "counters ,credited_ ,commission,",
                expect![[r#"
                    acme,guide,y-1,2026-11-01,credited_net,10000
                    acme,guide,y-1,2026-11-01,credited_orders,1
                    acme,guide,y-1,2026-11-02,commission,500
                    acme,guide,y-1,2026-11-02,credited_net,10000
                    acme,guide,y-1,2026-11-02,credited_orders,1
                    acme,guide,y-2,2026-11-02,credited_net,10000
                    acme,guide,y-2,2026-11-02,credited_orders,1
                    acme,kind,guide,2026-11-01,credited_net,10000
                    acme,kind,guide,2026-11-01,credited_orders,1
                    acme,kind,guide,2026-11-02,commission,500
                    acme,kind,guide,2026-11-02,credited_net,20000
                    acme,kind,guide,2026-11-02,credited_orders,2
                    acme,store,s-1,2026-11-01,credited_net,10000
                    acme,store,s-1,2026-11-01,credited_orders,1
                    acme,store,s-1,2026-11-02,commission,500
                    acme,store,s-1,2026-11-02,credited_net,20000
                    acme,store,s-1,2026-11-02,credited_orders,2
                "#]],
            ),
        ],
    );
}

#[test]
fn new_pays_only_for_shoppers_without_earlier_orders() {
    // 10000 x 5 % = 500 where paid.
    //   u1 touch, o-1, o-2: the first order is not before the touch: both paid
    //   u2 o-3, touch, o-4: bought before: credited, not paid
    //   u3 touch and o-5 at the same ms: not strictly earlier: paid
    //   u4 touch, o-7: paid; then o-8, 1 ms before the touch, comes: it is the first order ever, so o-7 is due 0: −500, by o-8
    check(
        r#"
[attribution]
members = "new"
[[commission]]
rate = "5%"
"#,
        r#"
{"id":"t","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"t","action":"scan","shopper":"u3","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"o3","action":"order","shopper":"u2","time":"2026-11-01T10:00:00Z","order":"o-3","amount":10000}
{"id":"o5","action":"order","shopper":"u3","time":"2026-11-01T10:00:00Z","order":"o-5","amount":10000}
{"id":"o1","action":"order","shopper":"u1","time":"2026-11-02T10:00:00Z","order":"o-1","amount":10000}
{"id":"t","action":"scan","shopper":"u2","time":"2026-11-02T10:00:00Z","code":"G1"}
{"id":"t","action":"scan","shopper":"u4","time":"2026-11-02T10:00:00Z","code":"G1"}
{"id":"o2","action":"order","shopper":"u1","time":"2026-11-03T10:00:00Z","order":"o-2","amount":10000}
{"id":"o4","action":"order","shopper":"u2","time":"2026-11-03T10:00:00Z","order":"o-4","amount":10000}
{"id":"o7","action":"order","shopper":"u4","time":"2026-11-03T10:00:00Z","order":"o-7","amount":10000}
{"id":"o8","action":"order","shopper":"u4","time":"2026-11-02T09:59:59.999Z","order":"o-8","amount":10000}
"#,
        &[
            (
                "postings",
                expect![[r#"
                    acme,o-1,u1,guide,g-1,500,CNY,2026-11-02T10:00:00.000Z,o1
                    acme,o-2,u1,guide,g-1,500,CNY,2026-11-03T10:00:00.000Z,o2
                    acme,o-5,u3,guide,g-1,500,CNY,2026-11-01T10:00:00.000Z,o5
                    acme,o-7,u4,guide,g-1,-500,CNY,2026-11-03T10:00:00.000Z,o8
                    acme,o-7,u4,guide,g-1,500,CNY,2026-11-03T10:00:00.000Z,o7
                "#]],
            ),
            (
                "orders ,o-4, ,o-8,",
                expect![[r#"
                    acme,o-4,u2,2026-11-03T10:00:00.000Z,10000,0,CNY,guide,g-1,s-1
                    acme,o-8,u4,2026-11-02T09:59:59.999Z,10000,0,CNY,,,
                "#]],
            ),
        ],
    );
}
