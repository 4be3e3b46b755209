//! Builds every part in order and joins them; a newcomer reads this first.
