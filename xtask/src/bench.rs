//! Measures, and writes what was measured to docs/benchmarks.md: each part replaces its own section there, between its
//! markers, with the command that repeats it and the machine it ran on. There is no date: the commit has one.

mod proxy;
mod rollouts;
mod spine;

use crate::{
    error::Error,
    workspace::{Workspace, output, shown},
};
use clap::ValueEnum;
use std::{fs, path::PathBuf};

const PAGE: &str = "docs/benchmarks.md";
const PREFACE: &str =
    "# Benchmarks\n\nWritten by `cargo xtask bench`. Figures of different sections may come from different machines.\n";

/// What can be measured.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum What {
    /// Appending to, reading and verifying the ledger
    Ledger,
    /// Reading the ledger into the state
    Fold,
    /// Errors of the judge and how soon it decides
    Judge,
    /// The data plane beside nginx, HAProxy and Caddy; takes a quarter of an hour
    Proxy,
    /// The data plane under full load for a long time, while its tables change
    Soak,
    /// Bad releases found by the real program under real traffic; takes a quarter of an hour
    Rollouts,
    /// Starting, deploying, memory, and a hundred deploys under load
    Spine,
    /// All of it
    All,
}

/// How to measure, where there is a choice.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// `proxy` in a minute or two. It prints the figures and leaves the page alone
    #[arg(long)]
    quick: bool,
    /// Measure this executable in `proxy` and `soak`, instead of building one
    #[arg(long, value_name = "EXECUTABLE")]
    qd: Option<PathBuf>,
    /// How long `soak` goes on
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    minutes: u32,
}

/// A section of the page and what measures for it.
struct Section {
    what: What,
    name: &'static str,
    title: &'static str,
    by: By,
}

enum By {
    /// An example program of a crate, with what it is told.
    Example { package: &'static str, example: &'static str, told: &'static [&'static str] },
    /// One that needs a directory to measure in, on the disk that builds are on.
    ExampleOnDisk { package: &'static str, example: &'static str },
    /// A measurement of this program's own, from outside.
    Own(fn(&Workspace, &Options) -> Result<String, Error>),
}

const SECTIONS: &[Section] = &[
    Section {
        what: What::Spine,
        name: "spine",
        title: "The whole",
        by: By::Own(|workspace, _| spine::measure(workspace)),
    },
    Section {
        what: What::Ledger,
        name: "ledger",
        title: "The ledger",
        by: By::ExampleOnDisk { package: "store", example: "ledger_figures" },
    },
    Section {
        what: What::Fold,
        name: "fold",
        title: "The fold",
        by: By::Example { package: "control", example: "fold_rate", told: &[] },
    },
    Section { what: What::Proxy, name: "proxy", title: "The data plane beside others", by: By::Own(proxy::measure) },
    Section {
        what: What::Soak,
        name: "soak",
        title: "The data plane for a long time",
        by: By::Own(proxy::soak::measure),
    },
    Section {
        what: What::Rollouts,
        name: "rollouts",
        title: "Bad releases, end to end",
        by: By::Own(|workspace, _| rollouts::measure(workspace)),
    },
    Section {
        what: What::Judge,
        name: "judge",
        title: "The judge",
        by: By::Example { package: "judge", example: "figures", told: &["--", "docs/concepts/judge"] },
    },
];

/// Measures and writes.
pub(crate) fn run(workspace: &Workspace, what: What, options: &Options) -> Result<(), Error> {
    // Before anything is measured: some bind this program to a part of the machine.
    let machine = machine();
    for section in SECTIONS.iter().filter(|section| what == What::All || what == section.what) {
        let (repeat, figures) = match section.by {
            By::Example { package, example, told } => {
                let mut command = workspace.cargo(["run", "--release", "-p", package, "--example", example]);
                command.args(told);
                println!("$ {}", shown(&command));
                (shown(&command), output(&mut command)?)
            }
            By::ExampleOnDisk { package, example } => {
                let directory = workspace.target.join(example);
                let mut command = workspace.cargo(["run", "--release", "-p", package, "--example", example, "--"]);
                let shown = format!("{} DIRECTORY", shown(&command));
                println!("$ {shown}");
                let figures = output(command.arg(&directory));
                if directory.exists() {
                    fs::remove_dir_all(&directory).map_err(|source| Error::Write { path: directory, source })?;
                }
                (shown, figures?)
            }
            By::Own(measure) => (format!("cargo xtask bench {}", section.name), measure(workspace, options)?),
        };
        print!("{figures}");
        if options.quick {
            continue;
        }
        let text = format!("`{repeat}` on {machine}.\n\n{}", as_markdown(&figures));
        let page = if workspace.root.join(PAGE).exists() { workspace.read(PAGE)? } else { PREFACE.to_owned() };
        workspace.write(PAGE, &with_section(&page, section.name, section.title, &text))?;
    }
    Ok(())
}

/// What a program printed, as it is when it is Markdown and as a block of text otherwise.
fn as_markdown(figures: &str) -> String {
    let figures = figures.trim_end();
    let rows_only = figures.starts_with('|') && !figures.lines().nth(1).is_some_and(|line| line.starts_with("|-"));
    if rows_only {
        return format!("| what | figure |\n|---|---|\n{figures}");
    }
    if figures.trim_start().starts_with(['|', '#', '-']) {
        figures.to_owned()
    } else {
        format!("```text\n{figures}\n```")
    }
}

/// The page with the section's text replaced, or with the section added at its end.
fn with_section(page: &str, name: &str, title: &str, text: &str) -> String {
    let (open, close) = (format!("<!-- bench:{name} -->"), format!("<!-- /bench:{name} -->"));
    let block = format!("{open}\n{text}\n{close}");
    match page.split_once(&open).and_then(|(before, rest)| Some((before, rest.split_once(&close)?.1))) {
        Some((before, after)) => format!("{before}{block}{after}"),
        None => format!("{}\n\n## {title}\n\n{block}\n", page.trim_end()),
    }
}

/// What matters about this machine, in a line.
fn machine() -> String {
    let field = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "an unknown processor".into());
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let memory_gib = field("/proc/meminfo", "MemTotal")
        .and_then(|kib| kib.trim_end_matches(" kB").parse::<f64>().ok())
        .map_or_else(String::new, |kib| format!(", {:.0} GiB", kib / (1 << 20) as f64));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{processors} × {processor}{memory_gib}, Linux {}", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::{as_markdown, with_section};

    #[test]
    fn a_section_is_added_once_and_then_replaced() {
        let first = with_section("# Benchmarks\n", "a", "A", "old");
        assert_eq!(first, "# Benchmarks\n\n## A\n\n<!-- bench:a -->\nold\n<!-- /bench:a -->\n");
        let both = with_section(&first, "b", "B", "other");
        let again = with_section(&both, "a", "A", "new");
        assert_eq!(again, both.replace("old", "new"));
    }

    #[test]
    fn text_that_is_not_markdown_becomes_a_block() {
        assert_eq!(as_markdown("| a |\n|---|\n| 1 |\n"), "| a |\n|---|\n| 1 |");
        assert_eq!(as_markdown("| a | 1 |\n"), "| what | figure |\n|---|---|\n| a | 1 |");
        assert_eq!(as_markdown("1 2\n"), "```text\n1 2\n```");
    }
}
