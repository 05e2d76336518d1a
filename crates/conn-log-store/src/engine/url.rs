//! The URL of the database, as given on the command line.
//!
//! The password in a PostgreSQL URL is never shown: neither by `Display` nor by `Debug`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A SQLite file or a PostgreSQL database.
///
/// ```
/// use conn_log_store::DatabaseUrl;
///
/// let url: DatabaseUrl = "postgres://conn_log:secret@db.example/log".parse().unwrap();
/// assert_eq!(url.to_string(), "postgres://conn_log@db.example/log");
/// assert!("mysql://db.example/log".parse::<DatabaseUrl>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite://path/to/file.db`; `sqlite:///` begins an absolute path.
    Sqlite(PathBuf),
    /// `postgres://user@host/db` or `postgresql://…`, as libpq reads it.
    Postgres(PostgresUrl),
}

/// A PostgreSQL URL, which may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

/// The reason why a text is not a [`DatabaseUrl`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// Its scheme belongs to another database.
    #[error("{0}:// is not a database this program knows; it knows sqlite:// and postgres://")]
    UnknownScheme(String),
    /// It is not a URL.
    #[error(
        "not a database URL; one looks like sqlite://data/conn-log.db or postgres://user@host/db"
    )]
    NotAUrl,
    /// `sqlite://` without a path.
    #[error("sqlite:// needs the path of a file, as in sqlite://data/conn-log.db")]
    NoPath,
    /// `sqlite://` with a text that other programs read differently.
    #[error("sqlite:// takes the path of a file and no parameters; :memory: is not a file")]
    NotAPath,
    /// A PostgreSQL URL that can be read in more than one way, or in none. The error does not quote
    /// it, because any part of it may belong to the password.
    #[error(
        "not a PostgreSQL URL: {0}. It looks like postgres://user@host:5432/db?name=value; in user \
         name and password the characters @ : / ? # % & are written %40 %3A %2F %3F %23 %25 %26"
    )]
    Postgres(&'static str),
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or(DatabaseUrlError::NotAUrl)?;
        match scheme {
            "sqlite" if rest.is_empty() => Err(DatabaseUrlError::NoPath),
            "sqlite" if rest.contains('?') || rest == ":memory:" => Err(DatabaseUrlError::NotAPath),
            "sqlite" => Ok(DatabaseUrl::Sqlite(PathBuf::from(rest))),
            "postgres" | "postgresql" => match PostgresParts::of(rest).fault() {
                Some(fault) => Err(DatabaseUrlError::Postgres(fault)),
                None => Ok(DatabaseUrl::Postgres(PostgresUrl(text.to_owned()))),
            },
            _ if is_scheme(scheme) => Err(DatabaseUrlError::UnknownScheme(scheme.to_owned())),
            _ => Err(DatabaseUrlError::NotAUrl),
        }
    }
}

impl DatabaseUrl {
    /// The file of an embedded database.
    pub fn file(&self) -> Option<&Path> {
        match self {
            DatabaseUrl::Sqlite(path) => Some(path),
            DatabaseUrl::Postgres(_) => None,
        }
    }

    /// The file of derived data beside the file of an embedded database.
    pub(crate) fn derived(&self) -> Option<DatabaseUrl> {
        let mut path = self.file()?.as_os_str().to_owned();
        path.push("-derived");
        Some(DatabaseUrl::Sqlite(path.into()))
    }
}

impl PostgresUrl {
    /// The whole URL for libpq, with these parameters added if the URL does not set them.
    pub(crate) fn with_defaults(&self, defaults: &[(&str, &str)]) -> String {
        let mut url = self.0.clone();
        let given = url.split_once('?').map_or("", |(_, query)| query).to_owned();
        for (name, value) in defaults {
            let is_given = given.split('&').any(|pair| {
                pair.split_once('=').is_some_and(|(given_name, _)| given_name == *name)
            });
            if !is_given {
                let separator = if url.contains('?') { '&' } else { '?' };
                url.push(separator);
                url.push_str(name);
                url.push('=');
                url.push_str(value);
            }
        }
        url
    }

    /// User and host, without the password, and only those parameters that cannot hold a secret.
    fn without_password(&self) -> String {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("postgres", &self.0));
        let parts = PostgresParts::of(rest);
        let mut shown = format!("{scheme}://");
        if let Some(user) = parts.user {
            shown.push_str(user.split_once(':').map_or(user, |(name, _)| name));
            shown.push('@');
        }
        shown.push_str(parts.hosts);
        shown.push_str(parts.path);
        let is_harmless =
            |pair: &&str| pair.split_once('=').is_some_and(|(name, _)| SHOWN.contains(&name));
        let kept: Vec<&str> = parts.parameters().filter(is_harmless).collect();
        if !kept.is_empty() {
            shown.push('?');
            shown.push_str(&kept.join("&"));
        }
        shown
    }
}

/// Parameters of libpq that never hold a secret.
const SHOWN: &[&str] = &[
    "application_name",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "user",
];

/// The parts of a PostgreSQL URL after its scheme, split in the same way as libpq does.
#[derive(Clone, Copy, Debug)]
struct PostgresParts<'a> {
    /// With the password, if there is one.
    user: Option<&'a str>,
    /// Hosts with their ports.
    hosts: &'a str,
    /// The text from the slash on.
    path: &'a str,
    query: &'a str,
}

