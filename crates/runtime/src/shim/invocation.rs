//! The environment and the command line of an instance: the same for its program and for its command probes.

use super::protocol::Assignment;
use model::Address;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use zeroize::Zeroize as _;

/// Set for every process of an instance to its directory: how what it left behind is recognised.
pub(crate) const MARK: &str = "QUARTERDECK_INSTANCE_DIR";

/// An environment that contains secrets: never printed, wiped when dropped.
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// What an instance sees. Its own settings win over ours except for where it listens and the marks.
    pub(crate) fn new(
        assignment: &Assignment,
        directory: &Path,
        address: &Address,
        secrets: &BTreeMap<String, String>,
    ) -> Environment {
        let spec = &assignment.spec;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let user = assignment.user.as_ref().map(|user| user.name.clone());
        let mut all: BTreeMap<String, String> = BTreeMap::from([
            ("PATH".to_owned(), assignment.search_path.clone()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("HOME".to_owned(), text(directory.join("home"))),
            ("TMPDIR".to_owned(), text(directory.join("tmp"))),
        ]);
        all.extend(user.into_iter().flat_map(|name| [("USER".to_owned(), name.clone()), ("LOGNAME".to_owned(), name)]));
        all.extend(spec.run.env.clone());
        all.extend(secrets.iter().map(|(name, value)| (name.clone(), value.clone())));
        all.extend([
            (MARK.to_owned(), text(directory.to_owned())),
            ("QUARTERDECK_INSTANCE".to_owned(), spec.id.to_string()),
            ("QUARTERDECK_RELEASE".to_owned(), spec.release.to_string()),
            ("QUARTERDECK_SERVICE".to_owned(), spec.service.to_string()),
        ]);
        let (name, value) = told(address);
        all.insert(name.to_owned(), value);
        Environment(all)
    }

    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.0.values_mut().for_each(|value| value.zeroize());
    }
}

/// Where to listen: the variable that says it, and its value.
fn told(address: &Address) -> (&'static str, String) {
    match address {
        Address::Tcp(address) => ("PORT", address.port().to_string()),
        Address::Unix(path) => ("SOCKET", path.clone()),
    }
}

/// The program's path and arguments, with the port or the socket filled in. No release and no `PATH` says what [`super::FILES`] is.
///
/// # Errors
/// A text for people when there is no such program.
pub(crate) fn resolve(
    command: &[String],
    release: &Path,
    address: &Address,
    environment: &Environment,
) -> Result<Vec<String>, String> {
    let (name, value) = told(address);
    let (braced, bare) = (format!("${{{name}}}"), format!("${name}"));
    let mut words: Vec<String> =
        command.iter().map(|word| word.replace(&braced, &value).replace(&bare, &value)).collect();
    let Some(program) = words.first_mut() else { return only_executable(release).map(|path| vec![path]) };
    if program == super::FILES {
        *program = super::ITSELF.to_owned();
        words.insert(1, super::FILES_ROLE.to_owned());
        return Ok(words);
    }
    let path = Path::new(program.as_str());
    if path.is_absolute() {
        return Ok(words);
    }
    let inside = release.join(path);
    if inside.is_file() {
        *program = inside.to_string_lossy().into_owned();
        return Ok(words);
    }
    let search = environment.variables().get("PATH").map_or("", String::as_str);
    let found = (!program.contains('/'))
        .then(|| search.split(':').map(|d| Path::new(d).join(&*program)).find(|p| is_executable(p)))
        .flatten();
    match found {
        Some(path) => {
            *program = path.to_string_lossy().into_owned();
            Ok(words)
        }
        None if program.contains('/') => Err(format!("the release has no file `{program}` to run")),
        None => Err(format!("there is no program `{program}`, neither in the release nor in PATH ({search})")),
    }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// The one executable that a release without a command consists of.
fn only_executable(release: &Path) -> Result<String, String> {
    let entries = fs::read_dir(release).map_err(|e| format!("cannot read the release `{}`: {e}", release.display()))?;
    let names: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    match names.as_slice() {
        [one] if is_executable(one) => Ok(one.to_string_lossy().into_owned()),
        _ => Err("no `command` is set, and the release is not a single executable file: set `command` to what \
                  starts the service, for example command = [\"./server\", \"--port\", \"$PORT\"]"
            .to_owned()),
    }
}

/// Where the instance's own directories are, which belong to its user.
pub(crate) fn own_directories(directory: &Path) -> [PathBuf; 2] {
    [directory.join("tmp"), directory.join("home")]
}
