//! `qd plan` and `qd apply`: the services as the configuration says.

use super::{
    args::Intent,
    context::Context,
    failure::Failure,
    propose::{self, Agreement},
};
use crate::{config::Config, render};
use api::{Client, message::Secrets};
use control::Command;
use model::ServiceKey;

/// Shows what `apply` would change.
pub(crate) async fn plan(context: &Context, prune: bool) -> Result<(), Failure> {
    let client = context.client()?;
    let command = command(&client, context.config()?, prune).await?;
    let intent = Intent { dry_run: true, ..Intent::default() };
    let plan = propose::planned(&client, &command, &intent).await?;
    context.out.result(&plan, |ink| render::plan(&plan, ink))
}

/// Makes the services be as the configuration says.
pub(crate) async fn apply(context: &Context, prune: bool, intent: &Intent) -> Result<(), Failure> {
    let client = context.client()?;
    let command = command(&client, context.config()?, prune).await?;
    propose::propose(context, command, intent, Agreement::Needed).await
}

/// The command for a configuration. Secrets are handed over first, so that the plan can name them: stored again they
/// have the same digest, and nobody uses what no configuration names.
async fn command(client: &Client, mut config: Config, prune: bool) -> Result<Command, Failure> {
    for name in config.secrets_files.keys() {
        let values = config.secrets(name).map_err(|what| Failure::usage(what, ""))?;
        let service = ServiceKey { environment: config.environment.clone(), name: name.clone() };
        let digest = client.put_secrets(&service, &Secrets(values)).await?;
        if let Some(spec) = config.services.get_mut(name) {
            spec.run.secrets = Some(digest);
        }
    }
    Ok(Command::Apply { environment: config.environment, services: config.services, prune })
}
