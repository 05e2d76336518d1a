//! Checks connection events before they are sent: one event a line on stdin, in either edition.
//!
//! ```sh
//! echo '{"device_id": "dev_12345", "app_id": "app_67890", "connection_type": "wifi",
//!     "connection_status": "connected", "timestamp": "2024-01-15T10:30:00Z"}' | tr -d '\n' |
//!     cargo run -p conn-log-core --example check_events
//! ```
//!
//! Prints, for each line, the record that a log would keep of it, or all of its faults, by the same
//! rules as the server, but without a server. Its exit status is 1 if a line was not an event.
#![expect(clippy::print_stdout, reason = "stdout is what this program is for")]

use std::io::{self, BufRead};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use conn_log_core::{EventDraft, EventPolicy, FaultKind, Record, Timestamp};

fn main() -> io::Result<ExitCode> {
    // Add a deployment's own names here, as on its server: `.with_connection_type("roamed")`.
    let policy = EventPolicy::default();
    let mut id = 0;
    let mut refused = 0;
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let now = now();
        match EventDraft::from_json(&line).and_then(|draft| policy.check(draft, now)) {
            Ok(event) => {
                id += 1;
                let record = Record { id, created_at: now, event };
                println!("{}", record.to_json());
            }
            Err(faults) => {
                refused += 1;
                let status = match faults.kind() {
                    FaultKind::Forbidden => 403,
                    FaultKind::Shape => 400,
                    FaultKind::Value => 422,
                };
                println!("refused, a server would answer {status}:");
                for fault in faults.as_slice() {
                    let code = fault.code.as_str();
                    println!("  {} ({code}): {}", fault.pointer, fault.detail);
                }
            }
        }
    }
    Ok(ExitCode::from(u8::from(refused > 0)))
}

/// The current time: a policy reads no clock.
fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = since_1970.map_or(0, |time| time.as_micros());
    Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}
