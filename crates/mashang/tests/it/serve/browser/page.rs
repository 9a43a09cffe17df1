//! A page of another origin, in a real browser: it sends beacons and events, and asks for the result of a scan.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use super::{accepted, scan, shop};
use crate::serve::clients::has;
use crate::serve::server::Server;
use crate::serve::setup::{key, write_keys};

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

#[test]
fn page_of_another_origin_sends_and_asks() {
    let Some(browser) = ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()))
    else {
        assert!(!has("chromium", &["chromium", "--version"]));
        return;
    };
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
    let profile = format!("--user-data-dir={}", dir.path().join("profile").display());
    let args = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--timeout=20000",
        "--virtual-time-budget=20000",
        "--dump-dom",
    ];
    let output = Command::new(browser).args(args).args([profile.as_str(), &url]).output().expect("it runs");
    let dom = String::from_utf8_lossy(&output.stdout);
    assert!(dom.contains("true 202 1 bottle"), "{dom}{}", String::from_utf8_lossy(&output.stderr));
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
