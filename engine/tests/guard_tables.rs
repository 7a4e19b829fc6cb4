//! The classifier against the registry and three other implementations, and its one law: denied is denied in every disguise.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use vasset_engine::guard::{Verdict, classify};

const REGISTRY: &str = include_str!("data/special-purpose.csv");
const CLASSIFICATIONS: &str = include_str!("data/classifications.tsv");

/// Why we refuse an address that all three others call global: each is a decision, not an accident.
const STRICTER_THAN_ALL: [&str; 5] = [
    // A cloud platform's control address, public by registry.
    "168.63.129.16/32",
    // IPv4-compatible; the others know `::` and `::1` only.
    "::/96",
    // Allocated in 2025, after their tables.
    "100:0:0:1::/64",
    // Returned to IANA in 2006.
    "3ffe::/16",
    "outside 2000::/3",
];

fn parse(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| panic!("{text} is not an address"))
}

fn denial(address: IpAddr) -> Option<&'static str> {
    match classify(address) {
        Verdict::Public => None,
        Verdict::Denied(denial) => Some(denial.network),
    }
}

/// First and last address of a block.
fn ends(block: &str) -> [IpAddr; 2] {
    let (base, length) = block.split_once('/').unwrap();
    let length: u32 = length.parse().unwrap();
    match parse(base) {
        IpAddr::V4(base) => {
            let hosts = u32::MAX.checked_shr(length).unwrap_or(0);
            [base.into(), Ipv4Addr::from(u32::from(base) | hosts).into()]
        }
        IpAddr::V6(base) => {
            let hosts = u128::MAX.checked_shr(length).unwrap_or(0);
            [base.into(), Ipv6Addr::from(u128::from(base) | hosts).into()]
        }
    }
}

#[test]
fn every_row_of_the_special_purpose_registries_is_denied() {
    let blocks: Vec<&str> = REGISTRY.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert!(blocks.len() > 45);
    for block in blocks {
        for address in ends(block) {
            assert!(denial(address).is_some(), "{address} of {block} is called public");
        }
    }
}

#[test]
fn whatever_another_classifier_calls_not_global_is_denied() {
    let mut lines = CLASSIFICATIONS.lines();
    let names: Vec<&str> = lines.next().unwrap().split('\t').skip(1).collect();
    assert_eq!(names.len(), 3);
    let mut compared = 0;
    for line in lines {
        let mut cells = line.split('\t');
        let address = parse(cells.next().unwrap());
        for (name, answer) in names.iter().zip(cells) {
            if answer == "-" {
                assert!(denial(address).is_some(), "{name} calls {address} not global, we call it public");
            }
            compared += 1;
        }
    }
    assert!(compared > 5_000);
}

#[test]
fn what_all_others_call_global_is_public_but_for_named_exceptions() {
    let lines = CLASSIFICATIONS.lines().skip(1).filter(|line| !line.contains("\t-"));
    let denied = lines.filter_map(|line| denial(parse(line.split('\t').next().unwrap())));
    let networks: BTreeSet<&str> = denied.collect();
    assert_eq!(networks, BTreeSet::from(STRICTER_THAN_ALL));
}

#[test]
fn public_addresses_are_public() {
    for text in [
        "1.0.0.0",
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "93.184.216.34",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "168.63.129.15",
        "168.63.129.17",
        "2001:200::1",
        "2003::1",
        "2400:cb00::1",
        "2606:4700:4700::1111",
        "2620:4f:7fff::1",
        "2620:4f:8001::1",
        "2a00:1450:4001:81b::200e",
        "2c0f:fb50::1",
        "2001:db7:ffff::1",
        "2001:db9::1",
        "2003:ffff::1",
        "3ffd::1",
        "3fff:1000::1",
        // An interface identifier that only resembles ISATAP, and ISATAP around a public address.
        "2606:4700::5efe:808:808",
        "2606:4700::5eff:7f00:1",
    ] {
        assert_eq!(denial(parse(text)), None, "{text}");
    }
}

