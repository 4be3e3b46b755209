//! Which route a request takes: pure, no I/O, generic over what a route carries.
