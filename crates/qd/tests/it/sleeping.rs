//! A service that nobody asks for has no instance, until a request waits for one.

use crate::{site::Site, wait::until};

const FILES: &str = r#"[proxy]
listen = ["{address}"]
threads = 1

[services.site]
files = "."
routes = ["/"]
sleep_after = "10s"
start_deadline = "20s"
stop_deadline = "2s"
rollout = { hold_back = "0s" }
"#;

#[test]
fn a_service_sleeps_until_a_request_waits_for_it_whoever_was_killed_meanwhile() {
    let mut site = Site::empty();
    site.configure(FILES);
    std::fs::create_dir(site.path("v1")).unwrap();
    std::fs::write(site.path("v1/index.html"), "1").unwrap();
    site.serve();
    site.apply().expect(0);
    site.qd(&["deploy", "site", "v1", "--reason", "first"]).expect(0);
    let view = |site: &Site| site.status()["services"][0].clone();
    until("it to sleep", || view(&site)["health"] == "asleep" && site.processes("files").is_empty());
    site.qd(&["status"]).expect(0).telling("a request wakes it up");
    // Without a control plane nobody can wake it: the request waits for that, too.
    site.kill_serve();
    let address = site.address;
    let asks = std::thread::spawn(move || crate::http::get(address, "/"));
    site.serve();
    let answer = asks.join().unwrap().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "1"));
    assert_eq!(view(&site)["asleep_since"], serde_json::Value::Null);
    let told = site.why("site");
    assert!(told.contains("site falls asleep: nobody has asked for it for 10 s"), "{told}");
    assert!(told.contains("site wakes up: a request waits for it"), "{told}");
}
