//! Duplicates, repeats, days and links, worked out by hand from sections 1 to 3 of the contract.

use expect_test::expect;

use super::check;

#[test]
fn a_delivery_is_a_duplicate_by_whole_minutes() {
    // The horizon is 2 minutes. A retry has its first time, so others' visits (u9) move `received` on. One channel each:
    //   x first in minute 0 (10:00:59.999), again at 10:02:00.000: 60.001 s would be inside, 2 − 0 is not: counted anew
    //   y first in minute 0 (10:00:00.000), again at 10:01:59.999: 1 − 0 < 2, a duplicate, the last ms that can be one;
    //     again at 10:02:00.000: the duplicate did not renew it, 2 − 0: counted anew
    //   z first in minute 0, again at 10:02:00.000: counted anew, with a new horizon: at 10:03:59.999 3 − 2 < 2, a duplicate
    // (The reverse, outside by ms but inside by minutes, cannot be: floors less than h apart come from times less than h apart.)
    // Visits 2 + 2 + 2, and 3 of u9 = 9; duplicates y 1, z 1; shoppers 4.
    check(
        r#"
[dedup]
horizon = "2m"
"#,
        r#"
{"id":"y","action":"visit","shopper":"u2","time":"2026-11-01T10:00:00Z","channel":"y"}
{"id":"z","action":"visit","shopper":"u3","time":"2026-11-01T10:00:00Z","channel":"z"}
{"id":"x","action":"visit","shopper":"u1","time":"2026-11-01T10:00:59.999Z","channel":"x"}
{"id":"c1","action":"visit","shopper":"u9","time":"2026-11-01T10:01:59.999Z"}
{"id":"y","action":"visit","shopper":"u2","time":"2026-11-01T10:00:00Z","channel":"y"}
{"id":"c2","action":"visit","shopper":"u9","time":"2026-11-01T10:02:00Z"}
{"id":"x","action":"visit","shopper":"u1","time":"2026-11-01T10:00:59.999Z","channel":"x"}
{"id":"y","action":"visit","shopper":"u2","time":"2026-11-01T10:00:00Z","channel":"y"}
{"id":"z","action":"visit","shopper":"u3","time":"2026-11-01T10:00:00Z","channel":"z"}
{"id":"c3","action":"visit","shopper":"u9","time":"2026-11-01T10:03:59.999Z"}
{"id":"z","action":"visit","shopper":"u3","time":"2026-11-01T10:00:00Z","channel":"z"}
"#,
        &[(
            "counters",
            expect![[r#"
                acme,channel,x,2026-11-01,visits,2
                acme,channel,y,2026-11-01,visits,2
                acme,channel,z,2026-11-01,visits,2
                acme,merchant,*,2026-11-01,duplicates,2
                acme,merchant,*,2026-11-01,shoppers,4
                acme,merchant,*,2026-11-01,visits,9
            "#]],
        )],
    );
}

#[test]
fn a_touch_is_remembered_past_the_horizon() {
    // `a` comes again in minute 5, past the horizon of 2: no duplicate, so three scans. But its shopper still has the touch:
    // shares stay 1/2 and 1/2 (a second touch would make it 2/3). 100: 50 and 50, x 10 % = 5 and 5.
    check(
        r#"
[dedup]
horizon = "2m"
[attribution]
model = "linear"
[[commission]]
rate = "10%"
"#,
        r#"
{"id":"a","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"b","action":"scan","shopper":"u1","time":"2026-11-01T10:01:00Z","code":"G2"}
{"id":"o","action":"order","shopper":"u1","time":"2026-11-01T10:05:00Z","order":"o-1","amount":100}
{"id":"a","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00Z","code":"G1"}
"#,
        &[
            (
                "postings",
                expect![[r#"
                    acme,o-1,u1,guide,g-1,5,CNY,2026-11-01T10:05:00.000Z,o
                    acme,o-1,u1,guide,g-2,5,CNY,2026-11-01T10:05:00.000Z,o
                "#]],
            ),
            (
                "counters merchant,*,2026-11-01,scans merchant,*,2026-11-01,duplicates",
                expect![[r#"
                    acme,merchant,*,2026-11-01,scans,3
                "#]],
            ),
        ],
    );
}

#[test]
fn repeat_is_near_last_counted_scan_either_side() {
    // u1, code G1, debounce 10 s:
    //   a 10:00:00.000 counted, t0 = it
    //   b 10:00:09.999: 9.999 s, repeat (t0 stays)          c 10:00:10.000: 10 s is not below 10 s, counted, t0 = it
    //   d 10:00:00.001, late: |−9.999 s|, repeat            e 10:00:00.000, late: |−10 s|, counted, t0 = it, log order rules
    //   f 09:59:59.000: 1 s from e (11 s from c), repeat
    // u2: a G1 counted, b G1 5 s later a repeat, c another code, counted.
    // scans 3 + 2 = 5, of G1 3 + 1 = 4; repeats 3 + 1 = 4, all of G1.
    // The repeat is a touch: thirds of 100 are 34, 33, 33: g-1 34 + 33 = 67, x 10 % = 6.7, floor 6; g-2 33: 3.
    check(
        r#"
[dedup]
debounce = "10s"
[attribution]
model = "linear"
[[commission]]
rate = "10%"
"#,
        r#"
{"id":"a","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"b","action":"scan","shopper":"u1","time":"2026-11-01T10:00:09.999Z","code":"G1"}
{"id":"c","action":"scan","shopper":"u1","time":"2026-11-01T10:00:10Z","code":"G1"}
{"id":"d","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00.001Z","code":"G1"}
{"id":"e","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00Z","code":"G1"}
{"id":"f","action":"scan","shopper":"u1","time":"2026-11-01T09:59:59Z","code":"G1"}
{"id":"a","action":"scan","shopper":"u2","time":"2026-11-01T10:01:00Z","code":"G1"}
{"id":"b","action":"scan","shopper":"u2","time":"2026-11-01T10:01:05Z","code":"G1"}
{"id":"c","action":"scan","shopper":"u2","time":"2026-11-01T10:01:06Z","code":"G2"}
{"id":"o","action":"order","shopper":"u2","time":"2026-11-01T11:00:00Z","order":"o-1","amount":100}
"#,
        &[
            (
                "counters ,scans, ,repeats,",
                expect![[r#"
                    acme,guide,g-1,2026-11-01,repeats,4
                    acme,guide,g-1,2026-11-01,scans,4
                    acme,guide,g-2,2026-11-01,scans,1
                    acme,kind,guide,2026-11-01,repeats,4
                    acme,kind,guide,2026-11-01,scans,5
                    acme,merchant,*,2026-11-01,repeats,4
                    acme,merchant,*,2026-11-01,scans,5
                    acme,region,330100,2026-11-01,repeats,4
                    acme,region,330100,2026-11-01,scans,5
                    acme,store,s-1,2026-11-01,repeats,4
                    acme,store,s-1,2026-11-01,scans,5
                "#]],
            ),
            (
                "postings",
                expect![[r#"
                    acme,o-1,u2,guide,g-1,6,CNY,2026-11-01T11:00:00.000Z,o
                    acme,o-1,u2,guide,g-2,3,CNY,2026-11-01T11:00:00.000Z,o
                "#]],
            ),
        ],
    );
}

#[test]
fn late_earlier_join_moves_the_member() {
    // u1 joins on the 5th (channel app), credited to g-2, the last touch before. Then a join of the 4th 10:00 comes (channel
    // wechat): the member's. Touches up to then: g-3 on the 2nd, g-1 on the 3rd; `last` whatever the model: g-1 of s-1.
    // u2's first join stays, the one an hour later is no member's join; u2 has no touch, so no guide is credited.
    // joins: the 4th 1 (u1, wechat; nothing left at app), the 5th 1 (u2).
    check(
        r#"
[attribution]
model = "first"
"#,
        r#"
{"id":"a","action":"scan","shopper":"u1","time":"2026-11-02T10:00:00Z","code":"G3"}
{"id":"b","action":"scan","shopper":"u1","time":"2026-11-03T10:00:00Z","code":"G1"}
{"id":"c","action":"scan","shopper":"u1","time":"2026-11-04T12:00:00Z","code":"G2"}
{"id":"j1","action":"join","shopper":"u1","time":"2026-11-05T10:00:00Z","channel":"app"}
{"id":"j2","action":"join","shopper":"u1","time":"2026-11-04T10:00:00Z","channel":"wechat"}
{"id":"j1","action":"join","shopper":"u2","time":"2026-11-05T10:00:00Z"}
{"id":"j2","action":"join","shopper":"u2","time":"2026-11-05T11:00:00Z"}
"#,
        &[
            (
                "members",
                expect![[r#"
                    acme,u1,2026-11-04T10:00:00.000Z,g-1,s-1
                    acme,u2,2026-11-05T10:00:00.000Z,,
                "#]],
            ),
            (
                "counters ,joins, ,credited_joins,",
                expect![[r#"
                    acme,channel,wechat,2026-11-04,joins,1
                    acme,guide,g-1,2026-11-04,credited_joins,1
                    acme,kind,guide,2026-11-04,credited_joins,1
                    acme,merchant,*,2026-11-04,joins,1
                    acme,merchant,*,2026-11-05,joins,1
                    acme,store,s-1,2026-11-04,credited_joins,1
                "#]],
            ),
        ],
    );
}

#[test]
fn funnel_counts_cohorts_by_channel_and_receipt_day() {
    // Attempts are visits; `within` is 7 days, exclusive.
    //   u1 visit 1st 10:00 wechat, claim, visit 3rd (app), order 8th 09:59:59.999, 1 ms inside: (wechat, 1st) steps 1 to 4;
    //      its second visit is an attempt too: (app, 3rd) step 1, no claim after it
    //   u2 the same but both visits wechat and the order at 8th 10:00:00.000, 7 days: (wechat, 1st) 1 to 3; (wechat, 3rd) 1
    //   u3 visit 1st, claim of another ticket (does not fit), visit 3rd, claim of 1111 on the 4th, order without a return:
    //      (wechat, 1st) 1, 2; (wechat, 3rd) 1, 2
    //   u4 a visit of the 1st that comes on the 3rd: times are `received`: (wechat, 3rd) 1
    //   quick, within the day, no channel: u5's order 1 ms inside the hour, u6's at the hour: 2, 1
    // (wechat, 1st): 3, 3, 2, 1. (wechat, 3rd): u2 u3 u4 = 3, then u3 = 1. (app, 3rd): 1.
    check(
        r#"
[[funnel]]
name = "ticket"
steps = ["visit", "claim", "return", "order"]
within = "7d"
ticket = "1111"
[[funnel]]
name = "quick"
steps = ["follow", "order"]
within = "1h"
"#,
        r#"
{"id":"v1","action":"visit","shopper":"u1","time":"2026-11-01T10:00:00Z","channel":"wechat"}
{"id":"v1","action":"visit","shopper":"u2","time":"2026-11-01T10:00:00Z","channel":"wechat"}
{"id":"v1","action":"visit","shopper":"u3","time":"2026-11-01T12:00:00Z","channel":"wechat"}
{"id":"c1","action":"claim","shopper":"u1","time":"2026-11-02T10:00:00Z","ticket":"1111"}
{"id":"c1","action":"claim","shopper":"u2","time":"2026-11-02T10:00:00Z","ticket":"1111"}
{"id":"c1","action":"claim","shopper":"u3","time":"2026-11-02T10:00:00Z","ticket":"2222"}
{"id":"v2","action":"visit","shopper":"u1","time":"2026-11-03T10:00:00Z","channel":"app"}
{"id":"v2","action":"visit","shopper":"u2","time":"2026-11-03T10:00:00Z","channel":"wechat"}
{"id":"v2","action":"visit","shopper":"u3","time":"2026-11-03T10:00:00Z","channel":"wechat"}
{"id":"v1","action":"visit","shopper":"u4","time":"2026-11-01T11:00:00Z","channel":"wechat"}
{"id":"c2","action":"claim","shopper":"u3","time":"2026-11-04T10:00:00Z","ticket":"1111"}
{"id":"o","action":"order","shopper":"u3","time":"2026-11-05T10:00:00Z","order":"o-3","amount":100}
{"id":"o","action":"order","shopper":"u1","time":"2026-11-08T09:59:59.999Z","order":"o-1","amount":100}
{"id":"o","action":"order","shopper":"u2","time":"2026-11-08T10:00:00Z","order":"o-2","amount":100}
{"id":"f","action":"follow","shopper":"u5","time":"2026-11-09T10:00:00Z"}
{"id":"f","action":"follow","shopper":"u6","time":"2026-11-09T10:00:00Z"}
{"id":"o","action":"order","shopper":"u5","time":"2026-11-09T10:59:59.999Z","order":"o-5","amount":100}
{"id":"o","action":"order","shopper":"u6","time":"2026-11-09T11:00:00Z","order":"o-6","amount":100}
"#,
        &[(
            "funnels",
            expect![[r#"
                acme,quick,1,follow,,2026-11-09,2
                acme,quick,2,order,,2026-11-09,1
                acme,ticket,1,visit,app,2026-11-03,1
                acme,ticket,1,visit,wechat,2026-11-01,3
                acme,ticket,1,visit,wechat,2026-11-03,3
                acme,ticket,2,claim,wechat,2026-11-01,3
                acme,ticket,2,claim,wechat,2026-11-03,1
                acme,ticket,3,return,wechat,2026-11-01,2
                acme,ticket,4,order,wechat,2026-11-01,1
            "#]],
        )],
    );
}

#[test]
fn days_are_local_and_times_truncated_to_ms() {
    // New York: −04:00 until 2026-11-01 06:00Z, then −05:00; −04:00 again from 2027-03-14 07:00Z.
    //   11-01 03:59:59.999Z = 31 Oct 23:59:59.999        00:00:00−04:00 = 04:00Z = 1 Nov
    //   11-02 04:59:59.9999Z, cut to .999 = 1 Nov 23:59:59.999 (a day of 25 hours)    13:00+08:00 = 05:00Z = 2 Nov
    //   03-14 04:59:59.999Z = 13 March    05:00Z = 14 March    03-15 03:59:59.999Z = 14 March (23 hours)    04:00Z = 15 March
    // The order: 12:34:56 − 5:30 = 07:04:56, .7899 cut to .789; 02:04 in New York, 2 Nov.
    check(
        "time_zone = \"America/New_York\"\n",
        r#"
{"id":"1","action":"visit","shopper":"u1","time":"2026-11-01T03:59:59.999Z"}
{"id":"2","action":"visit","shopper":"u1","time":"2026-11-01T00:00:00-04:00"}
{"id":"3","action":"visit","shopper":"u1","time":"2026-11-02T04:59:59.9999Z"}
{"id":"4","action":"visit","shopper":"u1","time":"2026-11-02T13:00:00+08:00"}
{"id":"o","action":"order","shopper":"u1","time":"2026-11-02T12:34:56.7899+05:30","order":"o-1","amount":100}
{"id":"5","action":"visit","shopper":"u1","time":"2027-03-14T04:59:59.999Z"}
{"id":"6","action":"visit","shopper":"u1","time":"2027-03-14T05:00:00Z"}
{"id":"7","action":"visit","shopper":"u1","time":"2027-03-15T03:59:59.999Z"}
{"id":"8","action":"visit","shopper":"u1","time":"2027-03-15T04:00:00Z"}
"#,
        &[
            (
                "counters ,visits, ,gmv,",
                expect![[r#"
                    acme,merchant,*,2026-10-31,visits,1
                    acme,merchant,*,2026-11-01,visits,2
                    acme,merchant,*,2026-11-02,gmv,100
                    acme,merchant,*,2026-11-02,visits,1
                    acme,merchant,*,2027-03-13,visits,1
                    acme,merchant,*,2027-03-14,visits,2
                    acme,merchant,*,2027-03-15,visits,1
                "#]],
            ),
            (
                "orders",
                expect![[r#"
                    acme,o-1,u1,2026-11-02T07:04:56.789Z,100,0,CNY,,,
                "#]],
            ),
        ],
    );
}

#[test]
fn gs1_links_name_what_the_rules_list() {
    // Check digits, weights 3 1 3 … from the right: 690123400001: 3+4+9+2+3+27+6 = 54, 6. 690123456789: 128, 2.
    // GSRN 69012340000000001: 3+12+3+6+1+9+18 = 52, 8. 690123400002, no store of ours: 57, 3.
    //   u1 the link's SERIAL is a listed id: ITEM-1, and once more with the hyphen percent-encoded: 2 scans, interactions
    //   u2 GTIN-13 text, then a link with an unlisted serial and lot: both product 06901234567892; so the second is a repeat
    //   u3 /414: a touch of q-1          u4 /8017: a touch of q-g, 100 x 10 % = 10
    //   u5 an unknown GLN                u6 a wrong check digit: both unknown, both scans, no touch
    check(
        r#"
[dedup]
debounce = "10s"
[[commission]]
rate = "10%"
[[store]]
id = "q-1"
gln = "6901234000016"
[[guide]]
id = "q-g"
store = "q-1"
gsrn = "690123400000000018"
[[code]]
id = "ITEM-1"
kind = "repair"
"#,
        r#"
{"id":"a","action":"scan","shopper":"u1","time":"2026-11-01T10:00:00Z","code":"https://id.example/01/06901234567892/21/ITEM-1"}
{"id":"a","action":"scan","shopper":"u2","time":"2026-11-01T10:00:00Z","code":"6901234567892"}
{"id":"b","action":"scan","shopper":"u2","time":"2026-11-01T10:00:05Z","code":"https://id.example/01/06901234567892/10/LOT-7/21/NOPE"}
{"id":"a","action":"scan","shopper":"u3","time":"2026-11-01T10:01:00Z","code":"https://id.example/414/6901234000016"}
{"id":"a","action":"scan","shopper":"u4","time":"2026-11-01T10:01:00Z","code":"https://id.example/8017/690123400000000018"}
{"id":"a","action":"scan","shopper":"u5","time":"2026-11-01T10:01:00Z","code":"https://id.example/414/6901234000023"}
{"id":"a","action":"scan","shopper":"u6","time":"2026-11-01T10:01:00Z","code":"6901234567893"}
{"id":"b","action":"scan","shopper":"u1","time":"2026-11-01T10:10:00Z","code":"https://id.example/01/06901234567892/21/ITEM%2D1"}
{"id":"o","action":"order","shopper":"u3","time":"2026-11-01T11:00:00Z","order":"o-3","amount":100}
{"id":"o","action":"order","shopper":"u4","time":"2026-11-01T11:00:00Z","order":"o-4","amount":100}
{"id":"o","action":"order","shopper":"u5","time":"2026-11-01T11:00:00Z","order":"o-5","amount":100}
"#,
        &[
            (
                "counters ,kind,",
                expect![[r#"
                    acme,kind,guide,2026-11-01,commission,10
                    acme,kind,guide,2026-11-01,credited_net,100
                    acme,kind,guide,2026-11-01,credited_orders,1
                    acme,kind,guide,2026-11-01,scans,1
                    acme,kind,product,2026-11-01,repeats,1
                    acme,kind,product,2026-11-01,scans,1
                    acme,kind,repair,2026-11-01,interactions,2
                    acme,kind,repair,2026-11-01,scans,2
                    acme,kind,store,2026-11-01,credited_net,100
                    acme,kind,store,2026-11-01,credited_orders,1
                    acme,kind,store,2026-11-01,scans,1
                    acme,kind,unknown,2026-11-01,scans,2
                    acme,kind,unknown,2026-11-01,unknown,2
                "#]],
            ),
            (
                "codes",
                expect![[r#"
                    acme,ITEM-1,repair,2,2026-11-01T10:00:00.000Z,
                "#]],
            ),
            (
                "orders",
                expect![[r#"
                    acme,o-3,u3,2026-11-01T11:00:00.000Z,100,0,CNY,store,,q-1
                    acme,o-4,u4,2026-11-01T11:00:00.000Z,100,0,CNY,guide,q-g,q-1
                    acme,o-5,u5,2026-11-01T11:00:00.000Z,100,0,CNY,,,
                "#]],
            ),
        ],
    );
}

#[test]
fn jump_in_time_forgets_only_expired_state() {
    // 1 January + 46 days = 16 February; + 89 = 31 March; + 90 = 1 April. Horizon 45 d, touches 15 d + 2 d, orders 90 d.
    //   u1's visit again on 16 February: 46 d is past the horizon, so a second visit of 1 January, and `late` there
    //   u2's order of 2 January comes on 16 February (45 d: `late` on the 2nd): the order counts, its touch is forgotten
    //   u3's order keeps its candidate: 1000 x 10 % = 100, 500 refunded after 46 days: 50 due, so −50
    //   u4's order of 1 January: 300 back on day 89: 70 due, −30; 200 back 1 ms before day 90: 50 due, −20;
    //      at 90 days to the ms and at 100 days: `late` on their days, and nothing else
    //   u5's order of 1 January comes at day 100, u6's at day 90 to the ms: `late` on 1 January, and nothing else: no row, no
    //      gmv; u7's, 1 ms younger, is `late` and an order
    // late: 1 January u1 u5 u6 u7 = 4, 2 January 1, 1 April 1, 11 April 1. 1 January: orders u4 u7, gmv 2000, shoppers u1 to u4.
    check(
        r#"
[dedup]
horizon = "45d"
[[commission]]
rate = "10%"
"#,
        r#"
{"id":"a","action":"visit","shopper":"u1","time":"2026-01-01T10:00:00Z"}
{"id":"t","action":"scan","shopper":"u2","time":"2026-01-01T10:00:00Z","code":"G1"}
{"id":"t","action":"scan","shopper":"u3","time":"2026-01-01T10:00:00Z","code":"G1"}
{"id":"t","action":"scan","shopper":"u4","time":"2026-01-01T10:00:00Z","code":"G1"}
{"id":"o","action":"order","shopper":"u4","time":"2026-01-01T10:00:00Z","order":"o-4","amount":1000}
{"id":"o","action":"order","shopper":"u3","time":"2026-01-02T10:00:00Z","order":"o-3","amount":1000}
{"id":"k","action":"visit","shopper":"u9","time":"2026-02-16T10:00:00Z"}
{"id":"a","action":"visit","shopper":"u1","time":"2026-01-01T10:00:00Z"}
{"id":"o","action":"order","shopper":"u2","time":"2026-01-02T10:00:00Z","order":"o-2","amount":1000}
{"id":"r","action":"refund","shopper":"u3","time":"2026-02-16T10:00:00Z","order":"o-3","amount":500}
{"id":"r1","action":"refund","shopper":"u4","time":"2026-03-31T10:00:00Z","order":"o-4","amount":300}
{"id":"r2","action":"refund","shopper":"u4","time":"2026-04-01T09:59:59.999Z","order":"o-4","amount":200}
{"id":"r3","action":"refund","shopper":"u4","time":"2026-04-01T10:00:00Z","order":"o-4","amount":100}
{"id":"o","action":"order","shopper":"u6","time":"2026-01-01T10:00:00Z","order":"o-6","amount":1000}
{"id":"o","action":"order","shopper":"u7","time":"2026-01-01T10:00:00.001Z","order":"o-7","amount":1000}
{"id":"r4","action":"refund","shopper":"u4","time":"2026-04-11T10:00:00Z","order":"o-4","amount":100}
{"id":"o","action":"order","shopper":"u5","time":"2026-01-01T10:00:00Z","order":"o-5","amount":1000}
"#,
        &[
            (
                "postings",
                expect![[r#"
                    acme,o-3,u3,guide,g-1,-50,CNY,2026-02-16T10:00:00.000Z,r
                    acme,o-3,u3,guide,g-1,100,CNY,2026-01-02T10:00:00.000Z,o
                    acme,o-4,u4,guide,g-1,-20,CNY,2026-04-01T09:59:59.999Z,r2
                    acme,o-4,u4,guide,g-1,-30,CNY,2026-03-31T10:00:00.000Z,r1
                    acme,o-4,u4,guide,g-1,100,CNY,2026-01-01T10:00:00.000Z,o
                "#]],
            ),
            (
                "orders",
                expect![[r#"
                    acme,o-2,u2,2026-01-02T10:00:00.000Z,1000,0,CNY,,,
                    acme,o-3,u3,2026-01-02T10:00:00.000Z,1000,500,CNY,guide,g-1,s-1
                    acme,o-4,u4,2026-01-01T10:00:00.000Z,1000,500,CNY,guide,g-1,s-1
                    acme,o-7,u7,2026-01-01T10:00:00.001Z,1000,0,CNY,,,
                "#]],
            ),
            (
                "counters ,merchant,",
                expect![[r#"
                    acme,merchant,*,2026-01-01,gmv,2000
                    acme,merchant,*,2026-01-01,late,4
                    acme,merchant,*,2026-01-01,orders,2
                    acme,merchant,*,2026-01-01,scans,3
                    acme,merchant,*,2026-01-01,shoppers,4
                    acme,merchant,*,2026-01-01,visits,2
                    acme,merchant,*,2026-01-02,gmv,2000
                    acme,merchant,*,2026-01-02,late,1
                    acme,merchant,*,2026-01-02,orders,2
                    acme,merchant,*,2026-01-02,shoppers,1
                    acme,merchant,*,2026-02-16,refunded,500
                    acme,merchant,*,2026-02-16,refunds,1
                    acme,merchant,*,2026-02-16,shoppers,2
                    acme,merchant,*,2026-02-16,visits,1
                    acme,merchant,*,2026-03-31,refunded,300
                    acme,merchant,*,2026-03-31,refunds,1
                    acme,merchant,*,2026-03-31,shoppers,1
                    acme,merchant,*,2026-04-01,late,1
                    acme,merchant,*,2026-04-01,refunded,200
                    acme,merchant,*,2026-04-01,refunds,1
                    acme,merchant,*,2026-04-01,shoppers,1
                    acme,merchant,*,2026-04-11,late,1
                "#]],
            ),
        ],
    );
}
