//! Who an instance runs as, and what it may use.

use crate::world::{World, spec};
use model::{Bytes, Check, Exit, Phase};
use std::{fs, os::unix::fs::PermissionsExt as _};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_are_unprivileged_unless_asked_otherwise() {
    let world = World::new().await;
    world.start(&world.script(1, "id -u; touch $TMPDIR/a $HOME/b && touch ./c || echo read-only"));
    world.until_over(1).await;
    let own = rustix::process::geteuid().as_raw();
    let uid = if is_root() { 65534 } else { own };
    assert!(world.output(1).contains(&format!(" out {uid}\n")), "{}", world.output(1));
    assert!(world.output(1).contains(" out read-only\n"), "{}", world.output(1));

    let mut other = world.script(2, "id -u");
    other.run.user = Some(own.to_string());
    world.start(&other);
    assert_eq!(world.until_over(2).await, Phase::Exited(Exit::Status(0)));
    assert!(world.output(2).contains(&format!(" out {own}\n")), "{}", world.output(2));

    let mut unknown = world.script(3, "id -u");
    unknown.run.user = Some("no-such-user".into());
    world.start(&unknown);
    let phase = world.until_over(3).await;
    assert!(matches!(&phase, Phase::Failed(text) if text.contains("no user `no-such-user`")), "{phase:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_the_user_may_not_pass_is_named_with_remedies() {
    let world = World::new().await;
    let spec = world.script(1, "true");
    fs::set_permissions(world.data(), fs::Permissions::from_mode(0o700)).unwrap();
    world.start(&spec);
    let phase = world.until_over(1).await;
    if !is_root() {
        return assert_eq!(phase, Phase::Exited(Exit::Status(0)), "it stays the same user");
    }
    let Phase::Failed(text) = phase else { panic!("{phase:?}") };
    let blocked = format!("`nobody` may not pass the directory `{}`", world.data().display());
    assert!(text.contains(&blocked), "{text}");
    assert!(text.contains("move the data directory") && text.contains("user = \"root\""), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_and_open_files_are() {
    let world = World::new().await;
    let hog = "import sys\nb = []\nwhile True: b.append(bytearray(1 << 20))\n";
    let artifact = world.artifact(&[("hog.py", hog)]);
    let mut hungry = spec(1, artifact, &["python3", "hog.py"], Check::Started);
    hungry.run.limits.memory = Some(Bytes::mib(64));
    world.start(&hungry);
    let phase = world.until_over(1).await;
    let output = world.output(1);
    if output.contains("limits: memory 64 MiB (together, by cgroup)") {
        assert_eq!(phase, Phase::Exited(Exit::OutOfMemory), "{output}");
    } else {
        assert!(output.contains("(per process, by rlimit"), "{output}");
        assert_eq!(phase, Phase::Exited(Exit::Status(1)), "{output}");
    }

    let mut spec = world.script(2, "ulimit -n");
    spec.run.limits.open_files = 77;
    world.start(&spec);
    world.until_over(2).await;
    assert!(world.output(2).contains(" out 77\n"), "{}", world.output(2));
}
