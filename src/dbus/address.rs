//! Where a bus is: D-Bus specification, "Server Addresses" and "Well-known Message Bus Instances".

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::sys::socket::UnixAddr;

use crate::error::{Result, invalid};

/// A unix socket that an address names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A file.
    Path(OsString),
    /// A name of the network namespace: unix(7), "abstract".
    Abstract(OsString),
}

impl Place {
    pub(super) fn address(&self) -> nix::Result<UnixAddr> {
        match self {
            Self::Path(path) => UnixAddr::new(path.as_os_str()),
            Self::Abstract(name) => UnixAddr::new_abstract(name.as_bytes()),
        }
    }
}

/// The places of an address, in the order in which they are to be tried. Other transports than unix are passed over.
pub(super) fn places(address: &OsStr) -> Result<Vec<Place>> {
    let places: Vec<Place> = address.as_bytes().split(|b| *b == b';').filter_map(place).collect();
    match places.is_empty() {
        true => Err(invalid(format!(
            "{address:?} is no D-Bus address of a unix socket, such as unix:path=/run/dbus/system_bus_socket"
        ))),
        false => Ok(places),
    }
}

fn place(one: &[u8]) -> Option<Place> {
    one.strip_prefix(b"unix:")?.split(|b| *b == b',').find_map(|pair| {
        let equals = pair.iter().position(|b| *b == b'=')?;
        let (key, value) = (pair.get(..equals)?, OsString::from_vec(unescaped(pair.get(equals + 1..)?)?));
        match key {
            b"path" => Some(Place::Path(value)),
            b"abstract" => Some(Place::Abstract(value)),
            _ => None,
        }
    })
}

/// `%41` is an A.
fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = rest.get(2..)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::{Place, places};

    #[test]
    fn an_address_has_one_or_more_places() {
        let path = |text: &str| Place::Path(text.into());
        let read = |text: &str| places(text.as_ref()).map_err(|e| e.to_string());
        assert_eq!(read("unix:path=/run/bus,guid=12"), Ok(vec![path("/run/bus")]));
        assert_eq!(read("unix:guid=1,path=/a%20b%2c"), Ok(vec![path("/a b,")]));
        assert_eq!(
            read("tcp:host=x;unix:abstract=/tmp/x;unix:path=/y"),
            Ok(vec![Place::Abstract("/tmp/x".into()), path("/y")])
        );
        for bad in ["", "unix:", "unix:path", "/run/bus", "tcp:host=x", "unix:path=%4", "unix:path=%zz"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
