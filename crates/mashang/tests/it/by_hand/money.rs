//! Terms, refunds, pre-sales and approval, worked out by hand from section 5 of the contract.

use expect_test::expect;

use super::check;

#[test]
fn terms_are_the_first_that_match_the_order() {
    // g-1 is gold and holds all of u1's orders of 25900; 5 % is 1295, 8 % is 2072, 3 % is 777.
    //   o-1 1 ms before `from`: 5 %   o-2 at `from`: 8 %   o-3 1 ms before `to`: 8 %   o-4 at `to`: 5 %
    //   o-5 at `to`, in s-2: 3 %, though the touch is of s-1   o-6 inside, in s-2, gold: 8 %, the first that matches
    //   o-7 inside, g-2 has no level: 5 %   o-8 inside, g-3's touch is of s-2 but the order names no store: 5 %
    check(
        r#"
[[commission]]
from = 2026-11-01T00:00:00Z
to = 2026-11-11T00:00:00Z
level = "gold"
rate = "8%"
[[commission]]
store = "s-2"
rate = "3%"
[[commission]]
rate = "5%"
"#,
        r#"
{"id":"t","action":"scan","shopper":"u1","time":"2026-10-30T10:00:00Z","code":"G1"}
{"id":"t","action":"scan","shopper":"u2","time":"2026-10-30T10:00:00Z","code":"G2"}
{"id":"t","action":"scan","shopper":"u3","time":"2026-10-30T10:00:00Z","code":"G3"}
{"id":"1","action":"order","shopper":"u1","time":"2026-10-31T23:59:59.999Z","order":"o-1","amount":25900}
{"id":"2","action":"order","shopper":"u1","time":"2026-11-01T00:00:00Z","order":"o-2","amount":25900}
{"id":"6","action":"order","shopper":"u1","time":"2026-11-02T00:00:00Z","order":"o-6","amount":25900,"store":"s-2"}
{"id":"7","action":"order","shopper":"u2","time":"2026-11-02T00:00:00Z","order":"o-7","amount":25900}
{"id":"8","action":"order","shopper":"u3","time":"2026-11-02T00:00:00Z","order":"o-8","amount":25900}
{"id":"3","action":"order","shopper":"u1","time":"2026-11-10T23:59:59.999Z","order":"o-3","amount":25900}
{"id":"4","action":"order","shopper":"u1","time":"2026-11-11T00:00:00Z","order":"o-4","amount":25900}
{"id":"5","action":"order","shopper":"u1","time":"2026-11-11T00:00:00Z","order":"o-5","amount":25900,"store":"s-2"}
"#,
        &[(
            "postings",
            expect![[r#"
                acme,o-1,u1,guide,g-1,1295,CNY,2026-10-31T23:59:59.999Z,1
                acme,o-2,u1,guide,g-1,2072,CNY,2026-11-01T00:00:00.000Z,2
                acme,o-3,u1,guide,g-1,2072,CNY,2026-11-10T23:59:59.999Z,3
                acme,o-4,u1,guide,g-1,1295,CNY,2026-11-11T00:00:00.000Z,4
                acme,o-5,u1,guide,g-1,777,CNY,2026-11-11T00:00:00.000Z,5
                acme,o-6,u1,guide,g-1,2072,CNY,2026-11-02T00:00:00.000Z,6
                acme,o-7,u2,guide,g-2,1295,CNY,2026-11-02T00:00:00.000Z,7
                acme,o-8,u3,guide,g-3,1295,CNY,2026-11-02T00:00:00.000Z,8
            "#]],
        )],
    );
}

#[test]
fn refunds_take_back_what_is_no_longer_due() {
    // All orders 2 Nov 10:00, 8 %, hold 7 d: every approve_at is 9 Nov 10:00, later than all that is received here.
    //   u1 25900: 2072. 300 back: base − refunded = 25600, due 2048, posted 2072, so −24
    //   u2 the refund of 300 comes first and waits; the order then posts 2048 at once
    //   u3 101: 8.08, floor 8. 1 back: 100, due 8, nothing to post. 2 more: 98, 7.84, floor 7, so −1
    //   u4 1000: 80. rb (4 Nov) 600 comes first: 400, due 32, so −48. ra (3 Nov) 700: min(1000, 1300) refunded, due 0, so −32.
    //      rc (5 Nov) 50: nothing. In time order: ra 700, rb the 300 left, rc 0, each counted among `refunds`
    // u1's refund and order once more on the 5th, past the horizon of 2 minutes: the order remembers them, nothing changes.
    // 3 Nov: r r r1 r2 ra = 5 refunds, 300 + 300 + 1 + 2 + 700 = 1303. gmv 25900 x 2 + 101 + 1000 = 52901.
    check(
        r#"
[dedup]
horizon = "2m"
[[commission]]
rate = "8%"
hold = "7d"
"#,
        r#"
{"id":"t","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"t","action":"scan","shopper":"u2","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"t","action":"scan","shopper":"u3","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"t","action":"scan","shopper":"u4","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"o","action":"order","shopper":"u1","time":"2026-11-02T10:00:00Z","order":"o-1","amount":25900}
{"id":"o","action":"order","shopper":"u3","time":"2026-11-02T10:00:00Z","order":"o-3","amount":101}
{"id":"o","action":"order","shopper":"u4","time":"2026-11-02T10:00:00Z","order":"o-4","amount":1000}
{"id":"r","action":"refund","shopper":"u1","time":"2026-11-03T10:00:00Z","order":"o-1","amount":300}
{"id":"r","action":"refund","shopper":"u2","time":"2026-11-03T10:00:00Z","order":"o-2","amount":300}
{"id":"o","action":"order","shopper":"u2","time":"2026-11-02T10:00:00Z","order":"o-2","amount":25900}
{"id":"r1","action":"refund","shopper":"u3","time":"2026-11-03T10:00:00Z","order":"o-3","amount":1}
{"id":"r2","action":"refund","shopper":"u3","time":"2026-11-03T11:00:00Z","order":"o-3","amount":2}
{"id":"rb","action":"refund","shopper":"u4","time":"2026-11-04T10:00:00Z","order":"o-4","amount":600}
{"id":"ra","action":"refund","shopper":"u4","time":"2026-11-03T10:00:00Z","order":"o-4","amount":700}
{"id":"rc","action":"refund","shopper":"u4","time":"2026-11-05T10:00:00Z","order":"o-4","amount":50}
{"id":"r","action":"refund","shopper":"u1","time":"2026-11-03T10:00:00Z","order":"o-1","amount":300}
{"id":"o","action":"order","shopper":"u1","time":"2026-11-02T10:00:00Z","order":"o-1","amount":25900}
"#,
        &[
            (
                "postings",
                expect![[r#"
                    acme,o-1,u1,guide,g-1,-24,CNY,2026-11-09T10:00:00.000Z,r
                    acme,o-1,u1,guide,g-1,2072,CNY,2026-11-09T10:00:00.000Z,o
                    acme,o-2,u2,guide,g-1,2048,CNY,2026-11-09T10:00:00.000Z,o
                    acme,o-3,u3,guide,g-1,-1,CNY,2026-11-09T10:00:00.000Z,r2
                    acme,o-3,u3,guide,g-1,8,CNY,2026-11-09T10:00:00.000Z,o
                    acme,o-4,u4,guide,g-1,-32,CNY,2026-11-09T10:00:00.000Z,ra
                    acme,o-4,u4,guide,g-1,-48,CNY,2026-11-09T10:00:00.000Z,rb
                    acme,o-4,u4,guide,g-1,80,CNY,2026-11-09T10:00:00.000Z,o
                "#]],
            ),
            (
                "orders",
                expect![[r#"
                    acme,o-1,u1,2026-11-02T10:00:00.000Z,25900,300,CNY,guide,g-1,s-1
                    acme,o-2,u2,2026-11-02T10:00:00.000Z,25900,300,CNY,guide,g-1,s-1
                    acme,o-3,u3,2026-11-02T10:00:00.000Z,101,3,CNY,guide,g-1,s-1
                    acme,o-4,u4,2026-11-02T10:00:00.000Z,1000,1000,CNY,guide,g-1,s-1
                "#]],
            ),
            (
                "counters ,refunds, ,refunded, ,gmv, ,orders,",
                expect![[r#"
                    acme,merchant,*,2026-11-02,gmv,52901
                    acme,merchant,*,2026-11-02,orders,4
                    acme,merchant,*,2026-11-03,refunded,1303
                    acme,merchant,*,2026-11-03,refunds,5
                    acme,merchant,*,2026-11-04,refunded,300
                    acme,merchant,*,2026-11-04,refunds,1
                    acme,merchant,*,2026-11-05,refunds,1
                "#]],
            ),
        ],
    );
}

#[test]
fn one_id_with_three_actions_is_three_events() {
    // A scan, an order and its refund all bear the id 1. 10 % of 100 is 10; 40 back leave 60, due 6, so −4. The refund once
    // more, within the horizon, is the one duplicate.
    check(
        r#"
[[commission]]
rate = "10%"
"#,
        r#"
{"id":"1","action":"scan","shopper":"u1","time":"2026-11-02T10:00:00Z","code":"G1"}
{"id":"1","action":"order","shopper":"u1","time":"2026-11-02T11:00:00Z","order":"o-1","amount":100}
{"id":"1","action":"refund","shopper":"u1","time":"2026-11-02T12:00:00Z","order":"o-1","amount":40}
{"id":"1","action":"refund","shopper":"u1","time":"2026-11-02T12:00:00Z","order":"o-1","amount":40}
"#,
        &[
            (
                "orders",
                expect![[r#"
                acme,o-1,u1,2026-11-02T11:00:00.000Z,100,40,CNY,guide,g-1,s-1
            "#]],
            ),
            (
                "postings",
                expect![[r#"
                    acme,o-1,u1,guide,g-1,-4,CNY,2026-11-02T12:00:00.000Z,1
                    acme,o-1,u1,guide,g-1,10,CNY,2026-11-02T11:00:00.000Z,1
                "#]],
            ),
            (
                "counters ,scans, ,refunds, ,duplicates,",
                expect![[r#"
                    acme,guide,g-1,2026-11-02,scans,1
                    acme,kind,guide,2026-11-02,scans,1
                    acme,merchant,*,2026-11-02,duplicates,1
                    acme,merchant,*,2026-11-02,refunds,1
                    acme,merchant,*,2026-11-02,scans,1
                    acme,region,330100,2026-11-02,scans,1
                    acme,store,s-1,2026-11-02,scans,1
                "#]],
            ),
        ],
    );
}

#[test]
fn refunds_of_one_time_are_ordered_by_key() {
    // Two refunds of 600 at one ms of an order of 1000. The keys, SHA-256 of "acme\x1fu2\x1frefund\x1fr1" and "…r2",
    // begin e4a5923b and 65e492e6: r2 is the first whatever came first, so s-2 gets 600 and s-1 the 400 left.
    check(
        "",
        r#"
{"id":"o","action":"order","shopper":"u2","time":"2026-11-02T10:00:00Z","order":"o-1","amount":1000}
{"id":"r1","action":"refund","shopper":"u2","time":"2026-11-03T10:00:00Z","order":"o-1","amount":600,"store":"s-1"}
{"id":"r2","action":"refund","shopper":"u2","time":"2026-11-03T10:00:00Z","order":"o-1","amount":600,"store":"s-2"}
"#,
        &[(
            "counters ,refunds, ,refunded,",
            expect![[r#"
                acme,merchant,*,2026-11-03,refunded,1000
                acme,merchant,*,2026-11-03,refunds,2
                acme,region,310000,2026-11-03,refunded,600
                acme,region,310000,2026-11-03,refunds,1
                acme,region,330100,2026-11-03,refunded,400
                acme,region,330100,2026-11-03,refunds,1
                acme,store,s-1,2026-11-03,refunded,400
                acme,store,s-1,2026-11-03,refunds,1
                acme,store,s-2,2026-11-03,refunded,600
                acme,store,s-2,2026-11-03,refunds,1
            "#]],
        )],
    );
}

#[test]
fn pre_sale_nets_the_same_in_either_order() {
    // Both shoppers: g-1 on the 1st, g-2 on the 6th; deposit 5000 on the 5th in s-1, balance 20900 on the 10th in s-2.
    // Orders of s-1 pay 8 %, others 5 %; the order's store is its earliest part's.
    //   u1 deposit first: c = 5th, g-1, s-1: 400, approved c + 7 d = 12th. A second deposit is none (one per part, the smallest
    //      time). Balance: base 25900, due 2072, posted 400, so 1672
    //   u2 balance first: c = 10th, g-2, s-2: 20900 x 5 % = 1045, approved 17th. Then the deposit moves c to the 5th, before
    //      g-2's touch, and the order to s-1: g-1 is due 2072; g-2 is due 0, so −1045; approved max(10th, 12th) = 12th
    // Net per payee: g-1 2072, g-2 0 both times. orders: 2, on the 5th in s-1, none left on the 10th in s-2.
    // gmv: parts on their own days and in their own stores: 5000 x 2, 20900 x 2. credited_net 25900 x 2.
    check(
        r#"
late = "7d"
[[commission]]
store = "s-1"
rate = "8%"
hold = "7d"
[[commission]]
rate = "5%"
hold = "7d"
"#,
        r#"
{"id":"a","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"a","action":"scan","shopper":"u2","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"dep","action":"order","shopper":"u1","time":"2026-11-05T10:00:00Z","order":"o-1","amount":5000,"part":"deposit","store":"s-1"}
{"id":"b","action":"scan","shopper":"u1","time":"2026-11-06T10:00:00Z","code":"G2"}
{"id":"b","action":"scan","shopper":"u2","time":"2026-11-06T10:00:00Z","code":"G2"}
{"id":"dep2","action":"order","shopper":"u1","time":"2026-11-07T10:00:00Z","order":"o-1","amount":7000,"part":"deposit","store":"s-1"}
{"id":"bal","action":"order","shopper":"u1","time":"2026-11-10T10:00:00Z","order":"o-1","amount":20900,"part":"balance","store":"s-2"}
{"id":"bal","action":"order","shopper":"u2","time":"2026-11-10T10:00:00Z","order":"o-2","amount":20900,"part":"balance","store":"s-2"}
{"id":"dep","action":"order","shopper":"u2","time":"2026-11-05T10:00:00Z","order":"o-2","amount":5000,"part":"deposit","store":"s-1"}
"#,
        &[
            (
                "postings",
                expect![[r#"
                    acme,o-1,u1,guide,g-1,1672,CNY,2026-11-12T10:00:00.000Z,bal
                    acme,o-1,u1,guide,g-1,400,CNY,2026-11-12T10:00:00.000Z,dep
                    acme,o-2,u2,guide,g-1,2072,CNY,2026-11-12T10:00:00.000Z,dep
                    acme,o-2,u2,guide,g-2,-1045,CNY,2026-11-12T10:00:00.000Z,dep
                    acme,o-2,u2,guide,g-2,1045,CNY,2026-11-17T10:00:00.000Z,bal
                "#]],
            ),
            (
                "orders",
                expect![[r#"
                    acme,o-1,u1,2026-11-05T10:00:00.000Z,25900,0,CNY,guide,g-1,s-1
                    acme,o-2,u2,2026-11-05T10:00:00.000Z,25900,0,CNY,guide,g-1,s-1
                "#]],
            ),
            (
                "counters ,orders, ,gmv, ,credited_net,",
                expect![[r#"
                    acme,guide,g-1,2026-11-05,credited_net,51800
                    acme,kind,guide,2026-11-05,credited_net,51800
                    acme,merchant,*,2026-11-05,gmv,10000
                    acme,merchant,*,2026-11-05,orders,2
                    acme,merchant,*,2026-11-10,gmv,41800
                    acme,region,310000,2026-11-10,gmv,41800
                    acme,region,330100,2026-11-05,gmv,10000
                    acme,region,330100,2026-11-05,orders,2
                    acme,store,s-1,2026-11-05,credited_net,51800
                    acme,store,s-1,2026-11-05,gmv,10000
                    acme,store,s-1,2026-11-05,orders,2
                    acme,store,s-2,2026-11-10,gmv,41800
                "#]],
            ),
        ],
    );
}

#[test]
fn approval_is_the_later_of_receipt_and_hold() {
    // Orders of 2 Nov 10:00; c + 7 d = 9 Nov 10:00.
    //   u1 in time: 9 Nov. 300 back on the 12th: −24, received later than c + hold: the 12th
    //   u2's order comes on the 12th, 10 d late: counted `late`, but paid all the same: the 12th
    check(
        r#"
[[commission]]
rate = "8%"
hold = "7d"
"#,
        r#"
{"id":"t","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"t","action":"scan","shopper":"u2","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"o","action":"order","shopper":"u1","time":"2026-11-02T10:00:00Z","order":"o-1","amount":25900}
{"id":"r","action":"refund","shopper":"u1","time":"2026-11-12T10:00:00Z","order":"o-1","amount":300}
{"id":"o","action":"order","shopper":"u2","time":"2026-11-02T10:00:00Z","order":"o-2","amount":25900}
"#,
        &[
            (
                "postings",
                expect![[r#"
                    acme,o-1,u1,guide,g-1,-24,CNY,2026-11-12T10:00:00.000Z,r
                    acme,o-1,u1,guide,g-1,2072,CNY,2026-11-09T10:00:00.000Z,o
                    acme,o-2,u2,guide,g-1,2072,CNY,2026-11-12T10:00:00.000Z,o
                "#]],
            ),
            (
                "counters ,late,",
                expect![[r#"
                    acme,merchant,*,2026-11-02,late,1
                "#]],
            ),
        ],
    );
}
