//! Connections as Zeek writes them, as events: TLS, SSH, RDP and whatever else has an originator, a
//! responder and a `uid`.

use serde_json::{Map, Value, json};

/// Members that become columns, or say nothing of the connection.
const TAKEN: [&str; 7] = ["_path", "_write_ts", "ts", "uid", "id.orig_h", "id.resp_h", "id.resp_p"];

pub(super) fn event(line: &str) -> Option<String> {
    let mut members: Map<String, Value> = serde_json::from_str(line).ok()?;
    let text = |name: &str| Some(members.get(name)?.as_str()?.to_owned());
    let (kind, uid) = (text("_path")?, text("uid")?);
    let (origin, responder) = (text("id.orig_h")?, text("id.resp_h")?);
    let (timestamp, port) = (text("ts")?, members.get("id.resp_p")?.as_u64()?);
    let says = |name: &str| members.get(name).and_then(Value::as_bool);
    let (connection_type, status) = match (says("established"), says("auth_success")) {
        (_, Some(true)) => ("authenticated", "success"),
        (_, Some(false)) => ("attempted", "denied"),
        (Some(false), _) => ("attempted", "failure"),
        _ => ("established", "success"),
    };
    let duration = ["duration", "rtt"].into_iter().find_map(|name| members.get(name)?.as_f64());
    members.retain(|name, _| !TAKEN.contains(&name.as_str()));
    let event = json!({
        "device_id": origin,
        "application_id": format!("{kind}/{responder}:{port}"),
        "connection_type": connection_type,
        "status": status,
        "timestamp": timestamp,
        "ip_address": origin,
        "session_id": uid,
        "duration": duration,
        "metadata": members,
    });
    Some(event.to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_tls_connection_is_an_event() {
        let line = r#"{"_path":"ssl","_write_ts":"2018-03-24T17:15:20.629574Z","ts":"2018-03-24T17:15:20.615923Z","uid":"CmC9kY1X0u9nP78KZc","id.orig_h":"10.1.94.120","id.orig_p":39611,"id.resp_h":"10.47.3.200","id.resp_p":443,"established":true}"#;
        let event: serde_json::Value = serde_json::from_str(&super::event(line).unwrap()).unwrap();
        assert_eq!(event["device_id"], "10.1.94.120");
        assert_eq!(event["application_id"], "ssl/10.47.3.200:443");
        assert_eq!(event["metadata"]["id.orig_p"], 39_611);
        assert_eq!(event["metadata"].get("uid"), None);
    }
}
