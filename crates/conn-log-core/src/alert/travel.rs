//! Impossible travel: two places that no one can travel between in the time between them.

use super::finder::Finder;
use super::observation::{Detail, Place};

/// Half of the Earth's circumference: no two places are further apart.
const FURTHEST_KM: u32 = 20_015;

/// The mean radius of the Earth in kilometres.
const EARTH_RADIUS_KM: f64 = 6_371.009;

/// After so many seconds any place can have been reached.
pub(super) fn reach_seconds(max_kmh: u32) -> u32 {
    (u64::from(FURTHEST_KM) * 3_600 / u64::from(max_kmh.max(1)) + 1).try_into().unwrap_or(u32::MAX)
}

/// Any pair with the new observation.
pub(super) fn journeys(finder: &mut Finder<'_>, max_kmh: u32, min_km: u32) {
    let (window, new) = (finder.window, finder.new);
    let Detail::Place(here) = window.at(new).detail else { return };
    let time = window.at(new).time;
    let places = finder.first_anchor..finder.end;
    // Most devices stay where they are: a distance is good for all observations in a row.
    let mut known: Option<(Place, f64)> = None;
    for (other, observation) in places.clone().zip(window.iter(places)) {
        let Detail::Place(there) = observation.detail else { continue };
        let km = known
            .filter(|(place, _)| *place == there)
            .map_or_else(|| distance_km(here.degrees(), there.degrees()), |(_, km)| km);
        known = Some((there, km));
        let is_far = km >= f64::from(min_km);
        if is_far && km > f64::from(max_kmh) * hours(time, observation.time) && other != new {
            finder.hit(other.min(new), [other.min(new), other.max(new)]);
        }
    }
}

/// The hours between two instants.
pub(super) fn hours(one: i64, other: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 microseconds")]
    let micros = one.abs_diff(other) as f64;
    micros / 3.6e9
}

/// The great-circle distance (haversine).
pub(super) fn distance_km(one: (f64, f64), other: (f64, f64)) -> f64 {
    let (lat, other_lat) = (one.0.to_radians(), other.0.to_radians());
    let half_lat = (other_lat - lat) / 2.0;
    let half_lon = (other.1 - one.1).to_radians() / 2.0;
    let a = half_lat.sin().powi(2) + lat.cos() * other_lat.cos() * half_lon.sin().powi(2);
    2.0 * EARTH_RADIUS_KM * a.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn berlin_and_new_york_are_6385_km_apart() {
        let km = distance_km((52.52, 13.405), (40.713, -74.006));
        assert!((6_380.0..6_390.0).contains(&km), "{km}");
        assert!((distance_km((0.0, 0.0), (0.0, 180.0)) - f64::from(FURTHEST_KM)).abs() < 1.0);
    }
}
