//! The form in which SQLite's rows hold metadata and user agent. Nothing here does I/O.
//!
//! The events of one program repeat the names of their metadata's members, and their user agent.
//! These texts stand once in the table of texts ([`crate::log::texts`]), and a row has their
//! numbers. The metadata `{"bytes":812,"network":"wifi","session_id":"s-7"}` is stored as
//!
//! ```text
//! 3.1⇥812⇥"wifi"⇥
//! ```
//!
//! with tabs for ⇥: the number of the *shape*, which is the names with tabs between them; the
//! number of the user agent; and the values. A value that is the event's session id is left out,
//! because the row has it in a column. Shape 0 is followed by the whole metadata. Agent 0 means
//! that the user agent stands in its column.
//!
//! A tab separates, because no canonical JSON text contains one. What is not packed begins with a
//! brace, as every JSON object does.

use std::borrow::Cow;

/// Between names, and before each value.
const TAB: char = '\t';

/// An object's names and values, in two texts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// With a tab between two names.
    pub(crate) shape: String,
    /// With a tab before each value.
    pub(crate) values: String,
}

impl Members {
    /// Splits canonical metadata into this, which is used again for one event after the other.
    /// `None` if there is nothing to split, or if it is not in the form that [`Packed::metadata`]
    /// gives back byte by byte.
    pub(crate) fn split(&mut self, metadata: &str, session_id: Option<&str>) -> Option<()> {
        self.shape.clear();
        self.values.clear();
        let bytes = metadata.as_bytes();
        if bytes.first() != Some(&b'{') || bytes.contains(&b'\t') {
            return None;
        }
        let mut from = 1;
        loop {
            if bytes.get(from) != Some(&b'"') {
                return None;
            }
            let name_end = string_end(bytes, from)?;
            if bytes.get(name_end) != Some(&b':') {
                return None;
            }
            let value_end = value_end(bytes, name_end + 1)?;
            let value = metadata.get(name_end + 1..value_end)?;
            if value.is_empty() {
                return None;
            }
            if !self.shape.is_empty() {
                self.shape.push(TAB);
            }
            self.shape.push_str(metadata.get(from..name_end)?);
            push_value(&mut self.values, value, session_id);
            if bytes.get(value_end) == Some(&b'}') {
                return (value_end + 1 == bytes.len()).then_some(());
            }
            from = value_end + 1;
        }
    }
}

/// Adds a value to packed values.
fn push_value(values: &mut String, value: &str, session_id: Option<&str>) {
    values.push(TAB);
    if !is_string(value, session_id) {
        values.push_str(value);
    }
}

/// Whether a JSON value is that text between quotes.
fn is_string(value: &str, text: Option<&str>) -> bool {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    inner.is_some() && inner == text
}

