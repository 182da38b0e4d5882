//! `/etc/resolv.conf`.

use std::net::IpAddr;

/// The name servers that a machine's own resolver asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// As written, in order.
    pub servers: Vec<IpAddr>,
    /// Lines, counted from 1, that name no address.
    pub bad_lines: Vec<usize>,
}

/// Reads the `nameserver` lines; what else the file says is about the machine's own resolver (resolv.conf(5)).
pub fn parse_resolv_conf(text: &str) -> ResolvConf {
    let mut found = ResolvConf::default();
    for (line, number) in text.lines().zip(1..) {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        match words.next().map(str::parse) {
            Some(Ok(ip)) => found.servers.push(ip),
            _ => found.bad_lines.push(number),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_name_servers_count() {
        let text = "# comment\nnameserver 10.0.0.1\n search example.com\n nameserver\t2001:db8::1 x\n\
            ;nameserver 10.0.0.2\nnameserver\nnameserver example.com\n";
        let servers = ["10.0.0.1", "2001:db8::1"].map(|ip| ip.parse().expect("an address"));
        let expected = ResolvConf { servers: servers.into(), bad_lines: vec![6, 7] };
        assert_eq!(parse_resolv_conf(text), expected);
    }
}
