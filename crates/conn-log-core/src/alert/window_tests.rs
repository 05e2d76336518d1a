//! A window of many chunks says the same as a sorted list.

use proptest::prelude::*;

use super::observation::{Detail, Observation};
use super::window::Window;

/// Observations of few instants and many, so that chunks are filled at the end and in between.
fn observations() -> impl Strategy<Value = Vec<Observation>> {
    let one = (0..3_i64, 0..2_000_i64, 0..4_u64, any::<bool>(), any::<bool>());
    let observation = |place: usize, (drift, jump, digest, on, by_order)| {
        let order = i64::try_from(place).unwrap();
        Observation {
            time: if by_order { order + drift } else { jump },
            digest,
            id: order,
            detail: Detail::Switch(on),
            counted: 0,
        }
    };
    prop::collection::vec(one, 0..2_000).prop_map(move |all| {
        all.into_iter().enumerate().map(|(place, one)| observation(place, one)).collect()
    })
}

fn changes(all: &[Observation]) -> usize {
    all.windows(2).filter(|two| two[0].detail != two[1].detail).count()
}

/// Checks all that a window says of some places.
fn check(window: &Window, all: &[Observation], (from, until, wanted): (usize, usize, usize)) {
    assert_eq!(window.len(), all.len());
    let kept: Vec<Observation> = window.iter(0..all.len()).copied().collect();
    assert_eq!(kept, all);
    let until = until.min(all.len());
    let from = from.min(until);
    let some: Vec<Observation> = window.iter(from..until).rev().copied().collect();
    assert!(some.iter().rev().eq(&all[from..until]));
    assert!((from..until).all(|place| window.at(place) == &all[place]));
    assert_eq!(window.tally(from..until), changes(&all[from..until]));
    let last = (0..until).rev().find(|place| changes(&all[*place..until]) >= wanted);
    assert_eq!(window.last_with(wanted, until), last);
    let time = i64::try_from(from).unwrap();
    assert_eq!(window.from(time), all.partition_point(|other| other.time < time));
    assert_eq!(window.after(time), all.partition_point(|other| other.time <= time));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chunks_say_what_a_sorted_list_says(
        observations in observations(),
        count_repeats in any::<bool>(),
        places in prop::collection::vec((0..2_000_usize, 0..2_000_usize, 1..400_usize), 8),
        forgotten in 0..2_000_i64,
    ) {
        let mut window = Window::new(false);
        let mut all: Vec<Observation> = Vec::new();
        for new in observations {
            let place = all.partition_point(|other| other.key() < new.key());
            let is_same = |other: &Observation| (other.time, other.digest) == (new.time, new.digest);
            let is_repeat = !count_repeats && all.iter().any(is_same);
            if !is_repeat {
                all.insert(place, new);
            }
            prop_assert_eq!(window.insert(new, count_repeats), (!is_repeat).then_some(place));
        }
        places.iter().for_each(|places| check(&window, &all, *places));
        let count = all.partition_point(|other| other.time < forgotten);
        prop_assert_eq!(window.forget_before(forgotten), count);
        all.drain(..count);
        places.iter().for_each(|places| check(&window, &all, *places));
    }
}
