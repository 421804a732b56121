//! Services and machines that do not behave: a clear text, and everything stays bounded.

use crate::world::{World, eventually, get, is_alive, port, spec};
use model::{Bytes, Check, Digest, Exit, Phase};
use runtime::logs::{Reader, Stream};
use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, time::Instant};

async fn failure(world: &World, id: u64) -> String {
    let phase = world.until_over(id).await;
    let Phase::Failed(text) = phase else { panic!("{phase:?}") };
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_ignores_its_port_is_told_where_it_listens() {
    let world = World::new().await;
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut web = world.web(1);
    web.run.command = vec!["python3".into(), "web.py".into(), free.to_string()];
    world.start(&web);
    let hint = format!("listens on {free}, not on PORT=");
    let seen = world.until(1, |seen| matches!(&seen.phase, Phase::Starting(t) if t.contains(&hint))).await;
    let port = port(&seen);
    assert_eq!(seen.phase, Phase::Starting(format!("{hint}{port}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_never_answers_says_so_while_it_starts() {
    let world = World::new().await;
    let artifact = world.artifact(&[("run.sh", "exec sleep 1000")]);
    world.start(&spec(1, artifact, &["sh", "run.sh"], Check::Tcp));
    world.until(1, |s| matches!(&s.phase, Phase::Starting(t) if t.starts_with("nothing listens on PORT="))).await;
    world.until(1, |s| matches!(&s.phase, Phase::Starting(t) if t.starts_with("listens on no port, and should"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_forks_away_is_found_out_and_nothing_of_it_is_left() {
    let world = World::new().await;
    world.start(&world.script(
        1,
        "setsid sh -c 'echo away $$; exec sleep 1000' & while :; do sleep 0.05; [ -e $TMPDIR/go ] && exit 0; done",
    ));
    eventually("it forked", || world.output(1).contains("out away ")).await;
    let away: u32 = world.output(1).split("out away ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    fs::write(world.instance(1).join("tmp/go"), "").unwrap();
    let text = failure(&world, 1).await;
    assert!(text.starts_with("it put itself in the background"), "{text}");
    assert!(text.contains(&format!("`sleep` (pid {away})")), "{text}");
    assert!(!is_alive(away));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_of_output_stay_within_the_bound() {
    let world = World::new().await;
    let mut noisy =
        world.script(1, "yes 'a line of output that says nothing at all' | head -c 100000000; echo; echo the end");
    noisy.run.limits.output = Bytes::mib(2);
    let began = Instant::now();
    world.start(&noisy);
    assert_eq!(world.until_over(1).await, Phase::Exited(Exit::Status(0)));
    println!("100 MB of output took {:?}", began.elapsed());
    let output = world.output(1);
    assert!(output.len() <= 2 << 20 && output.len() > 1 << 20, "{}", output.len());
    assert!(output.contains("qd older output is gone"));
    assert!(output.contains("out the end"), "the newest is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_garbage_and_endless_lines_become_bounded_text() {
    let world = World::new().await;
    world.start(
        &world
            .script(1, "head -c 300000 /dev/urandom; echo; head -c 100000 /dev/zero | tr '\\0' x; echo; echo fine >&2"),
    );
    assert_eq!(world.until_over(1).await, Phase::Exited(Exit::Status(0)));
    let mut reader = Reader::new(&world.data(), &"shop".parse().unwrap(), None);
    let lines = reader.last(100_000);
    assert!(lines.iter().all(|line| !line.text.chars().any(|c| c.is_control() && c != '\t')));
    assert_eq!(lines.iter().map(|line| line.text.len()).max().map(|longest| longest <= 4 * (16 << 10)), Some(true));
    assert!(lines.iter().filter(|line| line.continues).count() >= 6);
    assert!(lines.iter().any(|line| line.stream == Stream::Err && line.text == "fine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_followed_as_it_comes() {
    let world = World::new().await;
    world.start(&world.script(1, "for i in 1 2 3; do echo line $i; done; while [ ! -e $TMPDIR/go ]; do sleep 0.02; done; echo more; printf unfinished; sleep 1000"));
    eventually("three lines", || world.output(1).contains("line 3")).await;
    let mut reader = Reader::new(&world.data(), &"shop".parse().unwrap(), None);
    let last: Vec<String> = reader.last(2).into_iter().map(|line| line.text).collect();
    assert_eq!(last, ["line 2", "line 3"]);
    assert!(reader.next_lines().is_empty());
    fs::write(world.instance(1).join("tmp/go"), "").unwrap();
    eventually("the rest", || world.output(1).contains("unfinished")).await;
    let next: Vec<String> = reader.next_lines().into_iter().map(|line| line.text).collect();
    assert_eq!(next, ["more", "unfinished"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_lost_to_somebody_else_is_exchanged_for_another() {
    let world = World::new().await;
    let script = "while [ ! -e $TMPDIR/go ]; do sleep 0.02; done; exec python3 web.py $PORT";
    let artifact = world.artifact(&[("run.sh", script), ("web.py", crate::world::WEB)]);
    world.start(&spec(1, artifact, &["sh", "run.sh"], Check::Http("/healthz".into())));
    let first = world.until(1, |s| matches!(&s.phase, Phase::Starting(t) if t.starts_with("nothing listens"))).await;
    let _thief = TcpListener::bind(("127.0.0.1", port(&first))).unwrap();
    fs::write(world.instance(1).join("tmp/go"), "").unwrap();
    let second = world
        .until(1, |s| {
            s.address != first.address && matches!(&s.phase, Phase::Starting(t) if t.starts_with("nothing listens"))
        })
        .await;
    assert_eq!(second.attempt, 1);
    fs::write(world.instance(1).join("tmp/go"), "").unwrap();
    let ready = world.until_ready(1).await;
    assert_eq!(get(&ready, "/env/PORT").await, port(&second).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_says_why() {
    let world = World::new().await;
    let files = [("data.txt", "no program"), ("script", "#!/no/such/interpreter\n"), ("other", "x")];
    let artifact = world.artifact(&files);
    // A program for another kind of machine: an ELF header that says aarch64.
    let source = tempfile::tempdir().unwrap();
    let mut elf = vec![0; 64];
    elf[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    elf[16] = 2;
    elf[18] = 183;
    fs::write(source.path().join("server"), elf).unwrap();
    fs::set_permissions(source.path().join("server"), fs::Permissions::from_mode(0o755)).unwrap();
    let foreign = crate::world::take_in(&world.data(), source.path());

    for (id, artifact, command, expected) in [
        (1, Digest::of(b"nothing"), &["x"][..], "is not on this machine"),
        (2, artifact, &[], "no `command` is set"),
        (3, artifact, &["./missing"], "the release has no file `./missing`"),
        (
            4,
            artifact,
            &["no-such-program"],
            "there is no program `no-such-program`, neither in the release nor in PATH",
        ),
        (5, artifact, &["script"], "its interpreter `/no/such/interpreter` is not on this machine"),
        (6, artifact, &["data.txt"], "it is a data file, but not executable"),
        (7, foreign, &["server"], "it is a program for aarch64, and this machine is x86_64"),
    ] {
        world.start(&spec(id, artifact, command, Check::Started));
        let text = failure(&world, id).await;
        assert!(text.contains(expected), "{id}: {text}");
    }
}
