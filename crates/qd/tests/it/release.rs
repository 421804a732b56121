//! What is deployed: the shop with faults, or scripts.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The shop's executable, built beside `qd`; built now when only some targets were.
fn shop() -> &'static Path {
    static SHOP: OnceLock<PathBuf> = OnceLock::new();
    SHOP.get_or_init(|| {
        let beside = Path::new(env!("CARGO_BIN_EXE_qd")).parent().unwrap();
        let path = beside.join("shop");
        if !path.exists() {
            // Cargo's name is looked up when the test runs, by its own variable.
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
            let mut build = Command::new(cargo);
            build.current_dir(root).args(["build", "--quiet", "--package", "shop", "--target-dir"]);
            assert!(build.arg(beside.parent().unwrap()).status().unwrap().success(), "the shop cannot be built");
        }
        path
    })
}

/// Makes a release of the shop in a new directory: its version and its faults, as lines of `shop.toml`.
pub(crate) fn shop_release(directory: &Path, version: &str, faults: &str) -> PathBuf {
    let release = directory.join(version);
    fs::create_dir_all(&release).unwrap();
    fs::copy(shop(), release.join("shop")).unwrap();
    fs::write(release.join("shop.toml"), format!("version = \"{version}\"\n{faults}\n")).unwrap();
    release
}

/// Writes a file that may be executed.
pub(crate) fn executable(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
