//! Which service was meant by a name that nobody knows.

use super::{args::ServiceArg, context::Context, failure::Failure};
use api::{client, problem};
use control::Code;
use model::ServiceKey;

/// A refusal that does not know the service that was typed, with the nearest one that exists as its hint; any other
/// failure as it is.
pub(super) fn suggest(context: &Context, typed: Option<&ServiceArg>, failure: Failure) -> Failure {
    let Failure::Server(client::Error::Problem(problem)) = &failure else { return failure };
    let Some(typed) = typed.filter(|_| problem.code == problem::Code::Refusal(Code::UnknownService)) else {
        return failure;
    };
    // That nobody can be asked any more is no news beside the refusal.
    let Ok(status) = super::wait(async { Ok(context.client()?.status().await?) }) else { return failure };
    let known = status.services.iter().map(|s| &s.service);
    let Some(meant) = nearest(&context.service(typed), known) else { return failure };
    let hint = format!("did you mean `{meant}`? `qd status` lists all");
    Failure::Server(client::Error::Problem(api::Problem { hint, ..problem.clone() }))
}

/// The nearest of `known`, when it is near enough to have been meant.
fn nearest<'k>(typed: &ServiceKey, known: impl Iterator<Item = &'k ServiceKey>) -> Option<&'k ServiceKey> {
    let typed = typed.to_string();
    let near = known.map(|key| (strsim::damerau_levenshtein(&typed, &key.to_string()), key));
    let (distance, key) = near.min_by_key(|(distance, _)| *distance)?;
    (distance * 3 <= typed.len()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_for_the_nearest_one_and_for_none_that_is_far() {
        let known: Vec<ServiceKey> = ["shop", "billing", "staging/shop"].map(|name| name.parse().unwrap()).into();
        let meant = |typed: &str| nearest(&typed.parse().unwrap(), known.iter()).map(ToString::to_string);
        assert_eq!(meant("shpo").as_deref(), Some("shop"));
        assert_eq!(meant("biling").as_deref(), Some("billing"));
        assert_eq!(meant("stagin/shop").as_deref(), Some("staging/shop"));
        assert_eq!(meant("mail"), None);
    }
}
