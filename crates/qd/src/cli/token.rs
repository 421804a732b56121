//! `qd token`: access for programs over TCP. Whoever may write the data directory may do this, as they may do anything.

use super::{args::Token, context::Context, failure::Failure};
use crate::serve::tokens;
use serde_json::json;

/// Makes, lists or removes tokens.
pub(crate) fn run(context: &Context, command: &Token) -> Result<(), Failure> {
    let data = context.data()?;
    match command {
        Token::Create { name } => {
            let token = tokens::create(&data, name)?;
            context.out.note(|_| {
                format!(
                    "This is the token of {name}, shown this once. It works from the next start of `qd serve` on; \
                     name {name} under [access] to say what it may do.\n"
                )
            });
            context.out.result(&json!({ "name": name, "token": token }), |_| format!("{token}\n"))
        }
        Token::List => {
            let names: Vec<String> = tokens::load(&data)?.into_keys().collect();
            context.out.result(&names, |_| names.iter().map(|name| format!("{name}\n")).collect())
        }
        Token::Remove { name } => {
            if !tokens::remove(&data, name)? {
                return Err(Failure::other(format!("no program called {name} has a token"), "see `qd token list`"));
            }
            context.out.result(&json!({ "removed": name }), |_| {
                format!("The token of {name} is removed. It still works until `qd serve` is started again.\n")
            })
        }
    }
}
