//! Counts of devices: only events and failures of each device of a block. Their sums answer the
//! question which devices fail most.
//!
//! A row has three numbers for each device, in the order of devices: the difference to the device
//! number before, its events, its failures. A step merges its additions into the bytes: it copies
//! the devices that it does not change.

use std::collections::BTreeMap;

use super::codec::{Damaged, Reader, Writer};

/// The counts of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(super) events: u64,
    pub(super) failures: u64,
}

impl Counts {
    pub(super) fn add(&mut self, more: Counts) {
        self.events += more.events;
        self.failures += more.failures;
    }
}

/// The devices of a block.
pub(crate) type DeviceCounts = BTreeMap<u32, Counts>;

/// Encodes devices one after the other.
#[derive(Default)]
struct Row {
    writer: Writer,
    last: u32,
}

impl Row {
    fn push(&mut self, device: u32, counts: Counts) {
        self.writer.number(u64::from(device - self.last));
        self.writer.number(counts.events);
        self.writer.number(counts.failures);
        self.last = device;
    }
}

/// Adds counts to the bytes of a row.
pub(super) fn merge(bytes: &[u8], more: &DeviceCounts) -> Result<Vec<u8>, Damaged> {
    let mut row = Row::default();
    let mut more = more.iter().map(|(device, counts)| (*device, *counts)).peekable();
    each(bytes, |device, mut counts| {
        while let Some((new, added)) = more.next_if(|(new, _)| *new <= device) {
            if new == device {
                counts.add(added);
            } else {
                row.push(new, added);
            }
        }
        row.push(device, counts);
        Ok::<(), Damaged>(())
    })?;
    for (device, counts) in more {
        row.push(device, counts);
    }
    Ok(row.writer.0)
}

/// Passes each device of a row to `take`.
pub(super) fn each<E: From<Damaged>>(
    bytes: &[u8],
    mut take: impl FnMut(u32, Counts) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = Reader(bytes);
    let mut device = 0_u32;
    while !reader.0.is_empty() {
        device = device.checked_add(reader.small()?).ok_or(Damaged)?;
        take(device, Counts { events: reader.number()?, failures: reader.number()? })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts() -> impl Strategy<Value = DeviceCounts> {
        let counts =
            (1..300_u64, 0..300_u64).prop_map(|(events, failures)| Counts { events, failures });
        prop::collection::btree_map(0..2_000_u32, counts, 0..40)
    }

    proptest! {
        #[test]
        fn rows_merge_as_their_counts_add_up(some in counts(), more in counts()) {
            let row = merge(&merge(&[], &some).unwrap(), &more).unwrap();
            let mut expected = some;
            for (device, counts) in more {
                expected.entry(device).or_default().add(counts);
            }
            let mut found = DeviceCounts::new();
            each(&row, |device, counts| {
                assert_eq!(found.insert(device, counts), None);
                Ok::<(), Damaged>(())
            })
            .unwrap();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_row_that_is_cut_off_is_damaged() {
        let counts = Counts { events: 3, failures: 1 };
        let row = merge(&[], &DeviceCounts::from([(5, counts)])).unwrap();
        let read = |bytes| each(bytes, |_, _| Ok::<(), Damaged>(()));
        assert!(read(&row).is_ok());
        assert!(read(&row[..row.len() - 1]).is_err());
    }
}
