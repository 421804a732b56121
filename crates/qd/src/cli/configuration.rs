//! `qd init` and `qd config`: beginning with a configuration, and checking one.

use super::{
    context::{Context, here, shown},
    failure::Failure,
};
use crate::config::{Config, FILE_NAME, reference};
use model::ServiceName;
use serde_json::json;
use std::{fs::File, io, io::Write as _};

/// Writes a file to begin with, where there is none.
pub(crate) fn init(context: &Context, service: Option<&ServiceName>) -> Result<(), Failure> {
    let here = here()?;
    let name = match service {
        Some(name) => name.clone(),
        None => here.file_name().and_then(|n| named_after(&n.to_string_lossy())).ok_or_else(|| {
            Failure::usage("this directory has no name that a service could have", "name the service: `qd init NAME`")
        })?,
    };
    let path = here.join(FILE_NAME);
    let written =
        File::create_new(&path).and_then(|mut file| file.write_all(reference::starting_file(&name).as_bytes()));
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let what = format!("there is a {FILE_NAME} here already");
            return Err(Failure::other(what, "edit it; `qd config reference` prints everything that can stand in it"));
        }
        other => other.map_err(Failure::file("write", &path))?,
    }
    context.out.result(&json!({ "path": path, "service": name }), |_| {
        format!(
            "{FILE_NAME} is written, for a service called {name}. Say in it how {name} is started, then:\n\
             \x20 qd serve                                  in a terminal of its own\n\
             \x20 qd apply --reason \"first service\"          declares it\n\
             \x20 qd deploy {name} PATH --reason \"first release\"\n\
             Keep .quarterdeck/ out of version control.\n"
        )
    })
}

/// The name of a directory as that of a service, as far as it can be one.
fn named_after(directory: &str) -> Option<ServiceName> {
    let lower = directory.to_lowercase();
    let kept: String = lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name: String = kept.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).chars().take(40).collect();
    ServiceName::new(name.trim_end_matches('-')).ok()
}

/// Checks the file and the files it names.
pub(crate) fn check(context: &Context) -> Result<(), Failure> {
    let config: Config = context.config()?;
    let services: Vec<String> = config.services.keys().map(ToString::to_string).collect();
    let document = json!({ "path": config.path, "environment": config.environment, "services": services });
    context.out.result(&document, |ink| {
        let names = if services.is_empty() { "no services".to_owned() } else { services.join(", ") };
        format!("{} {}: {names} in {}\n", shown(&config.path), ink.good("is valid"), config.environment)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_after_its_directory_as_far_as_possible() {
        for (directory, name) in [("shop", "shop"), ("My Shop_2", "my-shop-2"), ("2024-site-", "site")] {
            assert_eq!(named_after(directory).unwrap().as_str(), name, "{directory}");
        }
        assert_eq!(named_after("2024"), None);
    }
}
