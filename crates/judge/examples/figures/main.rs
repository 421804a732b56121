//! Prints the figures of the judge: `cargo run --release -p judge --example figures -- [--short] [DIRECTORY]`. With a
//! directory it also draws them there. Seeds are fixed, so that every run prints the same, but for the cost per unit.
//! `--short` runs a tenth of everything, to see that it runs.

mod chart;
mod failing;
mod good;
mod peers;
mod pictures;
mod promotion;
mod runs;
#[path = "../../tests/it/simulate.rs"]
mod simulate;
mod slow;
mod watching;

use runs::Runs;
use std::path::PathBuf;

const FALSE_ALARM: f64 = 0.001;
const MISS: f64 = 0.05;

#[expect(clippy::disallowed_methods, reason = "what to run and where to draw is said on the command line")]
fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runs = Runs::of(arguments.iter().any(|argument| argument == "--short"));
    let directory = arguments.iter().find(|argument| !argument.starts_with("--")).map(PathBuf::from);

    let failing = failing::table(runs);
    let (good, most_alarms) = good::table(runs);
    let (promoted, slowest) = promotion::good(runs);
    let (mistaken, most_mistakes) = promotion::bad(runs);
    let cost = runs::cost();
    println!("### Figures to reach\n");
    println!("| figure | bar | measured | |\n|---|---|---|---|");
    let row = |figure: &str, bar: &str, measured: String, met: bool| {
        println!("| {figure} | {bar} | {measured} | {} |", if met { "met" } else { "**not met**" });
    };
    let alarms = format!("at most {:.2} %", 100.0 * most_alarms);
    row("false rollbacks, watched after every unit, worst world", "0.1 %", alarms, most_alarms <= FALSE_ALARM);
    let (alone, both) = failing.worst;
    let excess = format!("{alone:.2} × failures alone, {both:.2} × with latency");
    row("excess failures, worst of twelve cases", "1.75 × the limit", excess, both <= 1.75);
    row("promotion of a good canary, worst case", "2 × the bound", format!("{slowest:.2} ×"), slowest <= 2.0);
    let mistakes = format!("at most {:.1} %", 100.0 * most_mistakes);
    row("promotions of a canary worse by the tolerance", "5 %", mistakes, most_mistakes <= MISS);
    row("cost per judged unit", "200 ns", format!("{:.0} ns", cost.usual), cost.usual < 200.0);
    println!("\nHow soon the real program cuts a canary off is measured by `cargo xtask bench rollouts`.");

    print!("{}", failing.text);
    let peers = peers::table(runs);
    print!("{}", peers.text);
    slow::table(runs);
    failing::late(runs);
    print!("{good}");
    good::one_bet_per_request(runs);
    good::exposure(runs);
    print!("{promoted}{mistaken}");
    watching::table(runs);
    print!("{}", cost.text);
    match directory {
        Some(directory) => pictures::draw(&directory, &failing, &peers),
        None => Ok(()),
    }
}
