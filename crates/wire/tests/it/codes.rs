//! Texts of codes: URLs, element strings, and what scanners add (contract section 3).

use bumpalo::Bump;
use domain::model::code::Link;
use expect_test::{Expect, expect};
use wire::code::parse_link;
use wire::event::{Merchants, Reason, read};

fn check(text: &str, expect: Expect) {
    let arena = Bump::new();
    let told = parse_link(text, &arena).map_or("itself".to_owned(), |link| format!("{link:?}"));
    expect.assert_eq(&told);
}

#[test]
fn plain_texts_stand_for_themselves() {
    check("", expect!["itself"]);
    check("G1", expect!["itself"]);
    check("m.example/01/06901234567892", expect!["itself"]);
    check("https:/m.example/c/G1", expect!["itself"]);
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
    check("https://m.example/01/06901234567892/21", expect!["Gtin(6901234567892, None)"]);
    check("https://m.example/01/06901234567892/10/21/21/S", expect![[r#"Gtin(6901234567892, Some("S"))"#]]);
    check("https://m.example/01/06901234567892/21/A/21/B", expect![[r#"Gtin(6901234567892, Some("A"))"#]]);
    check("https://m.example/01/06901234567892/21/%E7%A0%81", expect![[r#"Gtin(6901234567892, Some("码"))"#]]);
    // What does not decode to text stays as it is.
    check("https://m.example/01/06901234567892/21/%FF", expect![[r#"Gtin(6901234567892, Some("%FF"))"#]]);
    check("https://m.example/01/06901234567892/21/%1F%zz", expect![[r#"Gtin(6901234567892, Some("%1F%zz"))"#]]);
}

#[test]
fn gtin_of_fewer_digits_is_its_digits() {
    for digits in ["96385074", "036000291452", "6901234567892"] {
        let arena = Bump::new();
        assert_eq!(parse_link(&format!("https://m.example/01/{digits}"), &arena), Some(Link::Text(digits)));
        let number = digits.parse().expect("digits");
        for path in ["01/#/21/S", "gtin/#/10/L/ser/S", "a/01/#/21/S/"] {
            let url = format!("https://m.example/{}", path.replace('#', digits));
            assert_eq!(parse_link(&url, &arena), Some(Link::Gtin(number, Some("S"))), "{url}");
        }
    }
    // Ten digits are no GTIN, whatever their check digit.
    check("https://m.example/01/0000000000/21/S", expect![[r#"Text("S")"#]]);
    check("https://m.example/01/6901234567893/21/S", expect![[r#"Text("S")"#]]);
}

#[test]
fn names_of_keys_are_keys() {
    check("https://m.example/gtin/06901234567892", expect!["Gtin(6901234567892, None)"]);
    check("https://m.example/gtin/06901234567892/ser/AB12", expect![[r#"Gtin(6901234567892, Some("AB12"))"#]]);
    check("https://m.example/01/06901234567892/lot/ser/ser/S", expect![[r#"Gtin(6901234567892, Some("S"))"#]]);
    check("https://m.example/%67tin/06901234567892/%73er/S", expect![[r#"Gtin(6901234567892, Some("S"))"#]]);
    check("https://m.example/gln/6901234000016", expect!["Gln(6901234000016)"]);
    check("https://m.example/gsrnp/690123400000000018", expect!["Gsrn(690123400000000018)"]);
    // A recipient of service is no guide.
    check("https://m.example/gsrn/690123400000000018", expect![[r#"Text("690123400000000018")"#]]);
}

#[test]
fn slashes_are_joined_and_a_trailing_one_ignored() {
    check("https://m.example//c/TIN-1", expect![[r#"Text("TIN-1")"#]]);
    check("https://m.example/c/TIN-1//", expect![[r#"Text("TIN-1")"#]]);
    check("https://m.example//01//06901234567892///21//AB12//", expect![[r#"Gtin(6901234567892, Some("AB12"))"#]]);
    check("https://m.example/01/06901234567892/21//10/LOT", expect![[r#"Gtin(6901234567892, Some("10"))"#]]);
    check("https://m.example/01/06901234567892/", expect!["Gtin(6901234567892, None)"]);
    // A slash that is written as %2F is part of a value.
    check("https://m.example/01/06901234567892/21/A%2F", expect![[r#"Gtin(6901234567892, Some("A/"))"#]]);
}

#[test]
fn what_scanners_add_is_taken_off() {
    check(" G1\r\n", expect![[r#"Text("G1")"#]]);
    check("\r\n G1", expect![[r#"Text("G1")"#]]);
    check("G 1", expect!["itself"]);
    check("G\n1", expect!["itself"]);
    for identifier in ["]C1", "]d2", "]Q3", "]e0", "]E0"] {
        let arena = Bump::new();
        assert_eq!(parse_link(&format!("{identifier}G1"), &arena), Some(Link::Text("G1")));
        assert_eq!(parse_link(&format!("\r{identifier} G1\n"), &arena), Some(Link::Text("G1")));
    }
    check("]E06901234567892\r", expect![[r#"Text("6901234567892")"#]]);
    check("]Q3https://m.example/01/06901234567892/21/AB12\n", expect![[r#"Gtin(6901234567892, Some("AB12"))"#]]);
    check(" https://m.example/c/TIN-1\r\n", expect![[r#"Text("TIN-1")"#]]);
    check(" https://m.example ", expect![[r#"Text("https://m.example")"#]]);
    // Others stand in the text itself, and so does a second one.
    check("]C0G1", expect!["itself"]);
    check("]c1G1", expect!["itself"]);
    check("]C1]C1G1", expect![[r#"Text("]C1G1")"#]]);
    check("G1]C1", expect!["itself"]);
    // No-break blanks and tabs are no such additions.
    check("G1\u{A0}", expect!["itself"]);
    check("G1\t", expect!["itself"]);
    // Of nothing but additions nothing is left.
    check(" \r\n", expect!["itself"]);
    check("]C1", expect!["itself"]);
}

#[test]
fn bracketed_element_strings() {
    check("(01)06901234567892", expect!["Gtin(6901234567892, None)"]);
    check("(01)06901234567892(21)AB12", expect![[r#"Gtin(6901234567892, Some("AB12"))"#]]);
    check("(01)06901234567892(10)LOT(17)271231(21)AB12", expect![[r#"Gtin(6901234567892, Some("AB12"))"#]]);
    check("(21)AB12(01)06901234567892", expect![[r#"Gtin(6901234567892, Some("AB12"))"#]]);
    check("]d2(01) 06901234567892 (21) AB12\r", expect![[r#"Gtin(6901234567892, Some("AB12"))"#]]);
    check("(01)06901234567892(21)", expect!["Gtin(6901234567892, None)"]);
    check("(01)06901234567892(21)A(B)(1)(12345)/%2F", expect![[r#"Gtin(6901234567892, Some("A(B)(1)(12345)/%2F"))"#]]);
    check("(01)06901234567892(21)a://b", expect![[r#"Gtin(6901234567892, Some("a://b"))"#]]);
    check("(01)6901234567892(21)S", expect![[r#"Gtin(6901234567892, Some("S"))"#]]);
    check("(01)6901234567892", expect![[r#"Text("6901234567892")"#]]);
    check("(414)6901234000016(254)ENTRANCE", expect!["Gln(6901234000016)"]);
    check("(8017)690123400000000018", expect!["Gsrn(690123400000000018)"]);
    check("(414)6901234000016(01)06901234567892", expect!["Gln(6901234000016)"]);
    // A wrong check digit, no primary key, a name where an AI belongs, text in front.
    check("(01)06901234567893(21)AB12", expect!["itself"]);
    check("(10)LOT(21)AB12", expect!["itself"]);
    check("(gtin)06901234567892", expect!["itself"]);
    check("x(01)06901234567892", expect!["itself"]);
    check("(01", expect!["itself"]);
    check("()", expect!["itself"]);
}

#[test]
fn element_strings_with_separators() {
    check("0106901234567892\u{1D}21AB12", expect![[r#"Gtin(6901234567892, Some("AB12"))"#]]);
    check("010690123456789210LOT\u{1D}21AB12", expect![[r#"Gtin(6901234567892, Some("AB12"))"#]]);
    check("]d2010690123456789210LOT\u{1D}21AB12\u{1D}\r\n", expect![[r#"Gtin(6901234567892, Some("AB12"))"#]]);
    check("\u{1D}010690123456789221AB12", expect![[r#"Gtin(6901234567892, Some("AB12"))"#]]);
    check("21AB12\u{1D}0106901234567892", expect![[r#"Gtin(6901234567892, Some("AB12"))"#]]);
    check("21\u{1D}0106901234567892", expect!["Gtin(6901234567892, None)"]);
    check("3103000123\u{1D}0106901234567892", expect!["Gtin(6901234567892, None)"]);
    check("254X\u{1D}4146901234000016", expect!["Gln(6901234000016)"]);
    check("8019123\u{1D}8017690123400000000018", expect!["Gsrn(690123400000000018)"]);
    // No AI, a value that is too long or of wrong characters, no primary key, a wrong check digit.
    check("21AB12\u{1D}0506901234567892", expect!["itself"]);
    check("0106901234567892\u{1D}21AB12AB12AB12AB12AB123", expect!["itself"]);
    check("0106901234567892\u{1D}21A B", expect!["itself"]);
    check("0106901234567892\u{1D}37A", expect!["itself"]);
    check("10LOT\u{1D}21AB12", expect!["itself"]);
    check("0106901234567893\u{1D}21AB12", expect!["itself"]);
    check("G1\u{1D}", expect!["itself"]);
}

#[test]
fn element_strings_without_separators_begin_with_their_key() {
    check("0106901234567892", expect!["Gtin(6901234567892, None)"]);
    check("]C1010690123456789221AB12", expect![[r#"Gtin(6901234567892, Some("AB12"))"#]]);
    check("01069012345678921727123121AB12", expect![[r#"Gtin(6901234567892, Some("AB12"))"#]]);
    // A lot goes on to the end.
    check("010690123456789210LOT21AB12", expect!["Gtin(6901234567892, None)"]);
    check("010690123456789221", expect!["Gtin(6901234567892, None)"]);
    check("4146901234000016", expect!["Gln(6901234000016)"]);
    check("4146901234000016254X", expect!["Gln(6901234000016)"]);
    check("8017690123400000000018", expect!["Gsrn(690123400000000018)"]);
    check("17271231010690123456789221AB12", expect!["itself"]);
    check("0106901234567893", expect!["itself"]);
    check("01069012345678922", expect!["itself"]);
    check("0106901234567892X", expect!["itself"]);
    check("010690123456789221AB12AB12AB12AB12AB123", expect!["itself"]);
    check("010690123456789é", expect!["itself"]);
    check("6901234567892", expect!["itself"]);
    check("16901234567899", expect!["itself"]);
}

#[test]
fn keys_that_are_not_right() {
    check("https://m.example/01/6901234567892", expect![[r#"Text("6901234567892")"#]]);
    check("https://m.example/01/06901234567893", expect![[r#"Text("06901234567893")"#]]);
    check("https://m.example/414/6901234000017", expect![[r#"Text("6901234000017")"#]]);
    check("https://m.example/8017/69012340000000001", expect![[r#"Text("69012340000000001")"#]]);
    check("https://m.example/1/06901234567892", expect![[r#"Text("06901234567892")"#]]);
    check("https://m.example/GTIN/06901234567892", expect![[r#"Text("06901234567892")"#]]);
    check("https://m.example/sku/06901234567892", expect![[r#"Text("06901234567892")"#]]);
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

fn read_visit(fields: &str) -> Result<String, Vec<(String, Reason)>> {
    let (arena, merchants) = (Bump::new(), Merchants::new([("acme", "CNY")]));
    let object = format!(r#"{{"action":"visit","shopper":"u1",{fields}}}"#);
    match read(object.as_bytes(), &merchants, &arena) {
        Ok(accepted) => Ok(format!("{:?}", accepted.event.code.expect("a code"))),
        Err(refused) => Err(refused.errors.into_iter().map(|error| (error.field, error.reason)).collect()),
    }
}

#[test]
fn code_alone_may_have_line_ends_and_gs() {
    let code = read_visit(r#""id":"e1","code":"]d2010690123456789221S\u001d\r\n""#).expect("an event");
    let link = r#"Some(Gtin(6901234567892, Some("S")))"#;
    assert_eq!(code, format!(r#"Code {{ text: "]d2010690123456789221S\u{{1d}}\r\n", link: {link} }}"#));
    for control in ["\\u0000", "\\t", "\\u001c", "\\u001e", "\\u001f", "\u{7f}", "\u{85}"] {
        let wrong = vec![("code".to_owned(), Reason::Control)];
        assert_eq!(read_visit(&format!(r#""id":"e1","code":"G1{control}""#)), Err(wrong), "{control}");
    }
    for field in ["id", "merchant", "store", "guide", "region", "channel", "device", "order", "currency", "ticket"] {
        for control in ["\\r", "\\n", "\\u001d"] {
            let errors = read_visit(&format!(r#""{field}":"a{control}""#)).expect_err(field);
            assert!(errors.contains(&(field.to_owned(), Reason::Control)), "{field}: {errors:?}");
        }
    }
}
