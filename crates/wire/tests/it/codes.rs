//! Texts of codes that are URLs (contract section 3).

use bumpalo::Bump;
use expect_test::{Expect, expect};
use wire::code::parse_link;

fn check(text: &str, expect: Expect) {
    let arena = Bump::new();
    let told = parse_link(text, &arena).map_or("no URL".to_owned(), |link| format!("{link:?}"));
    expect.assert_eq(&told);
}

#[test]
fn what_is_no_url() {
    check("", expect!["no URL"]);
    check("G1", expect!["no URL"]);
    check("m.example/01/06901234567892", expect!["no URL"]);
    check("https:/m.example/c/G1", expect!["no URL"]);
}

#[test]
fn digital_links() {
    check("https://m.example/01/06901234567892", expect!["Gtin(6901234567892, None)"]);
    check("https://m.example/01/06901234567892/21/AB12", expect![[r#"Gtin(6901234567892, Some("AB12"))"#]]);
    check("https://m.example/01/06901234567892/10/LOT/21/AB12?c=G1", expect![[r#"Gtin(6901234567892, Some("AB12"))"#]]);
    check(
        "HTTPS://M.EXAMPLE/some/shop/01/06901234567892/22/2A/10/LOT/21/AB12#top",
        expect![[r#"Gtin(6901234567892, Some("AB12"))"#]],
    );
    check("https://m.example/%30%31/0690123456789%32/%32%31/A%2FB", expect![[r#"Gtin(6901234567892, Some("A/B"))"#]]);
    check("https://m.example/414/6901234000016", expect!["Gln(6901234000016)"]);
    check("https://m.example/414/6901234000016/254/ENTRANCE", expect!["Gln(6901234000016)"]);
    check("https://m.example/8017/690123400000000018", expect!["Gsrn(690123400000000018)"]);
    // The first right key counts.
    check("https://m.example/414/6901234000016/01/06901234567892", expect!["Gln(6901234000016)"]);
    check("https://m.example/01/06901234567893/414/6901234000016", expect!["Gln(6901234000016)"]);
    check("https://m.example/01/01/06901234567892", expect!["Gtin(6901234567892, None)"]);
    // Outside of the path there is none.
    check("https://m.example/G1?x=/01/06901234567892", expect![[r#"Text("G1")"#]]);
    check("https://01/06901234567892", expect![[r#"Text("06901234567892")"#]]);
}

#[test]
fn serials() {
    check("https://m.example/01/06901234567892/21/", expect!["Gtin(6901234567892, None)"]);
    check("https://m.example/01/06901234567892/21//10/LOT", expect!["Gtin(6901234567892, None)"]);
    check("https://m.example/01/06901234567892/21", expect!["Gtin(6901234567892, None)"]);
    check("https://m.example/01/06901234567892/10/21/21/S", expect![[r#"Gtin(6901234567892, Some("S"))"#]]);
    check("https://m.example/01/06901234567892/21/A/21/B", expect![[r#"Gtin(6901234567892, Some("A"))"#]]);
    check("https://m.example/01/06901234567892/21/%E7%A0%81", expect![[r#"Gtin(6901234567892, Some("码"))"#]]);
    // What does not decode to text stays as it is.
    check("https://m.example/01/06901234567892/21/%FF", expect![[r#"Gtin(6901234567892, Some("%FF"))"#]]);
    check("https://m.example/01/06901234567892/21/%1F%zz", expect![[r#"Gtin(6901234567892, Some("%1F%zz"))"#]]);
}

#[test]
fn keys_that_are_not_right() {
    check("https://m.example/01/6901234567892", expect![[r#"Text("6901234567892")"#]]);
    check("https://m.example/01/06901234567893", expect![[r#"Text("06901234567893")"#]]);
    check("https://m.example/414/6901234000017", expect![[r#"Text("6901234000017")"#]]);
    check("https://m.example/8017/69012340000000001", expect![[r#"Text("69012340000000001")"#]]);
    check("https://m.example/1/06901234567892", expect![[r#"Text("06901234567892")"#]]);
    check("https://m.example/gtin/06901234567892", expect![[r#"Text("06901234567892")"#]]);
    check("https://m.example/01", expect![[r#"Text("01")"#]]);
}

#[test]
fn parameters_and_segments() {
    check("https://m.example/x?c=G1", expect![[r#"Text("G1")"#]]);
    check("https://m.example/x?a=1&c=&c=G%201+2&c=G3", expect![[r#"Text("G 1+2")"#]]);
    check("https://m.example/x?%63=G1", expect![[r#"Text("G1")"#]]);
    check("https://m.example/x?cc=1&C=2", expect![[r#"Text("x")"#]]);
    check("https://m.example/x?c", expect![[r#"Text("x")"#]]);
    check("https://m.example?c=G1#c=G2", expect![[r#"Text("G1")"#]]);
    check("https://m.example/x?c=%00", expect![[r#"Text("%00")"#]]);
    check("https://m.example/c/0A1B-2C3D/", expect![[r#"Text("0A1B-2C3D")"#]]);
    check("https://m.example/c/%E7%A0%81%20/", expect![[r#"Text("码 ")"#]]);
    check("weixin://dl/business/G%2D1", expect![[r#"Text("G-1")"#]]);
}

#[test]
fn urls_of_nothing() {
    check("https://m.example", expect![[r#"Text("https://m.example")"#]]);
    check("https://m.example//", expect![[r#"Text("https://m.example//")"#]]);
    check("https://m.example?#", expect![[r#"Text("https://m.example?#")"#]]);
    check("://", expect![[r#"Text("://")"#]]);
}
