//! Query parameters: a request with an unknown one is refused.

use std::borrow::Cow;
use std::str::FromStr;

use actix_web::HttpRequest;
use percent_encoding::percent_decode;

use crate::http::problem::{Problem, ProblemKind};

/// The parameters of one request, taken out one by one. Those left at the end are unknown.
#[derive(Debug)]
pub(crate) struct QueryString(Vec<(String, String)>);

impl QueryString {
    pub(crate) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let pairs = pairs(request.query_string().as_bytes())
            .map(|pair| pair.map(|(name, value)| (name.into_owned(), value.into_owned())));
        let pairs = pairs.collect::<Result<_, _>>();
        pairs.map(QueryString).map_err(|fault| Problem::new(ProblemKind::InvalidQuery, fault))
    }

    /// Every value of a repeatable parameter.
    pub(crate) fn all(&mut self, name: &str) -> Vec<String> {
        self.0.extract_if(.., |(n, _)| n == name).map(|(_, value)| value).collect()
    }

    /// The parameters that are left, from which other code takes those that it knows.
    pub(crate) fn pairs(&mut self) -> &mut Vec<(String, String)> {
        &mut self.0
    }

    /// The value of a parameter that may be given once.
    pub(crate) fn one(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.all(name);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(Problem::parameter(name, "repeated", "this parameter stands once at most")),
        }
    }

    /// The same, parsed as `T`; `expected` describes the accepted values.
    pub(crate) fn parsed<T: FromStr>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, Problem> {
        self.read(name, expected, |text| text.parse().ok())
    }

    /// The same, parsed by `read`.
    pub(crate) fn read<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.one(name)? else {
            return Ok(None);
        };
        match read(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(Problem::parameter(name, "invalid_value", expected)),
        }
    }

    /// Checks that no parameter is left.
    ///
    /// # Errors
    /// 400 that names the unknown parameters.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            return Ok(());
        }
        let errors: Vec<_> = self
            .0
            .iter()
            .take(UNKNOWN_TOLD_MAX)
            .map(|(name, _)| {
                let name: String = name.chars().take(64).collect();
                serde_json::json!({"parameter": name, "code": "unknown",
                    "detail": "there is no such parameter here"})
            })
            .collect();
        Err(Problem::new(ProblemKind::InvalidQuery, "unknown query parameter")
            .with_member("errors", &errors))
    }
}

/// The pairs of a text in the form of `application/x-www-form-urlencoded`, one by one: a search for
/// one of them keeps no others. A stray percent sign and bytes that are not UTF-8 are faults,
/// although that form's own rules would repair them: after a repair, two different names could
/// become equal. More pairs than [`PAIRS_MAX`] are a fault too.
pub(crate) fn pairs(text: &[u8]) -> impl Iterator<Item = Result<Pair<'_>, &'static str>> {
    let parts = text.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
    parts.take(PAIRS_MAX + 1).zip(1..).map(|(part, count)| {
        if count > PAIRS_MAX {
            return Err("more than 1,000 fields");
        }
        let equals = part.iter().position(|byte| *byte == b'=');
        let (name, value) = match equals {
            Some(place) => (&part[..place], &part[place + 1..]),
            None => (part, &[][..]),
        };
        Ok((decoded(name)?, decoded(value)?))
    })
}

/// A name and its value.
pub(crate) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Maximum fields of a form or a query: a filter takes 100 values, and no request needs ten such
/// filters.
const PAIRS_MAX: usize = 1_000;

/// Decodes a name or a value of a form.
fn decoded(text: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    let is_escape = |rest: &[u8]| rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit);
    if !text.split(|byte| *byte == b'%').skip(1).all(is_escape) {
        return Err("a % is not followed by two hexadecimal digits");
    }
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return std::str::from_utf8(text).map(Cow::Borrowed).map_err(|_| NOT_UTF_8);
    }
    // A plus is a space; an escaped plus is not.
    let mut bytes = Vec::with_capacity(text.len());
    for (place, part) in text.split(|byte| *byte == b'+').enumerate() {
        if place > 0 {
            bytes.push(b' ');
        }
        bytes.extend(percent_decode(part));
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| NOT_UTF_8)
}

const NOT_UTF_8: &str = "not UTF-8";

/// Maximum unknown parameters named in one problem.
const UNKNOWN_TOLD_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<(String, String)>, &'static str> {
        pairs(text.as_bytes()).map(|pair| pair.map(|(n, v)| (n.into(), v.into()))).collect()
    }

    #[test]
    fn pairs_are_those_of_the_form() {
        for text in ["", "&&", "a", "a=", "=b", "a=b=c", "a+b=%2B+%20&c", "%c3%a9=\u{e9}&a=1&a=2"] {
            let expected: Vec<(String, String)> = serde_urlencoded::from_str(text).unwrap();
            assert_eq!(all(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn repairable_text_is_a_fault() {
        for text in ["a=%", "%4=b", "a=%zz", "%ff=b", "a=1&b=%c3"] {
            assert!(all(text).is_err(), "{text}");
        }
    }

    #[test]
    fn of_millions_of_pairs_no_more_are_looked_at_than_are_taken() {
        assert_eq!(all(&"a&".repeat(PAIRS_MAX)).unwrap().len(), PAIRS_MAX);
        let text = "a&".repeat(1_000_000);
        assert_eq!(pairs(text.as_bytes()).count(), PAIRS_MAX + 1);
        assert!(all(&text).is_err());
    }
}
