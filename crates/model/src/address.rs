//! Where an instance listens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, net::SocketAddr, path::Path, str::FromStr};

/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";

/// A TCP port, written `127.0.0.1:40001`, or a Unix socket, written `unix:/run/shop.sock`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Address {
    /// An address and a port.
    Tcp(SocketAddr),
    /// The absolute path of a Unix socket.
    Unix(String),
}

/// It is no address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` is neither an address with a port, such as 127.0.0.1:8080, nor a Unix socket, such as unix:/run/shop.sock"
)]
pub struct NotAnAddress(String);

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Tcp(address)
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Address, NotAnAddress> {
        let address = match text.strip_prefix(UNIX) {
            Some(path) => Path::new(path).is_absolute().then(|| Address::Unix(path.to_owned())),
            None => text.parse().ok().map(Address::Tcp),
        };
        address.ok_or_else(|| NotAnAddress(text.chars().take(120).collect()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "{UNIX}{path}"),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = NotAnAddress;

    fn try_from(text: String) -> Result<Address, NotAnAddress> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_read_and_ports_as_they_always_were() {
        for text in ["127.0.0.1:40001", "[::1]:80", "unix:/data/instances/INS-3/run/1.sock"] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(serde_json::to_string(&address).unwrap(), format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Address>(&format!("\"{text}\"")).unwrap(), address);
        }
        let before: SocketAddr = "127.0.0.1:40001".parse().unwrap();
        assert_eq!(serde_json::to_string(&Address::from(before)).unwrap(), serde_json::to_string(&before).unwrap());
        for wrong in ["", "unix:", "unix:run/shop.sock", "/run/shop.sock", "127.0.0.1", "localhost:80"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
