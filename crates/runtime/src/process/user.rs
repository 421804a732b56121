//! The operating-system user an instance runs as, and whether that user can reach what it needs.
//!
//! Read from `/etc/passwd` and `/etc/group`. A user that only a directory service knows is given by number.

use serde::{Deserialize, Serialize};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

const UNPRIVILEGED: &str = "nobody";

/// Who to become.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
}

/// Who an instance runs as, given what is configured and who we are. `None`: no change.
///
/// # Errors
/// A text for people: no such user, or we may not become it.
pub(crate) fn choose(configured: Option<&str>) -> Result<Option<User>, String> {
    let own = rustix::process::geteuid();
    if own.is_root() {
        return find(configured.unwrap_or(UNPRIVILEGED)).map(Some);
    }
    let Some(configured) = configured else { return Ok(None) };
    let user = find(configured)?;
    if user.uid == own.as_raw() {
        return Ok(None);
    }
    Err(format!(
        "it is to run as `{configured}`, but Quarterdeck runs as uid {own} and only root may run things as somebody \
         else: remove `user`, or run `qd serve` as root",
        own = own.as_raw()
    ))
}

fn find(wanted: &str) -> Result<User, String> {
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    find_in(wanted, &accounts, &groups).ok_or_else(|| {
        format!("there is no user `{wanted}` on this machine (in /etc/passwd): create it, or set `user` to another")
    })
}

fn find_in(wanted: &str, accounts: &str, groups: &str) -> Option<User> {
    let listed = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        (name == wanted || uid == wanted)
            .then(|| {
                Some(User { name: name.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()?, groups: vec![] })
            })
            .flatten()
    });
    let by_number = || {
        let id = wanted.parse().ok()?;
        Some(User { name: wanted.to_owned(), uid: id, gid: id, groups: vec![] })
    };
    let mut user = listed.or_else(by_number)?;
    user.groups = groups
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':').skip(2);
            let (gid, members) = (fields.next()?.parse().ok()?, fields.next()?);
            members.split(',').any(|member| member == user.name).then_some(gid)
        })
        .collect();
    Some(user)
}

impl User {
    /// The topmost directory on the way to `path` that this user may not pass.
    pub(crate) fn blocked_at(&self, path: &Path) -> Option<PathBuf> {
        if self.uid == 0 {
            return None;
        }
        let mut way: Vec<&Path> = path.ancestors().collect();
        way.reverse();
        way.into_iter().find(|directory| !self.may_pass(directory)).map(Path::to_owned)
    }

    fn may_pass(&self, directory: &Path) -> bool {
        let Ok(meta) = fs::metadata(directory) else { return false };
        let bit = if meta.uid() == self.uid {
            0o100
        } else if meta.gid() == self.gid || self.groups.contains(&meta.gid()) {
            0o010
        } else {
            0o001
        };
        meta.mode() & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const ACCOUNTS: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/srv:/bin/false\n";
    const GROUPS: &str = "web:x:33:\nssl:x:110:postgres,web\nother:x:5:webmaster\n";

    #[test]
    fn users_are_found_by_name_and_number_with_their_groups() {
        let web = User { name: "web".into(), uid: 33, gid: 33, groups: vec![110] };
        assert_eq!(find_in("web", ACCOUNTS, GROUPS), Some(web.clone()));
        assert_eq!(find_in("33", ACCOUNTS, GROUPS), Some(web));
        assert_eq!(find_in("4711", ACCOUNTS, GROUPS).map(|u| (u.uid, u.gid)), Some((4711, 4711)));
        assert_eq!(find_in("we", ACCOUNTS, GROUPS), None);
    }

    #[test]
    fn the_directory_that_blocks_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let blocking = dir.path().join("closed");
        let inner = blocking.join("inner");
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&blocking, fs::Permissions::from_mode(0o700)).unwrap();
        let stranger = User { name: "x".into(), uid: 4_000_000, gid: 4_000_000, groups: vec![] };
        assert_eq!(stranger.blocked_at(&inner), Some(blocking.clone()));
        fs::set_permissions(&blocking, fs::Permissions::from_mode(0o711)).unwrap();
        assert_eq!(stranger.blocked_at(&inner), None);
    }
}
