//! Figures as people read them.

/// A count: `12,044`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share as a percentage with two figures that matter: `0.42 %`, `12 %`.
pub(super) fn percent(share: f64) -> String {
    let value = 100.0 * share;
    match value {
        0.0 => "0 %".to_owned(),
        v if v < 0.01 => "< 0.01 %".to_owned(),
        v if v < 10.0 => format!("{v:.2} %"),
        v => format!("{v:.0} %"),
    }
}

/// A latency given in milliseconds.
pub(super) fn latency(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 10_000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1e3),
    }
}

/// Requests per second.
pub(super) fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        format!("{per_second:.1} req/s")
    } else {
        format!("{} req/s", count(per_second.round() as u64))
    }
}

/// `1 instance`, `2 instances`, `3 entries`.
pub(crate) fn many(n: u64, one: &str) -> String {
    let word = match (n, one.strip_suffix('y')) {
        (1, _) => one.to_owned(),
        (_, Some(stem)) => format!("{stem}ies"),
        (_, None) => format!("{one}s"),
    };
    format!("{} {word}", count(n))
}
