//! Header fields as bytes.

/// Adds a field to a head. Neither its name nor its value has a line end in it.
pub(crate) fn write(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

/// Adds a field whose value is a number. Written by hand: it is done for each response.
pub(crate) fn write_number(head: &mut Vec<u8>, name: &str, number: u64) {
    let (mut digits, mut first, mut rest) = ([0; 20], 20, number);
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    write(head, name, &digits[first..]);
}

/// Whether a name, or what else ignores case, is the known one.
pub(crate) fn is(name: impl AsRef<[u8]>, known: &str) -> bool {
    name.as_ref().eq_ignore_ascii_case(known.as_bytes())
}

/// Whether a field concerns one connection only, and goes no further. What decides where a message ends is not among
/// them: it is understood before it is taken out.
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    match name.len() {
        2 => is(name, "te"),
        7 => is(name, "upgrade"),
        10 => is(name, "connection") || is(name, "keep-alive"),
        16 => is(name, "proxy-connection"),
        18 => is(name, "proxy-authenticate"),
        19 => is(name, "proxy-authorization"),
        _ => false,
    }
}

/// The parts of a list.
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_write_them() {
        for number in [0, 7, 10, 1024, 999_999, u64::MAX] {
            let mut head = Vec::new();
            write_number(&mut head, "n", number);
            assert_eq!(head, format!("n: {number}\r\n").into_bytes());
        }
    }
}
