//! Signatures of Standard Webhooks, symmetric.

use conn_log_store::WebhookSecret;
use data_encoding::BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The value of `webhook-signature`: a signature with each secret, of `id.timestamp.body`.
pub(super) fn signatures(
    secrets: &[&WebhookSecret],
    id: &str,
    timestamp_seconds: i64,
    body: &str,
) -> String {
    let signed = format!("{id}.{timestamp_seconds}.{body}");
    let signature = |secret: &&WebhookSecret| format!("v1,{}", signature(&secret.key(), &signed));
    secrets.iter().map(signature).collect::<Vec<_>>().join(" ")
}

fn signature(key: &[u8], signed: &str) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(signed.as_bytes());
    BASE64.encode(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_the_published_library() {
        let (one, two) = (WebhookSecret::generate().unwrap(), WebhookSecret::generate().unwrap());
        let body = r#"{"type":"alert.opened"}"#;
        let signed = signatures(&[&one, &two], "msg_1", 1_700_000_000, body);
        let theirs = |secret: &WebhookSecret| {
            let webhook = standardwebhooks::Webhook::new(secret.reveal()).unwrap();
            webhook.sign("msg_1", 1_700_000_000, body.as_bytes()).unwrap()
        };
        assert_eq!(signed, format!("{} {}", theirs(&one), theirs(&two)));
    }
}
