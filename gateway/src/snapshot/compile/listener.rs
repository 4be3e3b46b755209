//! Compiles listener resources.
