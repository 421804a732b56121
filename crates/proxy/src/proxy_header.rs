//! The header of the PROXY protocol, versions 1 and 2: by it a balancer that passes bytes says whose they are.
//!
//! It is read from balancers that must send it, and from nobody else, because whoever may send it is whoever they say. No byte
//! behind it is read, so that a TLS handshake can follow.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What version 1 begins with.
const WORD: &[u8] = b"PROXY ";

/// The longest line of version 1, as its definition has it.
const LONGEST_LINE: usize = 107;

/// The most bytes of addresses and additions in version 2. 536 fit into any datagram, and certificates' names are longer.
const LONGEST: usize = 4096;

/// Reads a header. The address it names; `None`: it names none, as the health checks of a balancer itself.
///
/// # Errors
/// When there is none, or the connection breaks.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let mut beginning = [0; SIGNATURE.len()];
    stream.read_exact(&mut beginning).await?;
    if beginning == *SIGNATURE {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if length > LONGEST {
            return Err(malformed());
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await?;
        return binary(head[0], head[1], &rest);
    }
    if !beginning.starts_with(WORD) {
        return Err(malformed());
    }
    let mut line = beginning.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= LONGEST_LINE {
            return Err(malformed());
        }
        line.push(stream.read_u8().await?);
    }
    text(&line)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no header of the PROXY protocol")
}

/// Version 2, after its signature. Pure.
fn binary(version_and_command: u8, family: u8, rest: &[u8]) -> io::Result<Option<IpAddr>> {
    match (version_and_command, family) {
        // LOCAL: the balancer speaks for itself.
        (0x20, _) => Ok(None),
        // TCP over IPv4: two addresses, two ports.
        (0x21, 0x11) => match rest.get(..12) {
            Some(&[a, b, c, d, ..]) => Ok(Some(Ipv4Addr::new(a, b, c, d).into())),
            _ => Err(malformed()),
        },
        (0x21, 0x21) => match rest.get(..36).and_then(|rest| rest.first_chunk::<16>()) {
            Some(address) => Ok(Some(Ipv6Addr::from(*address).to_canonical())),
            None => Err(malformed()),
        },
        // Families without addresses that say anything to us.
        (0x21, _) => Ok(None),
        (_, _) => Err(malformed()),
    }
}

/// Version 1, as a whole line. Pure.
fn text(line: &[u8]) -> io::Result<Option<IpAddr>> {
    let line = str::from_utf8(line).ok().and_then(|line| line.strip_suffix("\r\n")).ok_or_else(malformed)?;
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), from, to, from_port, to_port] => {
            let address = |text: &str| text.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv4() == (*family == "TCP4"));
            let port = |text: &str| text.parse::<u16>().is_ok();
            match (address(from), address(to)) {
                (Some(from), Some(_)) if port(from_port) && port(to_port) => Ok(Some(from.to_canonical())),
                (_, _) => Err(malformed()),
            }
        }
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::runtime::Builder;

    /// What a header says, and how many bytes were read.
    fn check(bytes: &[u8]) -> (Result<Option<String>, io::ErrorKind>, usize) {
        let mut rest = bytes;
        let runtime = Builder::new_current_thread().build().unwrap();
        let said = runtime.block_on(read(&mut rest));
        let said = said.map(|ip| ip.map(|ip| ip.to_string())).map_err(|error| error.kind());
        (said, bytes.len() - rest.len())
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn a_header_names_the_client_and_nothing_behind_it_is_read() {
        for (header, expected) in [
            ("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n", Some("192.0.2.1")),
            ("PROXY TCP6 2001:db8::1 ::1 56324 443\r\n", Some("2001:db8::1")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ff::1 ff::2 1 2\r\n", None),
        ] {
            let followed = format!("{header}GET / HTTP/1.1\r\n");
            assert_eq!(check(followed.as_bytes()), (Ok(expected.map(str::to_owned)), header.len()), "{header:?}");
        }
        let four = [192, 0, 2, 1, 10, 0, 0, 1, 1, 2, 3, 4];
        let mut with_more = four.to_vec();
        with_more.extend([3, 0, 4, 1, 2, 3, 4]);
        for rest in [&four[..], &with_more] {
            let mut bytes = v2(0x21, 0x11, rest);
            let length = bytes.len();
            bytes.extend(b"\x16\x03\x01");
            assert_eq!(check(&bytes), (Ok(Some("192.0.2.1".to_owned())), length));
        }
        let mut six = [0; 36];
        six[15] = 7;
        assert_eq!(check(&v2(0x21, 0x21, &six)).0, Ok(Some("::7".to_owned())));
        assert_eq!(check(&v2(0x20, 0, &[])).0, Ok(None));
        assert_eq!(check(&v2(0x21, 0x31, &[0; 216])).0, Ok(None));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 56324\r\n",
            "PROXY TCP4 192.0.2.1 10.0.0.1 56324 70000\r\n",
            "PROXY TCP4 ::1 10.0.0.1 56324 443\r\n",
            "PROXY TCP5 192.0.2.1 10.0.0.1 1 2\r\n",
            "PROXY  TCP4 192.0.2.1 10.0.0.1 1 2\r\n",
            &long,
        ] {
            assert_eq!(check(text.as_bytes()).0, Err(io::ErrorKind::InvalidData), "{text:?}");
        }
        assert_eq!(check(&v2(0x21, 0x11, &[1; 11])).0, Err(io::ErrorKind::InvalidData));
        assert_eq!(check(&v2(0x31, 0x11, &[1; 12])).0, Err(io::ErrorKind::InvalidData));
        assert_eq!(check(&v2(0x21, 0x11, &[1; 5000])).0, Err(io::ErrorKind::InvalidData));
        assert_eq!(check(b"PROXY TCP4 19").0, Err(io::ErrorKind::UnexpectedEof));
    }

    proptest! {
        #[test]
        fn nothing_that_arrives_does_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), signed in any::<bool>()) {
            let mut all = if signed { SIGNATURE.to_vec() } else { Vec::new() };
            all.extend(bytes);
            let _ = check(&all);
        }
    }
}
