//! Where the log is kept, as the command line names it.
//!
//! A password that a PostgreSQL URL carries is never shown: not by `Display`, not by `Debug`.

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

/// Why a text is not a [`DatabaseUrl`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlError {
    /// It begins with the name of something else.
    #[error("{0}:// is not a database this program knows; it knows sqlite:// and postgres://")]
    UnknownScheme(String),
    /// It is not a URL.
    #[error(
        "not a database URL; one looks like sqlite://data/conn-log.db or postgres://user@host/db"
    )]
    NotAUrl,
    /// `sqlite://` with nothing behind it.
    #[error("sqlite:// needs the path of a file, as in sqlite://data/conn-log.db")]
    NoPath,
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or(DatabaseUrlError::NotAUrl)?;
        match scheme {
            "sqlite" if rest.is_empty() => Err(DatabaseUrlError::NoPath),
            "sqlite" => Ok(DatabaseUrl::Sqlite(PathBuf::from(rest))),
            "postgres" | "postgresql" => Ok(DatabaseUrl::Postgres(PostgresUrl(text.to_owned()))),
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
}

impl PostgresUrl {
    /// The whole URL for libpq, with these parameters where it does not set them itself.
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

    /// Without its password, in either place where one can be.
    fn without_password(&self) -> String {
        let (address, query) = match self.0.split_once('?') {
            Some((address, query)) => (address, Some(query)),
            None => (self.0.as_str(), None),
        };
        let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
        // A password may hold any character, a slash or an at sign too: the last at sign ends it.
        let mut shown = match rest.rsplit_once('@') {
            Some((user, host)) => {
                let user = user.split_once(':').map_or(user, |(name, _)| name);
                format!("{scheme}://{user}@{host}")
            }
            None => format!("{scheme}://{rest}"),
        };
        let kept: Vec<&str> = query
            .into_iter()
            .flat_map(|query| query.split('&'))
            .filter(|pair| !pair.to_ascii_lowercase().contains("password"))
            .collect();
        if !kept.is_empty() {
            shown.push('?');
            shown.push_str(&kept.join("&"));
        }
        shown
    }
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
            "postgresql://u:s3cret/@x@h/db?sslmode=require",
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
    fn defaults_give_way_to_what_the_url_says() {
        let DatabaseUrl::Postgres(url) = parse("postgres://h/db?connect_timeout=9").unwrap() else {
            panic!("a postgres URL");
        };
        let whole =
            url.with_defaults(&[("connect_timeout", "5"), ("application_name", "conn-log")]);
        assert_eq!(whole, "postgres://h/db?connect_timeout=9&application_name=conn-log");
    }
}
