//! Compiles secret resources.
