//! The faults that happen by themselves, without a request: crashing, flooding the output, slipping away.

use crate::settings::Settings;
use std::{
    io,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    rc::Rc,
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    task::spawn_local,
    time::{MissedTickBehavior, interval, sleep},
};

/// Starts those that are switched on.
pub(crate) fn start(settings: &Rc<Settings>) {
    if settings.crash_after_ms > 0 {
        let settings = settings.clone();
        spawn_local(async move {
            sleep(Duration::from_millis(settings.crash_after_ms)).await;
            eprintln!("shop {} crashes, as it was told", settings.version);
            std::process::exit(70);
        });
    }
    if settings.log_flood_mib > 0 {
        spawn_local(flood(settings.log_flood_mib));
    }
}

/// Writes this many MiB per second: lines of text, and one in 64 that is none.
async fn flood(mib_per_second: u32) {
    let mut piece = Vec::with_capacity(64 << 10);
    for line in 0..1024u32 {
        match line % 64 {
            63 => piece.extend((0..63u32).map(|byte| 0x80 | (byte + line) as u8)),
            _ => piece
                .extend(format!("{line:06} all hands: this line is here to fill whatever keeps it.... ").as_bytes()),
        }
        piece.resize((line as usize + 1) * 64 - 1, b'.');
        piece.push(b'\n');
    }
    let mut tick = interval(Duration::from_secs(1) / (mib_per_second * 16));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut out = tokio::io::stdout();
    // Nobody reads any more: then there is nobody to bother either.
    while out.write_all(&piece).await.is_ok() {
        tick.tick().await;
    }
}

/// Starts the same program again in a process group of its own, without this fault, and leaves it behind.
pub(crate) fn fork_away() -> io::Result<()> {
    Command::new(std::env::current_exe()?)
        .env("SHOP_FORK_AWAY", "false")
        .process_group(0)
        .stdin(Stdio::null())
        .spawn()
        .map(drop)
}
