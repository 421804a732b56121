//! Runs storms: `storm --seeds 1000 --first 0`. Ends at the first that breaks an invariant, with its story.

use sim::{
    invariants,
    storm::{self, Weather},
};
use std::{error::Error, process::ExitCode};

fn main() -> ExitCode {
    match storms() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn storms() -> Result<(), Box<dyn Error>> {
    let (mut seeds, mut first) = (100, 0);
    #[expect(clippy::disallowed_methods, reason = "the world stays pure; this is its command line")]
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or("every option has a value: --seeds N, --first N")?.parse()?;
        match argument.as_str() {
            "--seeds" => seeds = value,
            "--first" => first = value,
            _ => return Err(format!("`{argument}` is neither --seeds nor --first").into()),
        }
    }
    let mut all = Weather::default();
    for seed in first..first + seeds {
        all.add(storm::run(seed).map_err(|wreck| wreck.to_string())?);
        if (seed + 1 - first).is_multiple_of(100) {
            println!("{} of {seeds} storms weathered", seed + 1 - first);
        }
    }
    println!("{seeds} storms weathered: {all:?}");
    println!("{} invariants held after every turn:", invariants::ALL.len());
    for invariant in invariants::ALL {
        println!("  {:<16} {}", invariant.id, invariant.says);
    }
    Ok(())
}
