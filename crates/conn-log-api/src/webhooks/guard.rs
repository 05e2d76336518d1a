//! The guard against requests to addresses inside the deployment (SSRF).
//!
//! A client of the API chooses the URLs of webhooks, and the server calls them from within the
//! deployment. So only global addresses are called, and those that the deployment allows. An
//! address is checked as it is written in the URL and as its name resolves, at each attempt; the
//! connection is to the address that was checked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::{fmt, io};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use url::{Host, Url};

/// Longest URL that is taken.
const URL_BYTES_MAX: usize = 2_048;

/// IPv4 blocks that are not global (RFC 6890 and its registry), and one that is global in the
/// registry and an inside service of a large cloud.
const INSIDE_V4: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast, and everything above it.
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// The only IPv6 block of which addresses are global unicast. It leaves out loopback, link-local,
/// unique local, multicast, IPv4-compatible addresses, NAT64 and segment routing.
const UNICAST_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Blocks within it that are not global: protocol assignments (Teredo, benchmarks, ORCHID),
/// documentation, and 6to4, which reaches any IPv4 address.
const INSIDE_V6: &[(Ipv6Addr, u8)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Decides which URLs and addresses may be called.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    allowed: Vec<IpNet>,
}

impl Guard {
    /// A guard that also lets these inside addresses be called.
    pub(super) fn new(allowed: Vec<IpNet>) -> Self {
        Guard { allowed }
    }

    /// Checks a URL as it is written. Returns it in the form in which it is called: `0x7f.1` and
    /// `2130706433` have become `127.0.0.1`.
    ///
    /// # Errors
    /// A code and a sentence for the client.
    pub(super) fn check_url(&self, text: &str) -> Result<String, (&'static str, String)> {
        let fault = |code, detail: &str| Err((code, detail.to_owned()));
        if text.len() > URL_BYTES_MAX {
            return fault("length", "at most 2,048 bytes");
        }
        let Ok(mut url) = Url::parse(text) else {
            return fault("invalid_url", "an absolute http or https URL");
        };
        url.set_fragment(None);
        if !matches!(url.scheme(), "http" | "https") || url.as_str().parse::<Uri>().is_err() {
            return fault("invalid_url", "an absolute http or https URL");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return fault("user_information", "a URL without a user and a password");
        }
        let address = match url.host() {
            None => return fault("invalid_url", "a URL with a host"),
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            // RFC 6761: these names are the machine's own.
            Some(Host::Domain(name)) => is_localhost(name).then_some(Ipv4Addr::LOCALHOST.into()),
        };
        match address {
            Some(address) if !self.may_call(address) => {
                fault("inside_address", "an address that is not inside the deployment")
            }
            _ => Ok(url.into()),
        }
    }

    /// Whether an address may be called.
    pub(super) fn may_call(&self, address: IpAddr) -> bool {
        // An IPv4-mapped address reaches the IPv4 address.
        let address = address.to_canonical();
        is_global(address) || self.allowed.iter().any(|block| block.contains(&address))
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !INSIDE_V4.iter().any(|(block, length)| contains_v4(*block, *length, address))
        }
        IpAddr::V6(address) => {
            contains_v6(UNICAST_V6.0, UNICAST_V6.1, address)
                && !INSIDE_V6.iter().any(|(block, length)| contains_v6(*block, *length, address))
        }
    }
}

fn contains_v4(block: Ipv4Addr, length: u8, address: Ipv4Addr) -> bool {
    Ipv4Net::new(block, length).is_ok_and(|block| block.contains(&address))
}

fn contains_v6(block: Ipv6Addr, length: u8, address: Ipv6Addr) -> bool {
    Ipv6Net::new(block, length).is_ok_and(|block| block.contains(&address))
}

/// Error: a name resolves to an address that must not be called.
#[derive(Debug)]
pub(super) struct InsideAddress;

impl fmt::Display for InsideAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name resolves to an address inside the deployment")
    }
}

impl std::error::Error for InsideAddress {}

