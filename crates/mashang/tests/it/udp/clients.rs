//! Clients of other projects: libcoap's `coap-client` and aiocoap.

use std::path::PathBuf;
use std::process::Command;

use super::{UDP, accepted, ids, sum, visit};
use crate::serve::server::Server;
use crate::serve::setup::shop;

/// Names of the client: those of Debian and its own.
const COAP_CLIENT: [&str; 3] = ["coap-client-notls", "coap-client", "coap-client-openssl"];

fn skip(missing: &str) {
    assert!(std::env::var_os("MASHANG_NO_SKIP").is_none(), "{missing}");
    eprintln!("skipped: {missing}");
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

#[test]
fn libcoap_is_answered() {
    let Some(client) = COAP_CLIENT.into_iter().find_map(on_path) else {
        return skip("coap-client is not installed (Debian: libcoap3-bin)");
    };
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let uri = |path: &str| format!("coap://{}{path}", server.udp.expect("an address"));
    let ask = |args: &[&str], path: &str, event: &str| {
        let uri = uri(path);
        let run = Command::new(&client).args(args).args(["-m", "post", "-B", "20", "-e", event, &uri]).output();
        let output = run.expect("it runs");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    assert_eq!(ask(&[], "/v1/events", &visit("a")), "");
    assert_eq!(ask(&["-t", "50"], "/v1/events", &visit("b")), "");
    let told = ask(&["-t", "50"], "/v1/events", "{\"id\":\"c\",\"action\":\"visit\",\"shopper\":\"\"}");
    assert!(told.starts_with("4.00") && told.contains("shopper: "), "{told}");
    let told = ask(&[], "/v1/nothing-that-is-here", &visit("d"));
    assert!(told.starts_with("4.04") && told.contains("there is only /v1/events"), "{told}");
    assert_eq!(accepted(&server), 2);
    server.settle();
    assert_eq!(ids(dir.path()), ["a", "b"]);
}

const ASK: &str = r#"
import asyncio, sys
from aiocoap import Context, Message, POST, NON, CON

async def main(uri):
    context = await Context.create_client_context()
    async def ask(path, payload, **more):
        response = await context.request(Message(code=POST, uri=uri + path, payload=payload.encode(), **more)).response
        print(response.code.dotted, response.payload.decode())
    event = '{"id":"%s","action":"visit","shopper":"u1"}'
    await ask("/v1/events", event % "a")
    await ask("/v1/events", event % "b" + "\n" + event % "c")
    await ask("/v1/events", event % "d", content_format=50)
    await ask("/v1/events", event % "e", content_format=60)
    await ask("/v1/events", event % "f" + "\n" + '{"id":"wrong","action":"visit","shopper":"%s"}' % ("x" * 65))
    await ask("/v1", event % "g")
    await ask("/v1/events", event % "h", accept=50)
    await ask("/v1/events", event % "i", accept=60)
    await ask("/v1/events", event % "j", accept=0)
    await asyncio.gather(*(ask("/v1/events", event % n) for n in range(20)))
    await context.shutdown()

asyncio.run(main(sys.argv[1]))
"#;

#[test]
fn aiocoap_is_answered() {
    let has = Command::new("python3").args(["-c", "import aiocoap"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        return skip("aiocoap is not installed (pip install aiocoap)");
    }
    let dir = shop();
    let server = Server::start(dir.path(), &UDP);
    let uri = format!("coap://{}", server.udp.expect("an address"));
    let output = Command::new("python3").args(["-c", ASK, &uri]).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = told.lines().collect();
    let first: Vec<&str> = lines[..9].iter().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(first, ["2.04", "2.04", "2.04", "4.15", "2.04", "4.04", "2.04", "2.04", "4.06"], "{told}");
    assert!(lines[4].starts_with("2.04 {\"accepted\":1"), "{told}");
    assert!(lines.len() == 29 && lines[9..].iter().all(|line| line.starts_with("2.04")), "{told}");
    assert_eq!((accepted(&server), sum(&server, "mashang_events_rejected_total")), (27, 1));
}
