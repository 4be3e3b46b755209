//! Where resources come from: the bootstrap's static part and watched files.

pub mod file;
pub mod finding;
pub mod watch;

pub use finding::{Finding, Summary};
pub use watch::{FileWatch, WatchError};
