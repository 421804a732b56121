//! TLS, as curl sees it: the certificate from files, HTTP/2, and another certificate while everything goes on.

use crate::{site::Site, wait::until};
use rcgen::{CertificateParams, KeyPair};
use std::{fs, process::Command};

/// Writes a new self-signed certificate for a host, and its key.
fn issue(site: &Site, host: &str) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(site.path("shop.key"), key.serialize_pem()).unwrap();
    fs::write(site.path("shop.pem"), certificate.pem()).unwrap();
}

/// What curl gets from the shop by its name, trusting what is in a file: its protocol and status, or its exit code.
fn curl(site: &Site, trusted: &str) -> String {
    let mut command = Command::new("curl");
    let port = site.address.port() + 1;
    command.args([
        "--silent",
        "--max-time",
        "10",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_version} %{http_code}",
    ]);
    command.args(["--cacert", trusted, "--resolve", &format!("shop.test:{port}:{}", site.address.ip())]);
    command.arg(format!("https://shop.test:{port}/"));
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
