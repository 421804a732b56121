//! A small shop for ship's goods: a service to deploy, break and undo.
//!
//! It is an ordinary HTTP service on one thread and knows nothing of Quarterdeck: it listens on `$PORT`, says on
//! `/healthz` whether it is ready, and on SIGTERM finishes what it has begun. What is special is that its faults can be
//! switched on from outside ([`settings`]), so that one program plays the good release and every kind of bad one.
//!
//! Start reading at [`server`] for the requests and at [`settings`] for the faults.

mod catalogue;
mod dice;
mod events;
mod faults;
mod server;
mod settings;

use settings::{Settings, SettingsError};
use std::{future::Future, net::Ipv4Addr, process::ExitCode, rc::Rc, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// Why the shop does not open.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("PORT is {0}: set it to the port to listen on, as in `PORT=8080`")]
    Port(String),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("cannot listen on port {port}")]
    Listen { port: u16, source: std::io::Error },
    #[error("cannot start")]
    Start(#[source] std::io::Error),
}

fn main() -> ExitCode {
    match open() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            eprintln!("shop: {error}{source}");
            ExitCode::from(2)
        }
    }
}

fn open() -> Result<(), Error> {
    let port = port(std::env::var("PORT").ok().as_deref())?;
    let settings = Settings::load()?;
    println!("shop {} starts on port {port} as process {}", settings.version, std::process::id());
    for fault in settings.faults() {
        println!("shop {} fault: {fault}", settings.version);
    }
    if settings.fork_away {
        return faults::fork_away().map_err(Error::Start);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    runtime.block_on(tokio::task::LocalSet::new().run_until(serve(port, settings)))
}

/// The value of `PORT`; zero is allowed and lets the system choose.
fn port(text: Option<&str>) -> Result<u16, Error> {
    let text = text.ok_or_else(|| Error::Port("not set".into()))?;
    text.parse().map_err(|_| Error::Port(format!("`{text}`, which is not a port")))
}

async fn serve(port: u16, settings: Settings) -> Result<(), Error> {
    let stop = stop_signal(settings.ignore_sigterm).map_err(Error::Start)?;
    let settings = Rc::new(settings);
    faults::start(&settings);
    tokio::pin!(stop);
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(settings.start_delay_ms)) => {}
        () = &mut stop => return Ok(()),
    }
    let port = if settings.ignore_port { 0 } else { port };
    let listener =
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.map_err(|source| Error::Listen { port, source })?;
    server::run(listener, settings, stop).await;
    Ok(())
}

/// Completes at the first SIGTERM or SIGINT; with `ignore_sigterm`, only at SIGINT.
fn stop_signal(ignore_sigterm: bool) -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv(), if !ignore_sigterm => {}
            _ = interrupt.recv() => {}
        }
    })
}
