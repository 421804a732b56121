//! `qd status`: everything at a glance, for someone who was just woken up. The first line says whether all is well; then
//! a block for each service with what it does, where it is reached, what is wrong with it and what is changing.

use super::{
    certificate::trouble,
    change::change,
    figures::{latency, many, percent, rate},
    ink::{Ink, wrap},
};
use control::view::{Health, InstanceView, ProxyView, ServiceView, Status};
use model::{PathIs, RouteMatch, Then, Time};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Everything.
pub(crate) fn status(view: &Status, ink: Ink) -> String {
    let mut text = headline(view, ink);
    for trouble in view.proxy.iter().flat_map(|p| &p.certificates).filter_map(|c| trouble(c, view.at)) {
        text += &wrap(&if trouble.harms { ink.bad(&trouble.text) } else { ink.warn(&trouble.text) }, ink.width, "");
    }
    for service in &view.services {
        text += "\n";
        text += &self::service(service, view.proxy.as_ref(), view.at, ink);
        for open in view.changes.iter().filter(|c| c.service == service.service) {
            text += "\n";
            text.extend(change(open, view.at, ink).lines().map(|line| format!("  {line}\n")));
        }
    }
    text
}

fn headline(view: &Status, ink: Ink) -> String {
    let mut text = match &view.proxy {
        Some(proxy) if !proxy.up_to_date => {
            wrap(&ink.warn("The data plane still obeys an older table than the one intended."), ink.width, "")
        }
        Some(_) => String::new(),
        None => wrap(
            &format!(
                "{} It goes on with its last table; nothing is judged meanwhile. `qd doctor` shows more.",
                ink.bad("The data plane is silent.")
            ),
            ink.width,
            "",
        ),
    };
    let troubled: Vec<&ServiceView> =
        view.services.iter().filter(|s| matches!(s.health, Health::Degraded | Health::Down)).collect();
    let running = view.services.iter().filter(|s| s.running.is_some()).count();
    let nothing = "Nothing is declared yet: write services into quarterdeck.toml and run `qd apply`.";
    text += &match (view.services.len(), running, troubled.as_slice()) {
        (0, _, _) => wrap(nothing, ink.width, ""),
        (_, 0, []) => "Nothing runs yet.\n".to_owned(),
        (_, 1, []) => format!("{}\n", ink.good("The service that runs is well.")),
        (_, n, []) => format!("{}\n", ink.good(format!("All {n} services that run are well."))),
        (n, _, troubled) => {
            let names: Vec<String> = troubled.iter().map(|s| format!("{} is {}", s.service, word(s.health))).collect();
            let of = if n == 1 { String::new() } else { format!("{} of {n} services: ", troubled.len()) };
            wrap(&ink.bad(format!("{of}{}", names.join(", "))), ink.width, "")
        }
    };
    text
}

const fn word(health: Health) -> &'static str {
    match health {
        Health::Ok => "ok",
        Health::Degraded => "degraded",
        Health::Down => "down",
        Health::Asleep => "asleep",
        Health::Waking => "waking up",
        Health::Empty => "not deployed yet",
        Health::Leaving => "leaving",
    }
}

/// One service. `proxy`: where it is reached.
fn service(view: &ServiceView, proxy: Option<&ProxyView>, now: Time, ink: Ink) -> String {
    let health = match view.health {
        Health::Ok => ink.good(word(view.health)),
        Health::Degraded | Health::Waking => ink.warn(word(view.health)),
        Health::Down => ink.bad(word(view.health)),
        Health::Empty | Health::Asleep | Health::Leaving => ink.dim(word(view.health)),
    };
    let mut head = vec![format!("{}  {health}", ink.bold(&view.service))];
    if let Some(running) = &view.running {
        let label = running.label.as_ref().map_or(String::new(), |l| format!(" “{l}”"));
        head.push(format!("{}{label}", running.id));
        head.push(format!("{} of {} ready", view.ready, view.replicas));
    }
    let mut text = ink.flow("", head);
    text += &traffic(view, ink);
    let as_they_are = view.tcp.iter().map(|address| format!("tcp://{address}"));
    text += &ink.flow("  ", addresses(&view.routes, proxy).into_iter().chain(as_they_are));
    for closed in proxy.iter().flat_map(|proxy| &proxy.closed_tcp).filter(|closed| view.tcp.contains(&closed.address)) {
        text += &wrap(&format!("{}: {}", ink.bad("no connection comes in"), closed.why), ink.width, "  ");
    }
    if view.health == Health::Empty {
        text += &wrap(&format!("run it with `qd deploy {} PATH`", view.service), ink.width, "  ");
    }
    if let Some(since) = view.asleep_since {
        let line = format!("asleep for {}, because nobody asks for it; a request wakes it up", now.since(since));
        text += &wrap(&line, ink.width, "  ");
    }
    for instance in view.instances.iter().filter(|i| i.condition != "ready") {
        text += &self::instance(instance, now, ink);
    }
    if let Some(target) = view.rollback_target {
        text += &wrap(&ink.dim(format!("`qd rollback {}` returns to {target}", view.service)), ink.width, "  ");
    }
    text
}

