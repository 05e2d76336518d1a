//! The secrets that sign what webhooks are sent (Standard Webhooks, symmetric).

use std::fmt;

use data_encoding::BASE64;

/// Standard Webhooks' prefix of such secrets.
const PREFIX: &str = "whsec_";
/// The standard allows 24 to 64 bytes.
const RANDOM_BYTES: usize = 32;

/// A secret: `whsec_` and the base64 of 32 random bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(String);

impl WebhookSecret {
    /// Generates a secret. Fails only if the system gives no random bytes.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; RANDOM_BYTES];
        getrandom::fill(&mut bytes)?;
        Ok(WebhookSecret(format!("{PREFIX}{}", BASE64.encode(&bytes))))
    }

    pub(crate) fn of_text(text: String) -> Self {
        WebhookSecret(text)
    }

    /// The text of the secret, for its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The key that signs.
    pub fn key(&self) -> Vec<u8> {
        let encoded = self.0.strip_prefix(PREFIX).unwrap_or(&self.0);
        BASE64.decode(encoded.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_32_bytes_and_is_not_shown_by_accident() {
        let (one, other) = (WebhookSecret::generate().unwrap(), WebhookSecret::generate().unwrap());
        assert!(one.reveal().starts_with("whsec_") && one != other);
        assert_eq!(one.key().len(), 32);
        assert_eq!(format!("{one:?}"), "WebhookSecret(…)");
    }
}
