//! Reading: views of the last published snapshot.

use crate::{
    Problem,
    body::{Exposition, Message},
    endpoint::{Call, Place},
    message::{ChangesQuery, Health, Whoami},
};
use control::{
    Refusal,
    refusal::Code,
    view::{self, ChangeView, ServiceView, Status},
};
use model::{ChangeId, ServiceKey};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// A service in a path.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ServicePlace {
    /// The service; outside production with its environment, percent-encoded: `staging%2Fshop`.
    pub(super) service: ServiceKey,
}

impl Place for ServicePlace {
    fn service(&self) -> Option<&ServiceKey> {
        Some(&self.service)
    }
}

/// A change in a path.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ChangePlace {
    /// The change, such as `CHG-12`.
    change: ChangeId,
}

impl Place for ChangePlace {}

pub(super) async fn health(call: Call<(), (), ()>) -> Result<Message<Health>, Problem> {
    let snapshot = call.served.control.snapshot();
    let refusing = snapshot.refusing.clone();
    Ok(Message(Health { version: crate::VERSION.to_owned(), length: snapshot.length, refusing }))
}

pub(super) async fn whoami(call: Call<(), (), ()>) -> Result<Message<Whoami>, Problem> {
    let role = call.served.control.policy().role(&call.actor);
    Ok(Message(Whoami { actor: call.actor, role }))
}

pub(super) async fn document(_: Call<(), (), ()>) -> Result<Message<Value>, Problem> {
    Ok(Message(crate::openapi()))
}

pub(super) async fn status(call: Call<(), (), ()>) -> Result<Message<Status>, Problem> {
    let s = call.served.control.snapshot();
    Ok(Message(view::status(&s.state, &s.observed, s.now)))
}

pub(super) async fn metrics(call: Call<(), (), ()>) -> Result<Exposition, Problem> {
    let s = call.served.control.snapshot();
    Ok(Exposition(control::metrics::text(&s.state, &s.observed, s.length)))
}

pub(super) async fn service(call: Call<ServicePlace, (), ()>) -> Result<Message<ServiceView>, Problem> {
    let (s, key) = (call.served.control.snapshot(), call.path.service);
    view::service(&s.state, &s.observed, &key).map(Message).ok_or_else(|| unknown_service(&key))
}

pub(super) fn unknown_service(service: &ServiceKey) -> Problem {
    Refusal::new(Code::UnknownService, format!("there is no service {service}"), "`qd status` lists them").into()
}

pub(super) async fn changes(call: Call<(), ChangesQuery, ()>) -> Result<Message<Vec<ChangeView>>, Problem> {
    let s = call.served.control.snapshot();
    let wanted = |open: bool| call.query.open.is_none_or(|wanted| wanted == open);
    let changes = s.state.changes.values().rev().filter(|change| wanted(change.phase.is_open()));
    Ok(Message(changes.map(|change| view::change(&s.state, &s.observed, change)).collect()))
}

pub(super) async fn change(call: Call<ChangePlace, (), ()>) -> Result<Message<ChangeView>, Problem> {
    let (s, id) = (call.served.control.snapshot(), call.path.change);
    match s.state.changes.get(&id) {
        Some(change) => Ok(Message(view::change(&s.state, &s.observed, change))),
        None if (1..s.state.next.change.0).contains(&id.0) => {
            let message = format!("{id} ended too long ago to be in view");
            Err(Refusal::new(Code::UnknownChange, message, format!("`qd why {id}` still tells its story")).into())
        }
        None => Err(unknown_change(id)),
    }
}

pub(super) fn unknown_change(id: ChangeId) -> Problem {
    Refusal::new(Code::UnknownChange, format!("there is no change {id}"), "`qd status` lists those that are open")
        .into()
}
