//! The canonical text of metadata (RFC 8785), and reading the session id from it.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::event::member_name::string;

/// The RFC 8785 canonical text of an object.
pub(super) fn canonical(object: &Map<String, Value>) -> String {
    // Neither call fails: only numbers that are not finite would fail, and JSON text has none.
    if is_plain(object) {
        serde_json::to_string(object).unwrap_or_default()
    } else {
        serde_json_canonicalizer::to_string(object).unwrap_or_default()
    }
}

/// Whether serde_json's output for an object is already canonical, at a third of the cost: true for
/// most metadata, which has only ASCII names in the order of their bytes, and no fractions.
fn is_plain(object: &Map<String, Value>) -> bool {
    object.keys().is_sorted()
        && object.iter().all(|(name, value)| {
            name.is_ascii()
                && match value {
                    Value::Null | Value::Bool(_) | Value::String(_) => true,
                    Value::Number(number) => !number.is_f64(),
                    Value::Object(object) => is_plain(object),
                    Value::Array(_) => false,
                }
        })
}

/// The name of the member that has the session id. Each event is searched for it several times.
static MEMBER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"session_id\":"));

/// The text under `session_id` of canonical metadata.
pub(crate) fn session_id(metadata: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Only<'a> {
        #[serde(borrow)]
        session_id: Option<&'a RawValue>,
    }
    let begin = MEMBER.find(metadata.as_bytes())?;
    let (before, value) = (&metadata[..begin], &metadata[begin + MEMBER.needle().len()..]);
    // After a brace or a comma this is a name: within a text its quote would follow a backslash. If
    // there is no object within the object, which is usual, it is a name of the outer object.
    let is_flat = memchr::memchr2(b'{', b'[', metadata.as_bytes().get(1..)?).is_none();
    if is_flat
        && before.ends_with(['{', ','])
        && let Some(text) = value.strip_prefix('"')
        && let Some(end) = memchr::memchr2(b'"', b'\\', text.as_bytes())
        && text[end..].starts_with('"')
    {
        return Some(Cow::Borrowed(&text[..end]));
    }
    // A value that is not a string has no text.
    string(serde_json::from_str::<Only<'_>>(metadata).ok()?.session_id?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("session_id".to_owned()),
            r#"[a{\[,":]{0,3}"#,
            r#"[a,]?"session_id("|":|":")?"#,
            "[a-z]{1,4}",
        ]
    }

    fn values() -> impl Strategy<Value = Value> {
        let text = || texts().prop_map(Value::from);
        let object = (texts(), texts()).prop_map(|(name, text)| serde_json::json!({ name: text }));
        prop_oneof![4 => text(), 1 => any::<i32>().prop_map(Value::from), 1 => object,
            1 => text().prop_map(|text| serde_json::json!([text]))]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn the_session_id_is_the_text_of_the_member_of_that_name(
            members in prop::collection::vec((texts(), values()), 0..4),
        ) {
            let object: Map<String, Value> = members.into_iter().collect();
            let metadata = canonical(&object);
            let expected = object.get("session_id").and_then(Value::as_str);
            let found = session_id(&metadata);
            prop_assert_eq!(found.as_deref(), expected, "{}", metadata);
        }
    }
}
