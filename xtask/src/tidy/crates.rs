//! Which crates may use which, and which may touch the world.

use super::Complaint;
use crate::{
    error::Error,
    workspace::{Crate, Workspace},
};

/// What a crate may do besides computing.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Pure,
    Io,
}
use Kind::{Io, Pure};

/// The house: every crate, whether it may touch the world, and which of our crates it may use. Lower ones come first, and
/// a crate uses only such as stand above it in this list; so no call goes upwards and there are no circles.
const HOUSE: &[(&str, Kind, &[&str])] = &[
    ("model", Pure, &[]),
    ("judge", Pure, &["model"]),
    ("policy", Pure, &["model"]),
    ("ledger", Pure, &["model"]),
    ("store", Io, &["model", "ledger"]),
    ("proxy", Io, &["model", "judge"]),
    ("runtime", Io, &["model"]),
    ("door", Io, &["model", "ledger"]),
    ("telemetry", Io, &["model", "judge"]),
    ("backup", Io, &["model", "ledger"]),
    ("control", Pure, &["model", "judge", "policy", "ledger"]),
    ("sim", Pure, &["model", "judge", "policy", "ledger", "control"]),
    ("api", Io, &["model", "judge", "policy", "ledger", "control"]),
    (
        "qd",
        Io,
        &[
            "model",
            "judge",
            "policy",
            "ledger",
            "store",
            "proxy",
            "runtime",
            "door",
            "telemetry",
            "backup",
            "control",
            "api",
        ],
    ),
    // Programs of their own: they see the product from outside.
    ("xtask", Io, &[]),
    ("shop", Io, &[]),
];

/// What a pure crate must not reach, however many crates lie between.
const WORLDLY: &[&str] =
    &["tokio", "mio", "hyper", "axum", "rustls", "rusqlite", "socket2", "rustix", "tokio-postgres"];

/// Checks every crate of the workspace.
pub(super) fn check(workspace: &Workspace) -> Result<Vec<Complaint>, Error> {
    let mut complaints = Vec::new();
    for c in &workspace.crates {
        let manifest = format!("{}/Cargo.toml", c.directory);
        let found = levels(&c.name, &c.uses, if c.pure { Pure } else { Io });
        complaints.extend(found.into_iter().map(|what| Complaint::new(&manifest, what)));
        complaints.extend(manifest_rules(&workspace.read(&manifest)?).map(|what| Complaint::new(&manifest, what)));
        if c.pure {
            complaints.extend(worldly(workspace, c).into_iter().map(|what| Complaint::new(&manifest, what)));
        }
    }
    Ok(complaints)
}

fn levels(name: &str, uses: &[String], found: Kind) -> Vec<String> {
    let Some((_, kind, allowed)) = HOUSE.iter().find(|(known, _, _)| *known == name) else {
        return vec![format!("`{name}` has no place in the house: give it one in xtask/src/tidy/crates.rs")];
    };
    let mut complaints = Vec::new();
    match (kind, found) {
        (Pure, Io) => complaints.push(format!("`{name}` is pure: it must not have a clippy.toml of its own")),
        (Io, Pure) => complaints.push(format!("`{name}` may touch the world: it needs a clippy.toml of its own")),
        (Pure, Pure) | (Io, Io) => {}
    }
    let above = uses.iter().filter(|used| !allowed.contains(&used.as_str()));
    complaints.extend(above.map(|used| format!("`{name}` must not use `{used}`: see the levels in ARCHITECTURE.md")));
    complaints
}

fn worldly(workspace: &Workspace, c: &Crate) -> Vec<String> {
    let chains = WORLDLY.iter().filter_map(|name| workspace.chain(c, name));
    chains.map(|chain| format!("`{}` is pure, but reaches the world: {}", c.name, chain.join(" → "))).collect()
}

fn manifest_rules(manifest: &str) -> impl Iterator<Item = String> {
    let lints = !manifest.contains("[lints]\nworkspace = true");
    let mut complaints = Vec::new();
    if lints {
        complaints.push("the lints of the workspace must hold: `[lints] workspace = true`".to_owned());
    }
    let mut in_dependencies = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            in_dependencies = section.trim_end_matches(']').ends_with("dependencies");
        } else if in_dependencies && line.contains('=') && !line.starts_with('#') && !line.contains("workspace = true")
        {
            complaints
                .push(format!("`{line}`: versions stand in one place, the root Cargo.toml; say `workspace = true`"));
        }
    }
    complaints.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_levels(name: &str, uses: &[&str], found: Kind) -> String {
        levels(name, &uses.iter().map(|used| (*used).to_owned()).collect::<Vec<_>>(), found).join("\n")
    }

    #[test]
    fn the_house_has_no_upward_use() {
        for (i, (name, kind, uses)) in HOUSE.iter().enumerate() {
            for used in *uses {
                let below = HOUSE[..i].iter().find(|(known, _, _)| known == used);
                let (_, used_kind, _) =
                    below.unwrap_or_else(|| panic!("{name} uses {used}, which does not stand above it"));
                assert!(*kind == Io || *used_kind == Pure, "{name} is pure and uses {used}, which is not");
            }
        }
    }

    #[test]
    fn a_use_that_is_not_allowed_is_named() {
        assert_eq!(check_levels("ledger", &["model"], Pure), "");
        let expected = "`ledger` must not use `control`: see the levels in ARCHITECTURE.md";
        assert_eq!(check_levels("ledger", &["control", "model"], Pure), expected);
    }

    #[test]
    fn a_pure_crate_cannot_declare_itself_otherwise() {
        assert_eq!(check_levels("judge", &[], Io), "`judge` is pure: it must not have a clippy.toml of its own");
    }

    #[test]
    fn an_unknown_crate_is_asked_for_its_place() {
        assert!(check_levels("novelty", &[], Pure).contains("has no place"));
    }

    #[test]
    fn a_manifest_keeps_lints_and_versions_of_the_workspace() {
        let good = "[lints]\nworkspace = true\n[dependencies]\nserde.workspace = true\nhyper = { workspace = true, features = [] }\n";
        assert_eq!(manifest_rules(good).count(), 0);
        let bad = "[dev-dependencies]\nserde = \"1\"\n[features]\nx = []\n";
        assert_eq!(manifest_rules(bad).count(), 2);
    }
}
