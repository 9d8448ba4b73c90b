//! Decides, without I/O, which IP addresses count as one client.

use std::net::{IpAddr, Ipv6Addr};

/// Returns the network by which recoup counts sign-in attempts. A provider gives each customer a whole IPv6 /64, so
/// recoup counts an IPv6 address as its /64.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_64_of_ipv6_is_one_peer() {
        for (address, network) in [
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("192.0.2.7", "192.0.2.7"),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!(network_of(address).to_string(), network, "{address}");
        }
    }
}
