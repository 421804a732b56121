//! Secrets reach the service they are for, and nothing else.

use crate::{processes, site::Site};
use std::{fs, path::Path};

const SECRET: &str = "hunter2-is-not-to-be-seen";

#[test]
fn a_secret_is_in_the_environment_of_its_service_and_nowhere_else() {
    let mut site = Site::new();
    fs::write(site.path("shop.secrets"), format!("TILL_KEY={SECRET}\n")).unwrap();
    site.edit("replicas = 2", "replicas = 1\nsecrets_file = \"shop.secrets\"");
    site.qd(&["config", "check"]).expect(0);
    site.open_shop();
    let shop = site.shops()[0].clone();
    assert!(holds(&fs::read(format!("/proc/{}/environ", shop.pid)).unwrap()), "the service does not have its secret");

    for process in processes::of(site.dir()) {
        for file in ["cmdline", "environ"] {
            let seen = fs::read(format!("/proc/{}/{file}", process.pid)).unwrap_or_default();
            assert!(!holds(&seen) || (process.pid == shop.pid && file == "environ"), "{file} of {process:?}");
        }
    }
    for path in files(site.dir()) {
        let is_ours = path.file_name().is_some_and(|name| name == "shop.secrets");
        assert!(is_ours || !holds(&fs::read(&path).unwrap_or_default()), "{}", path.display());
    }
    let commands = [
        &["status", "--json"][..],
        &["change", "CHG-1", "--json"],
        &["ledger", "show", "--json", "-n", "1000"],
        &["why", "--all", "--json"],
        &["plan", "--json"],
        &["doctor", "--json"],
        &["config", "check", "--json"],
    ];
    for command in commands {
        let said = site.qd(command).expect(0);
        assert!(!holds(said.out.as_bytes()) && !holds(said.err.as_bytes()), "{command:?}");
    }
}

#[test]
fn a_secrets_file_that_is_wrong_is_explained_without_its_values() {
    let site = Site::new();
    site.edit("replicas = 2", "secrets_file = \"shop.secrets\"");
    for wrong in [format!("{SECRET}\n"), format!("2KEY={SECRET}\n"), format!("A KEY={SECRET}\n")] {
        fs::write(site.path("shop.secrets"), &wrong).unwrap();
        for command in [&["config", "check"][..], &["config", "check", "--json"], &["serve"]] {
            let said = site.qd(command).expect(2);
            let all = said.out.clone() + &said.err;
            assert!(all.contains("shop.secrets") && !holds(all.as_bytes()), "{wrong}\n{all}");
        }
    }
}

#[test]
fn a_changed_secret_is_a_change_of_the_configuration() {
    let mut site = Site::new();
    fs::write(site.path("shop.secrets"), "SHOP_VERSION=quiet\n").unwrap();
    site.edit("replicas = 2", "replicas = 1\nsecrets_file = \"shop.secrets\"");
    site.edit("[services.shop.rollout]", "[services.shop.rollout]\nstrategy = \"blue-green\"");
    site.open_shop();
    assert_eq!(site.serving(), "quiet");
    fs::write(site.path("shop.secrets"), "SHOP_VERSION=loud\n").unwrap();
    site.apply().expect(0);
    assert_eq!(site.serving(), "loud");
}

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes())
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let found = entries.flat_map(|e| match e.file_type() {
        Ok(kind) if kind.is_dir() => files(&e.path()),
        Ok(kind) if kind.is_file() => vec![e.path()],
        Ok(_) | Err(_) => Vec::new(),
    });
    found.collect()
}
