//! The pictures of `docs/concepts/judge.md`, drawn from the simulations.

use crate::{
    chart::{Axis, COLOURS, Chart, Line, Scale, Style},
    failing::Failing,
    peers::{NAMES, Peers},
    simulate::{Outcome, PAIRS, Random, failures_only},
};
use judge::{Test, Unit};
use model::{ArmRole, Ratio};
use std::{fs, io, path::Path};

/// Points of a line at most, so that the files stay small.
const POINTS: u64 = 150;

/// Draws all of them into a directory, which is made if need be.
#[expect(clippy::disallowed_methods, reason = "a benchmark writes its pictures")]
pub(crate) fn draw(directory: &Path, failing: &Failing, peers: &Peers) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (name, chart) in [
        ("evidence.svg", evidence()),
        ("promotion.svg", promotion()),
        ("harm.svg", harm(failing, peers)),
        ("traffic.svg", traffic(peers)),
    ] {
        fs::write(directory.join(name), chart.svg())?;
    }
    Ok(())
}

/// What a rollout's evidence is, as a row of (unit, logarithm): that it is worse, and that it is not.
fn course(seed: u64, units: u64, running: f64, canary: f64) -> [Vec<(f64, f64)>; 2] {
    let (mut test, mut random) = (Test::new(&failures_only()), Random::new(seed));
    let weight = Ratio::from_percent(10).unwrap_or_default();
    let mut rows = [Vec::new(), Vec::new()];
    for n in 0..=units {
        if n % (units / POINTS) == 0 {
            let finding = test.evidence().findings.first().map_or((0.0, 0.0), |f| (f.worse, f.not_worse));
            rows[0].push((n as f64, finding.0));
            rows[1].push((n as f64, finding.1));
            if test.verdict().ends_exposure() {
                break;
            }
        }
        let arm = if random.chance(weight.as_f64()) { ArmRole::Canary } else { ArmRole::Running };
        let failed = Outcome::fails(&mut random, if arm == ArmRole::Canary { canary } else { running }).failed;
        test.observe(Unit { arm, weight, failed, latency_us: None });
    }
    rows
}

