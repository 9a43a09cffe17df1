//! Shares of a commission and its payees, worked out by hand from section 5 of the contract.

use expect_test::expect;

use super::check;

#[test]
fn linear_shares_go_by_largest_remainder() {
    // Three touches: g-1, g-2, g-1 (by a placement, so kind media). 101 / 3 = 33.67 each: 33 each, 2 left, ties in touch
    // order: 34, 34, 33. g-1 67 x 5 % = 3.35, floor 3; g-2 34 x 5 % = 1.7, floor 1.
    // g-1's 3 over its touches by 34 : 33 = 1.52, 1.48: 1 each, the one left to the larger remainder: 2, 1.
    // By kind: guide 2 + 1 = 3 of 34 + 34 = 68, media 1 of 33. The largest share, the earliest of equals: g-1.
    check(
        r#"
[attribution]
model = "linear"
[[commission]]
rate = "5%"
"#,
        r#"
{"id":"a","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"b","action":"scan","shopper":"u1","time":"2026-11-01T11:00:00Z","code":"G2"}
{"id":"c","action":"scan","shopper":"u1","time":"2026-11-01T12:00:00Z","code":"MAG","guide":"g-1"}
{"id":"o","action":"order","shopper":"u1","time":"2026-11-01T13:00:00Z","order":"o-1","amount":101}
"#,
        &[
            (
                "postings",
                expect![[r#"
                    acme,o-1,u1,guide,g-1,3,CNY,2026-11-01T13:00:00.000Z,o
                    acme,o-1,u1,guide,g-2,1,CNY,2026-11-01T13:00:00.000Z,o
                "#]],
            ),
            (
                "orders",
                expect![[r#"
                    acme,o-1,u1,2026-11-01T13:00:00.000Z,101,0,CNY,guide,g-1,s-1
                "#]],
            ),
            (
                "counters ,credited_net, ,commission,",
                expect![[r#"
                    acme,guide,g-1,2026-11-01,commission,3
                    acme,guide,g-1,2026-11-01,credited_net,67
                    acme,guide,g-2,2026-11-01,commission,1
                    acme,guide,g-2,2026-11-01,credited_net,34
                    acme,kind,guide,2026-11-01,commission,3
                    acme,kind,guide,2026-11-01,credited_net,68
                    acme,kind,media,2026-11-01,commission,1
                    acme,kind,media,2026-11-01,credited_net,33
                    acme,store,s-1,2026-11-01,commission,4
                    acme,store,s-1,2026-11-01,credited_net,101
                "#]],
            ),
        ],
    );
}

#[test]
fn position_pays_the_ends_most() {
    // u1: g-1 g-2 g-3 g-1, 1003: 40 10 10 40 % = 401.2 100.3 100.3 401.2: 1002, the one left to the larger remainder, the
    //   second touch: 101. g-1 802 x 5 % = 40.1, floor 40; g-2 101: 5.05, 5; g-3 100: 5
    // u2: g-1 g-2, 119: 59.5 each: 60, 59: x 5 % = 3 and 2.95, floor 2
    check(
        r#"
[attribution]
model = "position"
[[commission]]
rate = "5%"
"#,
        r#"
{"id":"a","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"a","action":"scan","shopper":"u2","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"b","action":"scan","shopper":"u1","time":"2026-11-01T11:00:00Z","code":"G2"}
{"id":"b","action":"scan","shopper":"u2","time":"2026-11-01T11:00:00Z","code":"G2"}
{"id":"c","action":"scan","shopper":"u1","time":"2026-11-01T12:00:00Z","code":"G3"}
{"id":"d","action":"scan","shopper":"u1","time":"2026-11-01T13:00:00Z","code":"G1"}
{"id":"o","action":"order","shopper":"u1","time":"2026-11-01T14:00:00Z","order":"o-1","amount":1003}
{"id":"o","action":"order","shopper":"u2","time":"2026-11-01T14:00:00Z","order":"o-2","amount":119}
"#,
        &[
            (
                "postings",
                expect![[r#"
                    acme,o-1,u1,guide,g-1,40,CNY,2026-11-01T14:00:00.000Z,o
                    acme,o-1,u1,guide,g-2,5,CNY,2026-11-01T14:00:00.000Z,o
                    acme,o-1,u1,guide,g-3,5,CNY,2026-11-01T14:00:00.000Z,o
                    acme,o-2,u2,guide,g-1,3,CNY,2026-11-01T14:00:00.000Z,o
                    acme,o-2,u2,guide,g-2,2,CNY,2026-11-01T14:00:00.000Z,o
                "#]],
            ),
            (
                "counters guide,g-2,2026-11-01,credited_net guide,g-3,2026-11-01,credited_net",
                // g-2: 101 + 59; g-3: 100.
                expect![[r#"
                    acme,guide,g-2,2026-11-01,credited_net,160
                    acme,guide,g-3,2026-11-01,credited_net,100
                "#]],
            ),
        ],
    );
}

#[test]
fn store_is_paid_where_no_guide_is() {
    // u1 store code: s-1, 25900 x 1 % = 259          u2 guide code: the guide's 5 % = 1295 and no store's
    // u3 visit with a store: s-2, 999 x 1 % = 9.99, floor 9          u4 placement with a store: s-2, 259
    check(
        r#"
[[commission]]
rate = "5%"
[[commission]]
payee = "store"
rate = "1%"
"#,
        r#"
{"id":"t","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00Z","code":"SHOP1"}
{"id":"t","action":"scan","shopper":"u2","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"t","action":"visit","shopper":"u3","time":"2026-11-01T10:00:00Z","store":"s-2"}
{"id":"t","action":"scan","shopper":"u4","time":"2026-11-01T10:00:00Z","code":"MAG","store":"s-2"}
{"id":"o","action":"order","shopper":"u1","time":"2026-11-02T10:00:00Z","order":"o-1","amount":25900}
{"id":"o","action":"order","shopper":"u2","time":"2026-11-02T10:00:00Z","order":"o-2","amount":25900}
{"id":"o","action":"order","shopper":"u3","time":"2026-11-02T10:00:00Z","order":"o-3","amount":999}
{"id":"o","action":"order","shopper":"u4","time":"2026-11-02T10:00:00Z","order":"o-4","amount":25900}
"#,
        &[
            (
                "postings",
                expect![[r#"
                    acme,o-1,u1,store,s-1,259,CNY,2026-11-02T10:00:00.000Z,o
                    acme,o-2,u2,guide,g-1,1295,CNY,2026-11-02T10:00:00.000Z,o
                    acme,o-3,u3,store,s-2,9,CNY,2026-11-02T10:00:00.000Z,o
                    acme,o-4,u4,store,s-2,259,CNY,2026-11-02T10:00:00.000Z,o
                "#]],
            ),
            (
                "orders ,o-4,",
                expect![[r#"
                    acme,o-4,u4,2026-11-02T10:00:00.000Z,25900,0,CNY,media,,s-2
                "#]],
            ),
        ],
    );
}
