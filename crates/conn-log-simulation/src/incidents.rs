//! Incidents to plant in a week: each is what one of the starter rules is for.

use conn_log_core::EventFields;

use crate::week::{DAY, HOUR, Week, address};

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// One address tries a password on many devices.
    PasswordSpraying,
    /// A password is guessed.
    BruteForce,
    /// A laptop calls home by the clock.
    Beacon,
    /// One laptop in two places.
    ImpossibleTravel,
    /// A device goes on and off.
    Flapping,
    /// A device is heard of no more.
    DormantDevice,
    /// No device of an application is heard of.
    SilentApplication,
    /// A sign-in at night.
    OffHours,
    /// Far more events than usual.
    Flood,
}

impl Incident {
    /// All of them.
    pub const ALL: [Incident; 9] = [
        Incident::PasswordSpraying,
        Incident::BruteForce,
        Incident::Beacon,
        Incident::ImpossibleTravel,
        Incident::Flapping,
        Incident::DormantDevice,
        Incident::SilentApplication,
        Incident::OffHours,
        Incident::Flood,
    ];

    /// The name of the starter rule that finds it.
    pub fn rule(self) -> &'static str {
        match self {
            Incident::PasswordSpraying => "Password spraying",
            Incident::BruteForce => "Brute force that succeeds",
            Incident::Beacon => "Beacon",
            Incident::ImpossibleTravel => "Impossible travel",
            Incident::Flapping => "Flapping device",
            Incident::DormantDevice => "Dormant device",
            Incident::SilentApplication => "Silent application",
            Incident::OffHours => "Off-hours access",
            Incident::Flood => "Flood",
        }
    }

    /// Plants it in the events of an hour of the week.
    pub fn plant(self, week: &Week, hour: i64, events: &mut Vec<EventFields>) {
        let new = self.events(week).into_iter();
        let until = week.start + (hour + 1) * HOUR;
        let from = week.start + hour * HOUR;
        let is_of_hour = |event: &EventFields| {
            (from..until).contains(&event.timestamp.micros().div_euclid(1_000_000))
        };
        events.extend(new.filter(is_of_hour));
        events.retain(|event| !self.silences(week, event));
        events.sort_by(|one, other| {
            (one.timestamp, &one.device_id).cmp(&(other.timestamp, &other.device_id))
        });
    }

    fn events(self, week: &Week) -> Vec<EventFields> {
        let laptop = |number: i64| format!("laptop-{}", 2 * number + 1);
        let denied = |device: &str, second: i64| {
            let mut event = week.event(device, "laptops", second);
            event.connection_type = "attempted".to_owned();
            event.status = "denied".to_owned();
            event.ip_address = Some(address(99, 7));
            event
        };
        let established = |device: &str, application: &str, second: i64| {
            let mut event = week.event(device, application, second);
            event.connection_type = "established".to_owned();
            event
        };
        match self {
            Incident::PasswordSpraying => {
                let begin = 2 * DAY + 14 * HOUR;
                (0..30).map(|number| denied(&laptop(number), begin + 9 * number)).collect()
            }
            Incident::BruteForce => {
                let begin = DAY + 10 * HOUR + 60;
                let mut events: Vec<EventFields> =
                    (0..12).map(|number| denied("laptop-3", begin + 20 * number)).collect();
                events.push(established("laptop-3", "laptops", begin + 260));
                events
            }
            Incident::Beacon => {
                let begin = 3 * DAY + 2 * HOUR;
                let beat = |number: i64| begin + 600 * number + number % 3;
                (0..72).map(|number| established("laptop-5", "laptops", beat(number))).collect()
            }
            Incident::ImpossibleTravel => {
                let mut event = established("laptop-7", "laptops", 3 * DAY + 12 * HOUR);
                event.metadata = r#"{"latitude":-33.9,"longitude":151.2}"#.to_owned();
                let mut home = established("laptop-7", "laptops", 3 * DAY + 12 * HOUR + 600);
                home.metadata = r#"{"latitude":50.1,"longitude":8.1}"#.to_owned();
                vec![event, home]
            }
            Incident::Flapping => {
                let begin = 4 * DAY + 11 * HOUR;
                let flip = |number: i64| {
                    let mut event = established("sensor-2", "sensors", begin + 12 * number);
                    if number % 2 == 1 {
                        event.connection_type = "terminated".to_owned();
                    }
                    event
                };
                (0..40).map(flip).collect()
            }
            Incident::OffHours => {
                let mut event = established("laptop-9", "laptops", 2 * DAY + 3 * HOUR);
                event.metadata = r#"{"interactive":true}"#.to_owned();
                vec![event]
            }
            Incident::Flood => {
                let begin = 4 * DAY + 2 * HOUR;
                // Ten times the usual, whatever the number of devices.
                let count = week.devices * 20;
                let beat = |number: i64| {
                    let mut event =
                        week.event("sensor-4", "sensors", begin + 3_599 * number / count);
                    event.metadata = format!(r#"{{"n":{number}}}"#);
                    event
                };
                (0..count).map(beat).collect()
            }
            Incident::DormantDevice | Incident::SilentApplication => Vec::new(),
        }
    }

    fn silences(self, week: &Week, event: &EventFields) -> bool {
        let second = event.timestamp.micros().div_euclid(1_000_000) - week.start;
        match self {
            Incident::DormantDevice => event.device_id == "sensor-6" && second >= DAY,
            Incident::SilentApplication => {
                let begin = 3 * DAY + 9 * HOUR;
                event.application_id == "meters" && (begin..begin + 6 * HOUR).contains(&second)
            }
            _ => false,
        }
    }
}
