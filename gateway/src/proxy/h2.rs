//! An HTTP/2 connection of a client: its streams side by side, each a task.
