//! The programs that are compared: how each is set up, started and stopped. They all proxy to the same four instances of
//! one origin, two of the running release and two of the canary.

use super::{
    case::Routes,
    process::{Cores, Process},
    request,
    table::{self, Link, Watch},
};
use crate::error::Error;
use std::{
    fmt::Write as _,
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// How long a program may take until it answers.
const START: Duration = Duration::from_secs(15);
/// How often it is asked.
const LOOK: Duration = Duration::from_millis(5);

/// The peers' configurations, as they are printed with the results.
pub(super) const CONFIGURATIONS: &[(&str, &str)] =
    &[("nginx.conf", NGINX), ("haproxy.cfg", HAPROXY), ("Caddyfile", CADDY), ("origin.conf", ORIGIN)];
const NGINX: &str = include_str!("../peers/nginx.conf.template");
const HAPROXY: &str = include_str!("../peers/haproxy.cfg.template");
const CADDY: &str = include_str!("../peers/Caddyfile.template");
const ORIGIN: &str = include_str!("../peers/origin.conf.template");

/// Who is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Program {
    Nginx,
    Haproxy,
    Caddy,
    /// With telemetry, a canary that gets a tenth of the requests, and a guard that watches it.
    Qd,
    /// With telemetry, and one release that gets everything.
    QdPlain,
}

impl Program {
    /// As it is shown.
    pub(super) fn name(self) -> &'static str {
        match self {
            Program::Nginx => "nginx",
            Program::Haproxy => "HAProxy",
            Program::Caddy => "Caddy",
            Program::Qd => "qd proxy",
            Program::QdPlain => "qd proxy, no canary, no guard",
        }
    }

    /// Whether it is one that ours is compared with.
    pub(super) fn is_peer(self) -> bool {
        match self {
            Program::Nginx | Program::Haproxy | Program::Caddy => true,
            Program::Qd | Program::QdPlain => false,
        }
    }
}

/// Where everything of one run is.
pub(super) struct Ground {
    pub(super) dir: PathBuf,
    pub(super) qd: PathBuf,
    /// This program, optimised: our own generator.
    pub(super) loader: PathBuf,
    pub(super) cores: Cores,
    /// How many files a process may open.
    pub(super) files: usize,
    /// The instances: two of the running release, then two of the canary.
    pub(super) origins: [SocketAddr; 4],
}

/// The origin, running.
pub(super) struct Origin {
    _process: Process,
}

impl Origin {
    /// Starts it where the ground says.
    pub(super) fn start(ground: &Ground) -> Result<Origin, Error> {
        let dir = fresh(&ground.dir, "origin")?;
        write(&dir.join("100k"), &"x".repeat(100 << 10))?;
        let conf = ground.filled(ORIGIN).replace("@1k@", &"x".repeat(1 << 10));
        write(&dir.join("nginx.conf"), &conf)?;
        let mut process = Process::start(&dir, ground.cores.origin, &nginx(&dir), &[])?;
        for origin in ground.origins {
            wait(&mut process, "the origin", &dir, origin)?;
        }
        Ok(Origin { _process: process })
    }
}

/// A proxy, running.
pub(super) struct Running {
    /// Where HTTP/1.1 is spoken.
    pub(super) http1: SocketAddr,
    /// Where HTTP/2 is spoken, without TLS.
    pub(super) http2: SocketAddr,
    /// Where HTTP/1.1 is spoken over TLS.
    pub(super) https: SocketAddr,
    pub(super) process: Process,
    /// The line to `qd proxy`, which gets its reports as `qd serve` does.
    pub(super) link: Option<Link>,
    dir: PathBuf,
}

impl Running {
    /// Starts a program with these routes, and waits until it answers.
    pub(super) fn start(ground: &Ground, program: Program, routes: Routes) -> Result<Running, Error> {
        let dir = fresh(&ground.dir, "proxy")?;
        let [http1, http2, https] = [free_address()?, free_address()?, free_address()?];
        let text = |template: &str, routes: String| {
            let text = ground.filled(template).replace("@routes@", routes.trim_end());
            [("http1", http1), ("http2", http2), ("https", https)].iter().fold(text, |text, (name, at)| {
                let text = text.replace(&format!("@{name}@"), &at.to_string());
                text.replace(&format!("@{name}_port@"), &at.port().to_string())
            })
        };
        let core = ground.cores.proxy;
        let mut http2_at = http2;
        let mut process = match program {
            Program::Nginx => {
                write(&dir.join("nginx.conf"), &text(NGINX, nginx_routes(routes.count())))?;
                Process::start(&dir, core, &nginx(&dir), &[])?
            }
            Program::Haproxy => {
                let path = dir.join("haproxy.cfg");
                write(&dir.join("routes.map"), &haproxy_map(routes.count()))?;
                write(&path, &text(HAPROXY, haproxy_routes(&dir, routes.count())))?;
                Process::start(&dir, core, &["haproxy", "-db", "-f", &shown(&path)], &[])?
            }
            Program::Caddy => {
                let path = dir.join("Caddyfile");
                write(&path, &text(CADDY, String::new()))?;
                let words = ["caddy", "run", "--adapter", "caddyfile", "--config", &shown(&path)];
                Process::start(&dir, core, &words, &[("GOMAXPROCS", "1"), ("HOME", &shown(&dir))])?
            }
            Program::Qd | Program::QdPlain => {
                http2_at = http1;
                let watch = if program == Program::Qd { Watch::Canary } else { Watch::Nothing };
                write(&dir.join("routes.json"), &table::saved(&table::table(1, &ground.origins, routes, watch)))?;
                let terms = dir.join("tls.json");
                write(&terms, &table::tls_terms(&ground.certificate()))?;
                let [qd, data, terms] = [&ground.qd, &dir, &terms].map(|path| shown(path));
                let [at, at_tls] = [http1, https].map(|at| at.to_string());
                let words = [&qd, "proxy", "--data", &data, "--threads", "1", "--listen", &at];
                let tls = ["--tls-listen", &at_tls, "--tls-terms", &terms];
                Process::start(&dir, core, &[&words[..], &tls].concat(), &[])?
            }
        };
        wait(&mut process, program.name(), &dir, http1)?;
        let link = match program {
            Program::Qd | Program::QdPlain => Some(Link::connect(&dir)?),
            Program::Nginx | Program::Haproxy | Program::Caddy => None,
        };
        Ok(Running { http1, http2: http2_at, https, process, link, dir })
    }

