//! Connections that last: event streams and WebSockets, across a deploy.

use crate::{http::Connection, site::Site, wait::until};
use std::fs;

/// A WebSocket server in Python's standard library, as small as it can be: it agrees to the upgrade, names its version,
/// and returns every byte it is sent.
const ECHO: &str = r#"
import base64, hashlib, os, socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline().decode()
        head = {}
        while (text := self.rfile.readline().decode().strip()):
            name, value = text.split(":", 1)
            head[name.lower()] = value.strip()
        if head.get("upgrade", "").lower() != "websocket":
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\nx-shop-version: " + VERSION + b"\r\n\r\n")
            return
        key = head["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest())
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: " + accept + b"\r\nx-shop-version: " + VERSION + b"\r\n\r\n")
        while (data := self.request.recv(4096)):
            self.request.sendall(data)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads = True, True
VERSION = open("version", "rb").read()
Server(("127.0.0.1", int(os.environ["PORT"])), Echo).serve_forever()
"#;

const UPGRADE: [(&str, &str); 4] = [
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

fn echo_release(site: &Site, version: &str) -> String {
    let release = site.path(version);
    fs::create_dir(&release).unwrap();
    fs::write(release.join("echo.py"), ECHO).unwrap();
    fs::write(release.join("version"), version).unwrap();
    release.to_str().unwrap().to_owned()
}

#[test]
fn a_websocket_lives_through_a_deploy_until_its_drain_deadline() {
    let mut site = Site::new();
    site.edit("\"./shop\"", "\"python3 -u echo.py\"");
    site.serve();
    site.apply().expect(0);
    let deploy = |version: &str| {
        let release = echo_release(&site, version);
        site.qd(&["deploy", "shop", &release, "--strategy", "blue-green", "--reason", version]).expect(0);
    };
    deploy("v1");
    let mut socket = Connection::open(site.address).unwrap();
    socket.write(request_of_upgrade().as_bytes()).unwrap();
    let agreed = socket.head().unwrap();
    assert_eq!((agreed.status, agreed.version()), (101, "v1"));
    assert_eq!(agreed.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    echoes(&mut socket, b"before");
    deploy("v2");
    assert_eq!(site.serving(), "v2");
    echoes(&mut socket, b"after");
    until("the old release to be gone", || socket.is_over());
    let mut another = Connection::open(site.address).unwrap();
    another.write(request_of_upgrade().as_bytes()).unwrap();
    assert_eq!(another.head().unwrap().version(), "v2");
    echoes(&mut another, &[0xff, 0x00, 0x81]);
}

fn request_of_upgrade() -> String {
    let headers: String = UPGRADE.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET /chat HTTP/1.1\r\nhost: shop.localhost\r\n{headers}\r\n")
}

#[track_caller]
fn echoes(socket: &mut Connection, message: &[u8]) {
    socket.write(message).unwrap();
    assert_eq!(socket.bytes(message.len()).unwrap(), message);
}

#[test]
fn an_event_stream_goes_on_during_a_deploy_and_ends_when_drained() {
    let site = Site::open();
    let mut stream = Connection::open(site.address).unwrap();
    stream.write(b"GET /events HTTP/1.1\r\nhost: shop.localhost\r\n\r\n").unwrap();
    let head = stream.head().unwrap();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    let event = |stream: &mut Connection| -> std::io::Result<String> {
        loop {
            match stream.line()? {
                line if line.starts_with("data:") => return Ok(line),
                // The last chunk: the body is over.
                line if line == "0" => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
    };
    assert!(event(&mut stream).unwrap().contains("v1"));
    site.deploy("v2", "").expect(0);
    assert_eq!(site.serving(), "v2");
    assert!(event(&mut stream).unwrap().contains("v1"));
    // It ends, and is not cut before its deadline for nothing: the old release goes when its last stream has gone.
    while let Ok(line) = event(&mut stream) {
        assert!(line.contains("v1"), "{line}");
    }
    until("the old release to be gone", || site.shops().len() == 2);
}
