//! What was found, judged and concluded, as rows of `findings` and `diagnoses`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int64Array, MapBuilder, MapFieldNames, RecordBatch,
    StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field};
use upriver_rules::Diagnosis;
use upriver_rules::diagnosis::document::Finding;
use upriver_store::batch::TableBatch;
use upriver_store::schema::Table;
use upriver_store::time::UnixNanos;

/// The rows of a diagnosis: itself and its findings.
pub(crate) fn of_diagnosis(diagnosis: &Diagnosis) -> anyhow::Result<Vec<TableBatch>> {
    let at = diagnosis.at.0;
    let document = serde_json::to_string(diagnosis)?;
    let cause = diagnosis.root_cause.as_ref();
    let symptom = diagnosis.symptom.as_ref();
    let deploy = cause.and_then(|cause| cause.deploy.as_ref());
    let columns: Vec<ArrayRef> = vec![
        times(at, 1),
        texts([Some(diagnosis.id.as_str())]),
        texts([Some(diagnosis.verdict.name())]),
        texts([symptom.map(|s| s.service.as_str())]),
        texts([symptom.map(|s| s.operation.as_str())]),
        texts([cause.map(|c| c.kind.name())]),
        texts([cause.map(|c| c.service.as_str())]),
        texts([cause.map(|c| c.mechanism.name())]),
        texts([deploy.map(|d| d.id.as_str())]),
        Arc::new(Float64Array::from(vec![cause.map(|c| c.confidence)])),
        texts([Some(document.as_str())]),
        dates(at, 1),
    ];
    let rows = RecordBatch::try_new(Table::Diagnoses.schema(), columns)?;
    let findings = rows_of_findings(&diagnosis.findings, at, (Some(&diagnosis.id), &[]))?;
    Ok(vec![TableBatch::new(Table::Diagnoses, rows), findings])
}

/// Findings of no diagnosis as of an instant, with labels.
pub(crate) fn of_labelled_findings(
    findings: &[Finding],
    at: UnixNanos,
    labels: &[(&str, String)],
) -> anyhow::Result<TableBatch> {
    rows_of_findings(findings, at, (None, labels))
}

fn rows_of_findings(
    findings: &[Finding],
    at: UnixNanos,
    (diagnosis_id, labels): (Option<&str>, &[(&str, String)]),
) -> anyhow::Result<TableBatch> {
    let n = findings.len();
    let text = |of: fn(&Finding) -> &str| texts(findings.iter().map(|f| Some(of(f))));
    let float = |of: fn(&Finding) -> Option<f64>| -> ArrayRef {
        Arc::new(findings.iter().map(of).collect::<Float64Array>())
    };
    let columns: Vec<ArrayRef> = vec![
        times(at, n),
        text(|f| &f.id),
        text(|f| &f.rule),
        text(|f| &f.subject),
        texts((0..n).map(|_| diagnosis_id)),
        float(|f| f.observed),
        float(|f| f.baseline),
        float(|f| f.change),
        Arc::new(findings.iter().map(|f| f.n).collect::<Int64Array>()),
        text(|f| &f.unit),
        text(|f| &f.statement),
        text(|f| &f.sql),
        same_labels(labels, n)?,
        dates(at, n),
    ];
    let rows = RecordBatch::try_new(Table::Findings.schema(), columns)?;
    Ok(TableBatch::new(Table::Findings, rows))
}

fn texts<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

fn times(at: UnixNanos, n: usize) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![at.micros(); n]).with_timezone("UTC"))
}

fn dates(at: UnixNanos, n: usize) -> ArrayRef {
    Arc::new(Date32Array::from(vec![at.date(); n]))
}

/// The same labels in each row.
fn same_labels(same: &[(&str, String)], n: usize) -> anyhow::Result<ArrayRef> {
    let names = MapFieldNames {
        entry: "key_value".to_owned(),
        key: "key".to_owned(),
        value: "value".to_owned(),
    };
    let mut labels = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
        .with_values_field(Field::new("value", DataType::Utf8, true));
    for _ in 0..n {
        for (name, value) in same {
            labels.keys().append_value(name);
            labels.values().append_value(value);
        }
        labels.append(true)?;
    }
    Ok(Arc::new(labels.finish()))
}
