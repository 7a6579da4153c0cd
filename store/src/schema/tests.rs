use super::*;

#[test]
fn every_table_ends_with_its_partition_and_sorts_by_its_own_columns() {
    for table in Table::ALL {
        let names: Vec<_> = table.columns().iter().map(|c| c.name).collect();
        assert_eq!(names.last(), Some(&"date"), "{}", table.name());
        assert_eq!(names[0], "time", "{}: statistics start with time", table.name());
        for sort in table.sort_columns() {
            assert!(names.contains(sort), "{} sorts by {sort}", table.name());
        }
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "{} repeats a column", table.name());
        assert_eq!(Table::from_folder(table.folder()), Some(table));
    }
}

#[test]
fn tables_page_is_what_the_schemas_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tables.md");
    let expected = markdown();
    if option_env!("UPDATE_DOCS").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/tables.md is stale: touch schema/tests.rs and run the test with UPDATE_DOCS=1"
    );
}
