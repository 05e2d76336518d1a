//! A normal week: sensors that report by the clock, laptops in office hours, good and bad networks,
//! journeys, reboots, clocks that are off, and events that are sent twice.

use std::net::{IpAddr, Ipv4Addr};

use conn_log_core::{EventFields, Timestamp};

use crate::dice::Dice;

/// Seconds.
pub(crate) const HOUR: i64 = 3_600;
pub(crate) const DAY: i64 = 24 * HOUR;

/// A week of a fleet, from a Monday, 00:00 UTC.
#[derive(Clone, Copy, Debug)]
pub struct Week {
    /// The Monday, in seconds since 1970.
    pub(crate) start: i64,
    /// All devices. Half of them are sensors, the others laptops.
    pub(crate) devices: i64,
}

impl Week {
    /// The week that begins with the Monday of a time. `devices` is 100 or more.
    pub fn of(time: Timestamp, devices: u32) -> Self {
        let days = time.micros().div_euclid(1_000_000).div_euclid(DAY);
        // 1970-01-01 was a Thursday.
        let monday = days - (days + 3).rem_euclid(7);
        Week { start: monday * DAY, devices: i64::from(devices.max(100)) }
    }

    /// Its first instant.
    pub fn start(&self) -> Timestamp {
        Timestamp::from_micros(self.start * 1_000_000)
    }

    /// Its hours: 0 to 167.
    pub fn hours(&self) -> std::ops::Range<i64> {
        0..7 * 24
    }

    /// The events of an hour, in the order of arrival.
    pub fn events_of(&self, hour: i64) -> Vec<EventFields> {
        let mut events = Vec::new();
        for device in 0..self.devices {
            if is_sensor(device) {
                self.sensor(device, hour, &mut events);
            } else {
                self.laptop(device, hour, &mut events);
            }
        }
        for meter in 0..10 {
            let second = hour * HOUR + meter * 300 + 7;
            events.push(self.event(&format!("meter-{meter}"), "meters", second));
        }
        events.sort_by(|one, other| {
            (one.timestamp, &one.device_id).cmp(&(other.timestamp, &other.device_id))
        });
        events
    }

    /// An event of a success that authenticates, at a second of the week.
    pub(crate) fn event(&self, device: &str, application: &str, second: i64) -> EventFields {
        EventFields {
            device_id: device.to_owned(),
            application_id: application.to_owned(),
            connection_type: "authenticated".to_owned(),
            status: "success".to_owned(),
            timestamp: Timestamp::from_micros((self.start + second) * 1_000_000),
            ip_address: None,
            user_agent: None,
            duration: None,
            session_id: None,
            event_id: None,
            metadata: "{}".to_owned(),
        }
    }

    /// A heartbeat each half an hour, and a time service that is asked by the clock.
    fn sensor(&self, device: i64, hour: i64, events: &mut Vec<EventFields>) {
        let mut dice = Dice::of(&[device.unsigned_abs(), hour.unsigned_abs()]);
        let name = format!("sensor-{device}");
        // One clock in fifty is off by up to two minutes.
        let skew = if device % 100 == 0 { device % 240 - 120 } else { 0 };
        for half in [0, 1_800] {
            let second = hour * HOUR + half + device % 1_800 + dice.below(6) + skew;
            let mut event = self.event(&name, "sensors", second.max(0));
            event.ip_address = Some(address(10, device));
            // One network in ten is bad.
            if dice.one_in(if device % 20 == 0 { 20 } else { 400 }) {
                event.status = "timeout".to_owned();
            }
            // Some are sent twice.
            if dice.one_in(200) {
                events.push(event.clone());
            }
            events.push(event);
        }
        if device % 4 == 0 {
            // Every 1,024 s, as time services are asked.
            let first = (hour * HOUR).div_euclid(1_024) + 1;
            let mut second = first * 1_024;
            while second < (hour + 1) * HOUR {
                let mut event = self.event(&name, "sensors", second + dice.below(3));
                event.connection_type = "established".to_owned();
                event.metadata = r#"{"service":"ntp"}"#.to_owned();
                events.push(event);
                second += 1_024;
            }
        }
        // A reboot now and then.
        if dice.one_in(700) {
            for (offset, kind) in [(10, "terminated"), (40, "established")] {
                let mut event = self.event(&name, "sensors", hour * HOUR + offset + dice.below(9));
                event.connection_type = kind.to_owned();
                events.push(event);
            }
        }
    }

