//! docs/config.md shows the table of fields as it is in the code.

#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;

const BEGIN: &str = "<!-- fields: begin -->\n";
const END: &str = "<!-- fields: end -->\n";

/// With WEIR_UPDATE_DOCS in the environment the file is rewritten instead of compared.
#[test]
fn the_table_in_the_documentation_is_current() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/config.md");
    let text = fs::read_to_string(file).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("no begin marker");
    let (shown, after) = rest.split_once(END).expect("no end marker");
    let current = format!("\n{}", weir_xds::coverage_markdown());
    if std::env::var_os("WEIR_UPDATE_DOCS").is_some() {
        fs::write(file, format!("{before}{BEGIN}{current}{END}{after}")).unwrap();
        return;
    }
    assert!(shown == current, "docs/config.md is not current: make docs-config");
}
