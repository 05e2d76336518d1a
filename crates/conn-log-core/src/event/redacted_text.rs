//! Redaction of text that is kept although no event could be made of it.
//!
//! The text may be JSON that is cut off, JSON within JSON, a form, or no JSON at all. So the search
//! needs no parser: it looks for a sensitive name that is followed by `:` or `=`, and replaces the
//! value after it. Where it cannot tell the end of a value it replaces too much and not too little.

use std::borrow::Cow;

use super::redaction::{REDACTED, SensitiveKeys};

/// JSON within JSON is searched down to this level: an envelope is one.
const LEVELS_MAX: usize = 4;

/// The text with the value under each sensitive name replaced.
pub(super) fn redact<'t>(text: &'t str, sensitive: &SensitiveKeys) -> Cow<'t, str> {
    let mut search = Search { text, sensitive, at: 0, copied: 0, redacted: String::new() };
    search.run(LEVELS_MAX);
    search.end()
}

struct Search<'t, 's> {
    text: &'t str,
    sensitive: &'s SensitiveKeys,
    /// The byte that is looked at.
    at: usize,
    /// Bytes of `text` that `redacted` stands for.
    copied: usize,
    redacted: String,
}

impl<'t> Search<'t, '_> {
    fn run(&mut self, levels: usize) {
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b'"' => self.string(levels),
                byte if is_of_name(*byte) => self.bare_name(),
                _ => self.at += 1,
            }
        }
    }

    fn end(mut self) -> Cow<'t, str> {
        if self.copied == 0 {
            return Cow::Borrowed(self.text);
        }
        self.redacted.push_str(&self.text[self.copied..]);
        Cow::Owned(self.redacted)
    }

    /// A quoted text: a name if a colon follows, else a value that may be JSON itself.
    fn string(&mut self, levels: usize) {
        let start = self.at;
        let end = end_of_string(self.text, start);
        let inside =
            self.text[start + 1..end].strip_suffix('"').unwrap_or(&self.text[start + 1..end]);
        self.at = end;
        if let Some(value) = self.value_after(end) {
            if self.sensitive.matches(&unescaped(inside)) {
                self.replace(value);
            }
        } else if levels > 0 && inside.contains('\\') {
            let text = unescaped(inside);
            let mut search = Search {
                text: &text,
                sensitive: self.sensitive,
                at: 0,
                copied: 0,
                redacted: String::new(),
            };
            search.run(levels - 1);
            if let Cow::Owned(redacted) = search.end() {
                self.copy(start);
                // Serializing a text cannot fail.
                self.redacted.push_str(&serde_json::to_string(&redacted).unwrap_or_default());
                self.copied = end;
            }
        }
    }

    /// A name without quotes, as in a form.
    fn bare_name(&mut self) {
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(|byte| is_of_name(*byte)).count();
        let name = &rest[..length];
        self.at += length;
        let end = self.at + usize::from(rest[length..].starts_with('\''));
        if let Some(value) = self.value_after(end)
            && self.sensitive.matches(name)
        {
            self.replace(value);
        }
    }

    /// The start of the value of a name that ends here, if there is a value.
    fn value_after(&self, end: usize) -> Option<usize> {
        let rest = self.text[end..].trim_start();
        let value = rest.strip_prefix([':', '='])?.trim_start_matches([' ', '\t', '\r', '\n']);
        Some(self.text.len() - value.len())
    }

    fn replace(&mut self, value: usize) {
        let end = end_of_value(self.text, value);
        self.copy(value);
        self.redacted.push('"');
        self.redacted.push_str(REDACTED);
        self.redacted.push('"');
        self.copied = end;
        self.at = end;
    }

    fn copy(&mut self, end: usize) {
        self.redacted.push_str(&self.text[self.copied..end]);
    }
}

/// Bytes of a name without quotes. All bytes of a letter beyond ASCII belong to it.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') || !byte.is_ascii()
}

