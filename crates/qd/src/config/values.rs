//! Values that mean more than their type: probes, shares, environment variables.

use super::{
    draft::{Draft, Service},
    env_file, files,
    key::{Key, Shows, read},
    keys::SERVICE,
    node::Node,
    problem::{Fault, Faults},
};
use model::{AbsoluteLimit, Balance, Check, Concurrency, HeaderEdits, Probe, Ratio, ServiceName, Span, Sticky};
use std::net::SocketAddr;
use toml::de::DeValue;

/// An address that only this machine can reach.
pub(super) fn loopback(node: &Node<'_>) -> Result<SocketAddr, Fault> {
    let address = node.address()?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err(node.fault(
        format!("{} can be reached from other machines, and the API has no encryption of its own yet", address.ip()),
        format!("use \"127.0.0.1:{}\", and a tunnel such as `ssh -L` from elsewhere", address.port()),
    ))
}

/// The services by their names.
pub(super) fn read_services(draft: &mut Draft, node: &Node<'_>, faults: &mut Faults) {
    let entries = match node.table() {
        Ok(entries) => entries,
        Err(fault) => return faults.0.push(fault),
    };
    for (name, value) in entries {
        let mut service = Service::new(name.span());
        read(SERVICE, &mut service, &Node::new(value), faults);
        files::settle(&mut service, faults);
        match ServiceName::new(name.get_ref()) {
            Ok(name) => drop(draft.services.insert(name, service)),
            Err(error) => faults.0.push(Fault::new(name.span(), error.to_string(), "")),
        }
    }
}

/// The addresses whose connections it gets, likewise.
pub(super) fn read_tcp(service: &mut Service, node: &Node<'_>, faults: &mut Faults) {
    match node.list(|item| Ok((tcp_address(item)?, item.at.clone()))) {
        Ok(addresses) => (service.spec.tcp, service.tcp_places) = addresses.into_iter().unzip(),
        Err(fault) => faults.0.push(fault),
    }
}

fn tcp_address(node: &Node<'_>) -> Result<SocketAddr, Fault> {
    let address = node.address()?;
    if address.port() == 0 {
        return Err(node.fault("nobody could know this port", "name the one that clients connect to, such as 5432"));
    }
    Ok(address)
}

/// Environment variables in the file itself.
pub(super) fn read_env(service: &mut Service, node: &Node<'_>, faults: &mut Faults) {
    let entries = match node.table() {
        Ok(entries) => entries,
        Err(fault) => return faults.0.push(fault),
    };
    for (name, value) in entries {
        if let Some(why) = env_file::unfit(name.get_ref()) {
            faults.0.push(Fault::new(name.span(), format!("`{}` cannot be set: {why}", name.get_ref()), ""));
        }
        match Node::new(value).text("a text in quotes") {
            Ok(text) => drop(service.spec.run.env.insert(name.get_ref().to_string(), text.to_owned())),
            Err(fault) => faults.0.push(fault),
        }
    }
}

/// Header fields that are changed on their way.
pub(super) fn read_edits(edits: &mut HeaderEdits, node: &Node<'_>, faults: &mut Faults) {
    let entries = match node.table() {
        Ok(entries) => entries,
        Err(fault) => return faults.0.push(fault),
    };
    for (name, value) in entries {
        let text = match Node::new(value).text("a text in quotes") {
            Ok(text) => text,
            Err(fault) => {
                faults.0.push(fault);
                continue;
            }
        };
        if let Err(error) = edits.put(name.get_ref(), Some(text).filter(|text| !text.is_empty())) {
            faults.0.push(Fault::new(name.span(), error.to_string(), ""));
        }
    }
}

/// What a probe is made of, when it is a table.
#[derive(Default)]
struct Draw {
    probe: Probe,
    path: Option<String>,
    command: Option<Vec<String>>,
}

