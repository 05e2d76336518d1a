//! Events to register in tests.

use std::net::IpAddr;

use conn_log_core::{Event, EventFields, Timestamp};

/// The fields of an event of that device.
pub fn parts(device: &str) -> EventFields {
    EventFields {
        device_id: device.to_owned(),
        application_id: "app_1".to_owned(),
        connection_type: "established".to_owned(),
        status: "success".to_owned(),
        timestamp: Timestamp::parse("2024-01-15T10:30:00.25Z").unwrap(),
        ip_address: Some(IpAddr::from([192, 168, 1, 100])),
        user_agent: None,
        duration: Some(1.5),
        session_id: None,
        event_id: None,
        metadata: r#"{"network_type":"wifi"}"#.to_owned(),
    }
}

/// An event of that device.
pub fn event(device: &str) -> Event {
    Event::from_store(parts(device))
}

/// `count` equal events of that device.
pub fn events(device: &str, count: usize) -> Vec<Event> {
    (0..count).map(|_| event(device)).collect()
}
