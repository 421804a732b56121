//! Certificates from an ACME authority that is not ours: Pebble, which Let's Encrypt tests clients with. It refuses one good nonce
//! in twenty, looks three times for a proof, and has forgotten everybody when it is started again.

use crate::{
    site::{Site, own_address},
    wait::until,
};
use rcgen::{CertificateParams, KeyPair};
use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command},
};

const HOST: &str = "shop.example.com";

/// Pebble, and the server of DNS by which it finds every host where a site listens.
struct Pebble {
    /// Where it is asked; on the next port it tells its roots.
    asked: SocketAddr,
    /// Where names are asked for; on the next port they could be changed.
    dns: SocketAddr,
    running: Vec<Child>,
    log: PathBuf,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("── pebble.log\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
        self.stop();
    }
}

impl Pebble {
    /// One for this site, which looks in clear at this port. `None`: it is not installed.
    fn start(site: &Site, clear: u16) -> Option<Pebble> {
        let mut sought = Command::new("sh");
        sought.args(["-c", "command -v pebble && command -v pebble-challtestsrv && command -v curl"]);
        if site.run(site.clean(sought, &[])).code != Some(0) {
            eprintln!("skipped: pebble or curl is not installed; `cargo xtask test` installs them when root");
            return None;
        }
        let (asked, dns) = (own_address(), own_address());
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![asked.ip().to_string()]).unwrap().self_signed(&key).unwrap();
        fs::write(site.path("pebble.key"), key.serialize_pem()).unwrap();
        fs::write(site.path("pebble.pem"), certificate.pem()).unwrap();
        let terms = serde_json::json!({ "pebble": {
            "listenAddress": asked, "managementListenAddress": after(asked),
            "certificate": "pebble.pem", "privateKey": "pebble.key",
            "httpPort": clear, "tlsPort": site.address.port() + 1,
        } });
        fs::write(site.path("pebble.json"), terms.to_string()).unwrap();
        let mut pebble = Pebble { asked, dns, running: Vec::new(), log: site.path("pebble.log") };
        pebble.run(site);
        Some(pebble)
    }

    /// Starts both programs in the site's directory.
    fn run(&mut self, site: &Site) {
        let (dns, leads_to) = (self.dns.to_string(), site.address.ip().to_string());
        let changed = after(self.dns).to_string();
        let names = ["-dns01", &dns, "-defaultIPv4", &leads_to, "-defaultIPv6", ""];
        let nothing_else = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-management", &changed];
        self.spawn(site, "pebble-challtestsrv", &[&names[..], &nothing_else].concat());
        self.spawn(site, "pebble", &["-config", "pebble.json", "-dnsserver", &dns]);
        let root = format!("https://{}/roots/0", after(self.asked));
        until("the authority to tell its root", || {
            let mut command = Command::new("curl");
            command.args(["--silent", "--fail", "--max-time", "10", "--cacert", "pebble.pem", "--output", "root.pem"]);
            command.arg(&root);
            site.run(site.clean(command, &[])).code == Some(0)
        });
    }

    fn spawn(&mut self, site: &Site, program: &str, arguments: &[&str]) {
        let log = fs::File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = site.clean(Command::new(program), arguments);
        // Otherwise it waits for up to 15 s before each look.
        command.env("PEBBLE_VA_NOSLEEP", "1").stdout(log.try_clone().unwrap()).stderr(log);
        self.running.push(command.spawn().unwrap());
    }

    fn stop(&mut self) {
        for mut program in self.running.drain(..) {
            let _ = program.kill().and_then(|()| program.wait());
        }
    }
}

/// The port after it.
fn after(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port() + 1)
}

/// A shop that asks this authority for a certificate.
fn configure(site: &Site, pebble: &Pebble) {
    let secured = after(site.address);
    let acme = format!(
        "[proxy.tls]\nlisten = [\"{secured}\"]\n\n[proxy.tls.acme]\nagreed = true\ncontact = \"ops@example.com\"\n\
         directory = \"https://{}/dir\"\nroots = \"pebble.pem\"\nhosts = [\"{HOST}\"]\n\n[services.shop]\n",
        pebble.asked
    );
    site.edit("[services.shop]\n", &acme);
}

/// What curl gets from a host by TLS, trusting nobody but the authority: its protocol and status, or its exit code.
fn curl(site: &Site, host: &str) -> String {
    let (address, port) = (site.address.ip(), site.address.port() + 1);
    let mut command = Command::new("curl");
    let connect = format!("{host}:{port}:{address}:{port}");
    command.args(["--silent", "--max-time", "10", "--cacert", "root.pem", "--connect-to", &connect]);
    command.args(["--output", "/dev/null", "--write-out", "%{http_version} %{http_code}"]);
    command.arg(format!("https://{host}:{port}/"));
    let said = site.run(site.clean(command, &[]));
    if said.code == Some(0) { said.out } else { format!("exit code {:?}", said.code) }
}

#[test]
fn pebble_issues_by_a_request_in_clear_and_once_more_when_it_has_forgotten_the_account() {
    let mut site = Site::new();
    let Some(mut pebble) = Pebble::start(&site, site.address.port()) else { return };
    configure(&site, &pebble);
    site.open_shop();
    until("the certificate", || curl(&site, HOST) == "2 200");
    until("doctor to know of it", || site.qd(&["doctor"]).out.contains("1 certificate, valid for now"));
    let log = || fs::read_to_string(site.path("pebble.log")).unwrap();
    assert!(log().contains("validate w/ HTTP") && !log().contains("set INVALID"), "{}", log());

    // Its first certificate leads to a root that is gone; the one of another host is by another account.
    let first = fs::read(site.path("root.pem")).unwrap();
    pebble.stop();
    pebble.run(&site);
    assert_ne!(fs::read(site.path("root.pem")).unwrap(), first);
    site.edit(&format!("hosts = [\"{HOST}\"]"), &format!("hosts = [\"{HOST}\", \"other.example.com\"]"));
    site.kill_serve();
    site.serve();
    until("the other certificate", || curl(&site, "other.example.com") == "2 200");
}

#[test]
fn pebble_issues_by_a_handshake_once_it_has_looked_in_clear_in_vain() {
    let mut site = Site::new();
    let Some(pebble) = Pebble::start(&site, own_address().port()) else { return };
    configure(&site, &pebble);
    site.open_shop();
    until("the certificate", || curl(&site, HOST) == "2 200");
    let log = fs::read_to_string(site.path("pebble.log")).unwrap();
    // The only other way that it was shown.
    assert!(log.contains("validate w/ HTTP") && log.contains("set INVALID") && log.contains("set VALID"), "{log}");
}
