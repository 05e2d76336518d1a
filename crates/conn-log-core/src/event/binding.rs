//! Clients that may register events only of one device, or of one application.

use std::borrow::Cow;

use super::draft::EventDraft;
use crate::fault::{Fault, FaultCode, FaultList};

/// The device and the application whose events a client may register. `None` for any.
///
/// ```
/// use conn_log_core::{Binding, EventDraft, EventPolicy, FaultCode, Timestamp};
///
/// let binding = Binding { device_id: Some("dev_7".to_owned()), application_id: None };
/// let json = r#"{"application_id": "app", "connection_type": "established",
///     "timestamp": "1970-01-01T00:00:00Z", "status": "success"}"#;
/// let mut draft = EventDraft::from_json(json).unwrap();
/// draft.bind(&binding);
/// let event = EventPolicy::default().check(draft, Timestamp::EPOCH).unwrap();
/// assert_eq!(event.fields().device_id, "dev_7");
///
/// let mut draft = EventDraft { device_id: Some("dev_8".into()), ..EventDraft::default() };
/// draft.bind(&binding);
/// let faults = EventPolicy::default().check(draft, Timestamp::EPOCH).unwrap_err();
/// assert!(faults.as_slice().iter().any(|fault| fault.code == FaultCode::NotBound));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// The device.
    pub device_id: Option<String>,
    /// The application.
    pub application_id: Option<String>,
}

impl Binding {
    /// Whether this binding allows every event that `other` allows.
    pub fn covers(&self, other: &Binding) -> bool {
        let covers = |own: &Option<String>, other: &Option<String>| own.is_none() || own == other;
        covers(&self.device_id, &other.device_id)
            && covers(&self.application_id, &other.application_id)
    }
}

impl<'a> EventDraft<'a> {
    /// Fills in the bound device and application if the event leaves them out. Another device or
    /// application is a fault; null and a value of another type keep their own fault.
    pub fn bind(&mut self, binding: &'a Binding) {
        let names = self.source.names;
        let faults = &mut self.source.faults;
        if let Some(device_id) = &binding.device_id {
            bind(&mut self.device_id, device_id, &names.pointer("device_id"), faults);
        }
        if let Some(application_id) = &binding.application_id {
            let pointer = names.pointer("application_id");
            bind(&mut self.application_id, application_id, &pointer, faults);
        }
    }
}

fn bind<'a>(
    field: &mut Option<Cow<'a, str>>,
    bound: &'a str,
    pointer: &str,
    faults: &mut FaultList,
) {
    match field {
        Some(given) if given == bound => {}
        Some(_) => {
            let detail = "the token is bound to another one";
            faults.push(Fault::new(pointer, FaultCode::NotBound, detail));
        }
        None => {
            faults.forget_missing(pointer);
            if !faults.has(pointer) {
                *field = Some(Cow::Borrowed(bound));
            }
        }
    }
}
