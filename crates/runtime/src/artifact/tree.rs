//! The content of an artifact as a value: what is at which path, and the digest of it all.

use super::Unfit;
use model::Digest;
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

/// More links in a row than this are a circle.
const MOST_HOPS: u32 = 40;

/// One thing in a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Node {
    Directory,
    File { content: Digest, executable: bool },
    Link(PathBuf),
}

/// Everything in an artifact, by path. Every parent of a path is in it, as a directory.
#[derive(Default, Debug)]
pub(super) struct Tree(BTreeMap<PathBuf, Node>);

impl Tree {
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.0.iter().map(|(path, node)| (path.as_path(), node))
    }

    pub(super) fn get(&self, path: &Path) -> Option<&Node> {
        self.0.get(path)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn has_files(&self) -> bool {
        self.0.values().any(|node| matches!(node, Node::File { .. }))
    }

    /// Adds a node at a path that [`inner_path`] gave. As in `tar`, a later file replaces an earlier one.
    pub(super) fn add(&mut self, path: PathBuf, node: Node) -> Result<(), Unfit> {
        for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
            match self.0.get(parent) {
                Some(Node::Directory) => {}
                None => {
                    self.0.insert(parent.to_owned(), Node::Directory);
                }
                Some(Node::File { .. } | Node::Link(_)) => {
                    return Err(unfit(&path, "is below something that is not a directory"));
                }
            }
        }
        let was_directory = matches!(self.0.get(&path), Some(Node::Directory));
        match (was_directory, &node) {
            (true, Node::Directory) => {}
            (true, Node::File { .. } | Node::Link(_)) => {
                return Err(unfit(&path, "is there twice, once as a directory"));
            }
            (false, Node::Directory) if self.0.contains_key(&path) => {
                return Err(unfit(&path, "is there twice, once as a directory"));
            }
            (false, Node::Directory | Node::File { .. } | Node::Link(_)) => {
                self.0.insert(path, node);
            }
        }
        Ok(())
    }

    /// Makes sure that every link, followed to its end, stays inside. Its end need not exist.
    pub(super) fn check_links(&self) -> Result<(), Unfit> {
        let mut links = self.0.iter().filter(|(_, node)| matches!(node, Node::Link(_)));
        links.try_for_each(|(path, _)| self.follow(path))
    }

    fn follow(&self, link: &Path) -> Result<(), Unfit> {
        let escapes = |target: &Path| {
            unfit(link, &format!("is a link to `{}`, which is outside of the artifact", target.display()))
        };
        let mut here = PathBuf::new();
        let mut ahead: Vec<OsString> = steps(link);
        let mut hops = 0;
        while let Some(step) = ahead.pop() {
            if step == ".." {
                if !here.pop() {
                    return Err(escapes(self.target(link)));
                }
                continue;
            }
            here.push(&step);
            if let Some(Node::Link(target)) = self.0.get(&here) {
                hops += 1;
                if hops > MOST_HOPS {
                    return Err(unfit(link, "is a link that leads back to itself"));
                }
                if target.is_absolute() {
                    return Err(escapes(target));
                }
                here.pop();
                ahead.extend(steps(target));
            }
        }
        Ok(())
    }

    fn target(&self, link: &Path) -> &Path {
        match self.0.get(link) {
            Some(Node::Link(target)) => target,
            Some(Node::Directory | Node::File { .. }) | None => Path::new(""),
        }
    }

    /// The digest of everything that matters when it runs: paths, contents, what is executable, where links lead.
    pub(super) fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        field(b"quarterdeck tree 1");
        for (path, node) in &self.0 {
            field(path.as_os_str().as_bytes());
            match node {
                Node::Directory => field(b"directory"),
                Node::File { content, executable } => {
                    field(if *executable { b"executable" } else { b"file" });
                    field(&content.0);
                }
                Node::Link(target) => {
                    field(b"link");
                    field(target.as_os_str().as_bytes());
                }
            }
        }
        Digest(hash.finalize().into())
    }
}

/// The steps of a path, the first on top.
fn steps(path: &Path) -> Vec<OsString> {
    let mut steps: Vec<OsString> =
        path.components().filter(|c| *c != Component::CurDir).map(|c| c.as_os_str().to_owned()).collect();
    steps.reverse();
    steps
}

/// A path in an archive as a path in the tree; empty for the tree itself.
pub(super) fn inner_path(path: &Path) -> Result<PathBuf, Unfit> {
    let mut inner = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => inner.push(name),
            Component::CurDir => {}
            Component::ParentDir => return Err(unfit(path, "leaves the archive by `..`")),
            Component::RootDir | Component::Prefix(_) => return Err(unfit(path, "has an absolute path")),
        }
    }
    if path.as_os_str().as_bytes().contains(&0) {
        return Err(unfit(&inner, "has a NUL byte in its name"));
    }
    Ok(inner)
}

pub(super) fn unfit(path: &Path, why: &str) -> Unfit {
    Unfit::Unsafe { path: path.to_owned(), why: why.to_owned() }
}
