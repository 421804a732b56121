//! Where requests come from, as told by proxies that are believed and by balancers that pass bytes; and what is written down of
//! them.

use crate::{
    pki::{Authority, Files},
    rig::{Rig, full, running, service, soon, whole},
    tls,
    upstream::good,
};
use http::Request;
use model::{Bytes, Rate, Ratio};
use proxy::{AccessLog, LogFormat, Settings};
use std::{fs, path::Path, sync::Arc, time::Duration};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::sleep};
use tokio_rustls::TlsConnector;

/// A rig that was told these settings.
pub(crate) async fn told(settings: &Settings) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proxy.json");
    fs::write(&path, serde_json::to_vec(settings).unwrap()).unwrap();
    Rig::on(dir, |config| {
        config.settings = Some(path);
        config.limits.look = Duration::from_millis(20);
    })
    .await
}

fn here() -> Vec<model::Network> {
    vec!["127.0.0.0/8".parse().unwrap()]
}

/// What an instance is told of a request with these fields, by the short way and by hyper.
async fn seen(rig: &Rig, fields: &[(&str, &str)]) -> [String; 2] {
    let ask = async |method: &str| {
        let mut request = Request::builder().method(method).uri("/head");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        whole(rig.open(request, full("")).await).await.1
    };
    [ask("GET").await, ask("PUT").await]
}

#[tokio::test]
async fn a_proxy_that_is_believed_says_whose_requests_it_passes() {
    let mut rig = told(&Settings { forwarded_by: here(), ..Settings::default() }).await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let fields = [("x-forwarded-for", "6.6.6.6, 192.0.2.7, 127.0.0.9"), ("x-forwarded-proto", "https")];
    for told in seen(&rig, &fields).await {
        assert!(told.contains("x-forwarded-for: 192.0.2.7\n"), "{told}");
        assert!(told.contains("x-forwarded-proto: https\n"), "{told}");
    }
    for told in seen(&rig, &[]).await {
        assert!(told.contains("x-forwarded-for: 127.0.0.1\n"), "{told}");
    }
}

#[tokio::test]
async fn each_client_behind_a_proxy_that_is_believed_has_a_rate_of_its_own() {
    let mut rig = told(&Settings { forwarded_by: here(), ..Settings::default() }).await;
    let mut shop = service(vec![running(&[good("one").await])]);
    shop.traffic.client_rate = Rate::parse("1/h");
    rig.serve(vec![shop]).await;
    let ask = async |client: &str| rig.send(Request::get("/").header("x-forwarded-for", client)).await.0;
    assert_eq!((ask("192.0.2.1").await, ask("192.0.2.2").await), (200, 200));
    assert_eq!(ask("192.0.2.1").await, 429);
    assert_eq!(ask("6.6.6.6, 192.0.2.1").await, 429, "what the client wrote itself does not help it");
}

#[tokio::test]
async fn a_balancer_that_passes_bytes_says_whose_they_are() {
    let mut rig = told(&Settings { proxy_protocol_from: here(), ..Settings::default() }).await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let request = "GET /head HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let answer = rig.raw(format!("PROXY TCP4 192.0.2.7 10.0.0.1 5 6\r\n{request}").as_bytes()).await;
    assert!(answer.contains("x-forwarded-for: 192.0.2.7\n"), "{answer}");
    let mut second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\x0a\0\0\x01\0\x05\0\x06".to_vec();
    second.extend(request.as_bytes());
    let answer = rig.raw(&second).await;
    assert!(answer.contains("x-forwarded-for: 192.0.2.8\n"), "{answer}");
    assert_eq!(rig.raw(request.as_bytes()).await, "", "without its header it is not answered");
    rig.control.until("it is counted", |report| report.refused == 1).await;
}

