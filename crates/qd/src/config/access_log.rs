//! The keys of `[proxy.access_log]`. A format is what turns it on.

use super::key::{Key, Shows};
use model::{Bytes, Ratio};
use proxy::{AccessLog, LogFormat};
use std::path::{Path, PathBuf};

/// What is written down of every request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Log {
    format: Option<LogFormat>,
    file: Option<PathBuf>,
    sample: Ratio,
    size: Bytes,
    query: bool,
}

impl Default for Log {
    fn default() -> Log {
        Log { format: None, file: None, sample: Ratio::ONE, size: Bytes::mib(64), query: false }
    }
}

impl Log {
    /// With its file as seen from the directory `base`, or in the data directory. `None`: nothing is written.
    pub(super) fn settled(self, base: &Path, data: &Path) -> Option<AccessLog> {
        let Log { format, file, sample, size, query } = self;
        let file = file.map_or_else(|| data.join("access.log"), |file| base.join(file));
        Some(AccessLog { file, format: format?, sample, size, query })
    }
}

const FORMATS: &[(&str, LogFormat)] = &[("json", LogFormat::Json), ("combined", LogFormat::Combined)];

pub(super) const ACCESS_LOG: &[Key<Log>] = &[
    Key {
        name: "format",
        doc: "\"json\", or \"combined\" as Apache and nginx call it. Without it: there is no access log.",
        shows: Shows::Example(r#""json""#),
        set: |l, v, f| f.put(&mut l.format, v.one_of(FORMATS).map(Some)),
    },
    Key {
        name: "file",
        doc: "Where it is written, relative to this file. Without it: access.log in the data directory.",
        shows: Shows::Example(r#""/var/log/quarterdeck/access.log""#),
        set: |l, v, f| f.put(&mut l.file, v.path().map(Some)),
    },
    Key {
        name: "sample",
        doc: "The share of the requests that went well that is written. Those that did not all are.",
        shows: Shows::Default(r#""100 %""#),
        set: |l, v, f| f.put(&mut l.sample, v.ratio()),
    },
    Key {
        name: "size",
        doc: "At this size it is put aside, in the place of the one that was put aside before. A log that somebody else puts aside is\n\
              begun anew.",
        shows: Shows::Default(r#""64 MiB""#),
        set: |l, v, f| f.put(&mut l.size, v.bytes()),
    },
    Key {
        name: "query",
        doc: "Whether what follows `?` in an address is written, too. It may hold secrets.",
        shows: Shows::Default("false"),
        set: |l, v, f| f.put(&mut l.query, v.truth()),
    },
];