fn lines(seeds: u64, units: u64, rates: [f64; 2], which: usize, (name, colour): (&str, &'static str)) -> Vec<Line> {
    let line = |seed| {
        let [worse, not_worse] = course(seed, units, rates[0], rates[1]);
        let points = if which == 0 { worse } else { not_worse };
        let name = if seed == 0 { name.to_owned() } else { String::new() };
        Line { name, colour, style: Style::Thin, points }
    };
    (0..seeds).map(line).collect()
}

/// Powers of ten on an axis of natural logarithms.
fn coins(powers: std::ops::RangeInclusive<i32>) -> Vec<(f64, String)> {
    let text = |power: i32| match power {
        0.. => 10_u64.pow(power.unsigned_abs()).to_string(),
        _ => format!("1/{}", 10_u64.pow(power.unsigned_abs())),
    };
    powers.map(|power| (f64::from(power) * std::f64::consts::LN_10, text(power))).collect()
}

fn level(name: &str, y: f64, to: f64) -> Line {
    Line { name: name.to_owned(), colour: COLOURS[5], style: Style::Dashed, points: vec![(0.0, y), (to, y)] }
}

fn units(most: u64) -> Axis {
    let tick = |n: u64| ((n * most / 5) as f64, (n * most / 5).to_string());
    Axis {
        label: "requests, 10 % of them to the canary",
        scale: Scale::Linear,
        range: [0.0, most as f64],
        ticks: (0..=5).map(tick).collect(),
    }
}

fn evidence() -> Chart {
    let most = 6_000;
    let mut all = lines(8, most, [0.001, 0.001], 0, ("0.1 %, as before", COLOURS[2]));
    all.extend(lines(8, most, [0.001, 0.01], 0, ("1 %", COLOURS[0])));
    all.extend(lines(8, most, [0.001, 0.05], 0, ("5 %", COLOURS[1])));
    all.push(level("called worse", 1_000_f64.ln(), most as f64));
    Chart {
        title: "Coins won by betting that the canary is worse",
        description: "Eight good canaries lose their coin slowly; canaries that fail 5 % of the time reach a thousand coins within a thousand requests, those that fail 1 % within several thousand.",
        x: units(most),
        y: Axis { label: "coins", scale: Scale::Linear, range: [-3.0, 8.0], ticks: coins(-1..=3) },
        lines: all,
    }
}

fn promotion() -> Chart {
    let most = 12_000;
    let mut all = lines(8, most, [0.001, 0.001], 1, ("0.1 %, as before", COLOURS[2]));
    all.extend(lines(8, most, [0.001, 0.011], 1, ("1.1 %", COLOURS[1])));
    all.push(level("not worse", 20_f64.ln(), most as f64));
    Chart {
        title: "Coins won by betting that the canary is not worse by 1 %",
        description: "Good canaries reach twenty coins after about five thousand requests; those worse by the tolerance lose.",
        x: units(most),
        y: Axis { label: "coins", scale: Scale::Linear, range: [-4.0, 5.2], ticks: coins(-1..=2) },
        lines: all,
    }
}

fn failures_axis(high: f64) -> Axis {
    let ticks = [1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0].into_iter().filter(|tick| *tick <= high);
    let ticks = ticks.map(|tick| (tick, tick.to_string())).collect();
    Axis { label: "failed requests more than without the canary", scale: Scale::Logarithmic, range: [1.0, high], ticks }
}

fn harm(failing: &Failing, peers: &Peers) -> Chart {
    let dots = |name: &str, colour, values: Vec<f64>| Line {
        name: name.to_owned(),
        colour,
        style: Style::Dots,
        points: values.into_iter().enumerate().map(|(i, value)| (i as f64, value)).collect(),
    };
    let limits = failing.at_ten.iter().map(|(limit, _)| *limit).collect();
    let mut all = vec![dots("the limit", COLOURS[5], limits)];
    all.push(dots("Quarterdeck", COLOURS[0], failing.at_ten.iter().map(|(_, excess)| *excess).collect()));
    for (i, (name, colour)) in NAMES.into_iter().zip([COLOURS[1], COLOURS[3], COLOURS[4]]).enumerate() {
        all.push(dots(name, colour, peers.excess.iter().map(|excess| excess[i]).collect()));
    }
    let pair = |(i, (p0, p1)): (usize, &(f64, f64))| (i as f64, format!("{} % → {} %", 100.0 * p0, 100.0 * p1));
    Chart {
        title: "Harm until a bad canary is undone, 100 requests/s, 10 % to it",
        description: "For four pairs of failure rates, Quarterdeck is within twice the limit; the others are ten to several thousand times above.",
        x: Axis {
            label: "failure rate: running release → canary",
            scale: Scale::Linear,
            range: [-0.5, 3.5],
            ticks: PAIRS.iter().enumerate().map(pair).collect(),
        },
        y: failures_axis(100_000.0),
        lines: all,
    }
}

fn traffic(peers: &Peers) -> Chart {
    let line = |name: &str, colour, excess: Vec<f64>| Line {
        name: name.to_owned(),
        colour,
        style: Style::Solid,
        points: peers.by_traffic.iter().map(|row| row.per_second).zip(excess).collect(),
    };
    let mut all = vec![line("Quarterdeck", COLOURS[0], peers.by_traffic.iter().map(|row| row.ours).collect())];
    for (i, (name, colour)) in NAMES.into_iter().zip([COLOURS[1], COLOURS[3], COLOURS[4]]).enumerate() {
        all.push(line(name, colour, peers.by_traffic.iter().map(|row| row.theirs[i]).collect()));
    }
    let ticks = [10.0, 100.0, 1_000.0].map(|tick: f64| (tick, tick.to_string())).to_vec();
    Chart {
        title: "Harm by traffic: a canary failing 5 % instead of 0.1 %",
        description: "The harm until Quarterdeck undoes the canary is the same at 10, 100 and 1,000 requests per second; that of rules on a timer grows in proportion.",
        x: Axis { label: "requests/s", scale: Scale::Logarithmic, range: [10.0, 1_000.0], ticks },
        y: failures_axis(100_000.0),
        lines: all,
    }
}
