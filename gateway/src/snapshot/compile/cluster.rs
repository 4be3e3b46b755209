//! Compiles cluster resources.
