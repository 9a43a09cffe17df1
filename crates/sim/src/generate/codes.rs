//! The ways in which the text of a code is written: by scanners, as an element string, as a Digital Link.
use super::gtins::LISTED;
use super::plan::{GTIN_BODY, with_check_digit};

const GS: char = '\u{1d}';

/// Another way to write a code, or a text that only looks like one. No dice: what else a seed gives stays as it was.
pub(super) fn written(text: &str, n: u64) -> String {
    let gtin13 = with_check_digit(GTIN_BODY);
    let gtin14 = format!("0{gtin13}");
    let encoded = text.replace('~', "%7E").replace(' ', "%20");
    let is_url = text.contains("://");
    match n % 20 {
        0 => format!("]C1{text}\r\n"),
        1 => format!("\r {text} "),
        2 => format!("]Q3{text}\n"),
        3 if is_url => names(text),
        4 if is_url => text.replacen("example/", "example//", 1).replace("/21/", "//21///"),
        5 if is_url && !text.contains(['?', '#']) => format!("{text}/"),
        6 if is_url => names(text).replace(&gtin14, &gtin13),
        3 => format!("(01){gtin14}(21){text}"),
        4 => format!("]d2(10)L(1)({GS}(01){gtin14} (21) {text}\r"),
        5 => format!("01{gtin14}10L1{GS}21{text}"),
        6 => format!("]d201{gtin14}1727123121{text}"),
        7 if !is_url => format!("21{text}{GS}01{gtin14}"),
        8 if !is_url => format!("https://id.example//gtin/{gtin13}/ser/{encoded}//"),
        9 if !is_url => format!("https://id.example/x/01/96385074/lot/21/21/{encoded}"),
        10 | 11 => {
            let all = others();
            let at = usize::try_from(n / 20 * 2 + n % 2).unwrap() % all.len();
            all[at].clone()
        }
        _ => text.to_string(),
    }
}

fn names(url: &str) -> String {
    let url = url.replace("/01/", "/gtin/").replace("/10/", "/lot/").replace("/21/", "/%73er/");
    url.replace("/414/", "/gln/").replace("/8017/", "/gsrnp/")
}

/// Keys alone, in right and wrong ways.
fn others() -> Vec<String> {
    let gln = with_check_digit("690123400001");
    let gsrn = with_check_digit("69012340000000001");
    let mut all = vec![
        format!("414{gln}"),
        format!("(414){gln}(254)9"),
        format!("254X{GS}414{gln}"),
        format!("https://id.example//gln/{gln}/"),
        // a location's number that would be a GTIN, too
        format!("]E0{gln}"),
        format!("8017{gsrn}"),
        format!("(8019)12(8017){gsrn}"),
        format!("801912{GS}8017{gsrn}{GS}"),
        format!("801912 8017{gsrn}"),
        format!("https://id.example/gsrnp/{gsrn}/8019/12"),
        format!("https://id.example/gsrn/{gsrn}"),
        format!("(414){gln}(8017){gsrn}"),
        " \r\n".into(),
        "]C1".into(),
        "]Q3https://id.example//".into(),
        "https://id.example/c/%0A".into(),
        "https://id.example/c/%ff".into(),
        "]C0none".into(),
        "(10)L1(21)none".into(),
    ];
    for gtin in [with_check_digit(GTIN_BODY), LISTED.to_string()] {
        let wrong = format!("0{}{}", &gtin[..12], (gtin.as_bytes()[12] - b'0' + 1) % 10);
        all.extend([
            gtin.clone(),
            format!("0{gtin}\r"),
            format!("]E0{gtin}"),
            format!("(01)0{gtin}"),
            format!("(01){gtin}"),
            format!("010{gtin}"),
            format!("1727123101{gtin}"),
            format!("17271231{GS}010{gtin}"),
            format!("010{gtin}21"),
            format!("010{gtin}10L1{GS}21{GS}"),
            format!("010{gtin}21ABCDEFGHIJKLMNOPQRSTU"),
            format!("01{wrong}21none"),
            format!("(01){wrong}(21)none"),
            format!("https://id.example/01/{gtin}"),
            format!("https://id.example/gtin/0{gtin}/ser/"),
            format!("https://id.example//01//{gtin}//21//10/L1"),
            format!("https://id.example/01/{wrong}/21/none"),
            format!("https://id.example/x?c={gtin}"),
            format!("https://id.example/01/01/{gtin}/01/{gtin}"),
        ]);
    }
    for body in ["9638507", "03600029145"] {
        let gtin = with_check_digit(body);
        all.extend([format!("https://id.example/01/{gtin}"), format!("(01){gtin}(21)none"), format!("]E0{gtin}\r")]);
    }
    all
}