#[test]
fn the_message_names_the_network_the_reason_and_what_is_inside() {
    let text = |address: &str| match classify(parse(address)) {
        Verdict::Denied(denial) => denial.to_string(),
        Verdict::Public => panic!("{address} is public"),
    };
    assert_eq!(text("169.254.169.254"), "169.254.169.254/32 is a cloud metadata service");
    assert_eq!(text("::ffff:127.0.0.1"), "::ffff:0:0/96 is IPv4-mapped (RFC 4291), here carrying 127.0.0.1");
    assert_eq!(text("2002:a00:1::"), "2002::/16 is 6to4 (RFC 3056), here carrying 10.0.0.1");
    assert_eq!(text("2001:0:4136:e378:8000:63bf:80ff:fffe"), "2001::/32 is Teredo (RFC 4380), here carrying 127.0.0.1");
    assert_eq!(text("64:ff9b:1:7f00:0:100::"), "64:ff9b:1::/48 is local NAT64 (RFC 8215), here carrying 127.0.0.1");
}

/// RFC 6052 §2.2: the address behind a prefix of each allowed length, around the reserved octet (bits 64-71).
fn nat64(prefix: u128, length: u32, inner: u32) -> Ipv6Addr {
    let inner = u128::from(inner);
    let bits = match length {
        96 => inner,
        64 => inner << 24,
        56 => (inner >> 24) << 64 | (inner & 0x00ff_ffff) << 32,
        48 => (inner >> 16) << 64 | (inner & 0xffff) << 40,
        40 => (inner >> 8) << 64 | (inner & 0xff) << 48,
        32 => inner << 64,
        _ => unreachable!("not an RFC 6052 length"),
    };
    Ipv6Addr::from(prefix | bits)
}

/// Every standard way to carry an IPv4 address in an IPv6 one; `filler` stands for the bits the form leaves free.
fn embeddings(inner: Ipv4Addr, filler: u64) -> Vec<Ipv6Addr> {
    let bits = u32::from(inner);
    let wide = u128::from(bits);
    let local_nat64: u128 = 0x0064_ff9b_0001 << 80;
    let mut forms = vec![
        Ipv6Addr::from(wide),
        Ipv6Addr::from(0xffff << 32 | wide),
        Ipv6Addr::from(0xffff << 48 | wide),
        nat64(0x0064_ff9b << 96, 96, bits),
        Ipv6Addr::from(0x2002 << 112 | wide << 80 | u128::from(filler)),
        // Teredo: the server in bits 32-63, the client inverted at the end.
        Ipv6Addr::from(0x2001_0000_u128 << 96 | wide << 64 | u128::from(filler)),
        Ipv6Addr::from(0x2001_0000_u128 << 96 | u128::from(filler) << 32 | u128::from(!bits)),
        // ISATAP under public, link-local and unique-local prefixes, with both values of the universal bit.
        Ipv6Addr::from(0x2606_4700_u128 << 96 | u128::from(filler >> 32) << 64 | 0x5efe << 32 | wide),
        Ipv6Addr::from(0x2a00_1450_u128 << 96 | 0x0200_5efe_u128 << 32 | wide),
        Ipv6Addr::from(0xfe80_u128 << 112 | 0x5efe << 32 | wide),
    ];
    // The /48 of RFC 8215 holds prefixes of every length from 48 on.
    forms.extend([48, 56, 64, 96].map(|length| nat64(local_nat64, length, bits)));
    forms
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn an_address_denied_is_denied_in_every_embedding(bits: u32, filler: u64) {
        let inner = Ipv4Addr::from(bits);
        if denial(inner.into()).is_some() {
            for form in embeddings(inner, filler) {
                prop_assert!(denial(form.into()).is_some(), "{form} carries {inner}");
            }
        }
    }

    #[test]
    fn every_address_of_a_denied_network_is_denied(row in 0_usize..51, host: u128) {
        let block = REGISTRY.lines().nth(row + 1).unwrap().split(',').next().unwrap();
        let [first, last] = ends(block);
        let inside: IpAddr = match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                Ipv4Addr::from(u32::from(first) | host as u32 & (u32::from(first) ^ u32::from(last))).into()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                Ipv6Addr::from(u128::from(first) | host & (u128::from(first) ^ u128::from(last))).into()
            }
            _ => unreachable!("a block is of one family"),
        };
        prop_assert!(denial(inside).is_some(), "{inside} of {block}");
    }
}

#[test]
fn every_well_known_private_address_is_denied_in_every_embedding() {
    for inner in
        ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"]
    {
        for filler in [0, 1, u64::MAX, 0x0808_0808_0808_0808] {
            for form in embeddings(inner.parse().unwrap(), filler) {
                assert!(denial(form.into()).is_some(), "{form} carries {inner}");
            }
        }
    }
}
