//! docs/fields.md is the table of fields as it is in the code.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;

/// What stands above the table.
const HEAD: &str = "# The table of fields

Generated: `make docs-config` writes it from the table in gateway/xds/src/coverage. What the words mean stands in
[config.md](config.md#every-field-counts); a message that is not here is refused.

";

/// With WEIR_UPDATE_DOCS in the environment the file is rewritten instead of compared.
#[test]
fn the_table_in_the_documentation_is_current() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fields.md");
    let current = format!("{HEAD}{}", weir_xds::coverage_markdown());
    if std::env::var_os("WEIR_UPDATE_DOCS").is_some() {
        fs::write(file, current).unwrap();
        return;
    }
    assert!(fs::read_to_string(file).unwrap() == current, "docs/fields.md is not current: make docs-config");
}
