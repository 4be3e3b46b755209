//! Compiles route resources.
