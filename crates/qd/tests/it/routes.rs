//! Routes with a name and bounds of their own, as their owner declares, plans and watches them.

use crate::{site::Site, wait::eventually};
use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
};

const SHOP: &str = r#"[proxy]
listen = ["{address}"]
threads = 1

[services.site]
files = "public"
routes = ["/", { at = "/docs", name = "docs", client_rate = "2/h" }]
start_deadline = "3s"

[services.site.rollout]
hold_back = "0s"
"#;

/// What `GET /metrics` says of routes.
fn metrics(site: &Site) -> Vec<String> {
    let mut api = UnixStream::connect(site.data().join("api.sock")).unwrap();
    api.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    api.read_to_string(&mut text).unwrap();
    text.lines().filter(|line| line.starts_with("quarterdeck_route_")).map(str::to_owned).collect()
}

#[test]
fn a_route_is_bounded_and_counted_by_itself_and_a_plan_says_what_differs() {
    let mut site = Site::empty();
    site.configure(SHOP);
    let docs = site.path("v1").join("public/docs");
    fs::create_dir_all(&docs).unwrap();
    fs::write(docs.join("index.html"), "docs").unwrap();
    site.serve();
    site.apply().expect(0);
    let release = site.path("v1").to_str().unwrap().to_owned();
    site.qd(&["deploy", "site", &release, "--strategy", "blue-green", "--reason", "v1"]).expect(0);
    assert_eq!([(); 3].map(|()| site.get("/docs/").status), [200, 200, 429]);
    assert!(site.get("/docs/").text().contains("from one client on its route docs"));
    assert_eq!(site.get("/nothing").status, 404);

    let outcome = |outcome: &str, count: u32| {
        let labels = "environment=\"production\",service=\"site\",route=\"docs\"";
        format!("quarterdeck_route_requests_total{{{labels},outcome=\"{outcome}\"}} {count}")
    };
    let wanted = [outcome("answered", 2), outcome("limited", 2), outcome("status_5xx", 0)];
    let seen =
        eventually("the counts", || Some(metrics(&site)).filter(|seen| wanted.iter().all(|one| seen.contains(one))));
    let took = "quarterdeck_route_request_duration_seconds_count{environment=\"production\",service=\"site\",route=\"docs\"} 2";
    assert!(seen.iter().any(|line| line == took), "{seen:#?}");

    site.edit("2/h", "1000/s");
    let plan = "answer on /docs named docs (client_rate 1000/s) instead of /docs named docs (client_rate 2/h)";
    let said = site.qd(&["plan", "--json"]).expect(0);
    assert!(said.out.contains(plan), "{}", said.out);
    site.apply().expect(0);
    assert_eq!(site.get("/docs/").status, 200);
    site.qd(&["status"]).expect(0).telling("/docs (docs)");
}
