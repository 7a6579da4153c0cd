//! A result as a table for terminals.
//!
//! Cells hold telemetry, which anyone may have sent: control characters are written as escapes, so
//! that none reaches the terminal.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches;

use super::present;

pub(super) fn write(batches: &[RecordBatch], out: &mut dyn Write) -> Result<(), ArrowError> {
    let texts: Vec<_> = batches.iter().map(as_texts).collect::<Result<_, _>>()?;
    writeln!(out, "{}", pretty_format_batches(&texts)?)?;
    Ok(())
}

fn as_texts(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let batch = present::nested_as_json(batch)?;
    let lines = has_lines(&batch);
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|column| Ok(Arc::new(texts(column, lines)?) as ArrayRef))
        .collect::<Result<_, ArrowError>>()?;
    let schema = batch.schema();
    let names = schema.fields().iter().map(|field| escape(field.name(), false));
    let fields = names.map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

fn texts(column: &ArrayRef, lines: bool) -> Result<StringArray, ArrowError> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column, &options)?;
    let cell = |row: usize| {
        if column.is_null(row) {
            return Ok("NULL".to_owned());
        }
        Ok(escape(&formatter.value(row).try_to_string()?, lines))
    };
    let cells: Vec<String> = (0..column.len()).map(cell).collect::<Result<_, ArrowError>>()?;
    Ok(StringArray::from(cells))
}

/// Whether cells are plans of `EXPLAIN`, whose line breaks are ours.
fn has_lines(batch: &RecordBatch) -> bool {
    let schema = batch.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names == ["plan_type", "plan"]
}

/// Control characters, and those that turn the direction of text, as Rust writes them.
fn escape(text: &str, keep_lines: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if (keep_lines && character == '\n') || !is_unsafe(character) {
            shown.push(character);
        } else {
            shown.extend(character.escape_default());
        }
    }
    shown
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
