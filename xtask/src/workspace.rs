//! What the project consists of, as cargo and git tell it, and how to run a command in it.

use crate::error::Error;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The project: its root, its crates, and everything they depend on.
pub(crate) struct Workspace {
    /// The directory of the root Cargo.toml.
    pub(crate) root: PathBuf,
    /// Where cargo puts what it builds.
    pub(crate) target: PathBuf,
    /// Our own crates, by name.
    pub(crate) crates: Vec<Crate>,
    packages: BTreeMap<String, String>,
    uses: BTreeMap<String, Vec<String>>,
}

/// One of our own crates.
pub(crate) struct Crate {
    /// Its name.
    pub(crate) name: String,
    /// What it is, in a line.
    pub(crate) description: String,
    /// The directory of its Cargo.toml, relative to the root.
    pub(crate) directory: String,
    /// Which of our own crates it names in its Cargo.toml, for whatever purpose.
    pub(crate) uses: Vec<String>,
    /// It has no clippy.toml, hence the strict one of the root holds for it.
    pub(crate) pure: bool,
    id: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    description: Option<String>,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
struct EdgeKind {
    /// Absent for an ordinary dependency, else `dev` or `build`.
    kind: Option<String>,
}

impl Workspace {
    /// Asks cargo about the workspace around the current directory.
    pub(crate) fn load() -> Result<Workspace, Error> {
        let mut command = Command::new(cargo());
        command.args(["metadata", "--format-version", "1"]);
        let text = output(&mut command)?;
        let metadata: Metadata =
            serde_json::from_str(&text).map_err(|source| Error::Answer { command: shown(&command), source })?;
        let root = metadata.workspace_root;
        let ordinary = |edge: &Edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none());
        let mut crates: Vec<Crate> = metadata
            .packages
            .iter()
            .filter(|package| metadata.workspace_members.contains(&package.id))
            .map(|package| Crate::new(package, &root))
            .collect();
        crates.sort_by(|a, b| a.name.cmp(&b.name));
        let uses = metadata.resolve.nodes.into_iter().map(|node| {
            let used = node.deps.into_iter().filter(ordinary).map(|edge| edge.pkg).collect();
            (node.id, used)
        });
        Ok(Workspace {
            uses: uses.collect(),
            packages: metadata.packages.into_iter().map(|package| (package.id, package.name)).collect(),
            target: metadata.target_directory,
            crates,
            root,
        })
    }

    /// The shortest chain of ordinary dependencies from a crate to the package called `name`, itself included.
    pub(crate) fn chain(&self, from: &Crate, name: &str) -> Option<Vec<String>> {
        let mut reached_from: BTreeMap<&str, Option<&str>> = BTreeMap::from([(from.id.as_str(), None)]);
        let mut queue = std::collections::VecDeque::from([from.id.as_str()]);
        while let Some(id) = queue.pop_front() {
            if self.packages.get(id).is_some_and(|found| found == name) {
                let back = std::iter::successors(Some(id), |id| reached_from.get(id).copied().flatten());
                let mut chain: Vec<String> = back.filter_map(|id| self.packages.get(id).cloned()).collect();
                chain.reverse();
                return Some(chain);
            }
            for used in self.uses.get(id).into_iter().flatten() {
                if !reached_from.contains_key(used.as_str()) {
                    reached_from.insert(used, Some(id));
                    queue.push_back(used);
                }
            }
        }
        None
    }

    /// A cargo command in the root of the project.
    pub(crate) fn cargo<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Command {
        let mut command = Command::new(cargo());
        command.args(arguments).current_dir(&self.root);
        command
    }

    /// Every file of the project, relative to the root: those that git keeps and those that it does not ignore.
    pub(crate) fn files(&self) -> Result<Vec<String>, Error> {
        let mut command = Command::new("git");
        command.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(&self.root);
        let mut files: Vec<String> = output(&mut command)?.lines().map(str::to_owned).collect();
        files.retain(|file| self.root.join(file).is_file());
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// Reads a file, given relative to the root.
    pub(crate) fn read(&self, path: impl AsRef<Path>) -> Result<String, Error> {
        let path = self.root.join(path);
        std::fs::read_to_string(&path).map_err(|source| Error::Read { path, source })
    }

    /// Writes a file, given relative to the root, and the directories it is in.
    pub(crate) fn write(&self, path: impl AsRef<Path>, text: &str) -> Result<(), Error> {
        let path = self.root.join(path);
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::write(&path, text)).map_err(|source| Error::Write { path, source })
    }
}

impl Crate {
    fn new(package: &Package, root: &Path) -> Crate {
        let directory = package.manifest_path.parent().unwrap_or(root);
        let ours = package.dependencies.iter().filter(|used| used.path.is_some()).map(|used| used.name.clone());
        let mut uses: Vec<String> = ours.collect();
        uses.sort();
        uses.dedup();
        Crate {
            name: package.name.clone(),
            description: package.description.clone().unwrap_or_default(),
            directory: directory.strip_prefix(root).unwrap_or(directory).display().to_string(),
            uses,
            pure: !directory.join("clippy.toml").exists(),
            id: package.id.clone(),
        }
    }
}

/// The cargo that runs this, or the one in `PATH`.
fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs a command with our own output and waits for its success.
pub(crate) fn succeed(command: &mut Command) -> Result<(), Error> {
    let status = command.status().map_err(|source| Error::Start { command: shown(command), source })?;
    if status.success() { Ok(()) } else { Err(Error::Failed { command: shown(command), status }) }
}

/// Runs a command, waits for its success, and gives what it wrote. Its errors and progress go where ours go.
pub(crate) fn output(command: &mut Command) -> Result<String, Error> {
    let output =
        command.stderr(Stdio::inherit()).output().map_err(|source| Error::Start { command: shown(command), source })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::Failed { command: shown(command), status: output.status })
    }
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_the_shortest_way_to_a_package() {
        let uses = [("a", vec!["b", "c"]), ("b", vec!["d"]), ("c", vec!["e"]), ("d", vec!["e"]), ("e", vec!["a"])];
        let names = uses.iter().map(|(id, _)| ((*id).to_owned(), format!("package-{id}")));
        let workspace = Workspace {
            root: PathBuf::new(),
            target: PathBuf::new(),
            crates: Vec::new(),
            packages: names.chain([("x".to_owned(), "package-x".to_owned())]).collect(),
            uses: uses
                .iter()
                .map(|(id, used)| ((*id).to_owned(), used.iter().map(|u| (*u).to_owned()).collect()))
                .collect(),
        };
        let a = Crate {
            name: "package-a".into(),
            description: String::new(),
            directory: String::new(),
            uses: Vec::new(),
            pure: true,
            id: "a".into(),
        };
        assert_eq!(workspace.chain(&a, "package-e").unwrap(), ["package-a", "package-c", "package-e"]);
        assert_eq!(workspace.chain(&a, "package-x"), None);
    }
}
