//! An authority of our own and what it issues, in files, and clients that trust it and nobody else.

use crate::rig::{Rig, soon};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PublicKeyData};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let (pem, certificate) = (certificate.pem(), certificate.der().clone());
        Authority { issuer: Issuer::new(params, key), certificate, pem }
    }

    /// A certificate for these hosts and its key, both as PEM.
    pub(crate) fn issue(&self, hosts: &[&str], adjust: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (self.sign(hosts, &key, adjust), key.serialize_pem())
    }

    /// A certificate for these hosts and somebody's key, as PEM.
    pub(crate) fn sign(
        &self,
        hosts: &[&str],
        key: &impl PublicKeyData,
        adjust: impl FnOnce(&mut CertificateParams),
    ) -> String {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        adjust(&mut params);
        params.signed_by(key, &self.issuer).unwrap().pem()
    }

    /// Its own certificate, as PEM.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A client that trusts this authority and agrees on one of these protocols.
    pub(crate) fn client(&self, alpn: &[&str]) -> ClientConfig {
        let mut config = self.client_of(rustls::DEFAULT_VERSIONS);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    /// One that knows these versions only.
    pub(crate) fn client_of(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        trusting(&self.certificate, versions)
    }
}

/// A client that trusts this certificate.
pub(crate) fn trusting(
    certificate: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
    builder.with_no_client_auth()
}

/// Files of certificates in a directory, and the terms that name them.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new(dir: &Path) -> Files {
        Files(dir.to_owned())
    }

    /// Writes a certificate and its key.
    pub(crate) fn write(&self, name: &str, (chain, key): &(String, String)) {
        fs::write(self.0.join(format!("{name}.pem")), chain).unwrap();
        fs::write(self.0.join(format!("{name}.key")), key).unwrap();
    }

    /// Terms with these certificates.
    pub(crate) fn terms(&self, names: &[&str]) -> proxy::Terms {
        let files = |name: &&str| proxy::CertificateFiles {
            chain: self.0.join(format!("{name}.pem")),
            key: self.0.join(format!("{name}.key")),
        };
        proxy::Terms { certificates: names.iter().map(files).collect(), ..proxy::Terms::default() }
    }

    /// Writes the terms, and gives where they are.
    pub(crate) fn write_terms(&self, terms: &proxy::Terms) -> PathBuf {
        let path = self.0.join("tls.json");
        fs::write(&path, serde_json::to_vec(terms).unwrap()).unwrap();
        path
    }
}

/// A proxy that speaks TLS on a second address, on these terms.
pub(crate) async fn rig(files: &Files, terms: &proxy::Terms, adjust: impl FnOnce(&mut proxy::Config)) -> Rig {
    let terms = files.write_terms(terms);
    Rig::with(|config| {
        config.tls = Some(proxy::Tls { listen: vec!["127.0.0.1:0".parse().unwrap()], terms });
        config.limits.look = std::time::Duration::from_millis(20);
        adjust(config);
    })
    .await
}

/// A handshake with whoever listens there, by this name.
pub(crate) async fn connect(
    address: SocketAddr,
    client: &ClientConfig,
    host: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let stream = soon("connecting", TcpStream::connect(address)).await?;
    soon("a handshake", TlsConnector::from(Arc::new(client.clone())).connect(name, stream)).await
}
