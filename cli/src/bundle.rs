//! What an export and an import have to agree on.

/// File that says what an exported folder is. A case is imported without it, rows of tables by it.
pub(crate) const MANIFEST: &str = "bundle.json";
/// What the manifest is of.
pub(crate) const SCHEMA: &str = "upriver.bundle/v1";
/// Its `format` where the files are rows of tables.
pub(crate) const PARQUET: &str = "parquet";

/// A hash as manifests and tables have it.
pub(crate) fn hexadecimal(hash: impl AsRef<[u8]>) -> String {
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
