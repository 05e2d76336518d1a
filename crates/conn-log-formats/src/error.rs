//! Errors: an unknown format, and records that could not be written.

use std::error::Error;
use std::io;

use crate::Format;

/// The error that no format of this build has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a format; the formats are {}", Format::NAMES)]
pub struct UnknownFormat {
    /// The name that was given.
    pub name: String,
}

/// The reason why records were not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output failed. In a server, its reader may have disconnected.
    #[error("the output failed")]
    Output(#[source] io::Error),
    /// A record does not fit the format.
    #[error("the records cannot be encoded as {format}")]
    Encoding {
        /// The format that was to be written.
        format: Format,
        /// The encoder's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        WriteError::Output(error)
    }
}

impl From<csv::Error> for WriteError {
    fn from(error: csv::Error) -> Self {
        match error.into_kind() {
            csv::ErrorKind::Io(error) => WriteError::Output(error),
            kind => {
                WriteError::Encoding { format: Format::Csv, source: format!("{kind:?}").into() }
            }
        }
    }
}

#[cfg(feature = "parquet")]
impl From<parquet::errors::ParquetError> for WriteError {
    fn from(error: parquet::errors::ParquetError) -> Self {
        use parquet::errors::ParquetError;
        let encoding = |source| WriteError::Encoding { format: Format::Parquet, source };
        match error {
            ParquetError::External(source) => match source.downcast::<io::Error>() {
                Ok(output) => WriteError::Output(*output),
                Err(source) => encoding(source),
            },
            error => encoding(error.into()),
        }
    }
}