/// The HTTP client asks the guard for the addresses of every URL, also of one that is written as
/// an address, and connects to what it gets.
#[derive(Debug)]
pub(super) struct GuardedResolver {
    pub(super) guard: Guard,
    pub(super) names: DefaultResolver,
}

impl Resolver for GuardedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let addresses = self.names.resolve(uri, config, timeout)?;
        // One inside address is enough to refuse the name: the client may choose any of them.
        if addresses.iter().all(|address| self.guard.may_call(address.ip())) {
            Ok(addresses)
        } else {
            Err(ureq::Error::Io(io::Error::other(InsideAddress)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_call(address: &str) -> bool {
        Guard::default().may_call(address.parse().unwrap())
    }

    #[test]
    fn addresses_that_are_not_global_are_not_called() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "3fff::1",
            "3fff:fff::1",
            "5f00::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!may_call(address), "{address}");
        }
    }

    #[test]
    fn global_addresses_are_called() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "126.255.255.255",
            "128.0.0.1",
            "168.63.129.17",
            "172.15.255.255",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "2001:4860:4860::8888",
            "2003::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(may_call(address), "{address}");
        }
    }

    #[test]
    fn an_inside_address_is_called_where_the_deployment_allows_it() {
        let guard = Guard::new(vec!["10.1.0.0/16".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        for (address, may) in
            [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("10.2.0.1", false), ("fd00::1", true)]
        {
            assert_eq!(guard.may_call(address.parse().unwrap()), may, "{address}");
        }
    }

    /// The client asks the resolver for a name and for a written address alike.
    #[test]
    fn what_resolves_to_an_inside_address_is_not_connected_to() {
        let resolve = |url: &str, allowed: &[&str]| {
            let allowed = allowed.iter().map(|block| block.parse().unwrap()).collect();
            let guard = Guard::new(allowed);
            let resolver = GuardedResolver { guard, names: DefaultResolver::default() };
            let url: Uri = url.parse().unwrap();
            let (config, timeout) = (Config::default(), NextTimeout::default());
            resolver.resolve(&url, &config, timeout).map(|addresses| addresses.len())
        };
        for url in ["http://localhost:1/", "http://127.0.0.1/", "https://[::1]:5/"] {
            let Err(ureq::Error::Io(error)) = resolve(url, &[]) else { panic!("{url}") };
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<InsideAddress>());
            assert!(inner.is_some(), "{url}");
            assert!(resolve(url, &["127.0.0.0/8", "::1/128"]).unwrap() > 0, "{url}");
        }
        assert!(resolve("http://8.8.8.8/", &[]).is_ok());
    }

    #[test]
    fn a_url_is_checked_in_the_form_in_which_it_is_called() {
        let guard = Guard::default();
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://localhost:8080/",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "https://169.254.169.254/latest/meta-data",
            "http://１２７.0.0.1/",
        ] {
            assert_eq!(guard.check_url(url).unwrap_err().0, "inside_address", "{url}");
        }
        for (url, code) in [
            ("", "invalid_url"),
            ("/hook", "invalid_url"),
            ("ftp://example.com/", "invalid_url"),
            ("file:///etc/passwd", "invalid_url"),
            ("gopher://example.com/", "invalid_url"),
            ("http://", "invalid_url"),
            ("https://user@example.com/", "user_information"),
            ("https://:secret@example.com/", "user_information"),
        ] {
            assert_eq!(guard.check_url(url).unwrap_err().0, code, "{url}");
        }
        assert_eq!(
            guard.check_url(&format!("http://a.example/{}", "x".repeat(2_048))).unwrap_err().0,
            "length"
        );
        for (url, called) in [
            ("https://example.com", "https://example.com/"),
            ("HTTPS://Example.COM:443/a?b=c#d", "https://example.com/a?b=c"),
            ("http://8.8.8.8:8080/x", "http://8.8.8.8:8080/x"),
        ] {
            assert_eq!(guard.check_url(url).as_deref(), Ok(called));
        }
    }
}
