//! A real browser: a page of another origin sends beacons and events, and asks for the result of a scan; a phone opens a minted code's link,
//! is sent to the landing page, and reads there what it won.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslMethod};

use super::{accepted, scan, shop};
use crate::serve::answers::minted::{token, write_rules};
use crate::serve::clients::has;
use crate::serve::server::Server;
use crate::serve::setup::{key, write_keys};
use crate::serve::tls::pair;

const PHONE: &str = "--user-agent=Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 \
                     Mobile/15E148 Safari/604.1";

/// Answers every request with this page, on an origin of its own.
fn page_at(html: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                html.len()
            );
            let _ = stream.write_all((head + &html).as_bytes());
        }
    });
    format!("http://{address}/")
}

/// A browser, if there is one.
fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let is_here =
        |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    let found = names.into_iter().find(is_here);
    assert!(found.is_some() || !has("chromium", &["chromium", "--version"]));
    found
}

/// The document at a URL, once its scripts have had 20 seconds; and what the browser said.
fn document(browser: &str, dir: &Path, more: &[&str], url: &str) -> (String, String) {
    let profile = format!("--user-data-dir={}", dir.join("profile").display());
    let args = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--timeout=20000",
        "--virtual-time-budget=20000",
        "--dump-dom",
    ];
    let output = Command::new(browser).args(args).args(more).args([profile.as_str(), url]).output().expect("it runs");
    let [dom, told] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (dom, told)
}

/// Answers every request over TLS with this page.
fn serve_landing(listener: TcpListener, html: String) {
    let (certificate, key) = pair();
    let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).expect("TLS");
    acceptor.set_certificate(&certificate).expect("a certificate");
    acceptor.set_private_key(&PKey::private_key_from_pem(&key).expect("PEM")).expect("a key");
    let acceptor = acceptor.build();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(mut stream) = acceptor.accept(stream) else { continue };
            let _ = stream.read(&mut [0; 4096]);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                html.len()
            );
            let _ = stream.write_all((head + &html).as_bytes());
            let _ = stream.shutdown();
        }
    });
}

#[test]
fn phone_scans_minted_codes_and_reads_its_prize() {
    let Some(browser) = browser() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    write_rules(dir.path(), "gtin = \"06901234567892\"\n[[range]]\nbatch = 7\nfrom = 0\nto = 1000\n");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let landing = format!("https://{}/wheel", listener.local_addr().expect("an address"));
    let rules = std::fs::read_to_string(dir.path().join("rules.toml")).expect("rules");
    let rules = rules.replace("2026-11-01", "2020-01-01").replace("2027-01-01", "2090-01-01");
    let rules = rules.replace("mode = \"odds\"", &format!("mode = \"odds\"\nlanding = \"{landing}\""));
    std::fs::write(dir.path().join("rules.toml"), rules).expect("rules");
    let (first, second) = (token(dir.path(), 5), token(dir.path(), 6));
    let server = Server::start(dir.path(), &[]);
    let page = r#"<body>waiting<script>
        const r = new URL(location).searchParams.get("r");
        fetch("DOOR/r/" + r + "?wait=10000").then((answer) => answer.json())
            .then((told) => { document.body.textContent = ["won", told.state, told.draw.prize, told.draw.amount].join(" "); })
            .catch((error) => { document.body.textContent = "" + error; });
    </script>"#;
    serve_landing(listener, page.replace("DOOR", &server.http));
    for path in [format!("/c/{first}"), format!("/01/06901234567892/21/{second}")] {
        let url = format!("{}{path}", server.http);
        let (dom, told) = document(browser, dir.path(), &["--ignore-certificate-errors", PHONE], &url);
        assert!(dom.contains("won entered bottle 5"), "{path}: {dom}{told}");
    }
    assert_eq!(accepted(&server), 2);
}

#[test]
fn page_of_another_origin_sends_and_asks() {
    let Some(browser) = browser() else { return };
    let dir = shop();
    let page = key("page", "s3+cr/et", "merchants = [\"tea\"]\nscopes = [\"ingest\"]\nactions = [\"visit\"]");
    write_keys(dir.path(), &page);
    let server = Server::start(dir.path(), &["--keys", "keys.toml"]);
    let r = scan(&server, "/c/BOTTLE-1", None).r().to_owned();
    let script = r#"<body>waiting<script>
        const door = "DOOR", key = "page.s3+cr/et";
        const event = (id) => JSON.stringify({ id, action: "visit", shopper: "u1" });
        const sent = navigator.sendBeacon(door + "/v1/events?key=" + encodeURIComponent(key), "[" + event("1") + "," + event("2") + "]");
        const headers = { "Content-Type": "application/json", "Authorization": "Bearer " + key };
        (async () => {
            const posted = await fetch(door + "/v1/events", { method: "POST", headers, body: event("3"), keepalive: true });
            const told = await (await fetch(door + "/r/R?wait=10000")).json();
            document.body.textContent = [sent, posted.status, (await posted.json()).accepted, told.draw.prize].join(" ");
        })().catch((error) => { document.body.textContent = "" + error; });
    </script>"#;
    let url = page_at(script.replace("DOOR", &server.http).replace("/r/R", &format!("/r/{r}")));
    let (dom, told) = document(browser, dir.path(), &[], &url);
    assert!(dom.contains("true 202 1 bottle"), "{dom}{told}");
    while accepted(&server) < 4 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // A text with the key in the query is a beacon, whatever the browser says of it.
    let send = |headers: &[(&str, &str)], path: &str| {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = agent.post(format!("{}/v1/events{path}", server.http));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send("{\"id\":\"4\",\"action\":\"visit\",\"shopper\":\"u1\"}").expect("an answer").status().as_u16()
    };
    let text = ("Content-Type", "text/plain;charset=UTF-8");
    assert_eq!(send(&[text], "?key=page.s3%2Bcr%2Fet"), 202);
    assert_eq!(send(&[text, ("Sec-Fetch-Mode", "no-cors")], "?key=page.wrong"), 401);
    assert_eq!(send(&[text, ("Sec-Fetch-Mode", "no-cors")], "?a=b&key=page.s3%2Bcr%2Fet"), 202);
}
