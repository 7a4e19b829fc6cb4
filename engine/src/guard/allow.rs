//! The operator's allow list: places that are open although policy would close them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::GuardError;
use super::url::{canonical_name, parse_port};

/// One entry: a name or a network, with a port or for every port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AllowEntry {
    place: Place,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Compared with the host as it was asked for, never with what another name resolves to.
    Name(String),
    Network(Network),
}

impl AllowEntry {
    pub(super) fn parse(entry: &str) -> Result<Self, GuardError> {
        parse(entry.trim()).map_err(|problem| GuardError::InvalidAllowEntry { entry: entry.to_owned(), problem })
    }

    /// Whether the entry opens every address of the name `host`.
    pub(super) fn opens_name(&self, host: &str, port: u16) -> bool {
        matches!(&self.place, Place::Name(name) if name == host) && self.opens_port(port)
    }

    pub(super) fn opens_address(&self, address: IpAddr, port: u16) -> bool {
        matches!(&self.place, Place::Network(network) if network.contains(address)) && self.opens_port(port)
    }

    /// Whether some address, not yet known, could be opened by this entry on `port`.
    pub(super) fn may_open_address(&self, port: u16) -> bool {
        matches!(self.place, Place::Network(_)) && self.opens_port(port)
    }

    fn opens_port(&self, port: u16) -> bool {
        self.port.is_none_or(|open| open == port)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Network {
    V4 { base: u32, length: u32 },
    V6 { base: u128, length: u32 },
}

impl Network {
    fn parse(text: &str) -> Result<Option<Self>, &'static str> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(parse_length(length)?)),
            None => (text, None),
        };
        let network = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => Self::v4(address, length.unwrap_or(32))?,
            Ok(IpAddr::V6(address)) => Self::v6(address, length.unwrap_or(128))?,
            Err(_) if length.is_some() => return Err("the part before / is not an IP address"),
            Err(_) => return Ok(None),
        };
        Ok(Some(network))
    }

    fn v4(address: Ipv4Addr, length: u32) -> Result<Self, &'static str> {
        let host_bits = u32::MAX.checked_shr(length).unwrap_or(0);
        match (length, u32::from(address) & host_bits) {
            (33.., _) => Err("an IPv4 prefix is at most 32 bits long"),
            (_, 0) => Ok(Self::V4 { base: address.into(), length }),
            _ => Err("the address has bits set beyond the prefix"),
        }
    }

    fn v6(address: Ipv6Addr, length: u32) -> Result<Self, &'static str> {
        let host_bits = u128::MAX.checked_shr(length).unwrap_or(0);
        match (length, u128::from(address) & host_bits) {
            (129.., _) => Err("an IPv6 prefix is at most 128 bits long"),
            (_, 0) => Ok(Self::V6 { base: address.into(), length }),
            _ => Err("the address has bits set beyond the prefix"),
        }
    }

    fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4 { base, length }, IpAddr::V4(address)) => {
                (u32::from(address) ^ base).checked_shr(32 - length).unwrap_or(0) == 0
            }
            (Self::V6 { base, length }, IpAddr::V6(address)) => {
                (u128::from(address) ^ base).checked_shr(128 - length).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

fn parse(entry: &str) -> Result<AllowEntry, &'static str> {
    if let Some(rest) = entry.strip_prefix('[') {
        let (network, tail) = rest.split_once(']').ok_or("the bracket is not closed")?;
        let network = Network::parse(network)?.ok_or("only an IPv6 address or network stands in brackets")?;
        let port = match tail.strip_prefix(':') {
            Some(port) => Some(read_port(port)?),
            None if tail.is_empty() => None,
            None => return Err("only :port may follow the bracket"),
        };
        return Ok(AllowEntry { place: Place::Network(network), port });
    }
    if let Some(network) =
        Network::parse(entry).or_else(|problem| if entry.contains(':') { Ok(None) } else { Err(problem) })?
    {
        return Ok(AllowEntry { place: Place::Network(network), port: None });
    }
    let (place, port) = match entry.rsplit_once(':') {
        Some((place, port)) => (place, Some(read_port(port)?)),
        None => (entry, None),
    };
    if place.contains(':') {
        return Err("put an IPv6 address in brackets before a port");
    }
    let place = match Network::parse(place)? {
        Some(network) => Place::Network(network),
        None => Place::Name(read_name(place)?),
    };
    Ok(AllowEntry { place, port })
}

fn read_name(text: &str) -> Result<String, &'static str> {
    match ::url::Host::parse(text) {
        Ok(::url::Host::Domain(name)) => canonical_name(&name).map_err(|_| "it is not a host name"),
        Ok(_) => Err("write the address plainly"),
        Err(_) => Err("it is not a host name"),
    }
}

fn read_port(text: &str) -> Result<u16, &'static str> {
    parse_port(text).map_err(|_| "the port is not a number from 1 to 65535")
}

fn parse_length(text: &str) -> Result<u32, &'static str> {
    let is_plain = !text.is_empty() && text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain {
        text.parse().map_err(|_| "the prefix length is not a number")
    } else {
        Err("the prefix length is not a number")
    }
}
