//! Files of records: NDJSON, CSV and Parquet.
//!
//! A [`Format`] makes a [`RecordWriter`] over any [`std::io::Write`]. The crate knows records and
//! bytes. It must not know a database, HTTP or where the bytes go.
//!
//! ```
//! use conn_log_formats::Format;
//!
//! # fn main() -> Result<(), conn_log_formats::WriteError> {
//! let mut file = Vec::new();
//! let mut writer = Format::Csv.writer(&mut file)?;
//! writer.write(&[])?;
//! writer.finish()?;
//! assert!(file.starts_with(b"id,device_id,application_id,"));
//! # Ok(())
//! # }
//! ```

mod csv;
mod error;
mod format;
mod ndjson;
#[cfg(feature = "parquet")]
mod parquet;
mod writer;

pub use error::{UnknownFormat, WriteError};
pub use format::Format;
#[cfg(feature = "parquet")]
pub use parquet::SCHEMA as PARQUET_SCHEMA;
pub use writer::RecordWriter;