/// The end of the quoted text that starts at `start`: behind its closing quote.
fn end_of_string(text: &str, start: usize) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(start + 1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The end of the value that starts at `start`.
fn end_of_value(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    match bytes.get(start) {
        Some(b'"') => end_of_string(text, start),
        Some(b'{' | b'[') => {
            let (mut at, mut open) = (start, 0_usize);
            while let Some(byte) = bytes.get(at) {
                match byte {
                    b'"' => {
                        at = end_of_string(text, at);
                        continue;
                    }
                    b'{' | b'[' => open += 1,
                    b'}' | b']' => open -= 1,
                    _ => {}
                }
                at += 1;
                if open == 0 {
                    break;
                }
            }
            at
        }
        _ => {
            let ends = [',', '&', ';', '}', ']', '\n', '\r'];
            text[start..].find(ends).map_or(text.len(), |length| start + length)
        }
    }
}

/// The content of a quoted text, also if an escape of it is broken.
fn unescaped(inside: &str) -> Cow<'_, str> {
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let text = serde_json::from_str(&format!("\"{inside}\""));
    text.map_or_else(|_| Cow::Owned(inside.replace("\\\"", "\"").replace("\\\\", "\\")), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn redacted(text: &str) -> String {
        redact(text, &SensitiveKeys::default()).into_owned()
    }

    #[rstest]
    #[case(r#"{"password": "hunter2", "a": 1}"#, r#"{"password": "[REDACTED]", "a": 1}"#)]
    #[case(r#"{"a":{"api_key":12}}"#, r#"{"a":{"api_key":"[REDACTED]"}}"#)]
    #[case(r#"{"secret":{"x":["}",{"y":1}]},"b":2}"#, r#"{"secret":"[REDACTED]","b":2}"#)]
    #[case(r#"{"pass\u0077ord":"x"}"#, r#"{"pass\u0077ord":"[REDACTED]"}"#)]
    #[case(r#"{"password": "hunt"#, r#"{"password": "[REDACTED]""#)]
    #[case(r#"{"secret": [1, {"#, r#"{"secret": "[REDACTED]""#)]
    #[case(r#"{"data": "{\"pin\": \"1\"}"}"#, r#"{"data": "{\"pin\": \"[REDACTED]\"}"}"#)]
    #[case(r#"{"data": "{\"pin\": \"1"#, r#"{"data": "{\"pin\": \"[REDACTED]\"""#)]
    #[case("user=bob&password=hunter2&a=1", "user=bob&password=\"[REDACTED]\"&a=1")]
    #[case("{password: 'x y'}", "{password: \"[REDACTED]\"}")]
    #[case("{'password': 'x'}", "{'password': \"[REDACTED]\"}")]
    #[case("Authorization: Bearer abc\nHost: x", "Authorization: \"[REDACTED]\"\nHost: x")]
    fn a_sensitive_value_is_replaced(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(redacted(text), expected);
    }

    #[rstest]
    fn other_text_stays_as_it_is(
        #[values(
            "",
            "{",
            "\"",
            "\"\\",
            "not json",
            r#"{"token_count": 3, "note": "password"}"#,
            r#"{"a": "\"b\": 1", "ä": [1, 2]}"#,
            "password",
            r#"["password", "x"]"#
        )]
        text: &str,
    ) {
        assert_eq!(redacted(text), text);
    }

    proptest! {
        #[test]
        fn a_secret_in_json_never_stays_wherever_the_text_is_cut(
            name in "(pass_word|X-Api-Key|pin)", depth in 0_usize..4, cut in 0_usize..200,
        ) {
            let mut json = serde_json::json!({"a": "b", (name): {"c": ["hunter2"]}, "d": 1});
            for _ in 0..depth {
                json = serde_json::json!({"data": json.to_string(), "list": [json]});
            }
            let text = json.to_string();
            let cut = text.floor_char_boundary(cut.min(text.len()));
            prop_assert!(!redacted(&text[..cut]).contains("hunter"));
            prop_assert!(!redacted(&text).contains("hunter"));
        }

        #[test]
        fn any_text_has_an_end(text in r#"[a-c"\\:={\[\]},ä ]{0,40}"#) {
            redacted(&text);
        }
    }
}
