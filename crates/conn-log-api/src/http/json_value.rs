//! Reads any JSON value, and finds the names that stand twice in one of its objects: serde_json alone
//! would take the last one without a word.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::json_object::pointer;

/// Places noted at most; a problem tells no more.
const REPEATED_MAX: usize = 32;

/// The value of a JSON text, and the pointers of the names that stand twice. `place` is the pointer
/// of the value. Of two members with one name the first stays.
///
/// # Errors
/// Text that is not JSON, has a lone surrogate, or is deeper than serde_json reads (128 levels).
pub(super) fn read(json: &str, place: String) -> Result<(Value, Vec<String>), serde_json::Error> {
    let mut reader = Reader { place, repeated: Vec::new() };
    let mut json = serde_json::Deserializer::from_str(json);
    let value = json.deserialize_any(&mut reader)?;
    json.end()?;
    Ok((value, reader.repeated))
}

struct Reader {
    /// The pointer of the value at hand.
    place: String,
    repeated: Vec<String>,
}

impl Reader {
    /// Works one step deeper.
    fn within<T>(&mut self, step: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.place.len();
        self.place.push_str(step);
        let done = work(self);
        self.place.truncate(length);
        done
    }
}

impl<'de> DeserializeSeed<'de> for &mut Reader {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let step = format!("/{}", values.len());
            match self.within(&step, |reader| seq.next_element_seed(reader))? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = self.within(&pointer(&name), |reader| {
                if object.contains_key(&name) && reader.repeated.len() < REPEATED_MAX {
                    reader.repeated.push(reader.place.clone());
                }
                map.next_value_seed(reader)
            })?;
            object.entry(name).or_insert(value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_what_serde_json_reads() {
        for json in [
            "null",
            "true",
            "-3",
            "18446744073709551615",
            "1.5e3",
            r#""a\u00e9""#,
            "[]",
            "{}",
            r#"[{"a": [1, null, {"b": false}]}, "x"]"#,
        ] {
            let (value, repeated) = read(json, String::new()).unwrap();
            assert_eq!(value, serde_json::from_str::<Value>(json).unwrap());
            assert!(repeated.is_empty());
        }
        for json in ["", "{", "1 2", r#""\ud800""#, "1e999"] {
            assert!(read(json, String::new()).is_err(), "{json}");
        }
    }

    #[test]
    fn a_name_that_stands_twice_is_found_at_any_depth_and_the_first_stays() {
        let json = r#"{"a": 1, "b": [{"c/d": 2, "c/d": {"e": 1, "e": 2}}], "a": 3}"#;
        let (value, repeated) = read(json, "/params".to_owned()).unwrap();
        assert_eq!(repeated, ["/params/b/0/c~1d", "/params/b/0/c~1d/e", "/params/a"]);
        assert_eq!(value, serde_json::json!({"a": 1, "b": [{"c/d": 2}]}));
    }
}
