//! Signs a user in by a header of a trusted reverse proxy, without I/O.
//!
//! recoup trusts the header with the user's name only if the request comes from the proxy's configured address and has
//! the header exactly once. A second header with a user's name may come from the client.

use std::net::IpAddr;

/// Returns the user name in the header; `None` if the request does not come from the trusted proxy.
pub fn proxied<'a>(peer: IpAddr, values: &[&'a [u8]], trusted: IpAddr) -> Option<&'a str> {
    let [only] = values else { return None };
    let name = std::str::from_utf8(only).ok()?.trim();
    (peer.to_canonical() == trusted.to_canonical() && !name.is_empty() && !name.contains(',')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_word_of_the_named_proxy_is_believed() {
        let (proxy, other) = (IpAddr::from([10, 0, 0, 2]), IpAddr::from([10, 0, 0, 3]));
        let mapped: IpAddr = "::ffff:10.0.0.2".parse().expect("an address");
        for (peer, values, name) in [
            (proxy, vec!["ann".as_bytes()], Some("ann")),
            (mapped, vec!["ann".as_bytes()], Some("ann")),
            (proxy, vec![" ann ".as_bytes()], Some("ann")),
            (other, vec!["ann".as_bytes()], None),
            (proxy, vec!["ann".as_bytes(), "bob".as_bytes()], None),
            (proxy, vec!["ann, bob".as_bytes()], None),
            (proxy, vec!["".as_bytes()], None),
            (proxy, vec![b"\xff".as_slice()], None),
            (proxy, vec![], None),
        ] {
            assert_eq!(proxied(peer, &values, proxy), name, "{peer} {values:?}");
        }
    }
}
