//! The formats, with their names in requests and in file names.

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use crate::csv::CsvWriter;
use crate::ndjson::NdjsonWriter;
#[cfg(feature = "parquet")]
use crate::parquet::ParquetWriter;
use crate::{RecordWriter, UnknownFormat, WriteError};

/// A format of files of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line, in the form in which the API answers a record.
    #[default]
    Ndjson,
    /// Comma-separated values (RFC 4180), safe to open in a spreadsheet.
    Csv,
    /// Apache Parquet with typed columns.
    #[cfg(feature = "parquet")]
    Parquet,
}

impl Format {
    /// Every format of this build.
    pub const ALL: &[Format] = &[
        Format::Ndjson,
        Format::Csv,
        #[cfg(feature = "parquet")]
        Format::Parquet,
    ];

    /// The names of the formats, for messages.
    #[cfg(feature = "parquet")]
    pub const NAMES: &str = "ndjson, csv or parquet";
    /// The names of the formats, for messages.
    #[cfg(not(feature = "parquet"))]
    pub const NAMES: &str = "ndjson or csv";

    /// The name that [`FromStr`] accepts. It is also the usual extension of a file's name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Ndjson => "ndjson",
            Format::Csv => "csv",
            #[cfg(feature = "parquet")]
            Format::Parquet => "parquet",
        }
    }

    /// The extension of a file's name, without the dot.
    pub fn extension(self) -> &'static str {
        self.name()
    }

    /// The media type without parameters, as in an `Accept` header.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Ndjson => "application/x-ndjson",
            Format::Csv => "text/csv",
            #[cfg(feature = "parquet")]
            Format::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// The value of `Content-Type`: the media type, and the charset if the type has one.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Csv => "text/csv; charset=utf-8",
            other => other.media_type(),
        }
    }

    /// A writer of this format. It writes to `out` in small pieces, so `out` should buffer them.
    pub fn writer<'a>(
        self,
        out: impl Write + Send + 'a,
    ) -> Result<Box<dyn RecordWriter + 'a>, WriteError> {
        Ok(match self {
            Format::Ndjson => Box::new(NdjsonWriter::new(out)),
            Format::Csv => Box::new(CsvWriter::new(out)?),
            #[cfg(feature = "parquet")]
            Format::Parquet => Box::new(ParquetWriter::new(out)?),
        })
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let format = Format::ALL.iter().find(|format| format.name() == name);
        format.copied().ok_or_else(|| UnknownFormat { name: name.to_owned() })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
