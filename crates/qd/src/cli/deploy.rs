//! `qd deploy`: pack, hand over, propose, follow.

use super::{
    args::Deploy,
    context::Context,
    failure::Failure,
    live::Live,
    propose::{self, Agreement},
};
use api::{Client, message::Artifact};
use control::Command;
use model::Bytes;
use runtime::artifact::pack::{Failure as PackFailure, Package};
use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How often the progress of an upload is shown.
const SHOW: Duration = Duration::from_millis(200);

/// Runs a new release of a service.
pub(crate) async fn deploy(context: &Context, deploy: &Deploy) -> Result<(), Failure> {
    let client = context.client()?;
    let service = context.service(&deploy.service);
    // Whether there is anything to deploy to, before anything large is sent.
    client.service(&service).await?;
    // What is deployed from a project's own directory is the program, not what Quarterdeck keeps beside it.
    let package = Package::inspect(&deploy.path, &context.private_paths()?)?;
    context.out.note(|_| format!("{}: {}\n", deploy.path.display(), package.describe()));
    let artifact = hand_over(context, &client, package).await?;
    let command = Command::Deploy {
        service,
        artifact: artifact.digest,
        label: deploy.label.clone(),
        strategy: deploy.strategy,
        supersede: deploy.supersede,
    };
    propose::propose(context, command, &deploy.intent, Agreement::NotNeeded).await
}

/// Sends an artifact, and shows how much of it is sent.
async fn hand_over(context: &Context, client: &Client, package: Package) -> Result<Artifact, Failure> {
    let sent = Arc::new(AtomicU64::new(0));
    let counted = sent.clone();
    let write = move |sink: &mut dyn Write| {
        package.write_to(Counting { sink, sent: counted }).map_err(|failure| match failure {
            PackFailure::Write(error) => error,
            unfit @ PackFailure::Unfit(_) => io::Error::other(unfit),
        })
    };
    let upload = client.put_artifact(write);
    tokio::pin!(upload);
    let mut live = Live::new(context.out.rows);
    let artifact = loop {
        tokio::select! {
            taken = &mut upload => break taken?,
            () = tokio::time::sleep(SHOW) => {
                if context.out.live {
                    live.show(&format!("handing over: {}\n", Bytes(sent.load(Ordering::Relaxed))));
                }
            }
        }
    };
    live.clear();
    context.out.note(|_| format!("handed over as artifact {}\n\n", artifact.digest.short()));
    Ok(artifact)
}

/// Counts what is written.
struct Counting<'s> {
    sink: &'s mut dyn Write,
    sent: Arc<AtomicU64>,
}

impl Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.sink.write(bytes)?;
        self.sent.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
