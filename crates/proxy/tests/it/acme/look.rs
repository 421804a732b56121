//! How the authority looks: at a proof in clear, at a proof in a handshake, and at what it is to sign.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use ring::{
    digest::{SHA256, digest},
    signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring as provider},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use serde_json::Value;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// What the proof must be: the token with the hash of the account's key.
fn proof(token: &str, key: &Value) -> String {
    let text = format!(r#"{{"crv":{},"kty":{},"x":{},"y":{}}}"#, key["crv"], key["kty"], key["x"], key["y"]);
    format!("{token}.{}", BASE64.encode(digest(&SHA256, text.as_bytes())))
}

/// Asks twice: by a request that takes the short way through the proxy, and by one that does not.
pub(super) async fn in_clear(address: SocketAddr, host: &str, token: &str, key: &Value) -> Option<()> {
    for rest in ["\r\n", "content-length: 1\r\n\r\nx"] {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let path = format!("/.well-known/acme-challenge/{token}");
        let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{rest}");
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        (head.starts_with("HTTP/1.1 200 ") && body == proof(token, key)).then_some(())?;
    }
    Some(())
}

/// Shakes hands by the protocol for it, and looks at the certificate.
pub(super) async fn by_handshake(address: SocketAddr, host: &str, token: &str, key: &Value) -> Option<()> {
    let crypto = Arc::new(provider::default_provider());
    let anyone = Arc::new(Anyone(Arc::clone(&crypto)));
    let builder = ClientConfig::builder_with_provider(crypto).with_safe_default_protocol_versions().ok()?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let stream = TcpStream::connect(address).await.ok()?;
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    let session = stream.get_ref().1;
    (session.alpn_protocol() == Some(b"acme-tls/1")).then_some(())?;
    let certificate = session.peer_certificates()?.first()?.to_vec();
    // 1.3.6.1.5.5.7.1.31, critical, with the hash as one string in another (RFC 8737, section 3).
    let begin = [6, 8, 0x2b, 6, 1, 5, 5, 7, 1, 0x1f, 1, 1, 0xff, 4, 0x22, 4, 0x20];
    let expected = [&begin[..], digest(&SHA256, proof(token, key).as_bytes()).as_ref()].concat();
    has(&certificate, &expected).then_some(())?;
    has(&certificate, &name_of(host)).then_some(())?;
    // Nothing is carried on such a connection.
    (stream.read(&mut [0]).await.ok()? == 0).then_some(())
}

/// The key of a request to sign one, if it is signed by that key and is for this host.
pub(super) fn requested(request: &[u8], host: &str) -> Option<Key> {
    let (_, outer, _) = element(request)?;
    let (info, content, rest) = element(outer)?;
    let (_, _, rest) = element(rest)?;
    let (_, signature, _) = element(rest)?;
    let (_, _, content) = element(content)?;
    let (_, _, content) = element(content)?;
    let (_, key, content) = element(content)?;
    let (_, _, key) = element(key)?;
    let (_, point, _) = element(key)?;
    let point = point.get(1..)?.to_vec();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point);
    public.verify(info, signature.get(1..)?).ok()?;
    has(content, &name_of(host)).then_some(Key(point))
}

/// A key of ECDSA P-256.
pub(super) struct Key(Vec<u8>);

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// The first element of DER: with its head, its content, and what follows it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let first = usize::from(*der.get(1)?);
    let (head, length) = match first {
        0..0x80 => (2, first),
        _ => {
            let count = first & 0x7f;
            let bytes = der.get(2..2 + count)?;
            (2 + count, bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    };
    Some((der.get(..head + length)?, der.get(head..head + length)?, der.get(head + length..)?))
}

/// A host as it is among the names of a certificate.
fn name_of(host: &str) -> Vec<u8> {
    [&[0x82, host.len() as u8][..], host.as_bytes()].concat()
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Trusts whoever there is: the certificate is the proof.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    // The library reads no certificate with a critical extension that it does not know, and so checks no signature with it.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