#[tokio::test]
async fn others_cannot_say_whose_requests_they_send() {
    let mut rig = told(&Settings::default()).await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    for told in seen(&rig, &[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https")]).await {
        assert!(told.contains("x-forwarded-for: 127.0.0.1\n") && told.contains("x-forwarded-proto: http\n"), "{told}");
    }
    let answer = rig.raw(b"PROXY TCP4 192.0.2.7 10.0.0.1 5 6\r\nGET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn a_tls_handshake_follows_the_header_of_a_balancer() {
    let dir = tempfile::tempdir().unwrap();
    let (files, authority) = (Files::new(dir.path()), Authority::new());
    files.write("shop", &authority.issue(&["shop.test"], |_| {}));
    let settings = dir.path().join("proxy.json");
    let told = Settings { proxy_protocol_from: here(), ..Settings::default() };
    fs::write(&settings, serde_json::to_vec(&told).unwrap()).unwrap();
    let (_rig, address) = tls::open(&files, &files.terms(&["shop"]), |config| config.settings = Some(settings)).await;
    let mut stream = soon("connecting", TcpStream::connect(address)).await.unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 5 6\r\n").await.unwrap();
    let connector = TlsConnector::from(Arc::new(authority.client(&[])));
    let stream = soon("a handshake", connector.connect("shop.test".try_into().unwrap(), stream)).await.unwrap();
    let (status, seen) = tls::get(stream, "/head").await;
    assert!(status == 200 && seen.contains("x-forwarded-for: 192.0.2.7\n"), "{seen}");
    assert!(seen.contains("x-forwarded-proto: https\n"), "{seen}");
}

/// A log of every request in a directory.
pub(crate) fn log(dir: &Path, format: LogFormat) -> AccessLog {
    AccessLog { file: dir.join("access.log"), format, sample: Ratio::ONE, size: Bytes::mib(1), query: false }
}

async fn appears(path: &Path) {
    while fs::metadata(path).is_err() {
        sleep(Duration::from_millis(5)).await;
    }
}

/// The lines of a log, once there are so many.
pub(crate) async fn lines(path: &Path, count: usize) -> Vec<String> {
    let read = async {
        loop {
            let text = fs::read_to_string(path).unwrap_or_default();
            if text.lines().count() >= count {
                return text.lines().map(str::to_owned).collect();
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the lines", read).await
}

#[tokio::test]
async fn every_request_is_written_down_however_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = told(&Settings { access_log: Some(log(dir.path(), LogFormat::Json)), ..Settings::default() }).await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    rig.send(Request::get("/name?token=secret").header("user-agent", "a \"test\"").header("traceparent", trace)).await;
    let echoed = rig.open(Request::post("/echo"), full("hello")).await;
    whole(echoed).await;
    rig.get("/fail").await;
    rig.serve(Vec::new()).await;
    rig.get("/nowhere").await;
    let written = lines(&dir.path().join("access.log"), 4).await;
    assert_eq!(written.len(), 4);
    let mut parsed: Vec<serde_json::Value> = written.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &mut parsed {
        let line = line.as_object_mut().unwrap();
        assert!(line["ms"].as_f64().unwrap() > 0.0);
        let time = line["time"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.len() == 24, "{time}");
        drop((line.remove("ms"), line.remove("time")));
    }
    expect_test::expect![[r#"
        [
          {
            "agent": "a \"test\"",
            "bytes": 3,
            "client": "127.0.0.1",
            "host": "shop.test",
            "instance": "INS-10",
            "method": "GET",
            "outcome": "answered",
            "path": "/name",
            "protocol": "HTTP/1.1",
            "release": "REL-1",
            "service": "shop",
            "status": 200,
            "trace": "0af7651916cd43dd8448eb211c80319c"
          },
          {
            "bytes": 5,
            "client": "127.0.0.1",
            "host": "shop.test",
            "instance": "INS-10",
            "method": "POST",
            "outcome": "answered",
            "path": "/echo",
            "protocol": "HTTP/1.1",
            "release": "REL-1",
            "service": "shop",
            "status": 200
          },
          {
            "bytes": 3,
            "client": "127.0.0.1",
            "host": "shop.test",
            "instance": "INS-10",
            "method": "GET",
            "outcome": "status_5xx",
            "path": "/fail",
            "protocol": "HTTP/1.1",
            "release": "REL-1",
            "service": "shop",
            "status": 500
          },
          {
            "bytes": 56,
            "client": "127.0.0.1",
            "host": "shop.test",
            "method": "GET",
            "outcome": "ours",
            "path": "/nowhere",
            "protocol": "HTTP/1.1",
            "status": 503
          }
        ]"#]]
    .assert_eq(&serde_json::to_string_pretty(&parsed).unwrap());
}

#[tokio::test]
async fn a_log_is_put_aside_when_it_is_full_and_settings_change_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut terms = log(dir.path(), LogFormat::Combined);
    terms.size = Bytes(150);
    let mut rig = told(&Settings { access_log: Some(terms.clone()), ..Settings::default() }).await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    rig.send(Request::get("/first?q").header("user-agent", "a \"test\"")).await;
    rig.get("/second").await;
    let aside = lines(&dir.path().join("access.log.1"), 1).await;
    assert!(
        aside[0].starts_with("127.0.0.1 - - [")
            && aside[0].ends_with(" +0000] \"GET /first HTTP/1.1\" 200 3 \"-\" \"a \\\"test\\\"\""),
        "{aside:?}"
    );
    let newest = lines(&terms.file, 1).await;
    assert!(newest[0].contains("\"GET /second HTTP/1.1\" 200 3 \"-\" \"-\""), "{newest:?}");

    // Somebody else puts it aside, too, and it is written elsewhere from now on.
    fs::rename(&terms.file, dir.path().join("taken")).unwrap();
    soon("a new log", appears(&terms.file)).await;
    rig.get("/third").await;
    lines(&terms.file, 1).await;
    terms.file = dir.path().join("other.log");
    terms.sample = Ratio::ZERO;
    let settings = Settings { access_log: Some(terms.clone()), ..Settings::default() };
    fs::write(rig.dir.path().join("proxy.json"), serde_json::to_vec(&settings).unwrap()).unwrap();
    soon("the other log", appears(&terms.file)).await;
    rig.get("/fourth").await;
    rig.get("/fail").await;
    let written = lines(&terms.file, 1).await;
    assert!(written[0].contains("GET /fail"), "only what did not go well: {written:?}");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut terms = log(dir.path(), LogFormat::Combined);
    terms.file = dir.path().join("later/access.log");
    let mut rig = told(&Settings { access_log: Some(terms.clone()), ..Settings::default() }).await;
    rig.serve(vec![service(vec![running(&[good("one").await])])]).await;
    assert_eq!(rig.get("/first").await.0, 200, "requests go on");
    fs::create_dir(dir.path().join("later")).unwrap();
    soon("the log", appears(&terms.file)).await;
    rig.get("/second").await;
    let written = lines(&terms.file, 1).await;
    assert!(written[0].contains("GET /second"), "{written:?}");
}
