//! `qd import`: reads what another program judged releases by, and prints what it means here. It changes nothing and asks
//! no server.

use super::{context::Context, failure::Failure};
use crate::{
    config,
    import::{self, File, MAX_BYTES},
};
use model::ServiceName;
use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The name that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// Prints the settings as the result, and what became of everything else beside it.
pub(crate) fn import(context: &Context, files: &[PathBuf], service: Option<&ServiceName>) -> Result<(), Failure> {
    if files.iter().filter(|path| is_standard_input(path)).count() > 1 {
        return Err(Failure::usage("standard input can be read once", "give `-` once"));
    }
    let files = files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let import = import::read(files, service).map_err(config::Error::from)?;
    // First what was understood, so that on a terminal the settings and what is missing stand below it.
    context.out.note(|ink| import.told(ink));
    context.out.result(&import.to_json(), |_| import.settings())?;
    match import.left_out() {
        None => Ok(()),
        Some(what) => Err(Failure::LeftOut { what }),
    }
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == STANDARD_INPUT
}

/// A file, as far as it may be read; one byte more tells that it is too long.
fn read(path: &Path) -> Result<File, Failure> {
    let bounded = |reader: &mut dyn Read| -> io::Result<String> {
        let mut bytes = Vec::new();
        reader.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        let length = bytes.len();
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            // A character may have been cut in two where reading stopped.
            Err(_) if length > MAX_BYTES => " ".repeat(length),
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error.utf8_error())),
        };
        Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
    };
    let (name, read) = if is_standard_input(path) {
        ("standard input".to_owned(), bounded(&mut io::stdin().lock()))
    } else {
        let opened = fs::File::open(path);
        (path.display().to_string(), opened.and_then(|mut file| bounded(&mut file)))
    };
    let text = read.map_err(Failure::file("read", &name))?;
    Ok(File { name, text })
}
