//! An error of the output is returned unchanged, in every format.

use std::error::Error as _;
use std::io::{self, Write};

use conn_log_formats::{Format, WriteError};

use crate::{full, record};

/// An output that accepts that many bytes, and then fails.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match bytes.len().min(self.0) {
            0 => Err(io::ErrorKind::StorageFull.into()),
            taken => {
                self.0 -= taken;
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(format: Format, room: usize) -> Result<(), WriteError> {
    let mut writer = format.writer(Full(room))?;
    writer.write(&[record(1, full()), record(2, full())])?;
    writer.finish()
}

#[test]
fn the_error_of_a_full_disk_is_the_cause() {
    for &format in Format::ALL {
        // The output fails at the first bytes and at the last: a writer that buffers fails in
        // `finish`.
        for room in [0, 2, 200] {
            let error = write(format, room).unwrap_err();
            let WriteError::Output(output) = &error else { panic!("{format}: {error:?}") };
            assert_eq!(output.kind(), io::ErrorKind::StorageFull, "{format}");
            let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
            assert!(cause.is_some(), "{format}");
        }
        assert!(write(format, 1 << 20).is_ok(), "{format}");
    }
}
