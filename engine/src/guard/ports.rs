//! Which ports a public host may be asked on.
//!
//! Private hosts are closed by address, so this rule protects *other people's* public machines from being spoken to in
//! HTTP on a mail, database or control port. Media really is served from odd high ports (peer-assisted CDNs, HLS on
//! 1935 or 8081), so the rule is: 80 and 443 below 1024, and above it everything but the services listed here and the
//! ports that the WHATWG fetch standard blocks. An allow entry with a port opens exactly that port.

/// Ports at or above 1024 where something other than HTTP media usually listens.
const DENIED_HIGH: &[u16] = &[
    1099, 1433, 1434, 1521, 1719, 1720, 1723, 1883, 2049, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190,
    4222, 4369, 5038, 5060, 5061, 5432, 5433, 5601, 5671, 5672, 5900, 5901, 5984, 5985, 5986, 6000, 6379, 6380, 6432,
    6443, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 7199, 7474, 7687, 8086, 8125, 8300, 8500, 8883, 9001, 9002,
    9003, 9004, 9042, 9092, 9093, 9160, 9200, 9300, 10080, 10250, 10255, 11211, 15672, 16379, 22122, 25672, 26257,
    26379, 27017, 27018, 27019, 28017, 50051, 50070, 61613, 61616,
];

/// Whether `port` of a public host may be connected to without an allow entry.
pub(super) fn is_open(port: u16) -> bool {
    match port {
        80 | 443 => true,
        0..=1023 => false,
        _ => DENIED_HIGH.binary_search(&port).is_err(),
    }
}

#[cfg(test)]
mod tests {
    use super::{DENIED_HIGH, is_open};

    #[test]
    fn the_list_is_sorted_so_that_searching_finds_every_entry() {
        assert!(DENIED_HIGH.is_sorted());
        assert!(DENIED_HIGH.iter().all(|port| !is_open(*port)));
    }

    #[test]
    fn opens_web_ports_and_closes_services() {
        for port in [80, 443, 8080, 8443, 1935, 8081, 4483, 32768, 65535] {
            assert!(is_open(port), "{port}");
        }
        for port in [0, 1, 21, 22, 25, 53, 110, 143, 389, 445, 587, 993, 5432, 5672, 6379, 9001, 15672, 50051] {
            assert!(!is_open(port), "{port}");
        }
    }
}
