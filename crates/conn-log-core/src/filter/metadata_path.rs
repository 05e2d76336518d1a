//! Paths to values in an event's metadata.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use crate::event::metadata::METADATA_LEVELS_MAX;

/// The member names of a path, from the outermost to the innermost; at least one, and at most eight:
/// no event's metadata is deeper.
///
/// In the text form, names are separated by dots. A dot within a name is written `\.`, and a
/// backslash before a dot or a backslash is written `\\`.
///
/// ```
/// use conn_log_core::MetadataPath;
///
/// let path = MetadataPath::parse(r"id\.orig_h.port").unwrap();
/// assert_eq!(path.names(), ["id.orig_h", "port"]);
/// assert_eq!(path.to_string(), r"id\.orig_h.port");
/// assert_eq!(MetadataPath::parse("a..b"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetadataPath(Vec<String>);

impl MetadataPath {
    /// The path of these names; `None` if there are none, or more than eight.
    pub fn new(names: Vec<String>) -> Option<Self> {
        (1..=METADATA_LEVELS_MAX).contains(&names.len()).then_some(MetadataPath(names))
    }

    /// Parses the text of a path. Returns `None` if a name is empty or has U+0000, or if there are
    /// more than eight names.
    pub fn parse(text: &str) -> Option<Self> {
        let (mut names, mut name) = (Vec::new(), String::new());
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match c {
                '.' => names.push(std::mem::take(&mut name)),
                '\\' if rest.as_str().starts_with(['.', '\\']) => name.extend(rest.next()),
                c => name.push(c),
            }
        }
        names.push(name);
        let is_name = |name: &String| !name.is_empty() && !name.contains('\0');
        if names.iter().all(is_name) { MetadataPath::new(names) } else { None }
    }

    /// The value at this path: a string itself, or the canonical JSON of a number, `true`, `false`
    /// or `null`. `None` if there is nothing, an array or an object.
    pub(crate) fn text_in<'a>(&self, metadata: &'a Value) -> Option<Cow<'a, str>> {
        match self.value_in(metadata)? {
            Value::Array(_) | Value::Object(_) => None,
            Value::String(text) => Some(Cow::Borrowed(text)),
            scalar => serde_json_canonicalizer::to_string(scalar).ok().map(Cow::Owned),
        }
    }

    fn value_in<'a>(&self, metadata: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(metadata, |value, name| value.as_object()?.get(name))
    }

    /// The names, from the outermost to the innermost.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for MetadataPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "." };
            write!(f, "{separator}{}", name.replace('\\', r"\\").replace('.', r"\."))?;
        }
        Ok(())
    }
}
