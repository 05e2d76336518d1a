//! Filters from a query string's pairs of name and value.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::{EventFilter, FilterError, FilterErrorCode, MetadataFilter, MetadataPath};
use crate::Timestamp;

/// Limit of values of one repeatable filter: each value is a branch of the query.
const VALUES_MAX: usize = 100;

/// Limit of `metadata.<path>=<value>` filters: each is checked for every event that the other
/// filters let through.
const METADATA_FILTERS_MAX: usize = 8;

const RFC3339_IN_QUERY: &str =
    "an RFC 3339 date-time with an offset, such as 2024-01-15T10:30:00Z; a + is written %2B";

const SESSION_ID: &str = "a text of at least one character, and without U+0000";

const SECONDS: &str = "a number of seconds, 0 or more";

/// The decoded pairs of a query string.
type Pairs = Vec<(String, String)>;

impl EventFilter {
    /// Takes the filters from a query string's decoded pairs. Pairs with other names stay in
    /// `pairs`, for the caller to use or to refuse.
    ///
    /// ```
    /// use conn_log_core::EventFilter;
    ///
    /// let mut pairs = vec![
    ///     ("status".to_owned(), "failed".to_owned()),
    ///     ("limit".to_owned(), "5".to_owned()),
    /// ];
    /// let filter = EventFilter::from_query(&mut pairs).unwrap();
    /// assert_eq!(filter.statuses, ["failure"]);
    /// assert_eq!(pairs, [("limit".to_owned(), "5".to_owned())]);
    /// ```
    ///
    /// # Errors
    /// The first invalid filter.
    pub fn from_query(pairs: &mut Vec<(String, String)>) -> Result<Self, FilterError> {
        Self::from_pairs(pairs, RFC3339_IN_QUERY)
    }

    /// The same for pairs from a query string or from JSON; `time` says what a time is.
    pub(super) fn from_pairs(pairs: &mut Pairs, time: &str) -> Result<Self, FilterError> {
        Ok(EventFilter {
            device_ids: Self::values_from_query(pairs, "device_id")?,
            application_ids: Self::values_from_query(pairs, "application_id")?,
            connection_types: Self::values_from_query(pairs, "connection_type")?,
            statuses: Self::values_from_query(pairs, "status")?,
            ip_network: read(pairs, "ip_address", "an address or a CIDR block", network)?,
            session_id: read(pairs, "session_id", SESSION_ID, session_id)?,
            since: read(pairs, "since", time, Timestamp::parse)?,
            until: read(pairs, "until", time, Timestamp::parse)?,
            min_duration: read(pairs, "min_duration", SECONDS, seconds)?,
            max_duration: read(pairs, "max_duration", SECONDS, seconds)?,
            metadata: metadata(pairs)?,
        })
    }

    /// Takes the values of one repeatable filter, for a list that has only some of the filters. As
    /// in events, the status `failed` is read as `failure`.
    ///
    /// # Errors
    /// Too many values, or a value that no event can have.
    pub fn values_from_query(
        pairs: &mut Vec<(String, String)>,
        name: &str,
    ) -> Result<Vec<String>, FilterError> {
        let mut values = all(pairs, name);
        if values.len() > VALUES_MAX {
            let detail = format!("at most {VALUES_MAX} values");
            return Err(FilterError::new(name, FilterErrorCode::TooMany, detail));
        }
        if values.iter().any(String::is_empty) {
            let detail = "an empty value is in no event";
            return Err(FilterError::new(name, FilterErrorCode::InvalidValue, detail));
        }
        if values.iter().any(|value| value.contains('\0')) {
            let detail = "U+0000 is in no event";
            return Err(FilterError::new(name, FilterErrorCode::InvalidValue, detail));
        }
        if name == "status" {
            for value in values.iter_mut().filter(|value| *value == "failed") {
                "failure".clone_into(value);
            }
        }
        Ok(values)
    }
}

fn all(pairs: &mut Pairs, name: &str) -> Vec<String> {
    pairs.extract_if(.., |(other, _)| other == name).map(|(_, value)| value).collect()
}

fn one(pairs: &mut Pairs, name: &str) -> Result<Option<String>, FilterError> {
    let mut values = all(pairs, name);
    if values.len() > 1 {
        let detail = "this parameter stands once at most";
        return Err(FilterError::new(name, FilterErrorCode::Repeated, detail));
    }
    Ok(values.pop())
}

fn read<T>(
    pairs: &mut Pairs,
    name: &str,
    expected: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, FilterError> {
    let Some(text) = one(pairs, name)? else {
        return Ok(None);
    };
    let value = read(&text);
    value.map(Some).ok_or_else(|| FilterError::new(name, FilterErrorCode::InvalidValue, expected))
}

fn network(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical().into()),
        Err(_) => text.parse().ok().map(|network: IpNet| canonical(network.trunc())),
    }
}

/// Converts a block of IPv4-mapped IPv6 addresses to the block of the IPv4 addresses: no event has
/// a mapped address.
fn canonical(network: IpNet) -> IpNet {
    /// The number of bits before the IPv4 address in a mapped address.
    const MAPPED_BITS: u8 = 96;
    match (network, network.network().to_canonical()) {
        (IpNet::V6(mapped), IpAddr::V4(first)) => {
            let bits = mapped.prefix_len().checked_sub(MAPPED_BITS);
            bits.and_then(|bits| Ipv4Net::new(first, bits).ok()).map_or(network, IpNet::V4)
        }
        _ => network,
    }
}

fn session_id(text: &str) -> Option<String> {
    (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned())
}

fn seconds(text: &str) -> Option<f64> {
    text.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0)
}

/// Sorted, so that equal filters in another order give the same result.
fn metadata(pairs: &mut Pairs) -> Result<Vec<MetadataFilter>, FilterError> {
    let given = pairs.extract_if(.., |(name, _)| name.starts_with("metadata."));
    let given: Pairs = given.collect();
    if given.len() > METADATA_FILTERS_MAX {
        let detail = format!("at most {METADATA_FILTERS_MAX} metadata filters");
        return Err(FilterError::new("metadata", FilterErrorCode::TooMany, detail));
    }
    let filter = |(name, value): (String, String)| {
        let path = MetadataPath::parse(&name["metadata.".len()..])?;
        (!value.contains('\0')).then_some(MetadataFilter { path, value })
    };
    let filters: Option<Vec<_>> = given.into_iter().map(filter).collect();
    let mut filters = filters.ok_or_else(|| {
        let detail = "one to eight member names from the outside in, with a dot between two";
        FilterError::new("metadata", FilterErrorCode::InvalidValue, detail)
    })?;
    filters.sort();
    Ok(filters)
}
