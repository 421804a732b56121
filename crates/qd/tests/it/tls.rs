//! TLS, as curl sees it: the certificate from files, HTTP/2, and another certificate while everything goes on.

use crate::{site::Site, wait::until};
use rcgen::{CertificateParams, KeyPair};
use std::{
    fs,
    process::Command,
    time::{Duration, SystemTime},
};

/// Writes a new self-signed certificate for a host, and its key.
fn issue(site: &Site, host: &str) {
    issue_with(site, host, |_| {});
}

fn issue_with(site: &Site, host: &str, adjust: impl FnOnce(&mut CertificateParams)) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    adjust(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    fs::write(site.path("shop.key"), key.serialize_pem()).unwrap();
    fs::write(site.path("shop.pem"), certificate.pem()).unwrap();
}

/// What curl gets from the shop by its name, trusting what is in a file: its protocol and status, or its exit code.
fn curl(site: &Site, trusted: &str) -> String {
    let port = site.address.port() + 1;
    fetch(site, trusted, &format!("https://shop.test:{port}/"), "%{http_version} %{http_code}")
}

/// What curl has to say of an address of the shop.
fn fetch(site: &Site, trusted: &str, address: &str, wanted: &str) -> String {
    let mut command = Command::new("curl");
    let port = site.address.port() + 1;
    command.args(["--silent", "--max-time", "10", "--output", "/dev/null", "--write-out", wanted]);
    command.args(["--cacert", trusted, "--connect-to", &format!("shop.test:{port}:{}:{port}", site.address.ip())]);
    command.arg(address);
    let said = site.run(site.clean(command, &[]));
    if said.code == Some(0) { said.out } else { format!("exit code {:?}", said.code) }
}

#[test]
fn a_service_is_reached_with_tls_and_its_certificate_is_replaced_while_it_is() {
    let mut site = Site::new();
    let secured = format!("{}:{}", site.address.ip(), site.address.port() + 1);
    let tls = "certificates = [{ chain = \"shop.pem\", key = \"shop.key\" }]";
    site.edit("[services.shop]\n", &format!("[proxy.tls]\nlisten = [\"{secured}\"]\n{tls}\n\n[services.shop]\n"));
    issue(&site, "shop.test");
    fs::copy(site.path("shop.pem"), site.path("first.pem")).unwrap();
    site.open_shop();
    if curl(&site, "first.pem").contains("Some(127)") {
        eprintln!("skipped: curl is not installed; `cargo xtask test` installs it when root");
        return;
    }
    until("TLS", || curl(&site, "first.pem") == "2 200");
    site.qd(&["doctor"]).telling("1 certificate, valid for now");

    // What cannot be used keeps what was, and is said.
    fs::write(site.path("shop.pem"), "not a certificate").unwrap();
    let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    until("the complaint", || words(site.qd(&["status"]).out).contains("contains no certificate"));
    assert_eq!(curl(&site, "first.pem"), "2 200");

    issue(&site, "shop.test");
    until("the new certificate", || curl(&site, "shop.pem") == "2 200");
    // 60: the server's certificate is not trusted.
    assert_eq!(curl(&site, "first.pem"), "exit code Some(60)");
    // In clear it is as it was.
    assert_eq!(site.get("/").status, 200);
    let key = fs::read_to_string(site.path("shop.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    for place in ["serve.log", ".quarterdeck/proxy.log", ".quarterdeck/tls.json"] {
        assert!(!fs::read_to_string(site.path(place)).unwrap_or_default().contains(secret), "{place} has the key");
    }
}

#[test]
fn a_certificate_that_ends_soon_is_told_of_in_every_place_where_people_look() {
    let mut site = Site::new();
    let secured = format!("{}:{}", site.address.ip(), site.address.port() + 1);
    let tls = "certificates = [{ chain = \"shop.pem\", key = \"shop.key\" }]";
    site.edit("[services.shop]\n", &format!("[proxy.tls]\nlisten = [\"{secured}\"]\n{tls}\n\n[services.shop]\n"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let ends = now + 5 * 86_400 + 3_600;
    issue_with(&site, "shop.test", |params| {
        let moment = |seconds| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        params.not_before = moment(now - 60 * 86_400);
        params.not_after = moment(ends);
    });
    let warned = "the certificate for shop.test ends in 5d";
    site.qd(&["doctor"]).telling(warned);
    site.open_shop();
    let log = || fs::read_to_string(site.path(".quarterdeck/proxy.log")).unwrap_or_default();
    until("the log", || log().contains("a certificate ends in 5d") && log().contains("shop.pem"));
    site.qd(&["status"]).telling(warned);
    site.qd(&["doctor"]).telling(warned);
    let metrics = || {
        let mut command = Command::new("curl");
        command.args(["--silent", "--unix-socket", ".quarterdeck/api.sock", "http://qd/metrics"]);
        site.run(site.clean(command, &[]))
    };
    if metrics().code == Some(127) {
        eprintln!("skipped: curl is not installed; `cargo xtask test` installs it when root");
        return;
    }
    let metrics = metrics().expect(0).out;
    let label = format!("{{certificate=\"{}\"}}", site.path("shop.pem").display());
    for line in [format!("expires_timestamp_seconds{label} {ends}"), format!("failing{label} 0")] {
        assert!(metrics.contains(&format!("quarterdeck_certificate_{line}\n")), "no {line} in\n{metrics}");
    }
}

#[test]
fn development_has_tls_without_a_certificate_from_anywhere() {
    let mut site = Site::new();
    let port = site.address.port() + 1;
    let tls = format!("listen = [\"{}:{port}\"]\nlocal = true\nredirect = true\nhsts = \"1d\"", site.address.ip());
    site.edit("[services.shop]\n", &format!("[proxy.tls]\n{tls}\n\n[services.shop]\n"));
    site.edit("routes = [\"/\"]", "routes = [\"shop.test/\"]");
    site.open_shop();
    let trusted = ".quarterdeck/tls/local-authority.pem";
    if curl(&site, trusted).contains("Some(127)") {
        eprintln!("skipped: curl is not installed; `cargo xtask test` installs it when root");
        return;
    }
    until("TLS", || curl(&site, trusted) == "2 200");
    let secured = format!("https://shop.test:{port}/a?b=c");
    assert_eq!(fetch(&site, trusted, &secured, "%header{strict-transport-security}"), "max-age=86400");
    let clear = format!("http://shop.test:{}/a?b=c", site.address.port());
    let at = format!("shop.test:{}:{}", site.address.port(), site.address.ip());
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code} %{redirect_url}",
        "--resolve",
        &at,
    ]);
    command.arg(clear);
    assert_eq!(site.run(site.clean(command, &[])).out, format!("308 {secured}"));
}
