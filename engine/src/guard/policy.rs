//! The egress policy: classifier, ports, local names and the operator's allow list in one decision.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::address::{Denial, Verdict, classify};
use super::allow::AllowEntry;
use super::error::GuardError;
use super::interfaces::OwnAddresses;
use super::ports;
use super::url::{GuardedUrl, Host};

/// Names (and everything below them) that never mean a host on the public Internet, with the reason.
const LOCAL_NAMES: &[(&str, &str)] = &[
    ("localhost", "it always means this machine (RFC 6761)"),
    ("localdomain", "it means this machine or network"),
    ("local", "it is resolved by multicast on the local network (RFC 6762)"),
    ("internal", "it is reserved for private use, cloud metadata among it"),
    ("home.arpa", "it is reserved for home networks (RFC 8375)"),
    ("onion", "it is not in the public DNS (RFC 7686)"),
];

/// What may be connected to. Cheap to clone; clones share one allow list.
#[derive(Debug, Clone)]
pub struct EgressPolicy {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    allow: Vec<AllowEntry>,
    own_addresses: OwnAddresses,
}

impl Default for EgressPolicy {
    /// A policy that opens nothing beyond the public Internet.
    fn default() -> Self {
        Self { shared: Arc::new(Shared { allow: Vec::new(), own_addresses: OwnAddresses::default() }) }
    }
}

impl EgressPolicy {
    /// Builds a policy from the operator's allow entries: `host`, `host:port`, address, network (`10.0.0.0/8`) or
    /// network with port (`10.0.0.0/8:8080`, `[fd00::/8]:443`).
    ///
    /// A name opens the URL that is *written* with that name, whatever it resolves to, and nothing that merely resolves
    /// to the same address; a network opens every host that resolves into it. Without a port an entry opens all ports
    /// of its place, with one exactly that port.
    pub fn new(allow: &[String]) -> Result<Self, GuardError> {
        let allow = allow
            .iter()
            .filter(|entry| !entry.trim().is_empty())
            .map(|entry| AllowEntry::parse(entry))
            .collect::<Result<_, _>>()?;
        Ok(Self { shared: Arc::new(Shared { allow, own_addresses: OwnAddresses::default() }) })
    }

    /// Reads a URL from outside and refuses it unless it is unambiguous and could be public.
    ///
    /// A name is not resolved here; the addresses it turns out to have go through [`Self::check_addresses`].
    pub fn check_url(&self, text: &str) -> Result<GuardedUrl, GuardError> {
        let url = GuardedUrl::parse(text)?;
        self.check_host(url.host(), url.port())?;
        Ok(url)
    }

    /// Reads and checks a reference found at `base`, such as a redirect's `Location`; see [`GuardedUrl::join`].
    pub fn check_reference(&self, base: &GuardedUrl, reference: &str) -> Result<GuardedUrl, GuardError> {
        let url = base.join(reference)?;
        self.check_host(url.host(), url.port())?;
        Ok(url)
    }

    /// Refuses a host and port that no answer of a resolver could make acceptable; the first half of [`Self::check_addresses`].
    pub fn check_host(&self, host: &Host, port: u16) -> Result<(), GuardError> {
        match host {
            Host::Address(address) => self.check_address(&address.to_string(), *address, port),
            Host::Name(name) => self.check_name(name, port),
        }
    }

    /// Classifies all addresses a host resolved to and returns what to dial, in the order given, without duplicates.
    ///
    /// Stricter than taking the first good one: a single denied answer refuses the host, because a name with one public
    /// and one private address is an attack or a mistake, and a retry would reach the other one.
    pub fn check_addresses(&self, host: &str, port: u16, addresses: &[IpAddr]) -> Result<Vec<SocketAddr>, GuardError> {
        if addresses.is_empty() {
            return Err(GuardError::NoAddress { host: host.to_owned() });
        }
        if !self.opens_name(host, port) {
            addresses.iter().try_for_each(|address| self.check_address(host, *address, port))?;
        }
        let mut targets: Vec<SocketAddr> = Vec::with_capacity(addresses.len());
        for address in addresses {
            let target = SocketAddr::new(*address, port);
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        Ok(targets)
    }

    /// Confirms that a connected socket (`peer` from `getpeername`) ends where it was dialled and that this is allowed.
    pub fn check_peer(&self, host: &str, dialled: SocketAddr, peer: SocketAddr) -> Result<(), GuardError> {
        if peer.ip() != dialled.ip() || peer.port() != dialled.port() {
            return Err(GuardError::WrongPeer { host: host.to_owned(), dialled: dialled.ip(), peer: peer.ip() });
        }
        self.check_addresses(host, peer.port(), &[peer.ip()]).map(drop)
    }

    fn check_name(&self, name: &str, port: u16) -> Result<(), GuardError> {
        if self.opens_name(name, port) {
            return Ok(());
        }
        if let Some(reason) = local_name(name) {
            return Err(GuardError::NameDenied { host: name.to_owned(), reason });
        }
        let may_open = ports::is_open(port) || self.shared.allow.iter().any(|entry| entry.may_open_address(port));
        if may_open { Ok(()) } else { Err(GuardError::PortDenied { host: name.to_owned(), port }) }
    }

    fn check_address(&self, host: &str, address: IpAddr, port: u16) -> Result<(), GuardError> {
        if self.shared.allow.iter().any(|entry| entry.opens_address(address, port)) {
            return Ok(());
        }
        let denial = match classify(address) {
            Verdict::Denied(denial) => denial,
            Verdict::Public if self.shared.own_addresses.contain(address) => {
                Denial { network: "this machine's interfaces", reason: "an address of this machine", embedded: None }
            }
            Verdict::Public if !ports::is_open(port) => {
                return Err(GuardError::PortDenied { host: host.to_owned(), port });
            }
            Verdict::Public => return Ok(()),
        };
        Err(GuardError::AddressDenied { host: host.to_owned(), address, denial })
    }

    /// Decides on a name whose addresses nobody here will see, because a proxy resolves it: what is said of names and ports
    /// must be enough.
    pub fn check_name_alone(&self, name: &str, port: u16) -> Result<(), GuardError> {
        self.check_name(name, port)?;
        if ports::is_open(port) || self.opens_name(name, port) {
            return Ok(());
        }
        Err(GuardError::PortDenied { host: name.to_owned(), port })
    }

    /// Whether the operator opened this name on this port, whatever it resolves to.
    pub fn opens_name(&self, host: &str, port: u16) -> bool {
        self.shared.allow.iter().any(|entry| entry.opens_name(host, port))
    }
}

/// A name without a dot goes through the resolver's search list, so it is as local as the reserved ones.
fn local_name(name: &str) -> Option<&'static str> {
    let reserved = LOCAL_NAMES
        .iter()
        .find(|(local, _)| name.strip_suffix(local).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')));
    match reserved {
        Some((_, reason)) => Some(reason),
        None if !name.contains('.') => Some("a name without a dot is only known to the local network"),
        None => None,
    }
}
