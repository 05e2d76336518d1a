//! Bearer secrets: generated, parsed and hashed; never stored, and shown only on request.

use std::fmt;
use std::hash::{Hash, Hasher};

use data_encoding::{Encoding, Specification};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The prefix by which scanners for leaked secrets find our tokens.
const PREFIX: &str = "clog_";
const RANDOM_BYTES: usize = 32;
/// CRC-32 of the random bytes: tells a mistyped token from an unknown one without a look-up.
const CHECKSUM_BYTES: usize = 4;

/// The text of a token: `clog_`, 256 random bits and their checksum.
///
/// ```
/// use conn_log_store::Secret;
///
/// let secret = Secret::generate().unwrap();
/// assert_eq!(Secret::parse(secret.reveal()), Some(secret.clone()));
/// assert_eq!(format!("{secret:?}"), "Secret(…)");
/// ```
#[derive(Clone)]
pub struct Secret(String);

/// SHA-256 of a secret's whole text: the store keeps only this.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl Eq for SecretHash {}

/// Equal hashes have equal bytes.
impl Hash for SecretHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Secret {
    /// Generates a secret. Fails only if the system gives no random bytes.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; RANDOM_BYTES + CHECKSUM_BYTES];
        getrandom::fill(&mut bytes[..RANDOM_BYTES])?;
        let checksum = crc32fast::hash(&bytes[..RANDOM_BYTES]);
        bytes[RANDOM_BYTES..].copy_from_slice(&checksum.to_be_bytes());
        Ok(Secret(format!("{PREFIX}{}", base32().encode(&bytes))))
    }

    /// Parses the text of a token. `None` if it cannot be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = base32().decode(text.strip_prefix(PREFIX)?.as_bytes()).ok()?;
        if bytes.len() != RANDOM_BYTES + CHECKSUM_BYTES {
            return None;
        }
        let (random, checksum) = bytes.split_at(RANDOM_BYTES);
        (crc32fast::hash(random).to_be_bytes() == checksum).then(|| Secret(text.to_owned()))
    }

    /// The text of the secret, for its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The hash that finds the token in the store.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.hash() == other.hash()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl SecretHash {
    /// The hash of the text that a client sends as its token, well-formed or not: a malformed token
    /// takes the same steps as a well-formed one.
    pub fn of(text: &str) -> Self {
        SecretHash(Sha256::digest(text.as_bytes()).into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Compares in constant time, wherever the bytes differ.
impl PartialEq<[u8]> for SecretHash {
    fn eq(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        *self == other.0[..]
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// RFC 4648 base32 in lower case without padding.
fn base32() -> Encoding {
    let mut specification = Specification::new();
    specification.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification.encoding().unwrap_or(data_encoding::BASE32_NOPAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_secret_is_not_read() {
        let secret = Secret::generate().unwrap();
        let text = secret.reveal();
        assert!(text.starts_with("clog_") && text.len() == 5 + 58);
        let last = if text.ends_with('a') { "b" } else { "a" };
        for wrong in [
            format!("{}{last}", &text[..text.len() - 1]),
            text.to_uppercase(),
            text.replace("clog_", ""),
            format!("{text}a"),
            String::new(),
        ] {
            assert!(Secret::parse(&wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_hash_is_of_the_whole_text() {
        let secret = Secret::generate().unwrap();
        let digest: [u8; 32] = Sha256::digest(secret.reveal().as_bytes()).into();
        assert!(secret.hash() == digest[..]);
        assert!(secret.hash() != [0; 32][..]);
    }
}
