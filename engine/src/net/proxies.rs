//! Which proxy a request goes through: one for everything, or the rules of a person's environment.

use std::net::IpAddr;

use super::proxy::Proxy;
use crate::error::Result;
use crate::guard::{GuardedUrl, Host};

/// Rules as `http_proxy`, `https_proxy` and `no_proxy` state them. Such proxies are the person's own way out: they may be asked
/// by name for what cannot be resolved here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyRules {
    /// For `http` addresses.
    pub http: Option<String>,
    /// For `https` addresses.
    pub https: Option<String>,
    /// Hosts that are asked directly, separated by commas or spaces.
    pub except: String,
}

/// The choice, made for every hop anew.
#[derive(Debug, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    except: Vec<Exception>,
}

impl Proxies {
    /// `proxy` for everything, or none.
    pub fn all(proxy: Option<&str>) -> Result<Self> {
        let http = proxy.map(Proxy::parse).transpose()?;
        Ok(Self { https: http.clone(), http, except: Vec::new() })
    }

    /// The rules of a person's environment.
    pub fn of_rules(rules: &ProxyRules) -> Result<Self> {
        let read = |text: &Option<String>| {
            let text = text.as_deref().map(str::trim).filter(|text| !text.is_empty());
            text.map(|text| Proxy::parse(text).map(Proxy::resolving_what_we_cannot)).transpose()
        };
        let entries = rules.except.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
        let except = entries.map(Exception::read).collect();
        Ok(Self { http: read(&rules.http)?, https: read(&rules.https)?, except })
    }

    /// The proxy for this address.
    pub fn of_url(&self, url: &GuardedUrl) -> Option<&Proxy> {
        let proxy = if url.is_https() { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.except.iter().any(|exception| exception.covers(url)))
    }
}

/// One entry of `no_proxy`. There is no standard; this takes what curl, Go and Python take together.
#[derive(Debug)]
struct Exception {
    place: Place,
    port: Option<u16>,
}

#[derive(Debug)]
enum Place {
    Everything,
    /// A host and everything below it, with or without a leading dot or `*.`.
    Name(String),
    /// An address, or the network of this many leading bits.
    Network(IpAddr, u32),
}

impl Exception {
    fn read(entry: &str) -> Self {
        let network = |text: &str| {
            let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
            let address: IpAddr = address.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
            let all = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(all), |bits| bits.parse().ok().filter(|bits| *bits <= all))?;
            Some(Place::Network(address, bits))
        };
        if let Some(place) = network(entry) {
            return Self { place, port: None };
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (entry, None),
        };
        let place = network(host).unwrap_or_else(|| match host.trim_start_matches('*').trim_matches('.') {
            "" => Place::Everything,
            name => Place::Name(name.to_ascii_lowercase()),
        });
        Self { place, port }
    }

    fn covers(&self, url: &GuardedUrl) -> bool {
        let is_place = match (&self.place, url.host()) {
            (Place::Everything, _) => true,
            (Place::Name(name), Host::Name(host)) => {
                host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            (Place::Network(base, bits), Host::Address(address)) => shares_prefix(*base, *address, *bits),
            _ => false,
        };
        is_place && self.port.is_none_or(|port| port == url.port())
    }
}

fn shares_prefix(base: IpAddr, address: IpAddr, bits: u32) -> bool {
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            (u32::from(base) ^ u32::from(address)).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            (u128::from(base) ^ u128::from(address)).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_direct(except: &str, url: &str) -> bool {
        let proxy = Some("http://proxy.example:3128".to_owned());
        let rules = ProxyRules { http: proxy.clone(), https: proxy, except: except.to_owned() };
        Proxies::of_rules(&rules).unwrap().of_url(&GuardedUrl::parse(url).unwrap()).is_none()
    }

    #[test]
    fn no_proxy_is_read_as_programs_write_it() {
        for (except, url, expected) in [
            ("", "http://a.example/", false),
            ("*", "http://a.example/", true),
            ("a.example", "http://a.example/", true),
            ("A.Example", "http://x.a.example/", true),
            (".a.example", "http://a.example/", true),
            ("*.a.example", "https://x.a.example/", true),
            ("a.example", "http://ba.example/", false),
            ("other, a.example b.example", "http://b.example/", true),
            ("a.example:8080", "http://a.example:8080/", true),
            ("a.example:8080", "http://a.example/", false),
            ("192.168.0.0/16", "http://192.168.7.1/", true),
            ("192.168.0.0/16", "http://192.169.7.1/", false),
            ("10.0.0.1", "http://10.0.0.1/", true),
            ("10.0.0.1:81", "http://10.0.0.1/", false),
            ("0.0.0.0/0", "http://10.0.0.1/", true),
            ("fd00::/8", "http://[fd00::7]/", true),
            ("[fd00::7]:8080", "http://[fd00::7]:8080/", true),
            ("fd00::7", "http://[fd00::8]/", false),
            ("10.0.0.0/99", "http://10.0.0.1/", false),
        ] {
            assert_eq!(is_direct(except, url), expected, "{except:?} {url}");
        }
    }

    #[test]
    fn each_scheme_has_its_own() {
        let rules = ProxyRules { http: Some("http://a:1".to_owned()), https: None, except: String::new() };
        let proxies = Proxies::of_rules(&rules).unwrap();
        assert!(proxies.of_url(&GuardedUrl::parse("http://h.example/").unwrap()).is_some());
        assert!(proxies.of_url(&GuardedUrl::parse("https://h.example/").unwrap()).is_none());
    }
}
