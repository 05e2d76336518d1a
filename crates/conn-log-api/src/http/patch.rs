//! The body of a change: plain JSON, or a merge patch (RFC 7396).

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use actix_web::web::Payload;
use serde_json::{Map, Value};

use super::body::Body;
use super::content_type;
use super::json_object::{JSON, read_bytes};
use super::problem::Problem;

/// The media type of a merge patch.
const MERGE_PATCH: &str = "application/merge-patch+json";

/// What a change does to a member that is an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patch {
    /// The new object replaces it: the body is plain JSON.
    Replaces,
    /// The new object's members are merged into it: the body is a merge patch (RFC 7396).
    Merges,
}

impl Patch {
    /// Changes an object.
    pub(crate) fn apply(self, object: &mut Map<String, Value>, changes: Map<String, Value>) {
        for (name, change) in changes {
            match (self, change) {
                (Patch::Merges, change @ Value::Object(_)) => {
                    merge(object.entry(name).or_insert(Value::Null), change);
                }
                (_, change) => _ = object.insert(name, change),
            }
        }
    }
}

/// Changes a value as RFC 7396 says: within an object a null removes a member.
fn merge(target: &mut Value, change: Value) {
    let Value::Object(changes) = change else {
        *target = change;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(object) = target.as_object_mut() else { return };
    for (name, change) in changes {
        if change.is_null() {
            object.remove(&name);
        } else {
            merge(object.entry(name).or_insert(Value::Null), change);
        }
    }
}

/// Reads the body of a change.
///
/// # Errors
/// 415 with `Accept-Patch` (RFC 5789) for a body that is neither JSON nor a merge patch, and the
/// errors of [`read_bytes`].
pub(crate) async fn read(
    request: &HttpRequest,
    payload: &mut Payload,
) -> Result<(Body, Patch), Problem> {
    let taken = format!("{JSON} or {MERGE_PATCH}");
    let patch = match content_type::media_type(request, &taken)?.as_str() {
        JSON => Patch::Replaces,
        MERGE_PATCH => Patch::Merges,
        _ => {
            let name = HeaderName::from_static("accept-patch");
            let problem = content_type::not_taken("this content type is not taken", &taken);
            return Err(problem.with_header(name, format!("{JSON}, {MERGE_PATCH}")));
        }
    };
    Ok((read_bytes(request, payload).await?, patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The examples of RFC 7396, appendix A, that are objects within a member.
    #[test]
    fn objects_are_merged_as_the_standard_says() {
        for (target, change, merged) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!(["a"]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut object = Map::from_iter([("m".to_owned(), target.clone())]);
            let changes = Map::from_iter([("m".to_owned(), change.clone())]);
            Patch::Merges.apply(&mut object, changes.clone());
            assert_eq!(object["m"], merged, "{target} {change}");
            Patch::Replaces.apply(&mut object, changes);
            assert_eq!(object["m"], change);
        }
    }
}
