//! Which IP addresses are public: a pure function over checked-in registries.
//!
//! Deny tables, not an `is_global`: CPython, Go and Rust each call some special-purpose network global that another does
//! not. The tables are the union of the IANA special-purpose registries (every row, also those marked globally
//! reachable: relays, sinks and anycast control planes serve no video), multicast, the reserved class E, the IPv6 forms
//! that carry an IPv4 address, and cloud control addresses outside every registry. `tests/guard_tables.rs` compares
//! them with the registry files and with other implementations.
//!
//! IPv6 is closed by default: only `2000::/3` is allocated as global unicast, everything else is refused without being
//! named. Every form that embeds an IPv4 address is refused whole, even around a public one, because nothing on the
//! public Internet is reachable *only* so, and a translator on the path would otherwise choose the target.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What [`classify`] says about an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Globally reachable unicast: may be connected to.
    Public,
    /// Not public, and why.
    Denied(Denial),
}

impl Verdict {
    /// Whether the address may be connected to without an allow entry.
    pub fn is_public(self) -> bool {
        self == Self::Public
    }
}

/// The table row that refuses an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denial {
    /// The network of the row in CIDR notation, such as `127.0.0.0/8`.
    pub network: &'static str,
    /// What the network is for and who says so, such as `loopback (RFC 1122)`.
    pub reason: &'static str,
    /// The IPv4 address that a tunnelled or translated IPv6 address carries.
    pub embedded: Option<Ipv4Addr>,
}

impl fmt::Display for Denial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is {}", self.network, self.reason)?;
        match self.embedded {
            Some(address) => write!(formatter, ", here carrying {address}"),
            None => Ok(()),
        }
    }
}

