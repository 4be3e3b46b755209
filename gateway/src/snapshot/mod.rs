//! The compiled configuration: Snapshot, SnapshotStore, Publisher, and compilation of each kind of resource.
