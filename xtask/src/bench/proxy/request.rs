//! One request on a plain socket, for what needs no load: is somebody there, and what does it cost to stay connected?

use std::{
    fs, io,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::MetadataExt as _,
    time::Duration,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const LONGEST: usize = 64 << 10;

/// Asks once, on a connection of its own, which is left open as long as what is given is kept.
///
/// # Errors
/// When nobody listens, or the answer is not a whole 200.
pub(super) fn once(address: SocketAddr, path: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").as_bytes())?;
    let mut answer = Vec::with_capacity(4 << 10);
    let mut chunk = [0; 4 << 10];
    while !is_whole(&answer)? {
        let read = stream.read(&mut chunk)?;
        if read == 0 || answer.len() > LONGEST {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
    Ok(stream)
}

fn is_whole(answer: &[u8]) -> io::Result<bool> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Err(io::Error::other(head));
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    Ok(length.is_none_or(|length| answer.len() >= end + 4 + length))
}

/// Whether this program runs as root.
pub(super) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n").unwrap());
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab").unwrap());
        assert!(is_whole(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").unwrap());
        assert!(is_whole(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").is_err());
    }
}
