use arrow::array::{
    BinaryArray, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type};

use super::*;

fn shown(format: Format, batch: &RecordBatch) -> String {
    let mut out = Vec::new();
    write(format, std::slice::from_ref(batch), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn batch(columns: Vec<(&str, arrow::array::ArrayRef)>) -> RecordBatch {
    let fields = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect::<Vec<_>>();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[test]
fn values_are_exact_and_the_same_in_every_text_format() {
    let rows = batch(vec![
        ("n", Arc::new(Int64Array::from(vec![Some(i64::MAX), None]))),
        ("id", Arc::new(BinaryArray::from_opt_vec(vec![Some(&[0xab, 0x01]), None]))),
        ("at", Arc::new(TimestampNanosecondArray::from(vec![Some(1), None]))),
        (
            "utc",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None]).with_timezone("+02:00")),
        ),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([
                Some([Some(1), None]),
                None,
            ])),
        ),
        ("n", Arc::new(StringArray::from(vec![Some("a\"b,\nc"), None]))),
    ]);
    assert_eq!(
        shown(Format::Jsonl, &rows),
        concat!(
            r#"{"n":9223372036854775807,"id":"ab01","at":"1970-01-01T00:00:00.000000001Z","utc":"1970-01-01T00:00:00Z","list":[1,null],"n_2":"a\"b,\nc"}"#,
            "\n",
            r#"{"n":null,"id":null,"at":null,"utc":null,"list":null,"n_2":null}"#,
            "\n"
        )
    );
    assert_eq!(
        shown(Format::Csv, &rows),
        "n,id,at,utc,list,n_2\n9223372036854775807,ab01,1970-01-01T00:00:00.000000001Z,1970-01-01T00:00:00Z,\"[1,null]\",\"a\"\"b,\nc\"\n,,,,,\n"
    );
}

#[test]
fn no_control_character_reaches_a_terminal() {
    let hostile = "\u{1b}[31mred\u{7}\r\n\u{202e}\u{9b}0m\ttab é 日本";
    let rows = batch(vec![(hostile, Arc::new(StringArray::from(vec![Some(hostile), None])))]);
    let table = shown(Format::Table, &rows);
    assert!(table.chars().all(|c| c == '\n' || !c.is_control()), "{table:?}");
    assert!(!table.contains('\u{202e}'), "{table:?}");
    assert!(table.contains(r"\u{1b}[31mred\u{7}\r\n\u{202e}\u{9b}0m\ttab é 日本"), "{table}");
    assert!(table.contains("NULL"), "{table}");
    assert_eq!(table.lines().count(), 6, "{table}");
}

#[test]
fn a_result_without_rows_has_its_columns() {
    let rows =
        RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)])));
    assert_eq!(shown(Format::Json, &rows), "[]");
    assert_eq!(shown(Format::Jsonl, &rows), "");
    assert_eq!(shown(Format::Csv, &rows), "n\n");
}

#[test]
fn results_have_a_limit_of_bytes() {
    let mut buffer = LimitedBuffer { bytes: vec![0; RESULT_BYTES_MAX - 10] };
    let rows = batch(vec![("n", Arc::new(StringArray::from(vec!["0123456789"])))]);
    let error = write(Format::Csv, &[rows], &mut buffer).unwrap_err();
    assert_eq!(error.code(), "too_large", "{error}");
}

#[test]
fn formats_are_named() {
    for format in Format::ALL {
        assert_eq!(format.name().parse::<Format>().unwrap(), format);
    }
    let error = "xml".parse::<Format>().unwrap_err().to_string();
    assert_eq!(error, "\"xml\" is no format: use one of json, jsonl, csv, arrow, parquet, table");
}