    /// Sessions in office hours, and a background service that never sleeps.
    fn laptop(&self, device: i64, hour: i64, events: &mut Vec<EventFields>) {
        let mut dice = Dice::of(&[device.unsigned_abs(), hour.unsigned_abs(), 1]);
        let name = format!("laptop-{device}");
        let background = hour * HOUR + dice.below(HOUR);
        events.push(self.event(&name, "laptops", background));
        let (day, of_day) = (hour / 24, hour % 24);
        let is_in_flight = flies(device) && day == FLIGHT_DAY && FLIGHT_HOURS.contains(&of_day);
        if day >= 5 || !(7..19).contains(&of_day) || is_in_flight || dice.one_in(3) {
            return;
        }
        let begin = hour * HOUR + dice.below(1_500);
        let place = self.place(device, day, of_day);
        let metadata =
            format!(r#"{{"interactive":true,"latitude":{},"longitude":{}}}"#, place.0, place.1);
        // A mistyped password now and then.
        for attempt in 0..dice.below(3) {
            if dice.one_in(8) {
                let mut event = self.event(&name, "laptops", begin + 5 * attempt);
                event.connection_type = "attempted".to_owned();
                event.status = "denied".to_owned();
                event.ip_address = Some(address(11, device));
                events.push(event);
            }
        }
        for (offset, kind) in [(30, "established"), (60 + dice.below(1_800), "terminated")] {
            let mut event = self.event(&name, "laptops", begin + offset);
            event.connection_type = kind.to_owned();
            event.ip_address = Some(address(11, device));
            if kind == "established" {
                event.metadata = metadata.clone();
            }
            events.push(event);
        }
    }

    /// Where a laptop is: at home, roaming in its town; one in forty takes a plane on Wednesday.
    #[expect(clippy::unused_self, clippy::cast_precision_loss, reason = "small numbers")]
    fn place(&self, device: i64, day: i64, of_day: i64) -> (f64, f64) {
        let mut dice =
            Dice::of(&[device.unsigned_abs(), day.unsigned_abs(), of_day.unsigned_abs()]);
        let (latitude, longitude) = (48.0 + (device % 5) as f64, 8.0 + (device % 7) as f64);
        let roam = |dice: &mut Dice| dice.below(200) as f64 / 1_000.0;
        let has_landed = (day, of_day) >= (FLIGHT_DAY, FLIGHT_HOURS.end);
        // 900 km to the south.
        let south = if flies(device) && has_landed { 8.0 } else { 0.0 };
        (latitude - south + roam(&mut dice), longitude + roam(&mut dice))
    }
}

/// The day of the week, from 0, on which laptops fly, and the hours that it takes: without a session.
const FLIGHT_DAY: i64 = 2;
const FLIGHT_HOURS: std::ops::Range<i64> = 9..13;

/// One laptop in forty.
fn flies(device: i64) -> bool {
    device % 80 == 1
}

/// Every second device is a sensor.
pub(crate) fn is_sensor(device: i64) -> bool {
    device % 2 == 0
}

/// The address of a device: a network of its own for 250 of them.
pub(crate) fn address(network: u8, device: i64) -> IpAddr {
    let byte = |number: i64| u8::try_from(number % 256).unwrap_or(0);
    IpAddr::V4(Ipv4Addr::new(network, byte(device / 65_536), byte(device / 256), byte(device)))
}
