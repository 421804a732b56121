//! Deterministic CBOR (RFC 8949, section 4.2) for serde values: one value has exactly one encoding, and only that one is
//! read back. So equal entries have equal bytes on every machine, and nobody can write an entry in two ways.
//!
//! Written are null, booleans, integers of at most 64 bits, floating-point numbers, texts, lists, and maps with text
//! keys; nothing else, so that every value has a JSON rendering. Enums are as in JSON: a text, or a map of one.
//! Lengths are definite, integers and floating-point numbers as short as possible, map keys in the order of their
//! encoding. Not here: tags, byte strings, streaming.

mod decode;
mod encode;
mod float;

pub use decode::from_slice;
pub use encode::to_vec;

/// How deep values may be nested.
pub const MAX_DEPTH: usize = 64;

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const TEXT: u8 = 3;
const LIST: u8 = 4;
const MAP: u8 = 5;

const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;
const F16: u8 = 0xf9;
const F32: u8 = 0xfa;
const F64: u8 = 0xfb;

/// Why a value has no such encoding, or bytes no such value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes end within a value.
    #[error("the bytes end too early, at byte {0}")]
    Truncated(usize),
    /// There are bytes after the value.
    #[error("there are bytes after the end, at byte {0}")]
    Trailing(usize),
    /// The bytes are CBOR perhaps, but not the one encoding that is allowed.
    #[error("not deterministic CBOR at byte {at}: {what}")]
    NotDeterministic {
        /// Where.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// Another type of value was expected.
    #[error("at byte {at}: expected {expected}")]
    Unexpected {
        /// Where.
        at: usize,
        /// What was expected.
        expected: &'static str,
    },
    /// The value cannot be written.
    #[error("{0} cannot be written into an entry")]
    Unsupported(&'static str),
    /// The type that is read or written says so.
    #[error("{0}")]
    Custom(String),
}

impl serde::ser::Error for Error {
    fn custom<T: std::fmt::Display>(message: T) -> Error {
        Error::Custom(message.to_string())
    }
}

impl serde::de::Error for Error {
    fn custom<T: std::fmt::Display>(message: T) -> Error {
        Error::Custom(message.to_string())
    }
}

#[cfg(test)]
mod tests;
