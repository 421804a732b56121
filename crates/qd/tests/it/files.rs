//! A service that is only files: deployed as a directory, served by the executable itself.

use crate::{
    http::{Answer, Connection},
    processes::signal,
    release::executable,
    site::{Said, Site, is_root},
    wait::{eventually, until},
};
use rustix::process::Signal;
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

const FILES: &str = r#"[proxy]
listen = ["{address}"]
threads = 1

[services.site]
files = "public"
routes = ["/"]
start_deadline = "3s"
stop_deadline = "20s"

[services.site.traffic]
compress = true

[services.site.rollout]
hold_back = "0s"
"#;

/// Enough to be more than one piece, and to be told apart at each place.
fn large() -> Vec<u8> {
    (0..50_000u32).flat_map(u32::to_be_bytes).collect()
}

/// Writes a file and the directories above it.
fn write(root: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A release of the site.
fn release(site: &Site, version: &str) -> String {
    let release = site.path(version);
    let public = release.join("public");
    write(&public, "index.html", format!("<h1>{version}</h1>"));
    write(&public, "docs/index.html", "<h1>docs</h1>");
    write(&public, "docs/a b.txt", "spaced");
    write(&public, "404.html", "<h1>lost</h1>");
    write(&public, "app.3f9a1c2b.js", "run()");
    write(&public, "app.3f9a1c2b.js.br", "not really brotli");
    write(&public, "app.3f9a1c2b.js.gz", "not really gzip");
    write(&public, "data.bin", large());
    write(&public, "words.txt", "many words ".repeat(1000));
    write(&public, ".env", "SECRET=1");
    write(&public, ".well-known/security.txt", "Contact: mailto:security@example.com");
    // What is in the release and is not to be served.
    write(&release, "secret", "secret");
    // It would be run if a release had a say in who serves it.
    executable(&release.join("qd"), "#!/bin/sh\nexit 7\n");
    executable(&release.join("@files"), "#!/bin/sh\nexit 7\n");
    symlink("../secret", public.join("leak")).unwrap();
    symlink("..", public.join("up")).unwrap();
    symlink("docs/index.html", public.join("latest.html")).unwrap();
    release.to_str().unwrap().to_owned()
}

fn deploy(site: &Site, version: &str) -> Said {
    let release = release(site, version);
    site.qd(&["deploy", "site", &release, "--label", version, "--strategy", "blue-green", "--reason", version])
}

fn open() -> Site {
    let mut site = Site::empty();
    site.configure(FILES);
    site.serve();
    site.apply().expect(0);
    deploy(&site, "v1").expect(0);
    site
}

fn ask(site: &Site, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    Connection::open(site.address).unwrap().send(method, path, headers, "").unwrap()
}

#[test]
fn a_directory_is_served_as_it_is() {
    let site = open();
    let index = site.get("/");
    assert_eq!((index.status, index.text().as_str()), (200, "<h1>v1</h1>"));
    assert_eq!(index.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(index.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(index.header("cache-control"), Some("no-cache"));
    assert_eq!(index.header("last-modified"), None);
    assert_eq!(site.get("/docs/").text(), "<h1>docs</h1>");
    assert_eq!(site.get("/latest.html").text(), "<h1>docs</h1>");
    assert_eq!(site.get("/docs/a%20b.txt?x=1").text(), "spaced");
    assert_eq!(site.get("/.well-known/security.txt").status, 200);
    assert_eq!(site.get("/data.bin").body, large());
    assert_eq!(site.get("/data.bin").header("content-type"), Some("application/octet-stream"));
    let redirect = site.get("/docs?x=1");
    assert_eq!((redirect.status, redirect.header("location")), (308, Some("./docs/?x=1")));
    let lost = site.get("/docs/lost");
    assert_eq!((lost.status, lost.text().as_str()), (404, "<h1>lost</h1>"));
    assert_eq!(lost.header("etag"), None);
    let refused = ask(&site, "POST", "/", &[]);
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    let mut connection = Connection::open(site.address).unwrap();
    connection.write(b"HEAD /data.bin HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert_eq!(connection.head().unwrap().header("content-length"), Some("200000"));
    // Nothing of a body followed.
    assert_eq!(connection.send("GET", "/", &[], "").unwrap().text(), "<h1>v1</h1>");
}

#[test]
fn nothing_outside_of_the_directory_is_served_however_it_is_asked_for() {
    let site = open();
    for path in [
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/secret",
        "/%2e%2e/",
        "/docs/..%2f../secret",
        "/..%5c..%5csecret",
        "/leak",
        "/up/secret",
        "/up/qd",
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/etc/passwd",
        "//etc/passwd",
        "/secret%00.html",
    ] {
        let answer = site.get(path);
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
        assert!(!answer.text().contains("secret") && !answer.text().contains("root:"), "{path}: {answer:?}");
    }
    // Nor does a redirect lead elsewhere.
    for path in ["//evil.example/docs", "//docs", "/%2fdocs"] {
        assert_eq!(site.get(path).status, 404, "{path}");
    }
}

#[test]
fn what_a_client_has_is_not_sent_again_and_parts_are_sent_alone() {
    let site = open();
    let tag = site.get("/data.bin").header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"'), "{tag}");
    let same = ask(&site, "GET", "/data.bin", &[("if-none-match", &format!("\"x\", W/{tag}"))]);
    assert_eq!((same.status, same.header("etag"), same.body.len()), (304, Some(tag.as_str()), 0));
    assert_eq!(ask(&site, "GET", "/data.bin", &[("if-none-match", "\"x\"")]).status, 200);

    let part = ask(&site, "GET", "/data.bin", &[("range", "bytes=65530-131080"), ("if-range", &tag)]);
    assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 65530-131080/200000")));
    assert_eq!(part.body, large()[65530..=131_080]);
    assert_eq!(ask(&site, "GET", "/data.bin", &[("range", "bytes=-4")]).body, large()[199_996..]);
    let stale = ask(&site, "GET", "/data.bin", &[("range", "bytes=0-1"), ("if-range", "\"x\"")]);
    assert_eq!((stale.status, stale.body.len()), (200, 200_000));
    let beyond = ask(&site, "GET", "/data.bin", &[("range", "bytes=200000-")]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */200000")));
}

#[test]
fn files_that_were_compressed_before_are_sent_to_those_who_take_them() {
    let site = open();
    let script = |accepted| ask(&site, "GET", "/app.3f9a1c2b.js", &[("accept-encoding", accepted)]);
    let plain = script("identity");
    assert_eq!((plain.text().as_str(), plain.header("content-encoding")), ("run()", None));
    for (accepted, coding, content) in [
        ("gzip, br", "br", "not really brotli"),
        ("gzip", "gzip", "not really gzip"),
        ("br;q=0.1, gzip", "gzip", "not really gzip"),
    ] {
        let coded = script(accepted);
        assert_eq!((coded.text().as_str(), coded.header("content-encoding")), (content, Some(coding)));
        assert_eq!(coded.header("content-type"), Some("text/javascript; charset=utf-8"));
        assert_eq!(coded.header("vary"), Some("accept-encoding"));
        assert_eq!(coded.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_ne!(coded.header("etag"), plain.header("etag"));
    }
    // What the data plane compresses on the way is known again as well.
    let gzip = [("accept-encoding", "gzip")];
    let words = ask(&site, "GET", "/words.txt", &gzip);
    assert_eq!(words.header("content-encoding"), Some("gzip"));
    let tag = words.header("etag").unwrap();
    assert_eq!(ask(&site, "GET", "/words.txt", &[gzip[0], ("if-none-match", tag)]).status, 304);
}

#[test]
fn the_next_release_has_the_same_tags_where_it_has_the_same_files() {
    let site = open();
    let tags = || ["/", "/docs/"].map(|path| site.get(path).header("etag").unwrap().to_owned());
    let [index, docs] = tags();
    deploy(&site, "v2").expect(0);
    assert_eq!(site.get("/").text(), "<h1>v2</h1>");
    let [new_index, new_docs] = tags();
    assert_ne!(new_index, index);
    assert_eq!(new_docs, docs);
}

#[test]
fn what_is_being_sent_is_sent_before_it_ends() {
    let site = open();
    let large = vec![7; 64 << 20];
    let release = release(&site, "v2");
    write(Path::new(&release), "public/huge.bin", &large);
    site.qd(&["deploy", "site", &release, "--strategy", "blue-green", "--reason", "v2"]).expect(0);
    let server = eventually("one server to be left", || match &site.processes("files")[..] {
        [one] => Some(one.clone()),
        _ => None,
    });
    let environment = fs::read_to_string(format!("/proc/{}/environ", server.pid)).unwrap();
    let port = environment.split('\0').find_map(|pair| pair.strip_prefix("PORT=")?.parse().ok()).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut connection = Connection::open(address).unwrap();
    connection.write(b"GET /huge.bin HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert_eq!(connection.head().unwrap().header("content-length"), Some("67108864"));
    // It is stuck in the middle of that, because far more than fits on the way is not read.
    assert!(server.memory_kib() < 32 << 10, "{} KiB", server.memory_kib());
    signal(server.pid, Signal::TERM);
    until("nobody else to be let in", || Connection::open(address).is_err());
    assert!(connection.bytes(large.len()).unwrap() == large);
    until("the connection to end", || connection.is_over());
}

#[test]
fn a_single_page_answers_for_what_has_no_file() {
    let mut site = Site::empty();
    site.configure(&FILES.replace("\"public\"", "{ directory = \"public\", single_page = \"index.html\" }"));
    site.serve();
    site.apply().expect(0);
    deploy(&site, "v1").expect(0);
    for path in ["/", "/orders/12", "/users/jane.doe/", "/docs/lost.html"] {
        let answer = site.get(path);
        assert_eq!((answer.status, answer.text().as_str()), (200, "<h1>v1</h1>"), "{path}");
    }
    // A page in the place of a script would only fail later.
    for path in ["/gone.js", "/.env"] {
        assert_eq!(site.get(path).status, 404, "{path}");
    }
    assert_eq!(site.get("/%2e%2e/secret").status, 400, "it leads elsewhere than it seems");
}

#[test]
fn a_release_without_what_is_to_be_served_is_told_so() {
    let mut site = Site::empty();
    site.configure(FILES);
    site.serve();
    site.apply().expect(0);
    fs::create_dir(site.path("empty")).unwrap();
    fs::write(site.path("empty/index.html"), "").unwrap();
    let empty = site.path("empty");
    let deploy = || site.qd(&["deploy", "site", empty.to_str().unwrap(), "--reason", "v1"]).expect(3);
    deploy();
    site.qd(&["logs", "site"]).expect(0).telling("the release has no directory `public` that can be served");
    site.edit("\"public\"", "{ single_page = \"app.html\" }");
    site.apply();
    deploy();
    site.qd(&["logs", "site"]).expect(0).telling("`.` has no file `app.html` that could answer where there is none");
}

#[test]
fn whoever_serves_the_files_need_not_be_able_to_reach_the_executable() {
    if !is_root("an executable that its instances cannot reach") {
        return;
    }
    let mut site = Site::empty();
    let private = site.path("private");
    fs::create_dir(&private).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    let own = private.join("another-name");
    fs::copy(env!("CARGO_BIN_EXE_qd"), &own).unwrap();
    site.configure(FILES);
    site.serve_with(site.clean(std::process::Command::new(own), &["serve"]));
    site.apply().expect(0);
    deploy(&site, "v1").expect(0);
    let [server] = &site.processes("files")[..] else { panic!("{:?}", site.processes("files")) };
    assert_eq!(server.words[..3], ["qd", "files", "public"]);
    let owner = fs::metadata(format!("/proc/{}", server.pid)).unwrap();
    assert_ne!(std::os::unix::fs::MetadataExt::uid(&owner), 0);
    assert_eq!(site.get("/").text(), "<h1>v1</h1>");
}
