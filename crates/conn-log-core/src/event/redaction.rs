//! Redaction: finds metadata that may hold a secret, by its name.
//!
//! A secret that is never stored cannot leak. The value under a sensitive name is replaced before
//! the event is hashed, stored or shown; the name stays, so that readers see that there was a
//! value.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// The text that replaces a sensitive value.
pub const REDACTED: &str = "[REDACTED]";

/// A name that contains one of these is sensitive: `db_password`, `X-Api-Key`, `clientSecret`.
const SENSITIVE_PARTS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "credential",
    "apikey",
    "privatekey",
    "accesskey",
    "authorization",
    "cookie",
    "creditcard",
    "cardnumber",
    "socialsecurity",
];

/// A name that ends with one of these is sensitive: `access_token`, but not `token_count`.
const SENSITIVE_ENDINGS: &[&str] = &["token", "tokens", "jwt", "bearer"];

/// Sensitive only as whole names: harmless words contain them too.
const SENSITIVE_NAMES: &[&str] = &["auth", "pwd", "pin", "cvv", "cvc", "ssn", "otp", "iban"];

/// The contract's own names in metadata. Most events have some of them, and none is sensitive
/// unless a deployment says so: they are not compared with the lists above.
const CONTRACT_NAMES: &[&str] =
    &["connection_status", "data_transferred", "network_type", "session_id", "signal_strength"];

/// Finds sensitive names. Case, `_`, `-`, `.` and spaces make no difference.
///
/// ```
/// use conn_log_core::SensitiveKeys;
///
/// let keys = SensitiveKeys::default().with("badge_number");
/// assert!(keys.matches("Access-Token") && keys.matches("badgeNumber"));
/// assert!(!keys.matches("session_id") && !keys.matches("token_count"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct SensitiveKeys {
    own: BTreeSet<String>,
}

impl SensitiveKeys {
    /// Adds `name` as sensitive.
    #[must_use]
    pub fn with(mut self, name: &str) -> Self {
        self.own.insert(squash(name).into_owned());
        self
    }

    /// Whether the value under `name` must be redacted.
    pub fn matches(&self, name: &str) -> bool {
        if CONTRACT_NAMES.contains(&name) {
            return !self.own.is_empty() && self.own.contains(&*squash(name));
        }
        let name = squash(name);
        has_sensitive_part(&name)
            || SENSITIVE_ENDINGS.iter().any(|ending| name.ends_with(ending))
            || SENSITIVE_NAMES.contains(&&*name)
            || self.own.contains(&*name)
    }
}

/// Whether `name` contains one of [`SENSITIVE_PARTS`]. It runs for every name of every event: one
/// pass, which compares the parts only at bytes that a part begins with.
fn has_sensitive_part(name: &str) -> bool {
    const FIRST_BYTES: [bool; 256] = {
        let mut first = [false; 256];
        let mut i = 0;
        while i < SENSITIVE_PARTS.len() {
            first[SENSITIVE_PARTS[i].as_bytes()[0] as usize] = true;
            i += 1;
        }
        first
    };
    let bytes = name.as_bytes();
    (0..bytes.len()).filter(|&i| FIRST_BYTES[usize::from(bytes[i])]).any(|i| {
        let rest = &bytes[i..];
        // The first byte alone tells most of them apart.
        let begin = |part: &&&str| part.as_bytes().first() == rest.first();
        SENSITIVE_PARTS.iter().filter(begin).any(|part| rest.starts_with(part.as_bytes()))
    })
}

/// `name` in lower case, without the separators of its words.
fn squash(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Cow::Borrowed(name);
    }
    if name.is_ascii() {
        let mut squashed = String::with_capacity(name.len());
        squashed
            .extend(name.chars().filter(|&c| is_no_separator(c)).map(|c| c.to_ascii_lowercase()));
        return Cow::Owned(squashed);
    }
    let letters = name.chars().filter(|&c| is_no_separator(c)).flat_map(char::to_lowercase);
    Cow::Owned(letters.collect())
}

fn is_no_separator(c: char) -> bool {
    !matches!(c, '_' | '-' | '.' | ' ')
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    fn a_secret_s_name_is_sensitive_however_it_is_written(
        #[values(
            "password",
            "DB_PASSWORD",
            "userPassword",
            "client-secret",
            "api_key",
            "X-Api-Key",
            "accessToken",
            "refresh_token",
            "Authorization",
            "Set-Cookie",
            "PIN",
            "cvv"
        )]
        name: &str,
    ) {
        assert!(SensitiveKeys::default().matches(name));
    }

    #[rstest]
    fn a_harmless_name_is_left_alone(
        #[values(
            "session_id",
            "protocol",
            "author",
            "token_count",
            "ping_ms",
            "spinning",
            "keyboard",
            "network_type",
            "authenticated",
            "pass_count"
        )]
        name: &str,
    ) {
        assert!(!SensitiveKeys::default().matches(name));
    }

    #[rstest]
    fn a_name_of_the_contract_is_sensitive_only_where_a_deployment_says_so(
        #[values(0, 1, 2, 3, 4)] index: usize,
    ) {
        let name = CONTRACT_NAMES[index];
        assert!(!SensitiveKeys::default().matches(name));
        assert!(!SensitiveKeys::default().with("another").matches(name));
        assert!(SensitiveKeys::default().with(name).matches(name));
    }
}
