//! Lines of sshd in a system's log, as events of the addresses that connect.

use serde_json::json;

/// The logs have no year.
const YEAR: u16 = 2016;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What a message begins with, and the event that it is.
const MESSAGES: [(&str, &str, &str); 9] = [
    ("Failed password for ", "attempted", "failure"),
    ("Invalid user ", "attempted", "denied"),
    ("Accepted ", "authenticated", "success"),
    ("reverse mapping checking", "attempted", "error"),
    ("Did not receive identification string from ", "attempted", "error"),
    ("Connection closed by ", "terminated", "success"),
    ("Received disconnect from ", "terminated", "success"),
    ("Disconnected from ", "terminated", "success"),
    ("Disconnecting: Too many", "terminated", "denied"),
];

pub(super) fn event(line: &str) -> Option<String> {
    let (head, message) = line.split_once("]: ")?;
    let mut words = head.split_ascii_whitespace();
    let (month, day, time, host) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let process = words.next()?.strip_prefix("sshd[")?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let (_, connection_type, status) =
        MESSAGES.iter().find(|(begin, ..)| message.starts_with(begin))?;
    let word_after = |word: &str| {
        let mut words = message.split_ascii_whitespace().skip_while(|other| *other != word);
        words.nth(1).map(|word| word.trim_end_matches(':'))
    };
    let address = message.split([' ', '[', ']', ':']).find(|word| is_address(word));
    let port: Option<u16> = word_after("port").and_then(|port| port.parse().ok());
    let user = word_after("user").or_else(|| word_after("for"));
    let event = json!({
        "device_id": address.unwrap_or(host),
        "application_id": host,
        "connection_type": connection_type,
        "status": status,
        "timestamp": format!("{YEAR}-{month:02}-{day:0>2}T{time}Z"),
        "ip_address": address,
        "session_id": format!("sshd[{process}]"),
        "metadata": {"user": user, "port": port, "message": message},
    });
    Some(event.to_string())
}

fn is_address(word: &str) -> bool {
    word.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_failed_password_is_an_event() {
        let line = "Dec  1 06:55:48 LabSZ sshd[24200]: Failed password for root from 173.234.31.186 port 38926 ssh2";
        let event: serde_json::Value = serde_json::from_str(&super::event(line).unwrap()).unwrap();
        assert_eq!(event["device_id"], "173.234.31.186");
        assert_eq!(event["timestamp"], "2016-12-01T06:55:48Z");
        assert_eq!(event["session_id"], "sshd[24200]");
        assert_eq!(event["metadata"]["port"], 38_926);
        assert_eq!(event["metadata"]["user"], "root");
    }

    #[test]
    fn a_line_of_another_program_is_none() {
        assert_eq!(super::event("Dec  1 06:55:48 LabSZ CRON[24200]: session closed"), None);
    }
}