/// Decides whether `address` is public.
///
/// Pure, total and cheap (two table scans at most). An address refused as IPv4 is refused in every IPv6 form that carries
/// it: mapped, compatible, translated, NAT64 in all RFC 6052 lengths, 6to4, Teredo (server and client half), ISATAP.
pub fn classify(address: IpAddr) -> Verdict {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

fn classify_v4(address: Ipv4Addr) -> Verdict {
    let bits = u32::from(address);
    IPV4_DENIED
        .iter()
        .find(|row| (bits ^ row.base) >> (32 - row.length) == 0)
        .map_or(Verdict::Public, |row| row.denial(None))
}

fn classify_v6(address: Ipv6Addr) -> Verdict {
    let bits = u128::from(address);
    if let Some(row) = IPV6_DENIED.iter().find(|row| row.contains(bits)) {
        return row.denial(row.embedding.and_then(|embedding| embedding.extract(bits)));
    }
    if bits >> 125 != 0b001 {
        return Verdict::Denied(Denial {
            network: "outside 2000::/3",
            reason: "not allocated as global unicast (RFC 4291)",
            embedded: None,
        });
    }
    classify_isatap(bits)
}

/// ISATAP (RFC 5214) puts the IPv4 address of the next hop in the interface identifier, under any prefix.
fn classify_isatap(bits: u128) -> Verdict {
    let marker = (bits >> 32) as u32;
    if marker & 0xfdff_ffff != 0x0000_5efe {
        return Verdict::Public;
    }
    let embedded = Ipv4Addr::from(bits as u32);
    match classify_v4(embedded) {
        Verdict::Public => Verdict::Public,
        Verdict::Denied(_) => Verdict::Denied(Denial {
            network: "::5efe:0:0/64 in any prefix",
            reason: "ISATAP (RFC 5214)",
            embedded: Some(embedded),
        }),
    }
}

/// Where an IPv6 form keeps the IPv4 address it carries, for the error message.
#[derive(Debug, Clone, Copy)]
enum Embedding {
    /// In bits `shift..shift+32` counted from the right.
    At(u32),
    /// Teredo (RFC 4380) keeps the client inverted in the last 32 bits.
    Inverted,
    /// RFC 6052 /48: 16 bits, the reserved octet, 16 bits.
    Split48,
}

impl Embedding {
    fn extract(self, bits: u128) -> Option<Ipv4Addr> {
        let address = match self {
            Self::At(shift) => (bits >> shift) as u32,
            Self::Inverted => !(bits as u32),
            Self::Split48 => ((bits >> 64) as u32 & 0xffff) << 16 | (bits >> 40) as u32 & 0xffff,
        };
        (address != 0).then(|| Ipv4Addr::from(address))
    }
}

struct Ipv4Row {
    base: u32,
    length: u32,
    network: &'static str,
    reason: &'static str,
}

impl Ipv4Row {
    fn denial(&self, embedded: Option<Ipv4Addr>) -> Verdict {
        Verdict::Denied(Denial { network: self.network, reason: self.reason, embedded })
    }
}

struct Ipv6Row {
    base: u128,
    length: u32,
    network: &'static str,
    reason: &'static str,
    embedding: Option<Embedding>,
}

impl Ipv6Row {
    fn contains(&self, bits: u128) -> bool {
        (bits ^ self.base) >> (128 - self.length) == 0
    }

    fn denial(&self, embedded: Option<Ipv4Addr>) -> Verdict {
        Verdict::Denied(Denial { network: self.network, reason: self.reason, embedded })
    }
}

const fn v4(octets: [u8; 4], length: u32, network: &'static str, reason: &'static str) -> Ipv4Row {
    Ipv4Row { base: u32::from_be_bytes(octets), length, network, reason }
}

const fn v6(
    segments: [u16; 8],
    length: u32,
    network: &'static str,
    reason: &'static str,
    embedding: Option<Embedding>,
) -> Ipv6Row {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Row { base: Ipv6Addr::new(a, b, c, d, e, f, g, h).to_bits(), length, network, reason, embedding }
}

/// Narrow rows stand before the wide ones that contain them, so that the message names the most specific reason.
const IPV4_DENIED: &[Ipv4Row] = &[
    v4([0, 0, 0, 0], 8, "0.0.0.0/8", "\"this host on this network\" (RFC 791)"),
    v4([10, 0, 0, 0], 8, "10.0.0.0/8", "private use (RFC 1918)"),
    v4([100, 100, 100, 200], 32, "100.100.100.200/32", "a cloud metadata service"),
    v4([100, 64, 0, 0], 10, "100.64.0.0/10", "shared address space behind carrier NAT (RFC 6598)"),
    v4([127, 0, 0, 0], 8, "127.0.0.0/8", "loopback (RFC 1122)"),
    v4([168, 63, 129, 16], 32, "168.63.129.16/32", "a cloud platform's control address"),
    v4([169, 254, 169, 254], 32, "169.254.169.254/32", "a cloud metadata service"),
    v4([169, 254, 0, 0], 16, "169.254.0.0/16", "link local (RFC 3927)"),
    v4([172, 16, 0, 0], 12, "172.16.0.0/12", "private use (RFC 1918)"),
    v4([192, 0, 0, 192], 32, "192.0.0.192/32", "a cloud metadata service"),
    v4([192, 0, 0, 0], 24, "192.0.0.0/24", "IETF protocol assignments (RFC 6890)"),
    v4([192, 0, 2, 0], 24, "192.0.2.0/24", "documentation (RFC 5737)"),
    v4([192, 31, 196, 0], 24, "192.31.196.0/24", "the AS112 sink (RFC 7535)"),
    v4([192, 52, 193, 0], 24, "192.52.193.0/24", "multicast tunnelling (RFC 7450)"),
    v4([192, 88, 99, 0], 24, "192.88.99.0/24", "6to4 relay anycast (RFC 7526)"),
    v4([192, 168, 0, 0], 16, "192.168.0.0/16", "private use (RFC 1918)"),
    v4([192, 175, 48, 0], 24, "192.175.48.0/24", "the AS112 sink (RFC 7534)"),
    v4([198, 18, 0, 0], 15, "198.18.0.0/15", "benchmarking (RFC 2544)"),
    v4([198, 51, 100, 0], 24, "198.51.100.0/24", "documentation (RFC 5737)"),
    v4([203, 0, 113, 0], 24, "203.0.113.0/24", "documentation (RFC 5737)"),
    v4([224, 0, 0, 0], 4, "224.0.0.0/4", "multicast (RFC 5771)"),
    v4([255, 255, 255, 255], 32, "255.255.255.255/32", "limited broadcast (RFC 919)"),
    v4([240, 0, 0, 0], 4, "240.0.0.0/4", "reserved (RFC 1112)"),
];

const IPV6_DENIED: &[Ipv6Row] = &[
    v6([0; 8], 128, "::/128", "the unspecified address (RFC 4291)", None),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, "::1/128", "loopback (RFC 4291)", None),
    v6([0; 8], 96, "::/96", "IPv4-compatible (RFC 4291)", Some(Embedding::At(0))),
    v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "::ffff:0:0/96", "IPv4-mapped (RFC 4291)", Some(Embedding::At(0))),
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "::ffff:0:0:0/96", "IPv4-translated (RFC 2765)", Some(Embedding::At(0))),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "64:ff9b::/96", "NAT64 (RFC 6052)", Some(Embedding::At(0))),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "64:ff9b:1::/48", "local NAT64 (RFC 8215)", Some(Embedding::Split48)),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "100::/64", "discard only (RFC 6666)", None),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "100:0:0:1::/64", "dummy prefix (RFC 9780)", None),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "2001::/32", "Teredo (RFC 4380)", Some(Embedding::Inverted)),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "2001::/23", "IETF protocol assignments (RFC 2928)", None),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "2001:db8::/32", "documentation (RFC 3849)", None),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "2002::/16", "6to4 (RFC 3056)", Some(Embedding::At(80))),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, "2620:4f:8000::/48", "the AS112 sink (RFC 7534)", None),
    v6([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16, "3ffe::/16", "the returned 6bone (RFC 3701)", None),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "3fff::/20", "documentation (RFC 9637)", None),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "5f00::/16", "segment routing identifiers (RFC 9602)", None),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, "fd00:ec2::254/128", "a cloud metadata service", None),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "fc00::/7", "unique local (RFC 4193)", None),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "fe80::/10", "link local (RFC 4291)", None),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "fec0::/10", "site local (RFC 3879)", None),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "ff00::/8", "multicast (RFC 4291)", None),
];
