//! What a file is, as far as running it is concerned.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// What the first bytes of a file say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A program for a machine, named as in `uname -m`.
    Program(&'static str),
    /// A program for a machine with this number, which has no name here.
    ProgramForUnknown(u16),
    /// A script and its interpreter.
    Script(String),
    Tar,
    Gzip,
    Other(&'static str),
}

/// How much of a file is enough to know.
const HEAD: usize = 512;

impl Kind {
    pub(super) fn of(head: &[u8]) -> Kind {
        if let Some(interpreter) = head.strip_prefix(b"#!") {
            let line = interpreter.split(|b| *b == b'\n').next().unwrap_or_default();
            return Kind::Script(String::from_utf8_lossy(line).trim().to_owned());
        }
        if let Some(machine) = elf_machine(head) {
            return machine_name(machine).map_or(Kind::ProgramForUnknown(machine), Kind::Program);
        }
        match head {
            [] => Kind::Other("an empty file"),
            [0x1f, 0x8b, ..] => Kind::Gzip,
            [b'M', b'Z', ..] => Kind::Other("a Windows program"),
            [0xcf, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => Kind::Other("a macOS program or Java class"),
            [b'P', b'K', 3, 4, ..] => Kind::Other("a zip archive"),
            _ if head.get(257..262) == Some(b"ustar") => Kind::Tar,
            _ => Kind::Other("a data file"),
        }
    }

    pub(super) fn describe(&self) -> String {
        match self {
            Kind::Program(machine) => format!("a program for {machine}"),
            Kind::ProgramForUnknown(number) => format!("a program for another machine (ELF machine {number})"),
            Kind::Script(interpreter) => format!("a script for `{interpreter}`"),
            Kind::Tar => "a tar archive".to_owned(),
            Kind::Gzip => "a compressed archive".to_owned(),
            Kind::Other(what) => (*what).to_owned(),
        }
    }
}

/// Whether a program or script could run on this machine, natively or by an emulator that the kernel knows of.
pub(super) fn runs_here(kind: &Kind) -> bool {
    match kind {
        Kind::Program(machine) => {
            *machine == this_machine()
                || matches!((this_machine(), *machine), ("x86_64", "x86") | ("aarch64", "arm"))
                || Path::new("/proc/sys/fs/binfmt_misc").join(format!("qemu-{machine}")).exists()
        }
        Kind::Script(_) => true,
        Kind::ProgramForUnknown(_) | Kind::Tar | Kind::Gzip | Kind::Other(_) => false,
    }
}

/// Refuses a program that the kernel would refuse. Needed because what the kernel does not know is then given to the
/// shell by the standard library, as shells do it too, and the shell's complaint about binary data helps nobody. Text
/// without `#!` is left to the shell.
pub(crate) fn check_runs_here(program: &Path) -> Result<(), String> {
    let Ok(head) = read_head(program) else { return Ok(()) };
    let kind = Kind::of(&head);
    if runs_here(&kind) || !head.contains(&0) {
        return Ok(());
    }
    Err(format!(
        "cannot run `{}`: it is {}, and this machine is {}",
        program.display(),
        kind.describe(),
        this_machine()
    ))
}

/// The first bytes of a file.
pub(super) fn read_head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// The kind of machine this is, named as in `uname -m`.
pub(super) const fn this_machine() -> &'static str {
    std::env::consts::ARCH
}

/// `e_machine` of an ELF header, in the byte order that the header states.
fn elf_machine(head: &[u8]) -> Option<u16> {
    const BIG_ENDIAN: u8 = 2;
    let body = head.strip_prefix(b"\x7fELF")?;
    let bytes = [*body.get(14)?, *body.get(15)?];
    Some(if body.get(1) == Some(&BIG_ENDIAN) { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
}

fn machine_name(machine: u16) -> Option<&'static str> {
    Some(match machine {
        3 => "x86",
        8 => "mips",
        20 => "powerpc",
        21 => "powerpc64",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        258 => "loongarch64",
        _ => return None,
    })
}

/// Why a program could not be executed, in words for people.
pub(crate) fn explain_exec(program: &Path, error: &io::Error) -> String {
    let name = program.display();
    let kind = read_head(program).ok().map(|head| Kind::of(&head));
    match (error.kind(), kind) {
        (io::ErrorKind::NotFound, Some(Kind::Script(interpreter))) => {
            format!("cannot run `{name}`: its interpreter `{interpreter}` is not on this machine")
        }
        (io::ErrorKind::NotFound, Some(_)) => format!(
            "cannot run `{name}`: the loader or a library it was linked against is not on this machine (try `ldd {name}`)"
        ),
        (io::ErrorKind::NotFound, None) => format!("cannot run `{name}`: there is no such file"),
        (io::ErrorKind::PermissionDenied, Some(kind)) => {
            format!(
                "cannot run `{name}`: it is {}, but not executable: `chmod +x` it and deploy again",
                kind.describe()
            )
        }
        _ => format!("cannot run `{name}`: {error}"),
    }
}
