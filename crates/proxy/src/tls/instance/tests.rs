use super::*;
use model::ShownToInstances;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use std::{fs, path::PathBuf};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio_rustls::TlsAcceptor;

/// An authority whose certificate is in a file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    at: PathBuf,
}

impl Authority {
    fn new(dir: &TempDir, name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let at = dir.path().join(name);
        fs::write(&at, params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), at }
    }

    /// A certificate for a host and its key, as PEM.
    fn issue(&self, host: &str, adjust: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        adjust(&mut params);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Terms that trust it, and show what `shown` has issued.
    fn terms(&self, dir: &TempDir, shown: Option<&Authority>) -> InstanceTls {
        let shown = shown.map(|authority| {
            let (certificate, key) = authority.issue("proxy", |_| {});
            let at = ShownToInstances { certificate: dir.path().join("proxy.pem"), key: dir.path().join("proxy.key") };
            fs::write(&at.certificate, certificate).unwrap();
            fs::write(&at.key, key).unwrap();
            at
        });
        InstanceTls { ca: self.at.clone(), name: "shop.internal".to_owned(), shown }
    }
}

/// An instance that shows this, and lets in clients of an authority, or anybody.
fn instance((certificate, key): &(String, String), clients: Option<&Authority>) -> TlsAcceptor {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(authority) => {
            let roots = Arc::new(clients::authorities(&authority.at).unwrap());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()))
}

/// What becomes of a connection on these terms with such an instance.
async fn met(terms: &InstanceTls, instance: TlsAcceptor) -> String {
    let (ours, theirs) = duplex(16 << 10);
    let serving = async {
        if let Ok(mut stream) = instance.accept(theirs).await {
            let _ = stream.read_u8().await;
        }
    };
    let tls = ToInstance::new(terms.clone());
    let meeting = async {
        match tls.meet(ours, Protocol::Http1, Duration::ZERO).await {
            Ok(_) => "well".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    tokio::join!(meeting, serving).0
}

#[tokio::test]
async fn an_instance_is_who_it_must_be_and_is_told_who_we_are_or_the_reason_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(&dir, "ours.pem"), Authority::new(&dir, "other.pem"));
    let (anybody, known) = (ours.terms(&dir, None), ours.terms(&dir, Some(&ours)));
    let good = ours.issue("shop.internal", |_| {});
    let ended = ours.issue("shop.internal", |params| params.not_after = date_time_ymd(2020, 1, 1));
    let early = ours.issue("shop.internal", |params| params.not_before = date_time_ymd(4000, 1, 1));
    let of_other = other.issue("shop.internal", |_| {});
    assert_eq!(met(&anybody, instance(&good, None)).await, "well");
    assert_eq!(met(&known, instance(&good, Some(&ours))).await, "well");
    assert_eq!(met(&anybody, instance(&ended, None)).await, "its certificate has ended: renew it");
    assert_eq!(met(&anybody, instance(&early, None)).await, "its certificate has not begun yet: check the clock");
    assert_eq!(
        met(&anybody, instance(&of_other, None)).await,
        format!("its certificate is of no authority in {}", ours.at.display())
    );
    assert_eq!(
        met(&anybody, instance(&ours.issue("other.internal", |_| {}), None)).await,
        "its certificate is not for `shop.internal`: set `name` under instance_tls to a name that it has"
    );
    assert_eq!(
        met(&anybody, instance(&good, Some(&ours))).await,
        "it asks for a certificate: set `certificate` and `key` under instance_tls"
    );
    let refused = met(&known, instance(&good, Some(&other))).await;
    assert!(refused.starts_with("it does not take the certificate it was shown"), "{refused}");
}

#[tokio::test]
async fn what_does_not_speak_tls_is_not_spoken_to() {
    let dir = tempfile::tempdir().unwrap();
    let tls = ToInstance::new(Authority::new(&dir, "ours.pem").terms(&dir, None));
    let (ours, mut theirs) = duplex(16 << 10);
    theirs.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let error = tls.meet(ours, Protocol::Http1, Duration::ZERO).await.map(drop).unwrap_err().to_string();
    assert!(error.starts_with("it does not speak TLS"), "{error}");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_and_taken_once_they_can_and_kept_when_they_no_longer_can() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(&dir, "ours.pem");
    let terms = InstanceTls { ca: dir.path().join("later.pem"), ..ours.terms(&dir, None) };
    let tls = ToInstance::new(terms.clone());
    let good = ours.issue("shop.internal", |_| {});
    let meet = async || {
        let (mine, theirs) = duplex(16 << 10);
        let (met, _) =
            tokio::join!(tls.meet(mine, Protocol::Http2, Duration::ZERO), instance(&good, None).accept(theirs));
        met.map(drop).map_err(|error| error.to_string())
    };
    let error = meet().await.unwrap_err();
    assert!(error.starts_with(&format!("{}: ", terms.ca.display())), "{error}");
    fs::copy(&ours.at, &terms.ca).unwrap();
    assert!(meet().await.is_err(), "it may still be written");
    assert_eq!(meet().await, Ok(()));
    fs::write(&terms.ca, "half of it").unwrap();
    for _ in 0..3 {
        assert_eq!(meet().await, Ok(()), "what was in force stays");
    }
}
