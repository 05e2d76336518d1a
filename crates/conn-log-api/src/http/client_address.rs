//! The client's address of a request, also behind proxies.
//!
//! Anyone can write `Forwarded` or `X-Forwarded-For`. The headers are trusted only as far as the
//! connection, and then each hop, belongs to a proxy that the deployment has named.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use ipnet::IpNet;

/// The client's address: the nearest hop that is not one of the deployment's proxies.
pub(crate) fn of(request: &HttpRequest, proxies: &[IpNet]) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    nearest_stranger(peer, request.headers(), proxies)
}

/// Whether the connection itself comes from one of the deployment's proxies.
pub(crate) fn is_by_proxy(request: &HttpRequest, proxies: &[IpNet]) -> bool {
    request.peer_addr().is_some_and(|peer| is_proxy(peer.ip(), proxies))
}

fn nearest_stranger(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    if !is_proxy(peer.to_canonical(), proxies) {
        return peer.to_canonical();
    }
    let (forwarded, x_forwarded_for) = (forwarded(headers), x_forwarded_for(headers));
    match (forwarded.is_empty(), x_forwarded_for.is_empty()) {
        (true, _) => nearest(peer, &x_forwarded_for, proxies),
        (false, true) => nearest(peer, &forwarded, proxies),
        // A proxy usually writes one of the two headers and passes on the other as the client wrote
        // it. If they differ, it is not known which one the proxy wrote.
        (false, false) => {
            let told = nearest(peer, &forwarded, proxies);
            let same = told == nearest(peer, &x_forwarded_for, proxies);
            if same { told } else { peer.to_canonical() }
        }
    }
}

fn nearest(peer: IpAddr, hops: &[Option<IpAddr>], proxies: &[IpNet]) -> IpAddr {
    let mut nearest = peer.to_canonical();
    for hop in hops.iter().rev() {
        if !is_proxy(nearest, proxies) {
            break;
        }
        // If a hop hides its address, the proxy before it is the last known address.
        let Some(address) = hop else { break };
        nearest = address.to_canonical();
    }
    nearest
}

fn is_proxy(address: IpAddr, proxies: &[IpNet]) -> bool {
    proxies.iter().any(|network| network.contains(&address))
}

/// The hops that the proxies wrote, the client's first (RFC 7239).
fn forwarded(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let node = |hop: &str| {
        hop.split(';').find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            name.eq_ignore_ascii_case("for").then(|| address(value.trim_matches('"')))?
        })
    };
    list(headers, "forwarded").map(node).collect()
}

/// The same hops from the older `X-Forwarded-For` header.
fn x_forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    list(headers, "x-forwarded-for").map(address).collect()
}

/// The elements of a header that is a list.
fn list<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Parses a hop's address, which may have a port; an IPv6 address may be in brackets.
fn address(node: &str) -> Option<IpAddr> {
    let bare = node.trim_start_matches('[').trim_end_matches(']');
    let bare = bare.parse::<IpAddr>().ok();
    bare.or_else(|| node.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::without_headers("9.9.9.9", "x-forwarded-for", "", "9.9.9.9")]
    #[case::from_a_stranger("9.9.9.9", "x-forwarded-for", "1.1.1.1", "9.9.9.9")]
    #[case::from_a_proxy("10.0.0.1", "x-forwarded-for", "1.1.1.1", "1.1.1.1")]
    #[case::with_a_forged_first_hop("10.0.0.1", "x-forwarded-for", "6.6.6.6, 1.1.1.1", "1.1.1.1")]
    #[case::through_two_proxies("10.0.0.1", "x-forwarded-for", "1.1.1.1, 10.0.0.2", "1.1.1.1")]
    #[case::by_the_standard("10.0.0.1", "forwarded", "for=\"[2001:db8::1]:4711\"", "2001:db8::1")]
    #[case::hidden("10.0.0.1", "forwarded", "for=_secret", "10.0.0.1")]
    fn the_client_is_the_nearest_hop_that_is_no_proxy(
        #[case] peer: &str,
        #[case] name: &'static str,
        #[case] value: &'static str,
        #[case] expected: &str,
    ) {
        let mut headers = HeaderMap::new();
        if !value.is_empty() {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        let found = nearest_stranger(peer.parse().unwrap(), &headers, &proxies);
        assert_eq!(found, expected.parse::<IpAddr>().unwrap());
    }

    #[test]
    fn two_headers_that_differ_are_both_not_believed() {
        let mut headers = HeaderMap::new();
        let name = HeaderName::from_static("x-forwarded-for");
        headers.insert(name, HeaderValue::from_static("9.9.9.9"));
        let forged = HeaderValue::from_static("for=1.1.1.1");
        headers.insert(HeaderName::from_static("forwarded"), forged);
        let (peer, proxies) = ("10.0.0.1".parse().unwrap(), ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(nearest_stranger(peer, &headers, &proxies), peer);
    }
}
