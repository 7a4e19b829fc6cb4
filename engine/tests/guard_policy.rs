//! What an allow entry opens, what it does not, and what happens to the answers of a resolver.

use std::net::{IpAddr, SocketAddr};

use vasset_engine::guard::{EgressPolicy, GuardError};

fn policy(allow: &[&str]) -> EgressPolicy {
    let allow: Vec<String> = allow.iter().map(|entry| (*entry).to_owned()).collect();
    EgressPolicy::new(&allow).unwrap()
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn one_denied_answer_refuses_the_host() {
    // S106-S108: whatever the order, mixed answers are refused whole.
    for answers in [
        ["93.184.216.34", "10.0.0.1"],
        ["10.0.0.1", "93.184.216.34"],
        ["::1", "93.184.216.34"],
        ["93.184.216.34", "::ffff:7f00:1"],
    ] {
        let error = policy(&[]).check_addresses("media.example.com", 443, &addresses(&answers)).unwrap_err();
        assert!(matches!(error, GuardError::AddressDenied { .. }), "{answers:?}: {error}");
    }
}

#[test]
fn public_answers_are_dialled_in_order_and_once() {
    let answers = addresses(&["2606:4700:4700::1111", "93.184.216.34", "93.184.216.34"]);
    let targets = policy(&[]).check_addresses("media.example.com", 443, &answers).unwrap();
    let expected: Vec<SocketAddr> =
        ["[2606:4700:4700::1111]:443", "93.184.216.34:443"].iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(targets, expected);
}

#[test]
fn no_answer_is_an_error_of_its_own() {
    let error = policy(&["media.example.com"]).check_addresses("media.example.com", 443, &[]).unwrap_err();
    assert_eq!(error, GuardError::NoAddress { host: "media.example.com".into() });
}

#[test]
fn a_name_entry_opens_the_written_name_only() {
    let policy = policy(&["Origin.Test"]);
    assert!(policy.check_url("http://origin.test:6379/x").is_ok());
    assert!(policy.check_addresses("origin.test", 80, &addresses(&["127.0.0.1"])).is_ok());
    assert!(policy.check_addresses("other.test", 80, &addresses(&["127.0.0.1"])).is_err());
    assert!(policy.check_addresses("a.origin.test", 80, &addresses(&["127.0.0.1"])).is_err());
    assert!(policy.check_url("http://127.0.0.1/").is_err());
}

#[test]
fn a_name_entry_opens_a_reserved_or_dotless_name() {
    assert!(policy(&["localhost"]).check_url("http://localhost:8000/").is_ok());
    assert!(policy(&["origin"]).check_url("http://origin/").is_ok());
    assert!(policy(&["localhost"]).check_url("http://x.localhost/").is_err());
}

#[test]
fn a_port_in_an_entry_opens_that_port_only() {
    let named = policy(&["origin.test:8000"]);
    assert!(named.check_url("http://origin.test:8000/").is_ok());
    assert!(named.check_addresses("origin.test", 8001, &addresses(&["127.0.0.1"])).is_err());
    let network = policy(&["127.0.0.0/8:6379"]);
    assert!(network.check_url("http://127.0.0.1:6379/").is_ok());
    assert!(network.check_url("http://127.0.0.1:6380/").is_err());
    assert!(network.check_url("http://127.0.0.1/").is_err());
}

#[test]
fn a_network_entry_opens_what_resolves_into_it() {
    let policy = policy(&["10.1.0.0/16", "fd00::/8", "::1"]);
    assert!(policy.check_url("http://10.1.255.1:5432/").is_ok());
    assert!(policy.check_url("http://10.2.0.1/").is_err());
    assert!(policy.check_url("http://[fd12::1]/").is_ok());
    assert!(policy.check_url("http://[::1]:8000/").is_ok());
    assert!(policy.check_url("http://[fe80::1]/").is_err());
    assert!(policy.check_addresses("nas.example.com", 80, &addresses(&["10.1.0.7", "93.184.216.34"])).is_ok());
    assert!(policy.check_addresses("nas.example.com", 80, &addresses(&["10.1.0.7", "10.2.0.7"])).is_err());
}

#[test]
fn a_port_opened_for_a_network_stays_closed_for_other_hosts() {
    let policy = policy(&["10.1.0.0/16:6379"]);
    assert!(policy.check_url("http://cache.example.com:6379/").is_ok(), "the address decides once it is known");
    assert!(policy.check_addresses("cache.example.com", 6379, &addresses(&["10.1.0.1"])).is_ok());
    let error = policy.check_addresses("cache.example.com", 6379, &addresses(&["93.184.216.34"])).unwrap_err();
    assert!(matches!(error, GuardError::PortDenied { port: 6379, .. }), "{error}");
}

#[test]
fn an_entry_for_everything_opens_everything() {
    let policy = policy(&["0.0.0.0/0", "::/0"]);
    assert!(policy.check_url("http://127.0.0.1:22/").is_ok());
    assert!(policy.check_url("http://[::ffff:127.0.0.1]/").is_ok());
}

#[test]
fn reads_every_documented_form_of_entry() {
    for entry in [
        "example.com",
        "example.com:8080",
        "bücher.example",
        "10.0.0.1",
        "10.0.0.1:80",
        "10.0.0.0/8",
        "10.0.0.0/8:80",
        "::1",
        "[::1]",
        "[::1]:80",
        "fd00::/8",
        "[fd00::/8]:443",
        " 127.0.0.1 ",
        "",
    ] {
        assert!(EgressPolicy::new(&[entry.to_owned()]).is_ok(), "{entry:?}");
    }
}

#[test]
fn an_unreadable_entry_is_named() {
    for entry in [
        "10.0.0.0/33",
        "10.0.0.1/8",
        "fd00::/129",
        "::1:99999",
        "host:0",
        "host:99999",
        "host:",
        "a b",
        "*.example.com",
        "http://example.com",
        "[::1",
        "[::1]80",
        "[example.com]:80",
        "2130706433",
        "0x7f.1",
        "1.2.3/8",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "example.com/8",
        "host:80:80",
    ] {
        match EgressPolicy::new(&[entry.to_owned()]) {
            Err(GuardError::InvalidAllowEntry { entry: named, .. }) => assert_eq!(named, entry),
            other => panic!("{entry:?} gave {other:?}"),
        }
    }
}

#[test]
fn a_peer_other_than_the_dialled_one_is_refused() {
    let policy = policy(&["127.0.0.0/8"]);
    let dialled: SocketAddr = "127.0.0.1:80".parse().unwrap();
    assert!(policy.check_peer("127.0.0.1", dialled, dialled).is_ok());
    let error = policy.check_peer("127.0.0.1", dialled, "127.0.0.2:80".parse().unwrap()).unwrap_err();
    assert!(matches!(error, GuardError::WrongPeer { .. }), "{error}");
    let private: SocketAddr = "10.0.0.1:80".parse().unwrap();
    assert!(policy.check_peer("10.0.0.1", private, private).is_err());
}

#[test]
fn an_address_of_this_machine_is_refused_even_if_public() {
    let own: Vec<IpAddr> = if_addrs::get_if_addrs().unwrap().iter().map(if_addrs::Interface::ip).collect();
    assert!(!own.is_empty());
    for address in own {
        assert!(policy(&[]).check_addresses("self.example.com", 443, &[address]).is_err(), "{address}");
    }
}