fn traffic(view: &ServiceView, ink: Ink) -> String {
    let Some(traffic) = &view.traffic else {
        let reached = !view.routes.is_empty() || !view.tcp.is_empty();
        let routed = view.running.is_some() && reached;
        return if routed { format!("  {}\n", ink.dim("no requests lately")) } else { String::new() };
    };
    let failed = match traffic.failure_rate {
        0.0 => "none failed".to_owned(),
        share => ink.bad(format!("{} failed", percent(share))),
    };
    let mut pieces = vec![rate(traffic.per_second), failed];
    pieces.extend(traffic.latency_ms_p50.map(|ms| format!("p50 {}", latency(ms))));
    pieces.extend(traffic.latency_ms_p99.map(|ms| format!("p99 {}", latency(ms))));
    pieces.push(ink.dim(format!("last {}", traffic.window)));
    let mut text = ink.flow("  ", pieces);
    let causes = [
        (traffic.tally.status_5xx, "answered with 5xx"),
        (traffic.tally.refused, "refused the connection"),
        (traffic.tally.reset, "broke off"),
        (traffic.tally.timeout, "timed out"),
        (traffic.tally.no_instance, "found no instance"),
    ];
    if traffic.failure_rate > 0.0 {
        let causes = causes.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", many(*n, "request")));
        text += &ink.flow("  ", causes);
    }
    text
}

/// Where to open a service in a browser.
fn addresses(routes: &[RouteMatch], proxy: Option<&ProxyView>) -> Vec<String> {
    let Some((address, proxy)) = proxy.and_then(|proxy| Some((proxy.listening.first()?, proxy))) else {
        return routes.iter().map(RouteMatch::to_string).collect();
    };
    let ip = match address.ip() {
        ip if ip.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    let port = |address: &SocketAddr, usual: u16| match address.port() {
        port if port == usual => String::new(),
        port => format!(":{port}"),
    };
    let any = SocketAddr::new(ip, address.port()).to_string();
    let any = any.rsplit_once(':').map_or(any.as_str(), |(host, _)| host);
    let path = |route: &RouteMatch| match route.path_is {
        PathIs::Prefix | PathIs::Exact => route.path.clone(),
        PathIs::Pattern => "/".to_owned(),
    };
    let url = |route: &RouteMatch| match (&route.host, proxy.listening_tls.first()) {
        (Some(host), Some(secured)) => format!("https://{host}{}{}", port(secured, 443), path(route)),
        (Some(host), None) => format!("http://{host}{}{}", port(address, 80), path(route)),
        // Certificates are for hosts.
        (None, _) => format!("http://{any}{}{}", port(address, 80), path(route)),
    };
    let carried = routes.iter().filter(|route| !matches!(route.then, Then::Redirect { .. }));
    let named = |route: &RouteMatch| match &route.name {
        Some(name) => format!("{} ({name})", url(route)),
        None => url(route),
    };
    carried.map(named).collect()
}

fn instance(view: &InstanceView, now: Time, ink: Ink) -> String {
    let attempt = if view.attempt > 1 { format!(", run {}", view.attempt) } else { String::new() };
    let detail = if view.detail.is_empty() { String::new() } else { format!(": {}", view.detail) };
    let line = format!(
        "{} of {} {} for {}{attempt}{detail}",
        view.id,
        view.release,
        ink.warn(&view.condition),
        now.since(view.since)
    );
    wrap(&line, ink.width, "  ")
}