/// The place after the string that begins there.
fn string_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The place of the comma or brace after the value that begins there.
fn value_end(bytes: &[u8], from: usize) -> Option<usize> {
    let (mut at, mut depth) = (from, 0_usize);
    loop {
        match bytes.get(at)? {
            b',' | b'}' if depth == 0 => return Some(at),
            b'"' => {
                at = string_end(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
    }
}

/// Begins the packed text of an event with its numbers. What follows is the values, or for shape 0 a
/// tab and the whole metadata.
pub(crate) fn begin_packed(packed: &mut String, shape: u32, agent: u32) {
    packed.clear();
    let mut number = itoa::Buffer::new();
    packed.push_str(number.format(shape));
    packed.push('.');
    packed.push_str(number.format(agent));
}

/// The packed metadata of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed<'a> {
    /// The number of its shape; 0 if the metadata stands there as it is.
    pub(crate) shape: u32,
    /// The number of the user agent; 0 if the column has it.
    pub(crate) agent: u32,
    /// With a tab between two values.
    values: &'a str,
    session_id: Option<&'a str>,
}

impl<'a> Packed<'a> {
    /// Whether a text in the column is packed.
    pub(crate) fn is_packed(text: &str) -> bool {
        !text.starts_with('{')
    }

    /// Reads a packed text. `None` if it is damaged.
    pub(crate) fn of(text: &'a str, session_id: Option<&'a str>) -> Option<Self> {
        let (numbers, values) = text.split_once(TAB)?;
        let (shape, agent) = numbers.split_once('.')?;
        Some(Packed { shape: shape.parse().ok()?, agent: agent.parse().ok()?, values, session_id })
    }

    /// The metadata, with its shape. `None` if the two do not fit.
    pub(crate) fn metadata(self, shape: &Shape) -> Option<String> {
        let session_id = self.session_id.unwrap_or_default();
        let length = shape.bytes + self.values.len() + session_id.len() + 3;
        let mut json = String::with_capacity(length);
        let mut rest = Some(self.values);
        for before in &shape.before {
            let values = rest?;
            let end = values.bytes().position(|byte| byte == b'\t');
            let value = &values[..end.unwrap_or(values.len())];
            rest = end.map(|end| &values[end + 1..]);
            json.push_str(before);
            if value.is_empty() {
                self.session_id?;
                json.push('"');
                json.push_str(session_id);
                json.push('"');
            } else {
                json.push_str(value);
            }
        }
        json.push('}');
        rest.is_none().then_some(json)
    }

    /// The metadata of shape 0.
    pub(crate) fn plain(self) -> &'a str {
        self.values
    }

    /// The value at that place among the names of its shape; empty if it is the session id.
    pub(crate) fn raw_value(self, place: usize) -> Option<&'a str> {
        self.values.split(TAB).nth(place)
    }

    /// The value at that place as JSON.
    pub(crate) fn value(self, place: usize) -> Option<Cow<'a, str>> {
        match self.raw_value(place)? {
            "" => Some(Cow::Owned(format!("\"{}\"", self.session_id?))),
            value => Some(Cow::Borrowed(value)),
        }
    }
}

/// A shape, ready for metadata that has it.
#[derive(Debug)]
pub(crate) struct Shape {
    /// What stands before each value.
    before: Vec<String>,
    bytes: usize,
}

impl Shape {
    pub(crate) fn of(text: &str) -> Self {
        let names = text.split(TAB).enumerate();
        let before: Vec<String> = names
            .map(|(place, name)| format!("{}{name}:", if place == 0 { '{' } else { ',' }))
            .collect();
        let bytes = before.iter().map(String::len).sum();
        Shape { before, bytes }
    }

    /// Adds the values of metadata to `values`, as [`Members::split`] splits it. `None` if it is not
    /// in that form or does not have this shape; then `values` may have some of them.
    pub(crate) fn split(
        &self,
        metadata: &str,
        session_id: Option<&str>,
        values: &mut String,
    ) -> Option<()> {
        let mut rest = metadata;
        for before in &self.before {
            rest = rest.strip_prefix(before.as_str())?;
            let (value, after) = rest.split_at_checked(value_end(rest.as_bytes(), 0)?)?;
            if value.is_empty() {
                return None;
            }
            push_value(values, value, session_id);
            rest = after;
        }
        (rest == "}" && !metadata.as_bytes().contains(&b'\t')).then_some(())
    }
}

