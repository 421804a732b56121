//! The smallest executable that the process driver can start shims with; the tests use it. `qd` does the same.

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some(runtime::shim::ROLE), Some(directory)) => match runtime::shim::run(Path::new(&directory)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{}", runtime::in_full(&error));
                ExitCode::FAILURE
            }
        },
        (Some(runtime::shim::EXEC_ROLE), Some(stage)) => runtime::shim::exec(&stage),
        _ => ExitCode::FAILURE,
    }
}
