//! Which metadata may hold a secret, told by its name.
//!
//! A secret that is never stored cannot leak. What stands under a sensitive name is replaced
//! before the event is hashed, stored or shown; the name stays, so that readers see that
//! something was there.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// What stands in a sensitive value's place.
pub const REDACTED: &str = "[REDACTED]";

/// A name with one of these in it is sensitive, whatever stands around it: `db_password`,
/// `X-Api-Key`, `clientSecret`.
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

/// A name that ends in one of these is sensitive: `access_token`, but not `token_count`.
const SENSITIVE_ENDINGS: &[&str] = &["token", "tokens", "jwt", "bearer"];

/// Only these names as a whole: they are parts of harmless words too.
const SENSITIVE_NAMES: &[&str] = &["auth", "pwd", "pin", "cvv", "cvc", "ssn", "otp", "iban"];

/// The contract's own names in metadata. Most events have some of them, and none is sensitive unless
/// a deployment says so: the lists above are not asked for them.
const CONTRACT_NAMES: &[&str] =
    &["connection_status", "data_transferred", "network_type", "session_id", "signal_strength"];

/// Tells sensitive names from others. Case, `_`, `-`, `.` and spaces make no difference.
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
    /// Also takes `name` as sensitive.
    #[must_use]
    pub fn with(mut self, name: &str) -> Self {
        self.own.insert(squash(name).into_owned());
        self
    }

    /// Whether what stands under `name` is to be redacted.
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

/// Whether one of [`SENSITIVE_PARTS`] stands anywhere in `name`. Every name of every event comes by
/// here: one pass, which looks closer only where the first byte of a part stands.
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
        SENSITIVE_PARTS.iter().any(|part| rest.starts_with(part.as_bytes()))
    })
}

/// `name` in lower case, without what separates its words.
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
