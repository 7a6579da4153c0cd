//! Fixtures and cells.
#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use upriver_ingest::Decoded;
use upriver_store::schema::Table;

/// A folder of recorded inputs beside the repository; `None`, said aloud, where there is none.
pub(crate) fn fixtures(folder: &str) -> Option<PathBuf> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = repository.parent().unwrap().join("shared/fixtures").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    println!("left out: no fixtures at {}", path.display());
    None
}

/// The bytes of a file, unzipped if they are gzip.
pub(crate) fn read(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return bytes;
    }
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
    plain
}

/// A JSON object of texts.
pub(crate) fn expectations(path: &Path) -> BTreeMap<String, String> {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The number of rows of a table.
pub(crate) fn row_count(decoded: &Decoded, table: Table) -> usize {
    decoded.batches.iter().filter(|b| b.table == table).map(|b| b.rows.num_rows()).sum()
}

/// All rows of a table as text.
pub(crate) fn rows(decoded: &Decoded, table: Table) -> Vec<String> {
    let columns: Vec<_> = table.columns().iter().map(|column| column.name).collect();
    cells(decoded, table, &columns)
}

/// Cells as text, a row per line, `∅` for null.
pub(crate) fn cells(decoded: &Decoded, table: Table, columns: &[&str]) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅");
    let mut lines = Vec::new();
    for batch in decoded.batches.iter().filter(|batch| batch.table == table) {
        let columns: Vec<_> =
            columns.iter().map(|c| by_offset(batch.rows.column_by_name(c).unwrap())).collect();
        let formatters: Vec<_> =
            columns.iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        for row in 0..batch.rows.num_rows() {
            let cells: Vec<_> = formatters.iter().map(|f| f.value(row).to_string()).collect();
            lines.push(cells.join(" | "));
        }
    }
    lines
}

/// Instants with an offset instead of the name `UTC`, which Arrow cannot look up in every build.
fn by_offset(column: &ArrayRef) -> ArrayRef {
    match column.as_any().downcast_ref::<TimestampMicrosecondArray>() {
        Some(times) => Arc::new(times.clone().with_timezone("+00:00")),
        None => Arc::clone(column),
    }
}
