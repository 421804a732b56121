//! Certificates for development, issued by an authority of this installation that nobody trusts until somebody chooses to.
//!
//! The authority is made once and kept in the data directory, so that it has to be trusted once; it may vouch for nothing
//! but names below `localhost` and `test`, which mean nothing on any network (RFC 6761), and loopback addresses. What it
//! issues stays in memory.

use super::{
    certificate::{Loaded, Unusable},
    dates, stamp,
};
use model::{Standing, Time};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long the authority is valid, and what it issues. Browsers accept 398 days at most.
const DAYS: (u64, u64) = (3650, 390);

/// How much earlier both begin, for clocks that are behind.
const EARLIER: u64 = 3600;

/// Top-level names of which no network knows anything.
const TOPS: [&str; 2] = ["localhost", "test"];

/// The name of this machine itself.
const OWN: &str = "localhost";

/// The most hosts in one certificate.
const MAX_HOSTS: usize = 100;

/// Why there is no certificate for development.
#[derive(Debug, thiserror::Error)]
pub(in crate::tls) enum Error {
    #[error("{} cannot be used: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("a certificate cannot be made: {0}")]
    Issue(#[from] rcgen::Error),
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

/// The authority of this installation.
pub(super) struct Local {
    issuer: Issuer<'static, KeyPair>,
    /// Where its certificate is, for whoever wants to trust it.
    pub(super) trusted_at: PathBuf,
    hosts: BTreeSet<String>,
    /// What it has issued last, for hosts.
    pub(super) issued: Option<Loaded>,
    /// And for addresses. Apart, because BoringSSL knows no constraints on addresses, and takes no certificate that has both.
    pub(super) addressed: Option<Loaded>,
}

impl Local {
    /// The authority in this directory, made when there is none or it has ended.
    pub(super) fn open(dir: &Path, now: Time) -> Result<Local, Error> {
        let (certificate_at, key_at) = (dir.join("local-authority.pem"), dir.join("local-authority.key"));
        let file = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { path, source }
        };
        fs::create_dir_all(dir).map_err(file(dir))?;
        let key = match stamp::read(&key_at) {
            Ok(pem) if is_valid(&certificate_at, now) => KeyPair::from_pem(&String::from_utf8_lossy(&pem))?,
            Ok(_) => make(&certificate_at, &key_at, now, &file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(&certificate_at, &key_at, now, &file)?,
            Err(error) => return Err(file(&key_at)(error)),
        };
        let issuer = Issuer::new(authority(now), key);
        Ok(Local { issuer, trusted_at: certificate_at, hosts: BTreeSet::new(), issued: None, addressed: None })
    }

    /// Whether another certificate was issued: for these hosts, as far as they are local, or because the last one ends.
    pub(super) fn renew<'a>(&mut self, hosts: impl Iterator<Item = &'a str>, now: Time) -> Result<bool, Error> {
        let hosts: BTreeSet<String> =
            hosts.filter(|host| is_local(host) && *host != OWN).take(MAX_HOSTS).map(str::to_owned).collect();
        let stands = |loaded: &Loaded| matches!(loaded.validity.standing(now), Standing::Valid(_));
        if hosts == self.hosts && self.issued.as_ref().is_some_and(stands) {
            return Ok(false);
        }
        // Each by its name: clients take no wildcard for all of a top-level name.
        let names = [OWN.to_owned()].into_iter().chain(hosts.iter().cloned());
        let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        self.issued = Some(self.issue(names.collect(), &[], now)?);
        self.addressed = Some(self.issue(Vec::new(), &addresses, now)?);
        self.hosts = hosts;
        Ok(true)
    }

    fn issue(&self, names: Vec<String>, addresses: &[IpAddr], now: Time) -> Result<Loaded, Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.subject_alt_names.extend(addresses.iter().map(|ip| SanType::IpAddress(*ip)));
        params.distinguished_name.push(DnType::CommonName, "Quarterdeck, for development");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_dates(&mut params, now, DAYS.1);
        let chain = params.signed_by(&key, &self.issuer)?.pem();
        let source = "the local authority";
        Ok(Loaded::of_anybody(chain.as_bytes(), key.serialize_pem().as_bytes(), source, source)?)
    }
}

