//! Doing: plans, commands, and the end.

use crate::{
    Problem,
    body::Message,
    endpoint::Call,
    message::{CommandRequest, PlanRequest, ShutdownRequest, Stopping, Submitted},
};
use control::{
    Request,
    change::{Plan, propose},
};
use model::{Actor, ActorKind};

pub(super) async fn plan(call: Call<(), (), Message<PlanRequest>>) -> Result<Message<Plan>, Problem> {
    let Message(PlanRequest { command, reason }) = call.body;
    let request = Request { actor: call.actor, on_behalf_of: None, reason, command, expect: None };
    let control = &call.served.control;
    let snapshot = control.snapshot();
    Ok(Message(propose::plan(&snapshot.state, &snapshot.observed, control.policy(), &request)?))
}

pub(super) async fn submit(call: Call<(), (), Message<CommandRequest>>) -> Result<Message<Submitted>, Problem> {
    let Message(CommandRequest { command, reason, expect, on_behalf_of }) = call.body;
    if on_behalf_of.is_some() && call.actor.kind == ActorKind::Person {
        return Err(Problem::invalid("people act for themselves", "leave `on_behalf_of` out"));
    }
    let on_behalf_of = on_behalf_of.map(Actor::person);
    let request = Request { actor: call.actor, on_behalf_of, reason, command, expect };
    Ok(Message(call.served.control.submit(request).await?))
}

pub(super) async fn shutdown(call: Call<(), (), Message<ShutdownRequest>>) -> Result<Message<Stopping>, Problem> {
    let Message(request) = call.body;
    tracing::info!(actor = %call.actor, services = ?request.services, "asked to stop");
    call.served.backend.shutdown(request).await?;
    Ok(Message(Stopping { services: request.services }))
}
