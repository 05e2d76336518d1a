//! An event's metadata.

/// The text under `session_id`, if there is one.
pub(crate) fn session_id(metadata: &str) -> Option<String> {
    if !metadata.contains("\"session_id\"") {
        return None;
    }
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(metadata).ok()?;
    object.get("session_id")?.as_str().map(str::to_owned)
}
