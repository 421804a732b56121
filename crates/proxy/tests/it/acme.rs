//! Certificates from an authority: how they come, stay and are renewed, and that an authority in trouble disturbs nothing.

mod double;
mod look;

use crate::{
    pki::{self, Files},
    rig::{Rig, running, service},
    tls::get,
    upstream,
};
use double::{Double, Mood};
use model::{Certificate, ProxyReport, RouteMatch, ServiceRoutes};
use proxy::{Acme, Terms};
use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};
use tempfile::TempDir;

const SHOP: &str = "shop.example.com";

/// A proxy, the authority it asks, and where it speaks TLS.
struct Scene {
    rig: Rig,
    double: Double,
    files: Files,
    dir: TempDir,
    secured: SocketAddr,
    instance: SocketAddr,
}

impl Scene {
    /// A proxy that has no routes yet.
    async fn open(adjust: impl FnOnce(&mut Terms)) -> Scene {
        Scene::open_with(adjust, |_| {}).await
    }

    /// Likewise, configured a little differently.
    async fn open_with(adjust: impl FnOnce(&mut Terms), config: impl FnOnce(&mut proxy::Config)) -> Scene {
        let (dir, double) = (tempfile::tempdir().unwrap(), Double::start().await);
        let files = Files::new(dir.path());
        let mut terms = terms(dir.path(), &double);
        adjust(&mut terms);
        let both = |settings: &mut proxy::Config| {
            quick(settings);
            config(settings);
        };
        let rig = pki::rig(&files, &terms, both).await;
        let instance = upstream::good("v1").await;
        Scene { rig, double, files, dir, secured: "127.0.0.1:1".parse().unwrap(), instance }.found().await
    }

    /// Learns where TLS is spoken, and tells the authority where to look.
    async fn found(mut self) -> Scene {
        let report = self.rig.control.until("the address with TLS", |report| !report.listening_tls.is_empty()).await;
        self.secured = report.listening_tls[0];
        self.double.state().looks_at = (Some(self.rig.address), Some(self.secured));
        self
    }

    /// Routes these hosts.
    async fn serve(&mut self, hosts: &[&str]) {
        let routed = self.routed(hosts);
        self.rig.serve(vec![routed]).await;
    }

    fn routed(&self, hosts: &[&str]) -> ServiceRoutes {
        let route = |host: &&str| RouteMatch::prefix(Some(host), "/");
        ServiceRoutes { routes: hosts.iter().map(route).collect(), ..service(vec![running(&[self.instance])]) }
    }

    /// The report once a host's certificate is as it should be.
    async fn until(&mut self, host: &str, what: &str, fits: impl Fn(&Certificate) -> bool) -> Certificate {
        let fits = |report: &ProxyReport| of(report, host).is_some_and(&fits);
        of(&self.rig.control.until(what, fits).await, host).unwrap().clone()
    }

    /// Whether somebody who trusts the authority reaches the service by this name.
    async fn reaches(&self, host: &str) {
        let stream = pki::connect(self.secured, &self.double.issuer.client(&[]), host).await.unwrap();
        let request = http::Request::get("/").header("host", host).body(http_body_util::Empty::<bytes::Bytes>::new());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let response = crate::rig::soon("a response", sender.send_request(request.unwrap())).await.unwrap();
        assert_eq!(crate::rig::whole(response).await, (200, "v1".to_owned()), "{host}");
    }

    async fn stop(self) -> TempDir {
        assert_eq!(self.double.state().complaints, Vec::<String>::new());
        self.rig.stop().await
    }
}

fn of<'a>(report: &'a ProxyReport, host: &str) -> Option<&'a Certificate> {
    report.certificates.iter().find(|certificate| certificate.source.starts_with(&format!("{host} from ")))
}

/// Terms with this authority, which is trusted by a file.
fn terms(dir: &Path, double: &Double) -> Terms {
    let roots = dir.join("roots.pem");
    fs::write(&roots, double.issuer.pem()).unwrap();
    let directory = format!("{}/directory", double.base);
    let acme = Acme { directory, contact: Some("ops@example.com".to_owned()), roots: Some(roots), hosts: Vec::new() };
    Terms { acme: Some(acme), ..Terms::default() }
}

fn quick(config: &mut proxy::Config) {
    config.limits.acme_pause = Duration::from_millis(100);
    config.limits.acme_poll = Duration::from_millis(5);
}

