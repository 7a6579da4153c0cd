use super::*;

fn options(data: &Path) -> StoreOptions {
    StoreOptions { data: data.to_owned().into(), ..StoreOptions::default() }
}

fn folder(data: &Path) -> DataFolder {
    DataFolder::new(&options(data)).unwrap()
}

fn of_tenant(data: &Path, tenant: &str) -> Result<DataFolder, StoreError> {
    DataFolder::new(&StoreOptions { tenant: tenant.to_owned(), ..options(data) })
}

#[test]
fn a_second_writer_is_told_which_folder_is_taken_and_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    let held = folder(data.path()).lock().unwrap();
    let error = folder(data.path()).lock().unwrap_err();
    assert!(error.is_locked() && !error.is_retryable());
    let message = error.to_string();
    assert!(message.contains(&data.path().display().to_string()), "{message}");
    assert!(message.contains("one writer; stop it"), "{message}");
    drop(held);
    folder(data.path()).lock().unwrap();
}

#[test]
fn two_data_folders_cannot_share_a_log() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let wal = tempfile::tempdir().unwrap();
    let with_wal = |data: &Path| {
        let wal = Some(wal.path().to_owned());
        DataFolder::new(&StoreOptions { wal, ..options(data) }).unwrap()
    };
    let _held = with_wal(one.path()).lock().unwrap();
    let error = with_wal(two.path()).lock().unwrap_err();
    assert!(matches!(error, StoreError::Locked { folder } if folder == wal.path()));
}

#[test]
fn the_node_keeps_its_id_and_its_tenant() {
    let data = tempfile::tempdir().unwrap();
    let _lock = folder(data.path()).lock().unwrap();
    assert_eq!(folder(data.path()).node().unwrap(), None);
    let id = folder(data.path()).node_or_new().unwrap();
    assert!(id.starts_with("node:"));
    assert_eq!(folder(data.path()).node_or_new().unwrap(), id);
    let error = of_tenant(data.path(), "other").unwrap().node().unwrap_err();
    assert!(matches!(error, StoreError::ForeignLog { .. }), "{error}");
}

#[test]
fn a_log_without_its_node_id_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let _lock = folder(data.path()).lock().unwrap();
    fs::write(data.path().join("wal/wal-00000000000000000001.log"), b"").unwrap();
    let error = folder(data.path()).node_or_new().unwrap_err();
    assert!(matches!(&error, StoreError::Node { what, .. } if what == "missing"), "{error}");
    fs::write(data.path().join("wal/node.json"), b"{").unwrap();
    let error = folder(data.path()).node_or_new().unwrap_err();
    assert!(matches!(&error, StoreError::Node { what, .. } if what == "not readable"), "{error}");
}

#[test]
fn tenant_names_are_folder_names() {
    let data = Path::new("data");
    for bad in ["", "wal", "..", "a/b", "a b", "ä", &"x".repeat(65)] {
        let error = of_tenant(data, bad).unwrap_err();
        assert!(matches!(error, StoreError::Tenant { .. }), "{bad}");
    }
    let good = of_tenant(data, "team_7-eu").unwrap();
    assert!(good.table(Table::Spans).local().unwrap().ends_with("data/team_7-eu/spans"));
}
