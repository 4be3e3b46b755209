//! Where resources come from: the bootstrap's static part and watched files.
