use super::{pack::Package, *};
use crate::in_full;
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    time::Duration,
};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

/// Takes in what a closure puts into an archive. Names are written as they are, however hostile.
fn take(store: &Store, bounds: Bounds, fill: impl FnOnce(&mut Archive)) -> Result<Digest, Error> {
    let mut archive = Archive(Builder::new(Vec::new()));
    fill(&mut archive);
    store.take_tar(&archive.0.into_inner().unwrap()[..], bounds)
}

struct Archive(Builder<Vec<u8>>);

impl Archive {
    fn entry(&mut self, kind: EntryType, name: &str, target: &str, content: &str) {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if name.ends_with(".sh") { 0o755 } else { 0o600 });
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content.as_bytes()).unwrap();
    }

    fn file(&mut self, name: &str, content: &str) {
        self.entry(EntryType::Regular, name, "", content);
    }

    fn link(&mut self, name: &str, target: &str) {
        self.entry(EntryType::Symlink, name, target, "");
    }
}

fn store() -> (TempDir, Store) {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    (data, store)
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_archive_becomes_a_read_only_tree_named_by_its_content() {
    let (_data, store) = store();
    let fill = |archive: &mut Archive| {
        archive.file("bin/run.sh", "#!/bin/sh\n");
        archive.file("./readme", "hello");
        archive.link("bin/latest", "run.sh");
        archive.entry(EntryType::Link, "bin/copy", "readme", "");
    };
    let digest = take(&store, Bounds::default(), fill).unwrap();
    let tree = store.tree(digest);
    assert_eq!(fs::read_to_string(tree.join("bin/copy")).unwrap(), "hello");
    assert_eq!(fs::read_link(tree.join("bin/latest")).unwrap(), Path::new("run.sh"));
    let mode = |path: &str| fs::metadata(tree.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!([mode(""), mode("bin"), mode("bin/run.sh"), mode("readme")], [0o555, 0o555, 0o555, 0o444]);

    assert_eq!(take(&store, Bounds::default(), fill).unwrap(), digest, "again the same");
    let other_order = |archive: &mut Archive| {
        archive.entry(EntryType::Directory, "bin/", "", "");
        archive.file("readme", "hello");
        archive.entry(EntryType::Link, "bin/copy", "readme", "");
        archive.link("bin/latest", "run.sh");
        archive.file("bin/run.sh", "#!/bin/sh\n");
    };
    assert_eq!(take(&store, Bounds::default(), other_order).unwrap(), digest, "order does not matter");
    let other_mode = |archive: &mut Archive| archive.file("readme.sh", "hello");
    assert_ne!(take(&store, Bounds::default(), other_mode).unwrap(), digest);
    assert_eq!(names(&store.staging()), [""; 0]);
}

#[test]
fn equal_contents_are_on_disk_once() {
    let (_data, store) = store();
    let first = take(&store, Bounds::default(), |a| {
        a.file("same", "content");
        a.file("one", "1");
    });
    let second = take(&store, Bounds::default(), |a| {
        a.file("same", "content");
        a.file("two", "2");
    });
    let inode = |digest: Digest| fs::metadata(store.tree(digest).join("same")).unwrap().ino();
    assert_eq!(inode(first.unwrap()), inode(second.unwrap()));
    assert_eq!(names(&store.files()).len(), 3);
}

#[test]
fn garbage_goes_and_what_is_needed_or_young_stays() {
    let (_data, store) = store();
    let digest = |n: &str| {
        take(&store, Bounds::default(), |a| {
            a.file("common", "content");
            a.file("own", n);
        })
        .unwrap()
    };
    let (kept, gone) = (digest("1"), digest("2"));
    assert_eq!(store.keep(&[kept]).unwrap(), Removed::default(), "just given, not yet named in the ledger");
    let removed = store.keep_younger(&[kept], Duration::ZERO).unwrap();
    assert_eq!((removed.trees, removed.files, removed.bytes), (1, 1, Bytes(1)));
    assert!(store.has(kept) && !store.has(gone));
    assert_eq!(fs::read_to_string(store.tree(kept).join("common")).unwrap(), "content");
    assert_eq!(digest("2"), gone, "and may come again");
    assert!(store.has(gone));
}

#[test]
fn hostile_archives_are_refused_and_leave_nothing() {
    let (data, store) = store();
    type Fill = fn(&mut Archive);
    let cases: [(&str, Fill); 14] = [
        ("has an absolute path", |a| a.file("/etc/passwd", "x")),
        ("leaves the archive by `..`", |a| a.file("a/../../x", "x")),
        ("outside of the artifact", |a| a.link("x", "/etc/passwd")),
        ("outside of the artifact", |a| a.link("a/x", "../../etc")),
        ("outside of the artifact", |a| {
            a.link("a/up", "..");
            a.link("out", "a/up/..");
        }),
        ("leads back to itself", |a| {
            a.link("a", "b");
            a.link("b", "a");
        }),
        ("below something that is not a directory", |a| {
            a.link("d", "e");
            a.file("d/x", "x");
        }),
        ("below something that is not a directory", |a| {
            a.file("d", "x");
            a.file("d/x", "x");
        }),
        ("is there twice", |a| {
            a.file("d/x", "x");
            a.file("d", "x");
        }),
        ("no earlier file", |a| a.entry(EntryType::Link, "x", "y", "")),
        ("leaves the archive by `..`", |a| a.entry(EntryType::Link, "x", "../y", "")),
        ("is a device or a pipe", |a| a.entry(EntryType::Char, "null", "", "")),
        ("is a device or a pipe", |a| a.entry(EntryType::Fifo, "pipe", "", "")),
        ("contains no files", |a| a.entry(EntryType::Directory, "empty/", "", "")),
    ];
    for (expected, fill) in cases {
        let text = in_full(&take(&store, Bounds::default(), fill).unwrap_err());
        assert!(text.contains(expected), "{text}, not {expected}");
    }
    let small = Bounds { size: Bytes(10), files: 3 };
    let text = |fill: Fill| in_full(&take(&store, small, fill).unwrap_err());
    assert_eq!(text(|a| a.file("x", "eleven byte")), "it is larger than the 10 B that one artifact may have");
    assert!(text(|a| (0..4).for_each(|i| a.file(&i.to_string(), ""))).contains("more than the 3 files"));
    for garbage in [&b"no archive at all"[..], b"", &[0x1f, 0x8b, 8, 0, 0]] {
        assert!(store.take_tar(garbage, Bounds::default()).is_err());
    }
    assert_eq!([names(&store.trees()), names(&store.files()), names(&store.staging())].concat(), [""; 0]);
    assert_eq!(names(data.path()), ["artifacts"]);
}

#[test]
fn a_cut_archive_is_refused() {
    let (_data, store) = store();
    let mut archive = Archive(Builder::new(Vec::new()));
    archive.file("x", &"y".repeat(5000));
    let bytes = archive.0.into_inner().unwrap();
    let text = in_full(&store.take_tar(&bytes[..3000], Bounds::default()).unwrap_err());
    assert!(text.starts_with("it cannot be read as a tar archive"), "{text}");
}

fn pack(path: &Path) -> Result<Vec<u8>, String> {
    let mut archive = Vec::new();
    let package = Package::inspect(path, &[]).map_err(|error| in_full(&error))?;
    package.write_to(&mut archive).map_err(|error| in_full(&error))?;
    Ok(archive)
}

fn make_executable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_directory_packs_to_the_same_bytes_whatever_its_times_and_order() {
    let (_data, store) = store();
    let make = |names: &[&str]| {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("empty")).unwrap();
        for name in names {
            fs::write(directory.path().join(name), *name).unwrap();
        }
        symlink("a", directory.path().join("link")).unwrap();
        directory
    };
    let (one, two) = (make(&["a", "b", "c"]), make(&["c", "b", "a"]));
    let archive = pack(one.path()).unwrap();
    assert_eq!(archive, pack(two.path()).unwrap());
    assert_eq!(Package::inspect(one.path(), &[]).unwrap().describe(), "a directory of 3 files, 3 B");
    let digest = store.take_tar(&archive[..], Bounds::default()).unwrap();
    assert!(store.tree(digest).join("empty").is_dir());
    let mut gzipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzipped.write_all(&archive).unwrap();
    let path = one.path().join("archive.tar.gz");
    fs::write(&path, gzipped.finish().unwrap()).unwrap();
    assert_eq!(store.take_tar(&pack(&path).unwrap()[..], Bounds::default()).unwrap(), digest);
}

#[test]
fn a_long_path_and_a_single_executable_survive() {
    let (_data, store) = store();
    let directory = tempfile::tempdir().unwrap();
    let long = directory.path().join("n".repeat(120)).join("m".repeat(120));
    fs::create_dir_all(long.parent().unwrap()).unwrap();
    fs::write(&long, "x").unwrap();
    let digest = store.take_tar(&pack(directory.path()).unwrap()[..], Bounds::default()).unwrap();
    assert_eq!(fs::read_to_string(store.tree(digest).join("n".repeat(120)).join("m".repeat(120))).unwrap(), "x");
    let digest = store.take_tar(&pack(&std::env::current_exe().unwrap()).unwrap()[..], Bounds::default()).unwrap();
    assert_eq!(names(&store.tree(digest)).len(), 1);
}

#[test]
fn what_cannot_run_is_refused_with_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let refused = |name: &str| pack(&path(name)).unwrap_err();
    assert_eq!(refused("missing"), format!("there is nothing at `{}`", path("missing").display()));
    fs::create_dir(path("empty")).unwrap();
    assert!(refused("empty").contains("contains no files"));
    fs::write(path("notes.txt"), "notes").unwrap();
    assert!(refused("notes.txt").contains("is a data file: deploy a directory"));
    fs::write(path("script"), "#!/bin/sh\n").unwrap();
    assert!(refused("script").contains("a script for `/bin/sh`, but not executable: `chmod +x"));
    make_executable(&path("script"));
    assert!(pack(&path("script")).is_ok());

    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(64, 0);
    for (machine, expected) in
        [(183_u16, "a program for aarch64"), (62, "a program for x86_64"), (9999, "machine 9999")]
    {
        elf[18..20].copy_from_slice(&machine.to_le_bytes());
        fs::write(path("program"), &elf).unwrap();
        make_executable(&path("program"));
        let native = expected.ends_with(std::env::consts::ARCH);
        match pack(&path("program")) {
            Ok(_) => assert!(native),
            Err(text) => assert!(!native && text.contains(expected), "{text}"),
        }
    }
    std::os::unix::net::UnixListener::bind(path("empty/socket")).unwrap();
    assert!(refused("empty").contains("a device, pipe or socket"));
}