fn is_there(certificate: &Certificate) -> bool {
    certificate.validity.is_some()
}

#[tokio::test]
async fn a_host_of_the_table_gets_its_certificate_by_a_request_in_clear() {
    let mut scene = Scene::open(|terms| terms.redirect = Some(443)).await;
    scene.serve(&[SHOP, "shop.test", "127.0.0.1"]).await;
    let found = scene.until(SHOP, "the certificate", is_there).await;
    assert_eq!((&found.names[..], found.problem, found.next_try), (&[SHOP.to_owned()][..], None, None));
    scene.reaches(SHOP).await;
    assert_eq!(scene.double.state().proved, ["http-01"]);
    assert_eq!(scene.double.orders(), 1);
    assert_eq!(scene.double.state().contacts, [serde_json::json!(["mailto:ops@example.com"])]);
    // The redirect took no challenge, and takes everything else, such as a challenge of nobody.
    let other =
        scene.rig.raw(b"GET /.well-known/acme-challenge/x HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n");
    assert!(other.await.starts_with("HTTP/1.1 308 "));
    scene.stop().await;
}

#[tokio::test]
async fn a_host_gets_its_certificate_by_a_handshake_before_there_is_any_other() {
    let mut scene = Scene::open(|_| {}).await;
    scene.double.state().offers = vec!["dns-01", "tls-alpn-01"];
    scene.serve(&[SHOP]).await;
    scene.until(SHOP, "the certificate", is_there).await;
    scene.reaches(SHOP).await;
    assert_eq!(scene.double.state().proved, ["tls-alpn-01"]);
    // Without a proof to show, that protocol leads nowhere; and it is never chosen over another.
    let client = scene.double.issuer.client(&["acme-tls/1"]);
    assert!(pki::connect(scene.secured, &client, SHOP).await.is_err());
    let client = scene.double.issuer.client(&["acme-tls/1", "http/1.1"]);
    let stream = pki::connect(scene.secured, &client, SHOP).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(get(stream, "/").await.0, 404, "for another host");
    scene.stop().await;
}

#[tokio::test]
async fn when_one_way_fails_the_other_one_is_tried_at_once() {
    // A pause would be longer than anybody waits here.
    let mut scene = Scene::open_with(|_| {}, |config| config.limits.acme_pause = Duration::from_secs(3600)).await;
    scene.double.state().looks_at.0 = None;
    scene.serve(&[SHOP]).await;
    scene.until(SHOP, "the certificate", |found| is_there(found) && found.problem.is_none()).await;
    assert_eq!(scene.double.state().proved, ["tls-alpn-01"]);
    assert_eq!(scene.double.orders(), 2);
    scene.stop().await;
}

#[tokio::test]
async fn when_both_ways_fail_it_is_told_and_tried_again_later() {
    let mut scene = Scene::open_with(|_| {}, |config| config.limits.acme_pause = Duration::from_secs(3600)).await;
    scene.double.state().looks_at = (None, None);
    scene.serve(&[SHOP]).await;
    let is_by_handshake = |found: &Certificate| found.problem.as_ref().is_some_and(|p| p.contains("by tls-alpn-01"));
    let found = scene.until(SHOP, "the second failure", is_by_handshake).await;
    assert!(found.problem.as_ref().is_some_and(|problem| problem.contains("it was not there")), "{found:?}");
    let report = scene.rig.control.until("a report", |_| true).await;
    assert!(found.next_try.unwrap().since(report.at).0 > 3_600_000, "{found:?}");
    assert_eq!(scene.double.orders(), 2);
    scene.stop().await;
}

#[tokio::test]
async fn an_authority_that_has_looked_in_vain_and_waits_is_not_waited_for() {
    let mut scene = Scene::open(|_| {}).await;
    scene.double.state().mood = Mood::Waiting;
    scene.double.state().looks_at = (None, None);
    scene.serve(&[SHOP]).await;
    let told = |way: &'static str| {
        move |found: &Certificate| found.problem.as_ref().is_some_and(|problem| problem.contains(way))
    };
    let found = scene.until(SHOP, "the first failure", told("could not see by http-01")).await;
    assert!(found.problem.as_ref().is_some_and(|problem| problem.contains("it was not there")), "{found:?}");
    scene.until(SHOP, "the second failure", told("could not see by tls-alpn-01")).await;
    scene.double.state().looks_at = (Some(scene.rig.address), Some(scene.secured));
    scene.until(SHOP, "the certificate", is_there).await;
    scene.stop().await;
}

