//! What is logged: the bytes of a request with its kind and the instant of its arrival.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::batch::TableBatch;
use crate::time::UnixNanos;

/// A request as it is written to the log and replayed from it.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// What the payload is. 0 is rows of the store itself (Arrow IPC); the others belong to `ingest`.
    pub kind: u8,
    /// When the request arrived.
    pub received: UnixNanos,
    /// The request, as the decode function expects it.
    pub payload: Bytes,
}

/// Turns a logged request into rows: the same rows each time.
pub type Decode = Arc<dyn Fn(&LogRecord) -> Result<Vec<TableBatch>, DecodeFailure> + Send + Sync>;

/// A logged request that can no longer be decoded.
#[derive(Debug)]
pub struct DecodeFailure(pub String);

impl fmt::Display for DecodeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeFailure {}