/// Whether a host is one that the authority may vouch for.
pub(super) fn is_local(host: &str) -> bool {
    let top = host.rsplit('.').next().unwrap_or(host);
    TOPS.iter().any(|known| top.eq_ignore_ascii_case(known))
}

fn is_valid(certificate: &Path, now: Time) -> bool {
    let read = stamp::read(certificate).ok().and_then(|pem| CertificateDer::from_pem_slice(&pem).ok());
    let validity = read.and_then(|der| dates::validity(&der));
    validity.is_some_and(|validity| matches!(validity.standing(now), Standing::Valid(_)))
}

/// Makes an authority and keeps it. Its key is there before its certificate, so that a crash leaves nothing to be trusted.
fn make<E: FnOnce(io::Error) -> Error>(
    certificate_at: &Path,
    key_at: &Path,
    now: Time,
    file: &impl Fn(&Path) -> E,
) -> Result<KeyPair, Error> {
    let key = KeyPair::generate()?;
    let certificate = authority(now).self_signed(&key)?.pem();
    keep(key_at, 0o600, &key.serialize_pem()).map_err(file(key_at))?;
    keep(certificate_at, 0o644, &certificate).map_err(file(certificate_at))?;
    tracing::info!(certificate = %certificate_at.display(), "made an authority for local certificates");
    Ok(key)
}

/// What the authority says of itself; the same each time, but for its dates.
fn authority(now: Time) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Quarterdeck local authority (development only)");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let names = TOPS.iter().map(|top| GeneralSubtree::DnsName((*top).to_owned()));
    let addresses = [(IpAddr::from([127, 0, 0, 0]), 8), (IpAddr::from(Ipv6Addr::LOCALHOST), 128)];
    let addresses = addresses.map(|(ip, prefix)| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(ip, prefix)));
    params.name_constraints =
        Some(NameConstraints { permitted_subtrees: names.chain(addresses).collect(), excluded_subtrees: Vec::new() });
    set_dates(&mut params, now, DAYS.0);
    params
}

fn set_dates(params: &mut CertificateParams, now: Time, days: u64) {
    let begin = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs((now.0 / 1000).saturating_sub(EARLIER));
    params.not_before = begin;
    params.not_after = begin + Duration::from_secs(days * 86_400);
}

/// Puts a whole file in place, for nobody else from its first byte on where the mode says so.
pub(super) fn keep(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let staged = path.with_extension("new");
    // What a crash has left may have another mode.
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(mode).open(&staged)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&staged, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const NOW: Time = Time(1_700_000_000_000);
    const DAY: u64 = 86_400_000;

    #[test]
    fn the_authority_is_made_once_and_its_key_is_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("tls");
        let trusted = |now| fs::read(Local::open(&at, now).unwrap().trusted_at).unwrap();
        let first = trusted(NOW);
        assert_eq!(trusted(Time(NOW.0 + DAY)), first);
        let mode = fs::metadata(at.join("local-authority.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_ne!(trusted(Time(NOW.0 + 3645 * DAY)), first, "it would end soon");
    }

    #[test]
    fn another_certificate_is_issued_for_other_local_hosts_and_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut local = Local::open(dir.path(), NOW).unwrap();
        assert!(local.renew(["shop.localhost", "shop.example.com", "localhost"].into_iter(), NOW).unwrap());
        let names = &local.issued.as_ref().unwrap().names;
        assert_eq!(names[..], ["localhost", "shop.localhost"]);
        assert!(
            local.addressed.as_ref().unwrap().names.is_empty(),
            "addresses are vouched for by a certificate of their own"
        );
        assert!(!local.renew(["shop.localhost", "other.example.com"].into_iter(), NOW).unwrap());
        assert!(local.renew(["a.shop.test"].into_iter(), NOW).unwrap());
        assert!(!local.renew(["a.shop.test"].into_iter(), Time(NOW.0 + 370 * DAY)).unwrap());
        assert!(local.renew(["a.shop.test"].into_iter(), Time(NOW.0 + 380 * DAY)).unwrap());
    }
}
