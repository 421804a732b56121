//! Where a chunked body ends. Pure.
//!
//! Strict (RFC 9112, section 7.1): sizes are hexadecimal digits, lines end with CR LF, extensions and trailers are bounded.
//! What is passed on is what was understood, byte for byte.

/// How many bytes the extensions of one chunk, or all trailers, may have.
const MOST_ASIDE: u32 = 16 << 10;

/// A chunked body, as far as it has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chunks(State);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Digits of a size. `digits`: how many there were.
    Size {
        size: u64,
        digits: u32,
    },
    /// What may follow a size in its line; so many bytes of it.
    Extension {
        size: u64,
        aside: u32,
    },
    /// The line of a size ends.
    SizeEnd {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// A line of the trailers begins; so many bytes there were.
    Trailer {
        aside: u32,
    },
    TrailerLine {
        aside: u32,
    },
    TrailerLf {
        aside: u32,
    },
    LastLf,
    Over,
}

/// It is not a chunked body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

impl Chunks {
    /// Of which nothing has arrived.
    pub(crate) fn new() -> Chunks {
        Chunks(State::Size { size: 0, digits: 0 })
    }

    /// Whether all of it has arrived.
    pub(crate) fn is_over(self) -> bool {
        self.0 == State::Over
    }

    /// Whether the next byte begins a chunk, so that the body could be ended here.
    pub(crate) fn is_between(self) -> bool {
        self.0 == State::Size { size: 0, digits: 0 }
    }

    /// Takes what has arrived. How many of the bytes belong to the body: all of them, unless it is over.
    ///
    /// # Errors
    /// When they are no chunked body.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        self.each(bytes, |_| {})
    }

    /// Likewise, and adds the data in it to `data`: what is in chunks, and neither their sizes nor trailers.
    ///
    /// # Errors
    /// As [`take`](Chunks::take).
    pub(crate) fn decode(&mut self, bytes: &[u8], data: &mut Vec<u8>) -> Result<usize, Malformed> {
        self.each(bytes, |piece| data.extend_from_slice(piece))
    }

    fn each(&mut self, bytes: &[u8], mut data: impl FnMut(&[u8])) -> Result<usize, Malformed> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at).filter(|_| !self.is_over()) {
            if let State::Data { left } = self.0 {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                data(bytes.get(at..at + here).unwrap_or_default());
                at += here;
                self.0 = match left - here as u64 {
                    0 => State::DataCr,
                    left => State::Data { left },
                };
            } else {
                at += 1;
                self.0 = self.0.step(*byte)?;
            }
        }
        Ok(at)
    }
}

impl State {
    fn step(self, byte: u8) -> Result<State, Malformed> {
        let aside = |aside: u32| if aside < MOST_ASIDE { Ok(aside + 1) } else { Err(Malformed) };
        Ok(match (self, byte) {
            (State::Size { size, digits }, byte) if byte.is_ascii_hexdigit() && digits < 15 => {
                let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
                State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { size, digits: 1.. }, b'\r') => State::SizeEnd { size },
            (State::Size { size, digits: 1.. }, b';' | b' ' | b'\t') => State::Extension { size, aside: 0 },
            (State::Extension { size, .. }, b'\r') => State::SizeEnd { size },
            (State::Extension { size, aside: n }, byte) if is_text(byte) => State::Extension { size, aside: aside(n)? },
            (State::SizeEnd { size: 0 }, b'\n') => State::Trailer { aside: 0 },
            (State::SizeEnd { size }, b'\n') => State::Data { left: size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { size: 0, digits: 0 },
            (State::Trailer { .. }, b'\r') => State::LastLf,
            (State::Trailer { aside: n } | State::TrailerLine { aside: n }, byte) if is_text(byte) => {
                State::TrailerLine { aside: aside(n)? }
            }
            (State::TrailerLine { aside }, b'\r') => State::TrailerLf { aside },
            (State::TrailerLf { aside }, b'\n') => State::Trailer { aside },
            (State::LastLf, b'\n') => State::Over,
            (_, _) => return Err(Malformed),
        })
    }
}

/// What may stand in a line.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<(usize, bool), Malformed> {
        let mut chunks = Chunks::new();
        chunks.take(bytes).map(|taken| (taken, chunks.is_over()))
    }

    #[test]
    fn a_body_ends_after_its_trailers_and_no_byte_later() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "5;name=\"value\"\r\nhello\r\n00\r\n\r\n",
            "a \r\n0123456789\r\n0\r\nexpires: never\r\nx: \r\n\r\n",
            "000000000000005\r\nhello\r\n0\r\n\r\n",
        ] {
            let more = format!("{body}HTTP/1.1 200 OK\r\n");
            assert_eq!(read(more.as_bytes()), Ok((body.len(), true)), "{body:?}");
        }
    }

    #[test]
    fn what_others_might_read_otherwise_is_malformed() {
        for body in [
            "\r\n",
            ";x\r\n",
            "-5\r\n",
            "0x5\r\nhello\r\n",
            "5\nhello\n0\n\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5;\nhello\r\n",
            "5\rhello",
            "5;\0\r\n",
            "0\r\nx: 1\n\r\n",
            "0\r\n\n",
            "1000000000000000\r\n",
            "ffffffffffffffffff\r\n",
        ] {
            assert_eq!(read(body.as_bytes()), Err(Malformed), "{body:?}");
        }
        let long = format!("5;{}\r\n", "x".repeat(MOST_ASIDE as usize + 1));
        assert_eq!(read(long.as_bytes()), Err(Malformed));
        let many = format!("0\r\n{}\r\n", "x: 1\r\n".repeat(MOST_ASIDE as usize));
        assert_eq!(read(many.as_bytes()), Err(Malformed));
    }

    #[test]
    fn data_is_what_is_in_chunks() {
        let body = b"5;x=y\r\nhello\r\n1\r\n \r\n05\r\nworld\r\n0\r\nt: 1\r\n\r\nHTTP/1.1";
        for cut in 0..body.len() {
            let (mut chunks, mut data) = (Chunks::new(), Vec::new());
            let first = chunks.decode(&body[..cut], &mut data).unwrap();
            let second = chunks.decode(&body[first..], &mut data).unwrap();
            assert_eq!((first + second, data.as_slice()), (body.len() - 8, &b"hello world"[..]), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_a_body_is_cut_in_two(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut body = Vec::new();
            for piece in &pieces {
                body.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                body.extend_from_slice(piece);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\nt: 1\r\n\r\n");
            let cut = cut.index(body.len());
            let mut chunks = Chunks::new();
            prop_assert_eq!(chunks.take(&body[..cut]), Ok(cut));
            prop_assert!(!chunks.is_over());
            prop_assert_eq!(chunks.take(&body[cut..]), Ok(body.len() - cut));
            prop_assert!(chunks.is_over());
        }

        #[test]
        fn nothing_that_arrives_does_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