#[tokio::test]
async fn the_way_that_works_stays_the_first_whatever_else_fails() {
    let mut scene = Scene::open(|_| {}).await;
    scene.double.state().looks_at.0 = None;
    // Each is renewed as soon as it is issued.
    scene.double.state().lifetime = (3000, 1400);
    scene.serve(&[SHOP]).await;
    let first = scene.until(SHOP, "the first certificate", is_there).await;
    let orders = scene.double.orders();
    scene.double.state().mood = Mood::Down;
    scene.until(SHOP, "a failure", |found| found.problem.is_some()).await;
    scene.double.state().mood = Mood::Well;
    scene.until(SHOP, "another certificate", |found| found.validity > first.validity).await;
    assert_eq!(scene.double.state().unseen, 1, "the first try only, of {orders} orders and more");
    scene.stop().await;
}

#[tokio::test]
async fn a_restart_uses_what_is_there_and_asks_for_nothing() {
    let mut scene = Scene::open(|_| {}).await;
    scene.serve(&[SHOP]).await;
    scene.until(SHOP, "the certificate", is_there).await;
    let asked = scene.double.state().asked.len();
    let Scene { rig, double, files, dir, secured: _, instance } = scene;
    let data = rig.stop().await;
    let kept: Vec<_> = fs::read_dir(data.path().join("tls/acme")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [kept] = &kept[..] else { panic!("{kept:?}") };
    for file in fs::read_dir(kept).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    let at = dir.path().join("tls.json");
    let rig = Rig::on(data, |config| {
        quick(config);
        config.tls = Some(proxy::Tls { listen: vec!["127.0.0.1:0".parse().unwrap()], terms: at });
        config.limits.look = Duration::from_millis(20);
    });
    let mut scene =
        Scene { rig: rig.await, double, files, dir, secured: "127.0.0.1:1".parse().unwrap(), instance }.found().await;
    scene.until(SHOP, "the certificate", is_there).await;
    scene.reaches(SHOP).await;
    // Another host needs the account again, and no other account.
    scene.serve(&[SHOP, "new.example.com"]).await;
    scene.until("new.example.com", "the certificate", is_there).await;
    scene.reaches("new.example.com").await;
    let later = scene.double.state().asked[asked..].to_vec();
    assert_eq!(later[..3], ["/directory", "/nonce", "/order"], "{later:?}");
    assert!(!later.contains(&"/account".to_owned()) && scene.double.orders() == 2);
    scene.stop().await;
}

#[tokio::test]
async fn a_certificate_that_nears_its_end_is_renewed_without_a_connection_noticing() {
    let mut scene = Scene::open(|_| {}).await;
    // Two thirds and a little more are over as soon as it is issued.
    scene.double.state().lifetime = (3000, 1400);
    scene.serve(&[SHOP]).await;
    let first = scene.until(SHOP, "the first certificate", is_there).await;
    let open = pki::connect(scene.secured, &scene.double.issuer.client(&["http/1.1"]), SHOP).await.unwrap();
    scene.double.state().lifetime = (60, 90 * 86_400);
    let second = scene.until(SHOP, "another certificate", |found| found.validity > first.validity).await;
    assert!(second.problem.is_none());
    assert_eq!(get(open, "/").await.0, 404, "for another host");
    scene.reaches(SHOP).await;
    scene.stop().await;
}

#[tokio::test]
async fn an_authority_in_trouble_is_told_of_and_disturbs_nothing() {
    let mut scene = Scene::open(|_| {}).await;
    let told = [
        (Mood::Down, "503"),
        (Mood::Refusing, "not this one, by policy"),
        (Mood::Limiting(0), "its rate limit is reached, too many orders"),
    ];
    scene.double.state().mood = Mood::Down;
    scene.serve(&[SHOP]).await;
    for (mood, text) in told {
        scene.double.state().mood = mood;
        let fits = |found: &Certificate| found.problem.as_ref().is_some_and(|problem| problem.contains(text));
        let found = scene.until(SHOP, text, fits).await;
        assert!(found.next_try.is_some() && found.validity.is_none(), "{found:?}");
        let carried = scene.rig.send(http::Request::get("/").header("host", SHOP)).await;
        assert_eq!(carried, (200, "v1".to_owned()), "{mood:?}");
    }
    scene.double.state().mood = Mood::Well;
    scene.until(SHOP, "the certificate", |found| is_there(found) && found.problem.is_none()).await;
    scene.reaches(SHOP).await;
    scene.stop().await;
}

#[tokio::test]
async fn an_authority_that_asks_for_patience_is_not_asked_before() {
    let mut scene = Scene::open(|_| {}).await;
    scene.double.state().mood = Mood::Limiting(86_400);
    scene.serve(&[SHOP]).await;
    let found = scene.until(SHOP, "the refusal", |found| found.problem.is_some()).await;
    let report = scene.rig.control.until("a report", |_| true).await;
    let wait = found.next_try.unwrap().since(report.at).0;
    assert!((86_000_000..=86_400_000).contains(&wait), "{wait} ms");
    scene.stop().await;
}

#[tokio::test]
async fn an_account_that_the_authority_has_lost_is_replaced_at_once() {
    let mut scene = Scene::open(|_| {}).await;
    scene.serve(&[SHOP]).await;
    scene.until(SHOP, "the certificate", is_there).await;
    scene.double.forget();
    scene.serve(&[SHOP, "new.example.com"]).await;
    // Not after a pause: nothing is ever told to be wrong.
    let found = scene
        .until("new.example.com", "a certificate or a problem", |found| is_there(found) || found.problem.is_some());
    assert_eq!(found.await.problem, None);
    scene.reaches("new.example.com").await;
    assert_eq!(scene.double.state().accounts_refused, 1);
    assert_eq!(scene.double.orders(), 1);
    scene.stop().await;
}

#[tokio::test]
async fn nonces_that_are_not_taken_are_replaced() {
    let mut scene = Scene::open(|_| {}).await;
    scene.double.state().mood = Mood::Forgetful;
    scene.serve(&[SHOP]).await;
    scene.until(SHOP, "the certificate", is_there).await;
    assert!(scene.double.state().nonces_refused > 0);
    scene.stop().await;
}

#[tokio::test]
async fn an_authority_that_cannot_be_reached_or_trusted_is_told_of() {
    let strange = tempfile::tempdir().unwrap();
    let roots = strange.path().join("other.pem");
    fs::write(&roots, pki::Authority::new().pem()).unwrap();
    let mut scene = Scene::open(|terms| terms.acme.as_mut().unwrap().roots = Some(roots)).await;
    scene.serve(&[SHOP]).await;
    let found = scene.until(SHOP, "the problem", |found| found.problem.is_some()).await;
    assert!(
        found.problem.as_ref().is_some_and(|p| p.contains("cannot be reached: invalid peer certificate")),
        "{found:?}"
    );
    assert_eq!(scene.double.state().asked, Vec::<String>::new());
    // Terms are read again when they change; what is trusted from now on is tried at once.
    scene.files.write_terms(&terms(scene.dir.path(), &scene.double));
    scene.until(SHOP, "the certificate", is_there).await;
    scene.stop().await;
}

#[tokio::test]
async fn certificates_from_files_come_first_and_named_hosts_are_the_only_ones() {
    let mut scene = Scene::open(|terms| terms.acme.as_mut().unwrap().hosts = vec![SHOP.to_owned()]).await;
    scene.serve(&[SHOP, "other.example.com"]).await;
    scene.until(SHOP, "the certificate", is_there).await;
    assert!(scene.double.ordered().iter().all(|host| host == SHOP));
    let before = scene.double.orders();
    let own = pki::Authority::new();
    scene.files.write("own", &own.issue(&["*.example.com"], |_| {}));
    let mut terms = terms(scene.dir.path(), &scene.double);
    terms.certificates = scene.files.terms(&["own"]).certificates;
    scene.files.write_terms(&terms);
    let from_files = |report: &ProxyReport| of(report, SHOP).is_none() && report.certificates.len() == 1;
    scene.rig.control.until("the certificate from files alone", from_files).await;
    for host in [SHOP, "other.example.com"] {
        assert!(pki::connect(scene.secured, &own.client(&[]), host).await.is_ok(), "{host}");
    }
    assert_eq!(scene.double.orders(), before);
    scene.stop().await;
}