#[test]
fn what_changes_while_it_is_packed_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b) = (directory.path().join("a"), directory.path().join("b"));
    type Alter = fn(&Path, &Path);
    let cases: [(&str, Alter); 5] = [
        ("grows", |a, _| writeln!(OpenOptions::new().append(true).open(a).unwrap(), "more").unwrap()),
        ("shrinks", |a, _| OpenOptions::new().write(true).open(a).unwrap().set_len(1).unwrap()),
        ("vanishes", |a, _| fs::remove_file(a).unwrap()),
        ("is replaced", |a, b| fs::rename(b, a).unwrap()),
        ("gets company", |a, _| fs::write(a.with_extension("new"), "x").unwrap()),
    ];
    for (what, alter) in cases {
        let _ = fs::remove_file(a.with_extension("new"));
        fs::write(&a, "content").unwrap();
        fs::write(&b, "content").unwrap();
        let package = Package::inspect(directory.path(), &[]).unwrap();
        alter(&a, &b);
        let text = in_full(&package.write_to(Vec::new()).unwrap_err());
        assert!(text.contains("changed while it was copied"), "{what}: {text}");
    }
}

#[test]
fn an_interrupted_intake_can_be_cleared() {
    let (data, store) = store();
    let left = store.staging().join("0123");
    fs::create_dir_all(left.join("tree/closed")).unwrap();
    fs::set_permissions(left.join("tree/closed"), fs::Permissions::from_mode(0o555)).unwrap();
    Store::open(data.path()).unwrap();
    assert!(left.exists(), "it may be another's intake");
    store.clear_staging().unwrap();
    assert_eq!(names(&store.staging()), [""; 0]);
}

#[test]
fn what_lies_there_for_another_purpose_is_not_packed() {
    let project = tempfile::tempdir().unwrap();
    for file in ["app", "app.secrets", ".quarterdeck/ledger/db", ".git/config", "lib/.git/kept"] {
        let path = project.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    let without =
        [project.path().join(".quarterdeck"), project.path().join("app.secrets"), project.path().join("gone")];
    let package = Package::inspect(project.path(), &without).unwrap();
    let mut archive = Vec::new();
    package.write_to(&mut archive).unwrap();
    let mut archive = tar::Archive::new(archive.as_slice());
    let names: Vec<_> = archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().into_owned()).collect();
    let names: Vec<_> = names.iter().map(|p| p.display().to_string()).collect();
    assert_eq!(names, ["app", "lib", "lib/.git", "lib/.git/kept"]);
}