/// The place of a member among the names of a shape, by its name as a JSON string.
pub(crate) fn place_of(shape: &str, name: &str) -> Option<usize> {
    shape.split(TAB).position(|json| json == name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn members(metadata: &str, session_id: Option<&str>) -> Option<Members> {
        let mut members = Members { shape: "of another".to_owned(), values: "too".to_owned() };
        members.split(metadata, session_id).map(|()| members)
    }

    /// The packed text of shape 7 and agent 2 with these values.
    fn packed_of(values: &str) -> String {
        let mut packed = "of another".to_owned();
        begin_packed(&mut packed, 7, 2);
        packed + values
    }

    /// Packs and unpacks with the shape as number 7.
    fn round_trip(metadata: &str, session_id: Option<&str>) -> Option<(String, String)> {
        let members = members(metadata, session_id)?;
        let packed = packed_of(&members.values);
        let mut by_shape = packed_of("");
        Shape::of(&members.shape).split(metadata, session_id, &mut by_shape).unwrap();
        assert_eq!(by_shape, packed);
        let read = Packed::of(&packed, session_id).unwrap();
        assert_eq!((read.shape, read.agent), (7, 2));
        assert!(Packed::is_packed(&packed));
        let back = read.metadata(&Shape::of(&members.shape)).unwrap();
        Some((back, packed))
    }

    #[test]
    fn names_and_the_session_id_are_left_out() {
        let metadata = r#"{"bytes":812,"network":"wifi","session_id":"s-7"}"#;
        let (back, packed) = round_trip(metadata, Some("s-7")).unwrap();
        assert_eq!(back, metadata);
        assert_eq!(packed, "7.2\t812\t\"wifi\"\t");
        let (back, packed) = round_trip(metadata, None).unwrap();
        assert_eq!(back, metadata);
        assert_eq!(packed, "7.2\t812\t\"wifi\"\t\"s-7\"");
    }

    #[test]
    fn a_value_is_found_by_its_name() {
        let members = members(r#"{"a":1,"b\"":[2,"},"],"c":"s"}"#, Some("s")).unwrap();
        let packed = packed_of(&members.values);
        let packed = Packed::of(&packed, Some("s")).unwrap();
        let value = |name| packed.value(place_of(&members.shape, name)?).map(Cow::into_owned);
        assert_eq!(value(r#""a""#).as_deref(), Some("1"));
        assert_eq!(value(r#""b\"""#).as_deref(), Some("[2,\"},\"]"));
        assert_eq!(value(r#""c""#).as_deref(), Some("\"s\""));
        assert_eq!(value(r#""d""#), None);
    }

    #[test]
    fn metadata_without_a_shape_stands_as_it_is() {
        assert_eq!(members("{}", None), None);
        let packed = Packed::of("0.3\t{}", None).unwrap();
        assert_eq!((packed.shape, packed.agent, packed.plain()), (0, 3, "{}"));
    }

    #[test]
    fn texts_of_another_form_are_not_split() {
        for text in [
            "",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":}",
            "{\"a\":1",
            "{\"a\":1,}",
            "{\"a\":1}}",
            "[1]",
            "{\"a\":\"\t\"}",
            "{\"a\" :1}",
            "{ \"a\":1}",
            "{\"a\":\"}",
            "{\"a\":\"\\",
            "{\"a\":]}",
        ] {
            assert_eq!(members(text, None), None, "{text}");
            let shape = Shape::of("\"a\"");
            assert_eq!(shape.split(text, None, &mut String::new()), None, "{text}");
        }
    }

    #[test]
    fn metadata_is_of_a_shape_or_not() {
        let splits = |shape, metadata| Shape::of(shape).split(metadata, None, &mut String::new());
        assert_eq!(splits("\"a\"\t\"b\"", r#"{"a":1,"b":2}"#), Some(()));
        for other in [
            r#"{"a":1}"#,
            r#"{"a":1,"b":2,"c":3}"#,
            r#"{"a":1,"c":2}"#,
            r#"{"b":1,"a":2}"#,
            r#"{"a":{"b":2}}"#,
            r#"{"a":",\"b\":","c":2}"#,
            "{}",
        ] {
            assert_eq!(splits("\"a\"\t\"b\"", other), None, "{other}");
        }
    }

    #[test]
    fn what_does_not_fit_its_shape_is_refused() {
        for (text, shape) in
            [("1.0\t1\t2", "\"a\""), ("1.0\t1", "\"a\"\t\"b\""), ("1.0\t", "\"a\"")]
        {
            let packed = Packed::of(text, None).unwrap();
            assert_eq!(packed.metadata(&Shape::of(shape)), None, "{text}");
        }
        for text in ["", "1.0", "1\t2", "x.0\t1", "1.\t1"] {
            assert!(Packed::of(text, None).is_none(), "{text}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::hash_map(".{0,4}", inner, 0..3)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_metadata_comes_back_byte_by_byte(
            members in prop::collection::hash_map(".{0,5}", json(), 0..5),
            session_id in prop::option::of(".{0,4}"),
            is_repeated in any::<bool>(),
        ) {
            let mut members: serde_json::Map<String, Value> = members.into_iter().collect();
            if let Some(id) = session_id.as_ref().filter(|_| is_repeated) {
                members.insert("session_id".to_owned(), Value::from(id.as_str()));
            }
            let is_empty = members.is_empty();
            let metadata = serde_json_canonicalizer::to_string(&Value::Object(members)).unwrap();
            match round_trip(&metadata, session_id.as_deref()) {
                Some((back, _)) => prop_assert_eq!(back, metadata),
                None => prop_assert!(is_empty),
            }
        }
    }
}
