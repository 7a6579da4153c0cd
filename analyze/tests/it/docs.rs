//! `docs/sql.md` names everything that a session offers beside the tables.

use upriver_analyze::Session;
use upriver_analyze::format::Format;

#[test]
fn the_sql_page_names_every_view_and_function() {
    let page = include_str!("../../../docs/sql.md");
    let own = Session::own_names();
    assert!(own.len() > 15, "{own:?}");
    for name in own.iter().map(String::as_str).chain(Format::ALL.map(Format::name)) {
        let is_named = page.contains(&format!("`{name}`")) || page.contains(&format!("`{name}("));
        assert!(is_named, "docs/sql.md does not name {name}");
    }
}