    /// Fails when a guard has tripped: nothing was wrong, and without a canary less would have been measured.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.link.is_some() && table::has_tripped(&self.dir)? {
            return Err(Error::Site("the guard has tripped, although both releases are the same".into()));
        }
        Ok(())
    }
}

impl Ground {
    /// Makes a certificate, for everybody the same.
    pub(super) fn certify(&self) -> Result<(), Error> {
        let pem = shown(&self.certificate());
        let mut command = Command::new("openssl");
        command.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "30",
        ]);
        command.args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            &pem,
            "-out",
            "-",
        ]);
        let done = command.output().map_err(|source| Error::Start { command: "openssl".into(), source })?;
        if !done.status.success() {
            return Err(Error::Failed { command: "openssl req".into(), status: done.status });
        }
        let key = fs::read_to_string(&pem).map_err(|source| Error::Read { path: pem.clone().into(), source })?;
        write(&self.certificate(), &(String::from_utf8_lossy(&done.stdout).into_owned() + &key))
    }

    /// The certificate and its key, in one file.
    pub(super) fn certificate(&self) -> PathBuf {
        self.dir.join("certificate.pem")
    }

    /// A template with what does not change in a run.
    fn filled(&self, template: &str) -> String {
        let user = if request::is_root() { "user root;" } else { "" };
        let names = ["@running_1@", "@running_2@", "@canary_1@", "@canary_2@"];
        let text = template.replace("@user@\n", &format!("{user}\n"));
        let text = text.replace("@certificate@", &shown(&self.certificate()));
        names.iter().zip(self.origins).fold(text, |text, (name, at)| text.replace(name, &at.to_string()))
    }
}

/// `location`s: nginx keeps prefixes in a tree.
fn nginx_routes(routes: usize) -> String {
    let one = |path: &str| format!("        location {path} {{ proxy_pass http://origin; }}\n");
    if routes == 1 { one("/") } else { (0..routes).map(|n| one(&format!("/{}/", table::route(n)))).collect() }
}

/// One rule for all routes, over a map of prefixes, which HAProxy keeps in a tree.
fn haproxy_routes(dir: &Path, routes: usize) -> String {
    if routes == 1 {
        return String::new();
    }
    format!("    use_backend %[path,map_beg({})]\n", dir.join("routes.map").display())
}

fn haproxy_map(routes: usize) -> String {
    (0..routes).fold(String::new(), |mut map, n| {
        let _ = writeln!(map, "/{}/ origin", table::route(n));
        map
    })
}

fn nginx(dir: &Path) -> [&str; 6] {
    // Relative to the directory it is started in, which is the prefix of every path in its configuration.
    ["nginx", "-e", "stderr", "-p", dir.to_str().unwrap_or("."), "-cnginx.conf"]
}

/// An address nobody listens at.
pub(super) fn free_address() -> Result<SocketAddr, Error> {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(Error::Runtime)
}

fn fresh(parent: &Path, name: &str) -> Result<PathBuf, Error> {
    let path = parent.join(name);
    if path.exists() {
        fs::remove_dir_all(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
    }
    fs::create_dir_all(&path).map_err(|source| Error::Write { path: path.clone(), source })?;
    Ok(path)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::Write { path: path.to_owned(), source })
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn wait(process: &mut Process, name: &str, dir: &Path, address: SocketAddr) -> Result<(), Error> {
    let begun = Instant::now();
    while request::once(address, "/r0000/1k").is_err() {
        if begun.elapsed() > START || process.has_ended() {
            let said = fs::read_to_string(dir.join("said.log")).unwrap_or_default();
            return Err(Error::Site(format!("{name} does not answer at {address}:\n{said}")));
        }
        std::thread::park_timeout(LOOK);
    }
    process.prefer()
}
