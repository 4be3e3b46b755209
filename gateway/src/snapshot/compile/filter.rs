//! Compiles filter resources.