impl<'a> PostgresParts<'a> {
    fn of(rest: &'a str) -> Self {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        PostgresParts { user, hosts, path, query }
    }

    fn parameters(self) -> impl Iterator<Item = &'a str> {
        self.query.split('&').filter(|pair| !pair.is_empty())
    }

    /// The reason why the URL is malformed. libpq would report it too, but quote the text that it
    /// takes for a port or a host: this can be a part of the password if a character is not
    /// escaped.
    fn fault(self) -> Option<&'static str> {
        let user = self.user.unwrap_or_default();
        let is_name = |pair: &str| {
            pair.split_once('=').is_some_and(|(name, _)| {
                !name.is_empty()
                    && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            })
        };
        if user.contains('@') || self.path.contains('@') || self.query.contains('@') {
            Some("an @ stands where none can be")
        } else if user.matches(':').count() > 1 {
            Some("a : stands in the password")
        } else if !self.hosts.split(',').all(has_good_port) {
            Some("a port is not a number")
        } else if !self.parameters().all(is_name) {
            Some("a parameter is not name=value")
        } else if [user, self.hosts, self.path, self.query].iter().any(|part| !is_escaped(part)) {
            Some("a % does not begin an escape")
        } else {
            None
        }
    }
}

/// Whether the text after a host's last colon is a port. IPv6 addresses stand in brackets.
fn has_good_port(host: &str) -> bool {
    let behind_brackets = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
    match behind_brackets.split_once(':') {
        Some((_, port)) => port.is_empty() || port.parse::<u16>().is_ok(),
        None => true,
    }
}

/// Whether each percent sign is followed by two hexadecimal digits, not both 0.
fn is_escaped(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit) && digits != b"00")
    })
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseUrl::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            DatabaseUrl::Postgres(url) => f.write_str(&url.without_password()),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({})", self.without_password())
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DatabaseUrl, DatabaseUrlError> {
        text.parse()
    }

    #[test]
    fn a_path_is_relative_after_two_slashes_and_absolute_after_three() {
        assert_eq!(parse("sqlite://data/a.db"), Ok(DatabaseUrl::Sqlite("data/a.db".into())));
        assert_eq!(parse("sqlite:///srv/a.db"), Ok(DatabaseUrl::Sqlite("/srv/a.db".into())));
        assert_eq!(parse("sqlite://"), Err(DatabaseUrlError::NoPath));
    }

    #[test]
    fn another_database_is_refused_by_name() {
        let refused = parse("mysql://host/db").unwrap_err();
        assert!(refused.to_string().starts_with("mysql://"), "{refused}");
        assert_eq!(parse("data/a.db"), Err(DatabaseUrlError::NotAUrl));
        assert_eq!(parse("my password://x"), Err(DatabaseUrlError::NotAUrl));
    }

    #[test]
    fn a_password_is_never_shown() {
        for text in [
            "postgres://u:s3cret@h:5432/db",
            "postgresql://u:s3cret%2F%40x@h/db?sslmode=require",
            "postgres://u@h/db?pasword=s3cret",
            "postgres://u@h/db?options=s3cret",
            "postgres://u@h/db?password=s3cret&sslmode=require",
            "postgres://u@h/db?sslpassword=s3cret",
        ] {
            let url = parse(text).unwrap();
            for shown in [url.to_string(), format!("{url:?}"), format!("{url:#?}")] {
                assert!(!shown.contains("s3cret"), "{shown}");
                assert!(shown.contains("u@h"), "{shown}");
            }
        }
    }

    #[test]
    fn a_password_that_is_not_escaped_is_refused_without_being_said() {
        for text in [
            "postgres://u:s3/cret@h/db",
            "postgres://u:s3@cret@h/db",
            "postgres://u:s3?cret@h/db",
            "postgres://u:s3:cret@h/db",
            "postgres://u:s3%zzcret@h/db",
            "postgres://u:s3cret",
            "postgres://u@h/db?password=s3%zzcret",
            "postgres://u@h/db?s3cret",
            "host=h user=u password=s3cret",
            "postgre://u:s3cret@h/db",
        ] {
            let refused = format!("{0} {0:?}", parse(text).unwrap_err());
            assert!(!refused.contains("s3") && !refused.contains("cret"), "{text}: {refused}");
        }
    }

    #[test]
    fn several_hosts_sockets_and_ipv6_addresses_are_taken() {
        for text in [
            "postgres:///db?host=/run/postgresql",
            "postgres://u@a:5432,b:5433/db?target_session_attrs=read-write",
            "postgres://u@[::1]:5432/db",
            "postgres://%2Frun%2Fpostgresql/db",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_sqlite_url_takes_no_parameters() {
        for text in ["sqlite://a.db?mode=ro", "sqlite://:memory:"] {
            assert_eq!(parse(text), Err(DatabaseUrlError::NotAPath));
        }
    }

    #[test]
    fn the_url_overrides_the_defaults() {
        let DatabaseUrl::Postgres(url) = parse("postgres://h/db?connect_timeout=9").unwrap() else {
            panic!("a postgres URL");
        };
        let whole =
            url.with_defaults(&[("connect_timeout", "5"), ("application_name", "conn-log")]);
        assert_eq!(whole, "postgres://h/db?connect_timeout=9&application_name=conn-log");
    }
}
