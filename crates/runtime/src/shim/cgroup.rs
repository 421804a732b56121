//! Control groups for one instance: version 2 or version 1, whichever can be written here; none is fine too.
//!
//! Only made when a limit is asked for. The processes of an instance are found and killed without them (a shim adopts
//! all its descendants); what they add is that a bound on memory or processor time holds for all of them together.

use model::{InstanceId, Limits};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

const PERIOD_US: u64 = 100_000;

/// The groups made for one instance, removed on drop when they are empty.
#[derive(Default, Debug)]
pub(super) struct Cgroups {
    pub(super) directories: Vec<PathBuf>,
    pub(super) bound_memory: bool,
    pub(super) bound_processor: bool,
}

impl Cgroups {
    /// Makes what the limits ask for, as far as this machine lets us.
    pub(super) fn make(limits: &Limits, instance_directory: &Path, id: InstanceId) -> Cgroups {
        let mut made = Cgroups::default();
        if limits.memory.is_none() && limits.cpu_milli.is_none() {
            return made;
        }
        let place = model::Digest::of(instance_directory.as_os_str().as_encoded_bytes()).short();
        let name = format!("quarterdeck-{place}-{id}");
        let hierarchies = Hierarchies::of_this_process();
        if let Some(memory) = limits.memory {
            made.bound_memory = made.bound(
                &hierarchies,
                "memory",
                &name,
                &[("memory.max", "memory.limit_in_bytes", memory.0.to_string())],
            );
        }
        if let Some(milli) = limits.cpu_milli {
            let quota = u64::from(milli) * PERIOD_US / 1000;
            made.bound_processor =
                made.bound(&hierarchies, "cpu", &name, &[("cpu.max", "cpu.cfs_quota_us", quota.to_string())]);
        }
        made
    }

    /// Makes a group below the controller's and writes the settings, given as (name in v2, name in v1, value).
    fn bound(
        &mut self,
        hierarchies: &Hierarchies,
        controller: &str,
        name: &str,
        settings: &[(&str, &str, String)],
    ) -> bool {
        let Some((parent, version)) = hierarchies.controller(controller) else { return false };
        let directory = parent.join(name);
        let write = || -> io::Result<()> {
            if version == Version::Two {
                fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"))?;
            }
            match fs::create_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Err(_) | Ok(()) => {}
            }
            for (two, one, value) in settings {
                fs::write(directory.join(if version == Version::Two { two } else { one }), value)?;
            }
            Ok(())
        };
        match write() {
            Ok(()) => {
                if !self.directories.contains(&directory) {
                    self.directories.push(directory);
                }
                true
            }
            Err(_) => {
                let _ = fs::remove_dir(&directory);
                false
            }
        }
    }

    /// Whether the kernel killed something in here for want of memory.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        self.directories.iter().any(|directory| {
            ["memory.events", "memory.oom_control"].iter().any(|file| {
                let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
                text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|n| n.trim() != "0"))
            })
        })
    }

    /// How the limits are enforced, for the log.
    pub(super) fn describe(&self, limits: &Limits) -> Option<String> {
        let memory = limits.memory.map(|bytes| {
            let how = if self.bound_memory {
                "together, by cgroup"
            } else {
                "per process, by rlimit: no cgroup can be written"
            };
            format!("memory {bytes} ({how})")
        });
        let processor = limits.cpu_milli.map(|milli| {
            let how = if self.bound_processor { "by cgroup" } else { "not enforced: no cgroup can be written" };
            format!("processor {milli}/1000 ({how})")
        });
        let parts: Vec<String> = memory.into_iter().chain(processor).collect();
        (!parts.is_empty()).then(|| format!("limits: {}", parts.join(", ")))
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        self.directories.iter().for_each(|directory| remove(directory));
    }
}

/// The processes in a group.
pub(crate) fn members(directory: &Path) -> Vec<u32> {
    let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Removes a group that has no processes left.
pub(crate) fn remove(directory: &Path) {
    // A group that still has a dying process stays behind empty: harmless, and taken again by the next attempt.
    let _ = fs::remove_dir(directory);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Where this process is in each hierarchy that is mounted here.
struct Hierarchies(Vec<(Vec<String>, PathBuf, Version)>);

impl Hierarchies {
    fn of_this_process() -> Hierarchies {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let places = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Hierarchies(places.lines().filter_map(|line| Hierarchies::locate(line, &mounts)).collect())
    }

    /// Reads a line such as `4:memory:/some/group`, or `0::/some/group` for version 2.
    fn locate(line: &str, mounts: &str) -> Option<(Vec<String>, PathBuf, Version)> {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, place) = (parts.next()?, parts.next()?, parts.next()?);
        let version = if controllers.is_empty() { Version::Two } else { Version::One };
        let controllers: Vec<String> = controllers.split(',').map(str::to_owned).collect();
        mounts.lines().find_map(|mount| {
            let (before, after) = mount.split_once(" - ")?;
            let mut before = before.split(' ').skip(3);
            let (root, point) = (before.next()?, before.next()?);
            let mut after = after.split(' ');
            let (kind, options) = (after.next()?, after.nth(1)?);
            let fits = match version {
                Version::Two => kind == "cgroup2",
                Version::One => kind == "cgroup" && options.split(',').any(|o| controllers.iter().any(|c| c == o)),
            };
            let below = place.strip_prefix(root.trim_end_matches('/'))?;
            fits.then(|| (controllers.clone(), Path::new(point).join(below.trim_start_matches('/')), version))
        })
    }

    fn controller(&self, name: &str) -> Option<(&Path, Version)> {
        self.0.iter().find_map(|(controllers, place, version)| {
            let has = match version {
                Version::One => controllers.iter().any(|c| c == name),
                Version::Two => fs::read_to_string(place.join("cgroup.controllers"))
                    .is_ok_and(|all| all.split_ascii_whitespace().any(|c| c == name)),
            };
            has.then_some((place.as_path(), *version))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_located_below_their_mounts() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      31 24 0:27 /box /sys/fs/cgroup/unified rw - cgroup2 none rw\n";
        let (_, one, _) = Hierarchies::locate("4:memory:/a/b", mounts).unwrap();
        assert_eq!(one, Path::new("/sys/fs/cgroup/memory/a/b"));
        let (_, two, _) = Hierarchies::locate("0::/box/c", mounts).unwrap();
        assert_eq!(two, Path::new("/sys/fs/cgroup/unified/c"));
        assert!(Hierarchies::locate("5:cpu:/a", mounts).is_none());
    }
}