const PROBE: &[Key<Draw>] = &[
    Key {
        name: "path",
        doc: "A path that answers a GET.",
        shows: Shows::Example(r#""/healthz""#),
        set: |d, v, f| f.put(&mut d.path, probe_path(v).map(Some)),
    },
    Key {
        name: "command",
        doc: "A program that must exit with 0.",
        shows: Shows::Example(r#"["./check"]"#),
        set: |d, v, f| f.put(&mut d.command, v.command().map(Some)),
    },
    Key {
        name: "interval",
        doc: "How often, once it has succeeded.",
        shows: Shows::Default(r#""2s""#),
        set: |d, v, f| f.put(&mut d.probe.interval, v.span()),
    },
    Key {
        name: "timeout",
        doc: "How long one attempt may take.",
        shows: Shows::Default(r#""1s""#),
        set: |d, v, f| f.put(&mut d.probe.timeout, v.span()),
    },
    Key {
        name: "failures",
        doc: "How many failures in a row count.",
        shows: Shows::Default("3"),
        set: |d, v, f| f.put(&mut d.probe.failures, v.integer(1..=1_000)),
    },
];

/// A probe as a text or as a table.
pub(super) fn read_probe(place: &mut Option<Probe>, node: &Node<'_>, faults: &mut Faults) {
    if !matches!(node.value, DeValue::Table(_)) {
        return faults.put(place, short_probe(node).map(Some));
    }
    let mut draw = Draw::default();
    read(PROBE, &mut draw, node, faults);
    match (draw.path, draw.command) {
        (Some(_), Some(_)) => {
            return faults.0.push(node.fault("`path` and `command` are two checks", "use one of them"));
        }
        (Some(path), None) => draw.probe.check = Check::Http(path),
        (None, Some(command)) => draw.probe.check = Check::Command(command),
        (None, None) => {}
    }
    *place = Some(draw.probe);
}

fn short_probe(node: &Node<'_>) -> Result<Probe, Fault> {
    let check = match node.text("a text such as \"/healthz\", or a table,")? {
        "tcp" => Check::Tcp,
        "started" => Check::Started,
        path if path.starts_with('/') => Check::Http(probe_path(node)?),
        other => {
            let help = "use \"/path\", \"tcp\", \"started\" or { command = [\"…\"] }";
            return Err(node.fault(format!("`{other}` is not a check"), help));
        }
    };
    Ok(Probe { check, ..Probe::default() })
}

fn probe_path(node: &Node<'_>) -> Result<String, Fault> {
    match node.text("a path such as \"/healthz\"")? {
        path if path.starts_with('/') && !path.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Ok(path.to_owned())
        }
        other => Err(node.fault(format!("`{other}` is not a path"), "a path begins with `/` and has no spaces")),
    }
}

/// What tells one user from another.
pub(super) fn sticky(node: &Node<'_>) -> Result<Sticky, Fault> {
    let text = node.text("a text such as \"cookie:NAME\"")?;
    let token = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
    };
    match text.split_once(':') {
        None if text == "client" => Ok(Sticky::Client),
        Some(("cookie", name)) if token(name) => Ok(Sticky::Cookie(name.to_owned())),
        Some(("header", name)) if token(name) => Ok(Sticky::Header(name.to_ascii_lowercase())),
        Some(_) | None => Err(node.fault(
            format!("`{text}` names neither a cookie nor a header"),
            "use \"cookie:NAME\", \"header:NAME\" or \"client\"",
        )),
    }
}

/// A probability of error that can be worked with.
pub(super) fn chance(node: &Node<'_>) -> Result<Ratio, Fault> {
    let ratio = node.ratio()?;
    match ratio.ppm() {
        1..500_000 => Ok(ratio),
        _ => {
            Err(node
                .fault(format!("{ratio} is not a usable probability of error"), "use more than 0 % and less than 50 %"))
        }
    }
}

/// A share that is not nothing.
pub(super) fn above_zero(node: &Node<'_>) -> Result<Ratio, Fault> {
    match node.ratio()? {
        Ratio::ZERO => Err(node.fault(
            "0 % could never be shown, with any number of requests",
            "say how much more would still be acceptable, such as \"0.5 %\"",
        )),
        ratio => Ok(ratio),
    }
}

/// A limit such as `failures < 1 %` or `p99 < 400ms`. `errors` is what others call failures.
pub(super) fn limit(node: &Node<'_>) -> Result<AbsoluteLimit, Fault> {
    let text = node.text("a limit such as \"p99 < 400ms\"")?;
    let usage = "use \"failures < 1 %\" or \"p99 < 400ms\"";
    let Some((what, bound)) = text.split_once('<').map(|(what, bound)| (what.trim(), bound.trim())) else {
        return Err(node.fault(format!("`{text}` is not a limit"), usage));
    };
    let percent = |text: &str| Ratio::from_f64(text.trim().parse::<f64>().ok()? / 100.0);
    let inside = |ratio: &Ratio| *ratio > Ratio::ZERO && *ratio < Ratio::ONE;
    match (what, what.strip_prefix('p').and_then(percent)) {
        ("failures" | "errors", _) => {
            let share = bound.strip_suffix('%').and_then(percent).filter(inside);
            let fault =
                || node.fault(format!("`{bound}` is not a share of failures"), "use more than 0 % and less than 100 %");
            share.map(AbsoluteLimit::Failures).ok_or_else(fault)
        }
        (_, Some(quantile)) if inside(&quantile) => {
            let below = Span::parse(bound).filter(|span| *span > Span::ZERO);
            let fault =
                || node.fault(format!("`{bound}` is not a length of time"), "use at least \"1ms\": \"p99 < 400ms\"");
            Ok(AbsoluteLimit::Latency { quantile, below: below.ok_or_else(fault)? })
        }
        (what, _) => Err(node.fault(format!("`{what}` is nothing that a limit can be set for"), usage)),
    }
}

/// A number of failed requests.
pub(super) fn exposure(node: &Node<'_>) -> Result<u32, Fault> {
    let text = node.text("a text such as \"20 failed requests\"")?;
    let (number, what) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let number = number.parse().ok().filter(|n| *n > 0 && ["failed request", "failed requests"].contains(&what.trim()));
    number.ok_or_else(|| {
        node.fault(format!("`{text}` is not a number of failed requests"), "use at least one: \"20 failed requests\"")
    })
}

/// Shares that grow.
pub(super) fn steps(node: &Node<'_>) -> Result<Vec<Ratio>, Fault> {
    let steps = node.list(Node::ratio)?;
    if steps.is_empty() {
        return Err(
            node.fault("no step is no share at all", "leave `steps` out, and the share grows as the evidence does")
        );
    }
    if steps.contains(&Ratio::ZERO) || !steps.is_sorted_by(|a, b| a < b) {
        return Err(
            node.fault("the steps must be shares above 0 % that grow", "for example [\"1 %\", \"10 %\", \"50 %\"]")
        );
    }
    Ok(steps)
}

/// How many requests may be under way.
pub(super) fn concurrency(node: &Node<'_>) -> Result<Concurrency, Fault> {
    if let DeValue::Integer(_) = node.value {
        return node.integer(1..=1_000_000).map(Concurrency::Fixed);
    }
    node.one_of(&[("adaptive", Concurrency::Adaptive)])
}

/// How an instance is chosen.
pub(super) fn balance(node: &Node<'_>) -> Result<Balance, Fault> {
    match node.text("a text such as \"least\"")? {
        "least" => Ok(Balance::Least),
        "path" => Ok(Balance::HashPath),
        _ => sticky(node).map(Balance::Hash),
    }
}
